"""Revoking and reinstating over HTTP: roles, refusals, repeats, many at once; and what a submission then shows."""

import asyncio
import json
from typing import Any

import pytest
from sqlalchemy import func, select, text

from relay.games import GameConfig
from relay.store.intake import standing
from relay.store.revocation_tables import revocations
from relay.store.tables import history, submissions
from tests.relay.api.test_openapi import check_answer
from tests.relay.conftest import PLAYER, Relay, Reply, running

PATH = "/api/submissions/{submissionId}/"


class Auditor:
    """Asks with one key, and holds every answer against the OpenAPI document."""

    def __init__(self, relay: Relay, api: dict[str, Any], role: str = "auditor", game_id: str | None = None) -> None:
        self.relay, self.api = relay, api
        self.key = relay.keys.create(role, game_id=game_id).secret

    async def ask(self, action: str, submission_id: str, body: object = None, **headers: str) -> Reply:
        """Post a request."""
        raw = body if isinstance(body, bytes) else json.dumps(body or {"reason": "seen cheating"}).encode()
        named = {"authorization": f"Bearer {self.key}"} | {k.replace("_", "-"): v for k, v in headers.items()}
        path = f"/api/submissions/{submission_id}/{action}"
        reply = await self.relay.request("POST", path, raw, named)
        check_answer(self.api, "POST", PATH + action, reply)
        return reply


async def auditor(relay: Relay, role: str = "auditor", game_id: str | None = None) -> Auditor:
    """An auditor with a key of their own."""
    return Auditor(relay, (await relay.request("GET", "/openapi.json")).json, role, game_id)


async def look(relay: Relay, submission_id: str) -> dict[str, Any]:
    """GET the submission, which must be as documented."""
    reply = await relay.request("GET", f"/api/submissions/{submission_id}")
    api = (await relay.request("GET", "/openapi.json")).json
    check_answer(api, "GET", "/api/submissions/{submissionId}", reply)
    document: dict[str, Any] = reply.json
    return document


async def set_status(relay: Relay, submission_id: str, status: str) -> None:
    """Let a submission be further on its way."""
    moved = text("UPDATE submissions SET status = :status WHERE id = :id")
    await relay.writer.run(lambda c: c.execute(moved, {"status": status, "id": submission_id}).rowcount)


async def set_order(relay: Relay, state: str) -> None:
    """Let the newest order be further on its way."""
    moved = text(
        "UPDATE revocations SET state = :state, resolved_at_ms = :at WHERE seq = (SELECT max(seq) FROM revocations)"
    )
    values = {"state": state, "at": 1 if state in {"final", "lapsed"} else None}
    await relay.writer.run(lambda c: c.execute(moved, values).rowcount)


async def rows(relay: Relay) -> list[tuple[str, str]]:
    """Every order: action and state."""
    query = select(revocations.c.action, revocations.c.state).order_by(revocations.c.seq)
    return [(row.action, row.state) for row in await relay.database.read(lambda c: c.execute(query).all())]


def test_revoke_withdraw_and_every_repeat(database_url: str) -> None:
    async def run() -> None:
        async with running(database_url) as relay:
            judge = await auditor(relay)
            score = (await relay.submit()).json["submissionId"]
            assert (await look(relay, score))["revocation"] is None
            first = await judge.ask("revoke", score)
            assert first.status == 202
            assert first.json["status"] == "revoked"
            order = first.json["revocation"]
            assert (order["action"], order["status"], order["reason"]) == ("revoke", "waiting", "seen cheating")
            assert relay.woken
            shown = await look(relay, score)
            assert shown["status"] == "revoked"
            assert shown["revocation"] == order
            assert shown["receipt"] is not None  # it was signed: revoking does not unsay it
            assert [(s["status"], s["detail"]) for s in shown["history"]] == [
                ("accepted", None), ("revoked", "revoke: seen cheating")
            ]  # fmt: skip
            again = await judge.ask("revoke", score, {"reason": "another"})
            assert (again.status, again.json) == (202, first.json)
            back = await judge.ask("reinstate", score, {"reason": "was wrong"})
            assert (back.status, back.json["status"]) == (200, "accepted")
            assert back.json["revocation"]["status"] == "withdrawn"
            assert "was wrong" in back.json["revocation"]["detail"]
            assert (await judge.ask("reinstate", score)).json == back.json
            assert (await judge.ask("revoke", score)).json["revocation"]["revocationId"] != order["revocationId"]
            assert await rows(relay) == [("revoke", "withdrawn"), ("revoke", "waiting")]
            assert [s["status"] for s in (await look(relay, score))["history"]] == [
                "accepted", "revoked", "accepted", "revoked"
            ]  # fmt: skip

    asyncio.run(run())


@pytest.mark.parametrize("status", ["accepted", "held", "queued", "sent", "included", "final", "parked"])
def test_every_status_can_be_revoked_and_comes_back(sqlite_url: str, status: str) -> None:
    async def run() -> None:
        async with running(sqlite_url) as relay:
            judge = await auditor(relay, "admin")
            score = (await relay.submit()).json["submissionId"]
            await set_status(relay, score, status)
            assert (await judge.ask("revoke", score)).json["status"] == "revoked"
            assert (await standing(relay.database, score)).status == "revoked"  # type: ignore[union-attr]
            assert (await judge.ask("reinstate", score)).json["status"] == status

    asyncio.run(run())


@pytest.mark.parametrize("state", ["queued", "sent", "included", "final"])
def test_what_was_sealed_is_answered_by_an_order_behind_it(database_url: str, state: str) -> None:
    async def run() -> None:
        async with running(database_url) as relay:
            judge = await auditor(relay)
            score = (await relay.submit()).json["submissionId"]
            await set_status(relay, score, "final")
            await judge.ask("revoke", score)
            await set_order(relay, state)
            assert (await judge.ask("revoke", score)).status == (200 if state == "final" else 202)
            back = await judge.ask("reinstate", score)
            assert (back.status, back.json["status"]) == (202, "revoked")
            assert (await judge.ask("reinstate", score)).json == back.json
            assert await rows(relay) == [("revoke", state), ("reinstate", "waiting")]
            again = await judge.ask("revoke", score)  # before the reinstatement was sent: it is withdrawn
            assert again.json["status"] == "revoked"
            assert again.json["revocation"]["status"] == "withdrawn"
            assert (await look(relay, score))["revocation"]["status"] == state
            assert await rows(relay) == [("revoke", state), ("reinstate", "withdrawn")]

    asyncio.run(run())


def test_a_lapsed_revocation_is_withdrawn(sqlite_url: str) -> None:
    async def run() -> None:
        async with running(sqlite_url) as relay:
            judge = await auditor(relay)
            score = (await relay.submit()).json["submissionId"]
            await judge.ask("revoke", score)
            await set_order(relay, "lapsed")
            assert (await judge.ask("revoke", score)).status == 200
            assert (await judge.ask("reinstate", score)).json["status"] == "accepted"

    asyncio.run(run())


def test_refusals(database_url: str) -> None:
    async def run() -> None:
        games = (GameConfig("streambeat", anonymous_submit=True), GameConfig("other", anonymous_submit=True))
        async with running(database_url, *games) as relay:
            judge, stranger = await auditor(relay), await auditor(relay, game_id="other")
            good = (await relay.submit({**json.loads(play_body()), "gameId": "streambeat"})).json["submissionId"]
            bad = (await relay.submit({**json.loads(play_body(score=9)), "gameId": "streambeat"})).json["submissionId"]
            for action, score, asker, status, code in (
                ("revoke", bad, judge, 409, "SUBMISSION_NOT_ACCEPTED"),
                ("reinstate", bad, judge, 409, "SUBMISSION_NOT_REVOKED"),
                ("reinstate", good, judge, 409, "SUBMISSION_NOT_REVOKED"),
                ("revoke", "sub_none", judge, 404, "SUBMISSION_UNKNOWN"),
                ("revoke", "%00%ff", judge, 404, "SUBMISSION_UNKNOWN"),
                ("revoke", good, stranger, 403, "FORBIDDEN_GAME"),
                ("revoke", good, await auditor(relay, "server"), 403, "FORBIDDEN_ROLE"),
                ("reinstate", good, await auditor(relay, "client"), 403, "FORBIDDEN_ROLE"),
            ):
                reply = await asker.ask(action, score)
                assert (reply.status, reply.json["code"]) == (status, code)
            nobody = await relay.request("POST", f"/api/submissions/{good}/revoke", b'{"reason": "x"}')
            assert nobody.json["code"] == "NOT_AUTHENTICATED"
            for body in (
                b"", b"{}", b"[]", b'{"reason": 1}', b'{"reason": ""}', b'{"reason": "  "}', b'{"reason": "a", "b": 1}',
                b'{"reason": "a", "reason": "b"}', b'{"reason": "\\ud800"}', b'{"reason": null}', b"\xff",
                json.dumps({"reason": "x" * 501}).encode(),
            ):  # fmt: skip
                reply = await judge.ask("revoke", good, body)
                assert (reply.status, reply.json["code"]) == (400, "PAYLOAD_MALFORMED"), body
            assert (await judge.ask("revoke", good, {"reason": "x" * 300_000})).status == 413
            assert (await judge.ask("revoke", good, content_type="text/plain")).status == 415
            assert (await judge.ask("revoke", good, idempotency_key='""')).json["code"] == "IDEMPOTENCY_KEY_INVALID"
            assert await rows(relay) == []
            assert (await judge.ask("revoke", good, {"reason": "nul \0 and \u20ac"})).status == 202

    asyncio.run(run())


def play_body(**changes: int) -> bytes:
    """An honest play, or one with a wrong claim."""
    data = {"score": 2652, "perfect": 45, "good": 12, "miss": 3, "combo": 42, "gameTime": 30000} | changes
    return json.dumps({"playerAddress": PLAYER, "scoreData": data}).encode()


def test_an_idempotency_key_answers_the_same_bytes(database_url: str) -> None:
    async def run() -> None:
        async with running(database_url) as relay:
            judge = await auditor(relay)
            score = (await relay.submit()).json["submissionId"]
            first = await judge.ask("revoke", score, idempotency_key="k1")
            assert "idempotent-replayed" not in first.headers
            await set_order(relay, "sent")
            replies = await asyncio.gather(*(judge.ask("revoke", score, idempotency_key='"k1"') for _ in range(10)))
            replies.append(await judge.ask("revoke", score, {"reason": "seen cheating", "idempotencyKey": "k1"}))
            assert {(r.status, r.body) for r in replies} == {(first.status, first.body)}
            assert {r.headers["idempotent-replayed"] for r in replies} == {"true"}
            reused = await judge.ask("revoke", score, {"reason": "another"}, idempotency_key="k1")
            assert (reused.status, reused.json["code"]) == (422, "IDEMPOTENCY_KEY_REUSED")
            back = await judge.ask("reinstate", score, idempotency_key="k1")  # another route, another scope
            assert back.json["revocation"]["action"] == "reinstate"
            refused = [await judge.ask("revoke", "sub_none", idempotency_key="k2") for _ in range(2)]
            assert refused[0].body == refused[1].body
            assert refused[1].headers["idempotent-replayed"] == "true"

    asyncio.run(run())


def test_fifty_at_once_in_two_processes_make_one_revocation(postgres_url: str) -> None:
    async def run() -> None:
        async with running(postgres_url) as one, running(postgres_url) as two:
            judges = [await auditor(one), await auditor(two)]
            score = (await one.submit()).json["submissionId"]
            asked = (judges[n % 2].ask("revoke", score, {"reason": f"reason {n}"}) for n in range(50))
            replies = await asyncio.gather(*asked)
            assert {r.status for r in replies} == {202}
            assert len({r.body for r in replies}) == 1
            assert await rows(one) == [("revoke", "waiting")]
            steps = select(func.count()).select_from(history).where(history.c.status == "revoked")
            assert await one.database.read(lambda c: c.scalar(steps)) == 1

    asyncio.run(run())


def test_many_who_disagree_leave_a_consistent_story(database_url: str) -> None:
    async def run() -> None:
        async with running(database_url) as one, running(database_url) as two:
            judges = [await auditor(one), await auditor(two)]
            score = (await one.submit()).json["submissionId"]
            await judges[0].ask("revoke", score)
            wishes = ["reinstate", "revoke"] * 20
            replies = await asyncio.gather(*(judges[n // 2 % 2].ask(wish, score) for n, wish in enumerate(wishes)))
            assert {r.status for r in replies} <= {200, 202}
            last = (await judges[0].ask("reinstate", score)).json
            assert last["status"] == "accepted"
            assert {state for _, state in await rows(one)} == {"withdrawn"}
            told = select(history.c.status).where(history.c.submission_id == score).order_by(history.c.seq)
            steps = list(await one.database.read(lambda c: c.scalars(told).all()))
            assert steps == ["accepted", "revoked"] * (len(steps) // 2) + ["accepted"]
            beneath = select(submissions.c.status_beneath).where(submissions.c.id == score)
            assert await one.database.read(lambda c: c.scalar(beneath)) is None

    asyncio.run(run())


def test_a_waiting_submitter_hears_of_it(sqlite_url: str) -> None:
    async def run() -> None:
        async with running(sqlite_url) as relay:
            judge = await auditor(relay)
            submitting = asyncio.create_task(relay.submit(prefer="wait=60"))
            found = None
            while found is None:
                await asyncio.sleep(0.01)
                found = await relay.database.read(lambda c: c.scalar(select(submissions.c.id)))
            await judge.ask("revoke", found)
            reply = await asyncio.wait_for(submitting, 60)
            assert (reply.status, reply.json["status"]) == (202, "revoked")

    asyncio.run(run())


def test_an_answer_is_forgotten_after_a_day(database_url: str) -> None:
    async def run() -> None:
        async with running(database_url) as relay:
            judge = await auditor(relay)
            score = (await relay.submit()).json["submissionId"]
            await judge.ask("revoke", score, idempotency_key="k1")
            await relay.intake.sweep()
            assert "idempotent-replayed" in (await judge.ask("revoke", score, idempotency_key="k1")).headers
            older = text("UPDATE kept_answers SET created_at_ms = created_at_ms - 86400001")
            await relay.writer.run(lambda c: c.execute(older).rowcount)
            await relay.intake.sweep()
            assert "idempotent-replayed" not in (await judge.ask("revoke", score, idempotency_key="k1")).headers

    asyncio.run(run())
