"""Whose score it is: sessions, signatures, delegated keys and contract wallets with `POST /api/submit-score`."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import pytest
from sqlalchemy import text as sql

from relay.attestation import Domain
from relay.chain import Chain
from relay.chain_types import ChainUnavailableError
from relay.games import GameConfig, GameError
from relay.store import used_signatures
from tests.conftest import Anvil
from tests.harness.contract_wallet import deploy_wallet
from tests.harness.wallets import Wallet, other_forms, twin
from tests.relay.api.test_openapi import check_answer
from tests.relay.api.test_sessions import Answers, Desk
from tests.relay.conftest import DOMAIN, Relay, Reply, play, running

ALICE, BOB = Wallet("alice"), Wallet("bob")
NO = Answers(b"")  # there is no contract at any address


def game(identity: str, **changes: Any) -> GameConfig:
    """A game that anybody may submit to."""
    return GameConfig("streambeat", anonymous_submit=True, identity=identity, **changes)


@asynccontextmanager
async def relay_with(url: str, identity: str, chain: Any = NO, **changes: Any) -> AsyncIterator[tuple[Relay, Any]]:
    """A relay, and what submits to it, each answer held against the OpenAPI document."""
    async with running(url, game(identity, **changes), chain=chain) as relay:
        api = (await relay.request("GET", "/openapi.json")).json

        async def submit(body: dict[str, Any], **headers: str) -> Reply:
            reply = await relay.submit(body, **headers)
            check_answer(api, "POST", "/api/submit-score", reply)
            return reply

        yield relay, submit


def signed(
    wallet: Wallet = ALICE,
    player: str | None = None,
    deadline: int | None = None,
    domain: Domain = DOMAIN,
    **changes: Any,
) -> dict[str, Any]:
    """A submission for `player` (the wallet's own, unless named), signed by `wallet`."""
    deadline = int(time.time()) + 300 if deadline is None else deadline
    body = play(player or wallet.address, deadline=deadline, **changes)
    return {**body, "signature": wallet.sign_score(domain, body)}


def line(reply: Reply, code: str) -> dict[str, Any]:
    """The line of a verdict about one check."""
    found = [check for check in reply.json["checks"] if check["code"] == code]
    assert len(found) == 1, (code, reply.json)
    return dict(found[0])


async def evidence(relay: Relay, reply: Reply) -> dict[str, Any]:
    """The evidence of an answer."""
    return dict((await relay.request("GET", f"/api/evidence/{reply.json['evidenceHash']}")).json)


def lines(document: dict[str, Any]) -> dict[str, str]:
    """Results by code; each code stands once."""
    assert len({check["code"] for check in document["checks"]}) == len(document["checks"])
    return {check["code"]: check["result"] for check in document["checks"]}


def test_off_keeps_a_signature_and_concludes_nothing(sqlite_url: str) -> None:
    """Right or wrong, used or not: it stands in the evidence."""

    async def scenario() -> None:
        async with relay_with(sqlite_url, "off", Answers(RuntimeError("nobody asks"))) as (relay, submit):
            for body in (signed(), signed(BOB, ALICE.address), signed(deadline=1), signed(deadline=1, score=2651)):
                reply = await submit(body)
                assert reply.status == 202
                document = await evidence(relay, reply)
                assert document["claim"]["signature"] == body["signature"]
                assert lines(document)["SIGNATURE_INVALID"] == "insufficient_data"
                assert "proof" not in document

    asyncio.run(scenario())


@pytest.mark.parametrize("identity", ["optional", "required"])
def test_a_wallets_signature_counts_once(database_url: str, identity: str) -> None:
    """Accepted and named in the evidence; the same request is a retry; any other with that signature is refused."""

    async def scenario() -> None:
        async with relay_with(database_url, identity) as (relay, submit):
            body = signed(roundId="65f0c0ffee65f0c0ffee65f0")
            first = await submit(body)
            assert first.status == 202
            document = await evidence(relay, first)
            assert document["proof"] == {"method": "signature", "signer": ALICE.address.lower()}
            assert (lines(document)["SIGNATURE_INVALID"], lines(document)["SIGNATURE_EXPIRED"]) == ("pass", "pass")
            retry = await submit(body)
            assert (retry.json["submissionId"], retry.headers["idempotent-replayed"]) == (
                first.json["submissionId"], "true",
            )  # fmt: skip
            for form in other_forms(body["signature"]).values():
                used = await submit({**body, "signature": form})
                assert (used.status, used.json["code"]) == (409, "SIGNATURE_USED")
                assert used.json["submissionId"] == first.json["submissionId"]
            keyed = await submit(body, idempotency_key="again")
            assert (keyed.status, keyed.json["code"]) == (409, "SIGNATURE_USED")
            assert (await submit(body, idempotency_key="again")).status == 409  # the key was given back
            await relay.writer.run(lambda c: c.execute(sql("UPDATE limit_windows SET claims = :none"), {"none": b""}))
            replayed = await submit(body)  # a minute later: nobody remembers the request, and the signature is used
            assert (replayed.status, replayed.json["code"]) == (409, "SIGNATURE_USED")
            assert (await submit(signed(score=2651))).status == 202

    asyncio.run(scenario())


def test_one_signature_sent_many_times_at_once(database_url: str) -> None:
    """In one group, in two processes, in three forms, with keys and without: one submission."""

    async def scenario() -> None:
        async with (
            relay_with(database_url, "required") as (_, submit),
            relay_with(database_url, "required") as (_, other),
        ):
            body = signed()
            forms = [body["signature"], *other_forms(body["signature"]).values()]
            keys: list[dict[str, str]] = [{} if n % 5 else {"idempotency_key": f"k{n}"} for n in range(60)]
            requests = [(submit if n % 2 else other)({**body, "signature": forms[n % 3]}, **keys[n]) for n in range(60)]
            replies = await asyncio.gather(*requests)
            made = {reply.json["submissionId"] for reply in replies if reply.status == 202}
            assert len(made) == 1
            assert {reply.json["submissionId"] for reply in replies if reply.status == 409} == made
            assert {reply.status for reply in replies} == {202, 409}

    asyncio.run(scenario())


BAD: dict[str, tuple[Any, str]] = {
    "another's key": (lambda: signed(BOB, ALICE.address), "SIGNATURE_INVALID"),
    "another chain": (lambda: signed(domain=Domain(1, DOMAIN.contract)), "SIGNATURE_INVALID"),
    "another contract": (lambda: signed(domain=Domain(DOMAIN.chain_id, b"\x01" * 20)), "SIGNATURE_INVALID"),
    "expired": (lambda: signed(deadline=int(time.time()) - 2), "SIGNATURE_EXPIRED"),
    "no deadline": (lambda: {k: v for k, v in signed().items() if k != "deadline"}, "SIGNATURE_INVALID"),
    "another deadline": (lambda: {**signed(), "deadline": int(time.time()) + 301}, "SIGNATURE_INVALID"),
    "another round": (lambda: {**signed(roundId="a"), "roundId": "b"}, "SIGNATURE_INVALID"),
    "a round left out": (lambda: {k: v for k, v in signed(roundId="a").items() if k != "roundId"}, "SIGNATURE_INVALID"),
    "another player": (lambda: {**signed(), "playerAddress": BOB.address}, "SIGNATURE_INVALID"),
    "another score": (lambda: {**signed(), "scoreData": play(score=2653)["scoreData"]}, "SIGNATURE_INVALID"),
    "other evidence": (lambda: {**signed(), "scoreData": play(gameTime=30001)["scoreData"]}, "SIGNATURE_INVALID"),
    "malleable": (lambda: (b := signed()) | {"signature": twin(b["signature"])}, "SIGNATURE_INVALID"),
    "v of 29": (lambda: (b := signed()) | {"signature": b["signature"][:-2] + "1d"}, "SIGNATURE_INVALID"),
    "v of the other key": (
        lambda: (b := signed()) | {"signature": b["signature"][:-2] + ("1c" if b["signature"][-2:] == "1b" else "1b")},
        "SIGNATURE_INVALID",
    ),
    "cut short": (lambda: (b := signed()) | {"signature": b["signature"][:-4]}, "SIGNATURE_INVALID"),
    "one byte": (lambda: signed() | {"signature": "0x00"}, "SIGNATURE_INVALID"),
    "all zero": (lambda: signed() | {"signature": "0x" + "00" * 65}, "SIGNATURE_INVALID"),
    "a text's signature": (
        lambda: (b := signed()) | {"signature": ALICE.sign_text(b["signature"])},
        "SIGNATURE_INVALID",
    ),
    "a deadline beyond uint64's use": (lambda: signed() | {"deadline": 2**53 - 1}, "SIGNATURE_INVALID"),
    "of a negative score": (lambda: signed() | {"scoreData": play(score=-1)["scoreData"]}, "SIGNATURE_INVALID"),
}


def test_signatures_that_prove_nothing(sqlite_url: str) -> None:
    """Each refused by its code, recorded with its evidence, and nothing of the player's is used up."""

    async def scenario() -> None:
        async with relay_with(sqlite_url, "optional", limits={"submit-score": 1}) as (relay, submit):
            for name, (make, code) in BAD.items():
                refused = await submit(make())
                assert refused.status == 422, name
                assert line(refused, code)["result"] == "fail", name
                assert code in {check["code"] for check in refused.json["checks"] if check["result"] == "fail"}, name
                assert "proof" not in await evidence(relay, refused), name
            assert (await submit(signed())).status == 202  # the player's one a minute is still there
            assert (await submit(signed(score=2651))).status == 429
            assert (await submit(signed(deadline=1))).status == 422

    asyncio.run(scenario())


def test_a_refused_play_keeps_its_signature_from_another(sqlite_url: str) -> None:
    """What was judged was judged once, refused or not; an attempt above the limit uses nothing up."""

    async def scenario() -> None:
        async with relay_with(sqlite_url, "required", limits={"submit-score": 2}) as (relay, submit):
            wrong = signed(score=5420)
            refused = await submit(wrong)
            assert (refused.status, refused.json["code"]) == (422, "SCORE_MISMATCH")
            assert line(refused, "SIGNATURE_INVALID")["result"] == "pass"
            again = await submit({**wrong, "signature": other_forms(wrong["signature"])["v 0/1"]})
            assert (again.status, again.json["code"]) == (409, "SIGNATURE_USED")
            assert (await submit(signed(score=2651))).status == 202
            late = signed(score=2653)
            assert (await submit(late)).status == 429
            await relay.writer.run(
                lambda c: c.execute(sql("UPDATE limit_windows SET admitted = :none, refused = :none"), {"none": b""})
            )
            assert (await submit(late)).status == 202

    asyncio.run(scenario())


def test_without_proof(sqlite_url: str) -> None:
    """Required: refused by its code, with a key of the game as well. Optional: taken, and nothing is claimed."""

    async def scenario() -> None:
        async with relay_with(sqlite_url, "required") as (relay, submit):
            for headers in ({}, {"authorization": f"Bearer {relay.keys.create('server').secret}"}):
                refused = await submit(play(score=2651 + len(headers)), **headers)
                assert (refused.status, refused.json["code"]) == (422, "SIGNATURE_REQUIRED")
        async with relay_with(sqlite_url, "optional") as (relay, submit):
            taken = await submit(play())
            assert taken.status == 202
            document = await evidence(relay, taken)
            assert "proof" not in document
            assert not {"SIGNATURE_INVALID", "SIGNATURE_REQUIRED"} & set(lines(document))

    asyncio.run(scenario())


@pytest.mark.parametrize("identity", ["off", "optional", "required"])
def test_a_session_acts_for_its_player_only(sqlite_url: str, identity: str) -> None:
    """The token proves who plays; it submits for nobody else, and its idempotency keys are its own."""

    async def scenario() -> None:
        async with relay_with(sqlite_url, identity) as (relay, submit):
            desk = Desk(relay, (await relay.request("GET", "/openapi.json")).json)
            tokens = [{"authorization": f"Bearer {await desk.token(wallet)}"} for wallet in (ALICE, BOB)]
            mine = await submit(play(ALICE.address), **tokens[0], idempotency_key="same")
            assert mine.status == 202
            proof = (await evidence(relay, mine))["proof"]
            assert proof == {"method": "token", "signer": ALICE.address.lower()}
            theirs = await submit(play(BOB.address), **tokens[1], idempotency_key="same")
            assert (theirs.status, theirs.json["submissionId"] == mine.json["submissionId"]) == (202, False)
            refused = await submit(play(BOB.address), **tokens[0])
            assert (refused.status, refused.json["code"]) == (403, "FORBIDDEN_PLAYER")
            wrong = await submit(signed(BOB, ALICE.address), **tokens[0])
            assert wrong.status == (202 if identity == "off" else 422)  # a signature that is there must be right

    asyncio.run(scenario())


def test_a_session_key_signs_until_it_ends(database_url: str) -> None:
    """For its player only, named with its delegation in the evidence; revoked or expired it is out of scope."""

    async def scenario() -> None:
        key = Wallet("browser")
        async with relay_with(database_url, "required") as (relay, submit):
            desk = Desk(relay, (await relay.request("GET", "/openapi.json")).json)
            before = await submit(signed(key, ALICE.address))
            assert before.json["code"] == "SIGNATURE_INVALID"
            made = (
                await desk.ask(
                    "POST", "/api/sessions/keys", ALICE.delegate(DOMAIN, key.address, int(time.time()) + 600)
                )
            ).json
            body = signed(key, ALICE.address, score=2651)
            taken = await submit(body)
            assert taken.status == 202
            document = await evidence(relay, taken)
            assert document["proof"] == {
                "method": "session_key", "signer": key.address.lower(), "delegation": made["delegationHash"],
            }  # fmt: skip
            assert lines(document)["SESSION_KEY_SCOPE"] == "pass"
            assert (await submit(signed(key, BOB.address))).json["code"] == "SIGNATURE_INVALID"
            used = await submit({**body, "signature": other_forms(body["signature"])["EIP-2098"]})
            assert used.json["code"] == "SIGNATURE_USED"
            token = await desk.token()
            await desk.ask("DELETE", f"/api/sessions/keys/{made['keyId']}", token=token)
            revoked = await submit(signed(key, ALICE.address, score=2652))
            assert (revoked.status, revoked.json["code"]) == (422, "SESSION_KEY_SCOPE")
            await desk.ask("POST", "/api/sessions/keys", ALICE.delegate(DOMAIN, key.address, int(time.time()) + 700))
            assert (await submit(signed(key, ALICE.address, score=2653))).status == 202  # delegated to anew
            await relay.writer.run(lambda c: c.execute(sql("UPDATE session_keys SET expires_at_ms = 1000")))
            expired = await submit(signed(key, ALICE.address))
            assert expired.json["code"] == "SESSION_KEY_SCOPE"

    asyncio.run(scenario())


def test_a_contract_wallets_score(sqlite_url: str, anvil: Anvil) -> None:
    """Its owner signs, the contract on the chain says yes, the signature counts once; a stranger's is refused."""

    async def scenario() -> None:
        wallet = "0x" + deploy_wallet(anvil, ALICE.raw).hex()
        chain = Chain(anvil.url)
        try:
            async with relay_with(sqlite_url, "required", chain) as (relay, submit):
                assert (await submit(signed(BOB, wallet))).json["code"] == "SIGNATURE_INVALID"
                body = signed(ALICE, wallet)
                taken = await submit(body)
                assert taken.status == 202
                assert (await evidence(relay, taken))["proof"] == {"method": "contract_wallet", "signer": wallet}
                assert (await submit(body, idempotency_key="k")).json["code"] == "SIGNATURE_USED"
        finally:
            await chain.close()

    asyncio.run(scenario())


def test_a_chain_that_cannot_be_asked(sqlite_url: str) -> None:
    """Nothing is recorded and nothing refused for good; who signs with a key of their own is not kept waiting."""

    async def scenario() -> None:
        async with relay_with(sqlite_url, "required", Answers(ChainUnavailableError("gone"))) as (relay, submit):
            unknown = await submit(signed(BOB, ALICE.address))
            assert (unknown.status, unknown.json["code"]) == (503, "CHAIN_UNAVAILABLE")
            assert (await submit(signed())).status == 202
            rows = await relay.database.read(lambda c: c.execute(sql("SELECT count(*) FROM submissions")).scalar_one())
            assert rows == 1

    asyncio.run(scenario())


def test_used_signatures_are_kept_until_their_deadline(database_url: str) -> None:
    """From then on the deadline refuses them."""

    async def scenario() -> None:
        async with relay_with(database_url, "optional") as (relay, submit):
            deadline = int(time.time()) + 300
            assert (await submit(signed(deadline=deadline))).status == 202
            sweeps = [
                await relay.writer.run(partial(used_signatures.sweep, now_ms=at * 1000))
                for at in (deadline, deadline + 3_600, deadline + 3_601)
            ]
            assert sweeps == [0, 0, 1]

    asyncio.run(scenario())


def test_identity_is_one_of_three() -> None:
    """A typing error in the settings is no open door."""
    with pytest.raises(GameError, match="identity"):
        game("Required")


def test_the_checks_have_pages(sqlite_url: str) -> None:
    """Every new code says what to do."""

    async def scenario() -> None:
        async with running(sqlite_url) as relay:
            for code in ("SIGNATURE_INVALID", "SIGNATURE_EXPIRED", "SESSION_KEY_SCOPE", "SIGNATURE_REQUIRED",
                         "SIGNATURE_USED", "FORBIDDEN_PLAYER", "SIGN_IN_DOMAIN", "DELEGATION_INVALID"):  # fmt: skip
                assert (await relay.request("GET", f"/problems/{code}")).status == 200

    asyncio.run(scenario())
