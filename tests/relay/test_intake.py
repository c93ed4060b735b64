"""The journey of submissions over real databases: exactly once, exact limits, gap-free serials, one poison row."""

import asyncio
import json
import secrets
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from eth_account import Account
from eth_account.messages import encode_typed_data
from sqlalchemy import text
from sqlalchemy.exc import OperationalError

from relay import group as journey
from relay import group_steps, submission
from relay.games import GameConfig
from relay.keccak import keccak
from relay.store import flags
from relay.store.engine import StoreUnavailableError

Make = Callable[..., dict[str, Any]]


def address() -> str:
    """A player nobody has seen."""
    return "0x" + secrets.token_hex(20)


async def rows(relay: Any, statement: str) -> list[Any]:
    """All rows of a query."""
    return await relay.database.read(lambda connection: connection.execute(text(statement)).all())  # type: ignore[no-any-return]


async def somebody_waits(relay: Any) -> None:
    """Return when a request waits for the chain."""
    for _ in range(12_000):
        if relay.intake.progress.waiting():
            return
        await asyncio.sleep(0.005)
    raise TimeoutError


def test_an_accepted_score_is_durable_signed_and_proved(database_url: str, relay_at: Any, make_play: Make) -> None:
    """Answer, row, history, evidence and receipt say the same; eth-account alone verifies the receipt."""

    async def scenario() -> None:
        async with relay_at(database_url) as relay:
            reply = await relay.submit(make_play(score=2653, roundId="round-7"))
            answer = reply.json
            assert reply.status == 202
            assert (answer["score"], answer["status"], answer["txHash"], answer["evidenceLevel"]) == (
                2652, "accepted", None, 1,
            )  # fmt: skip
            receipt = answer["receipt"]
            signable = encode_typed_data(full_message=receipt["typedData"])
            assert Account.recover_message(signable, signature=receipt["signature"]) == receipt["signer"]
            body = (await relay.request("GET", answer["links"]["evidence"])).body
            assert "0x" + keccak(body).hex() == answer["evidenceHash"] == receipt["evidenceHash"]
            evidence = json.loads(body)
            assert evidence["claim"] == {**make_play()["scoreData"], "score": 2653, "roundId": "round-7"}
            assert (evidence["outcome"], evidence["score"]) == ("accepted", 2652)
            row = (await rows(relay, "SELECT * FROM submissions"))[0]
            assert (row.status, row.score, row.round_id, row.external_round) == ("accepted", 2652, 1, "round-7")
            steps = await rows(relay, "SELECT submission_id, status, at_ms FROM history")
            assert [tuple(step) for step in steps] == [(answer["submissionId"], "accepted", row.received_at_ms)]

    asyncio.run(scenario())


def test_a_refusal_is_recorded_with_its_evidence_and_flagged(database_url: str, relay_at: Any, make_play: Make) -> None:
    """422 with all checks; no serial, no receipt, one open flag however often it is tried."""

    async def scenario() -> None:
        async with relay_at(database_url) as relay:
            replies = [await relay.submit(make_play(score=5420, gameTime=30_000 + n)) for n in range(3)]
            problem = replies[0].json
            assert {reply.status for reply in replies} == {422}
            assert (problem["code"], problem["error"], problem["success"]) == (
                "SCORE_MISMATCH", "Score validation failed", False,
            )  # fmt: skip
            assert problem["reason"] == "Score mismatch. Claimed: 5420, Expected: 2652"
            assert [check["code"] for check in problem["checks"]][5:] == [
                "COMBO_EXCEEDS_HITS", "SCORE_MISMATCH", "NOTES_EXCEED_TIME", "PERFECT_RATIO_HIGH", "SCORE_SPIKE",
                "DUPLICATE_SUBMISSION", "RATE_LIMITED",
            ]  # fmt: skip
            assert problem["checks"][-2:] == [
                {"code": "DUPLICATE_SUBMISSION", "result": "pass", "version": 1, "windowMs": 60_000},
                {"code": "RATE_LIMITED", "result": "pass", "version": 1, "admitted": 1, "limit": 60},
            ]
            assert replies[2].json["checks"][-1]["admitted"] == 3
            assert (
                keccak((await relay.request("GET", f"/api/evidence/{problem['evidenceHash']}")).body).hex()
                in (problem["evidenceHash"])
            )
            found = await rows(relay, "SELECT status, code, round_id FROM submissions")
            assert {tuple(row) for row in found} == {("rejected", "SCORE_MISMATCH", None)}
            found_flags = await rows(relay, "SELECT code, occurrences, status FROM audit_flags")
            assert [tuple(flag) for flag in found_flags] == [("SCORE_MISMATCH", 3, "open")]
            assert await rows(relay, "SELECT next FROM round_counters") == []

    asyncio.run(scenario())


def test_the_limit_is_exact_and_flagged(database_url: str, relay_at: Any, make_play: Make) -> None:
    """60 of 70 concurrent plays pass; the flag counts all attempts; another player is not concerned."""

    async def scenario() -> None:
        async with relay_at(database_url) as relay:
            plays = [make_play(gameTime=30_000 + number) for number in range(70)]
            replies = await asyncio.gather(*(relay.submit(play) for play in plays))
            assert Counter(reply.status for reply in replies) == {202: 60, 429: 10}
            refused = next(reply for reply in replies if reply.status == 429)
            assert 1 <= int(refused.headers["retry-after"]) <= 60
            assert refused.headers["ratelimit-policy"] == '"submit-score";q=60;w=60'
            assert refused.headers["ratelimit"].startswith('"submit-score";r=0;t=')
            flag = (await rows(relay, "SELECT reason, occurrences FROM audit_flags"))[0]
            assert tuple(flag) == ("Rate limit exceeded: submit-score (70/60 per minute)", 10)
            assert (await relay.submit(make_play(address()))).status == 202
            assert len(await rows(relay, "SELECT 1 FROM submissions")) == 61

    asyncio.run(scenario())


def test_one_outcome_per_idempotency_key(database_url: str, relay_at: Any, make_play: Make) -> None:
    """20 concurrent requests with one key: one submission, equal bytes; another body is refused; 429 frees the key."""

    async def scenario() -> None:
        async with relay_at(
            database_url, GameConfig("streambeat", limits={"submit-score": 2}, anonymous_submit=True)
        ) as relay:
            replies = await asyncio.gather(*(relay.submit(idempotency_key='"k-1"') for _ in range(20)))
            assert {reply.status for reply in replies} == {202}
            assert len({reply.body for reply in replies}) == 1
            assert Counter(reply.headers.get("idempotent-replayed") for reply in replies) == {"true": 19, None: 1}
            in_body = await relay.submit(make_play(idempotencyKey="k-1"))
            assert in_body.body == replies[0].body
            reused = await relay.submit(make_play(score=2653), idempotency_key="k-1")
            assert (reused.status, reused.json["code"]) == (422, "IDEMPOTENCY_KEY_REUSED")
            disagree = await relay.submit(make_play(idempotencyKey="k-2"), idempotency_key="k-1")
            assert (disagree.status, disagree.json["code"]) == (400, "IDEMPOTENCY_KEY_INVALID")
            refused = [await relay.submit(make_play(score=9), idempotency_key="k-9") for _ in range(2)]
            assert refused[0].status == 422
            assert refused[0].body == refused[1].body
            assert refused[1].headers["idempotent-replayed"] == "true"
            limited = await relay.submit(make_play(gameTime=31_000), idempotency_key="k-3")
            assert limited.status == 429
            assert {row.submission_id for row in await rows(relay, "SELECT submission_id FROM idempotency")} == {
                row.id for row in await rows(relay, "SELECT id FROM submissions")
            }

    asyncio.run(scenario())


def test_a_retry_without_a_key(database_url: str, relay_at: Any, make_play: Make) -> None:
    """Identical evidence within a minute gets the first answer; after it, or from another player, it is a new play."""

    async def scenario() -> None:
        async with relay_at(database_url) as relay:
            first, again = await asyncio.gather(relay.submit(), relay.submit())
            assert first.body == again.body
            assert [first.headers.get("idempotent-replayed"), again.headers.get("idempotent-replayed")] == [
                None,
                "true",
            ]
            other = await relay.submit(make_play(address()))
            assert other.json["submissionId"] != first.json["submissionId"]
            shift = text("UPDATE limit_windows SET claims = :old")
            await relay.writer.run(lambda connection: connection.execute(shift, {"old": b""}))  # as after a minute
            later = await relay.submit()
            assert later.json["submissionId"] != first.json["submissionId"]
            serials = await rows(relay, "SELECT round_id FROM submissions ORDER BY round_id")
            assert [row.round_id for row in serials] == [1, 2, 3]

    asyncio.run(scenario())


def test_a_waited_answer_is_replayed_as_it_was_given(database_url: str, relay_at: Any, make_play: Make) -> None:
    """While the first waits a retry hears 409; then the same bytes, although the score has moved on since."""

    async def scenario() -> None:
        async with relay_at(database_url) as relay:
            tx_hash = secrets.token_bytes(32)
            waiting = asyncio.create_task(relay.submit(prefer="", idempotency_key="w"))
            await somebody_waits(relay)
            flying = await relay.submit(idempotency_key="w")
            assert (flying.status, flying.json["code"], flying.headers["retry-after"]) == (
                409, "IDEMPOTENCY_IN_FLIGHT", "1",
            )  # fmt: skip
            submission_id = (await rows(relay, "SELECT id FROM submissions"))[0].id
            relay.intake.progress.changed([submission_id], "sent", tx_hash)
            first = await waiting
            assert (first.status, first.json["status"], first.json["txHash"]) == (202, "sent", "0x" + tx_hash.hex())
            moved = text("UPDATE submissions SET status = 'final', block_number = 7")
            await relay.writer.run(lambda connection: connection.execute(moved))
            again = await relay.submit(idempotency_key="w")
            assert (again.body, again.status) == (first.body, 202)
            assert again.headers["idempotent-replayed"] == "true"

    asyncio.run(scenario())


def test_waiting_for_inclusion_and_a_lost_answer(database_url: str, relay_at: Any, make_play: Make) -> None:
    """`wait=N` ends with the block, seen in the database too; the answer of a dead process is taken over."""

    async def scenario() -> None:
        async with relay_at(database_url) as relay:
            waiting = asyncio.create_task(relay.submit(prefer="wait=20"))
            await somebody_waits(relay)
            included = text("UPDATE submissions SET status = 'included', tx_hash = :tx")
            await relay.writer.run(lambda connection: connection.execute(included, {"tx": b"\x07" * 32}))
            reply = await waiting
            assert (reply.status, reply.json["status"]) == (200, "included")
            assert reply.headers["preference-applied"] == "wait=20"
            assert (await relay.submit()).body == reply.body
            await relay.submit(make_play(score=2651), idempotency_key="lost")
            lost = text("UPDATE submissions SET answering_until_ms = 1 WHERE answered_status IS NULL")
            await relay.writer.run(lambda connection: connection.execute(lost))  # its process died before it answered
            taken = await relay.submit(make_play(score=2651), idempotency_key="lost")
            assert (taken.status, taken.json["status"]) == (202, "accepted")
            settled = await rows(relay, "SELECT answered_status FROM submissions WHERE answered_status = 'accepted'")
            assert len(settled) == 1

    asyncio.run(scenario())


def test_a_retry_after_a_crash_hears_the_answer_within_seconds(
    database_url: str, relay_at: Any, make_play: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However long the first wanted to wait: "in flight" holds only while its process goes on saying so."""
    monkeypatch.setattr("relay.intake.ANSWERING_S", 0.3)
    monkeypatch.setattr("relay.api.submit.ANSWERING_S", 0.3)
    monkeypatch.setattr("relay.intake.ANSWER_MARGIN_MS", 60_000)

    async def scenario() -> None:
        async with relay_at(database_url) as relay:

            async def until_ms() -> int:
                (found,) = await rows(relay, "SELECT answering_until_ms FROM submissions")
                return int(found.answering_until_ms)

            waiting = asyncio.create_task(relay.submit(prefer="wait=600", idempotency_key="k"))
            await somebody_waits(relay)
            first_ms, now_ms = await until_ms(), await relay.database.read(relay.database.now_ms)
            assert first_ms <= now_ms + 60_000 + 300  # however long it wants to wait
            async with asyncio.timeout(60):
                while await until_ms() < first_ms + 600:  # noqa: ASYNC110 - it is said again and again
                    await asyncio.sleep(0.05)
            alive = await relay.submit(idempotency_key="k")
            assert (alive.status, alive.json["code"]) == (409, "IDEMPOTENCY_IN_FLIGHT")
            waiting.cancel()  # as SIGKILL: nothing more is said
            await asyncio.gather(waiting, return_exceptions=True)
            last_ms = await until_ms()
            await asyncio.sleep(0.7)
            assert await until_ms() == last_ms
            passed = text("UPDATE submissions SET answering_until_ms = answering_until_ms - 61000")  # a minute later
            await relay.writer.run(lambda connection: connection.execute(passed))
            told = await relay.submit(idempotency_key="k")
            assert (told.status, told.json["status"]) == (202, "accepted")
            assert (await relay.submit(idempotency_key="k")).body == told.body

    asyncio.run(scenario())


def test_one_poison_submission_hurts_nobody(
    database_url: str, relay_at: Any, make_play: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A submission that cannot be processed is a 500 of its own; the others of its group are accepted."""
    real = submission.evidence

    def sometimes(given: Any, *rest: Any, **more: Any) -> bytes:
        if given.claim.game_time == 66_666:
            raise RuntimeError("a bug")
        return real(given, *rest, **more)

    monkeypatch.setattr(group_steps, "evidence", sometimes)

    async def scenario() -> None:
        async with relay_at(database_url) as relay:
            plays = [make_play(address(), gameTime=66_666 if number == 5 else 30_000) for number in range(12)]
            replies = await asyncio.gather(*(relay.submit(play) for play in plays))
            assert [reply.status for reply in replies] == [500 if number == 5 else 202 for number in range(12)]
            assert replies[5].json["code"] == "INTERNAL_ERROR"
            assert "bug" not in replies[5].body.decode()
            serials = sorted(row.round_id for row in await rows(relay, "SELECT round_id FROM submissions"))
            assert serials == list(range(1, 12))

    asyncio.run(scenario())


@pytest.mark.parametrize("error", [OperationalError("x", {}, Exception("disk full")), StoreUnavailableError("gone")])
def test_a_database_out_of_reach_is_503_and_nothing_is_stored(
    sqlite_url: str, relay_at: Any, make_play: Make, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    """Nothing half done, and it works again afterwards."""
    real = flags.raise_flags
    state = {"broken": True}

    def sometimes(*given: Any) -> None:
        if state["broken"]:
            raise error
        real(*given)

    monkeypatch.setattr(journey, "raise_flags", sometimes)

    async def scenario() -> None:
        async with relay_at(sqlite_url) as relay:
            replies = await asyncio.gather(relay.submit(make_play(score=1)), relay.submit(make_play(address())))
            assert {(reply.status, reply.json["code"]) for reply in replies} == {(503, "STORE_UNAVAILABLE")}
            assert await rows(relay, "SELECT 1 FROM submissions") == []
            assert await rows(relay, "SELECT 1 FROM limit_windows") == []
            state["broken"] = False
            assert (await relay.submit(make_play(score=1))).status == 422

    asyncio.run(scenario())


def test_without_a_key_nothing_is_accepted(sqlite_url: str, relay_at: Any) -> None:
    """The dry mode refuses visibly and records nothing."""

    async def scenario() -> None:
        async with relay_at(sqlite_url, signer=False) as relay:
            reply = await relay.submit()
            assert (reply.status, reply.json["code"]) == (503, "SIGNER_UNAVAILABLE")
            assert await rows(relay, "SELECT 1 FROM submissions") == []

    asyncio.run(scenario())


def test_two_relays_on_one_postgresql(postgres_url: str, relay_at: Any, make_play: Make) -> None:
    """Exact limits, one outcome per key and serials without a gap, with two writers racing."""

    async def scenario() -> None:
        async with relay_at(postgres_url) as one, relay_at(postgres_url) as two:
            relays = (one, two)
            players = [address() for _ in range(6)]
            plays = [
                (relays[(number + turn) % 2], make_play(player, gameTime=30_000 + turn))
                for turn in range(70)
                for number, player in enumerate(players)
            ]
            replies = await asyncio.gather(*(relay.submit(play) for relay, play in plays))
            by_player = Counter(
                play["playerAddress"] for (_, play), reply in zip(plays, replies, strict=True) if reply.status == 202
            )
            assert by_player == dict.fromkeys(players, 60)
            shared = [make_play(address()) for _ in range(40)]
            both = await asyncio.gather(
                *(
                    relay.submit(play, idempotency_key=f"k{number}")
                    for number, play in enumerate(shared)
                    for relay in relays
                )
            )
            assert {reply.status for reply in both} == {202}
            for number in range(40):
                assert both[2 * number].body == both[2 * number + 1].body
            serials = sorted(row.round_id for row in await rows(one, "SELECT round_id FROM submissions"))
            assert serials == list(range(1, 360 + 40 + 1))
            assert sum(row.occurrences for row in await rows(one, "SELECT occurrences FROM audit_flags")) == 60

    asyncio.run(scenario())


def test_sweeping(database_url: str, relay_at: Any, make_play: Make) -> None:
    """Keys are forgotten after 24 h, players without scores after an hour; scores are not."""

    async def scenario() -> None:
        async with relay_at(database_url) as relay:
            await relay.submit(idempotency_key="old")
            await relay.submit(make_play(address(), score=1), idempotency_key="young")
            age = "UPDATE idempotency SET created_at_ms = created_at_ms - 86400001 WHERE submission_id IN "
            accepted = "(SELECT id FROM submissions WHERE status = 'accepted')"
            await relay.writer.run(lambda connection: connection.execute(text(age + accepted)))
            idle = text("UPDATE limit_windows SET updated_at_ms = 1")
            await relay.writer.run(lambda connection: connection.execute(idle))
            assert await relay.intake.sweep() == 1
            assert len(await rows(relay, "SELECT 1 FROM idempotency")) == 1
            assert len(await rows(relay, "SELECT 1 FROM limit_windows")) == 1

    asyncio.run(scenario())


def test_spike_is_flagged_from_the_players_own_history(database_url: str, relay_at: Any, make_play: Make) -> None:
    """Ten usual plays, then a jump: accepted, flagged, and the history holds the last 50 only."""

    async def scenario() -> None:
        async with relay_at(database_url) as relay:
            for number in range(55):
                await relay.submit(make_play(gameTime=30_000 + number))
            jump = await relay.submit(
                make_play(score=250_000, perfect=500, good=0, miss=100, combo=490, gameTime=90_000)
            )
            assert jump.status == 202
            found_flags = await rows(relay, "SELECT code, severity FROM audit_flags")
            assert [tuple(flag) for flag in found_flags] == [("SCORE_SPIKE", "warning")]
            packed = (await rows(relay, "SELECT scores FROM limit_windows"))[0].scores
            assert len(packed) == 50 * 8

    asyncio.run(scenario())
