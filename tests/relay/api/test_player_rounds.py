"""Rounds of players who must prove who they are: started in their session, reported under their signature."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from relay.games import GameConfig
from tests.harness.wallets import Wallet, other_forms
from tests.relay.api.test_sessions import Answers, Desk
from tests.relay.conftest import DOMAIN, PLAY, Reply, running

ALICE, BOB = Wallet("alice"), Wallet("bob")
GAME = GameConfig(
    "streambeat", anonymous_submit=True, identity="required", switches={"TIMING_IMPLAUSIBLE": "dry_run"}
)  # fmt: skip
ROUNDS = "/api/tournaments/cup/rounds"


class Cup:
    """A tournament that waits for confirmations, and the wallets that play in it."""

    def __init__(self, relay: Any, server: str) -> None:
        self.relay, self.server = relay, server

    async def ask(self, method: str, path: str, body: object = None, token: str | None = None) -> Reply:
        """Send a request."""
        headers = {"prefer": "respond-async"} | ({"authorization": f"Bearer {token}"} if token else {})
        raw = None if body is None else json.dumps(body).encode()
        return await self.relay.request(method, path, raw, headers)  # type: ignore[no-any-return]

    async def report(self, round_id: str, signer: Wallet, player: Wallet = ALICE, **changes: Any) -> Reply:
        """End a round with a signature."""
        said: dict[str, Any] = {"scoreData": dict(PLAY), "deadline": int(time.time()) + 60}
        body = {"playerAddress": player.address, "roundId": round_id, **said}
        return await self.ask(
            "POST", f"{ROUNDS}/{round_id}/end", {**said, "signature": signer.sign_score(DOMAIN, body), **changes}
        )


@asynccontextmanager
async def cup_at(url: str) -> AsyncIterator[tuple[Cup, str]]:
    """A relay with the tournament, and ALICE's session."""
    async with running(url, GAME, chain=Answers(b"")) as relay:
        cup = Cup(relay, relay.keys.create("server", game_id="streambeat").secret)
        wanted = {"id": "cup", "name": "Cup", "requireConfirmation": True}
        assert (await cup.ask("POST", "/api/tournaments", wanted, cup.server)).status == 201
        yield cup, await Desk(relay, (await relay.request("GET", "/openapi.json")).json).token(ALICE)


def test_only_the_player_starts_their_rounds(sqlite_url: str) -> None:
    """Else anybody could use up a player's attempts; the game's own server may start them."""

    async def scenario() -> None:
        async with cup_at(sqlite_url) as (cup, token):
            public = cup.relay.keys.create("client", game_id="streambeat").secret
            for stranger in (None, public):
                refused = await cup.ask("POST", ROUNDS, {"playerAddress": ALICE.address}, stranger)
                assert (refused.status, refused.json["code"]) == (422, "SIGNATURE_REQUIRED")
            other = await cup.ask("POST", ROUNDS, {"playerAddress": BOB.address}, token)
            assert (other.status, other.json["code"]) == (403, "FORBIDDEN_PLAYER")
            mine = await cup.ask("POST", ROUNDS, {}, token)
            assert (mine.status, mine.json["player"]) == (201, ALICE.address)
            assert (await cup.ask("POST", ROUNDS, {"playerAddress": BOB.address}, cup.server)).status == 201

    asyncio.run(scenario())


def test_a_signed_round_from_start_to_confirmation(database_url: str) -> None:
    """A wrong signature uses no round up; the right one is kept in the evidence of level 2, too, and counts once."""

    async def scenario() -> None:
        async with cup_at(database_url) as (cup, token):
            round_id, second = [(await cup.ask("POST", ROUNDS, {}, token)).json["_id"] for _ in range(2)]
            forged = await cup.report(round_id, BOB)
            assert (forged.status, forged.json["code"]) == (422, "SIGNATURE_INVALID")
            moved = await cup.report(round_id, ALICE, deadline=int(time.time()) + 61)
            assert moved.json["code"] == "SIGNATURE_INVALID"
            assert (await cup.ask("GET", f"{ROUNDS}/{round_id}")).json["status"] == "active"
            held = await cup.report(round_id, ALICE)
            assert (held.status, held.json["status"]) == (200, "reported")
            proof = {"method": "signature", "signer": ALICE.address.lower()}
            assert (await evidence(cup, held.json["submissionId"]))["proof"] == proof
            path = f"{ROUNDS}/{round_id}/game-server-confirmation"
            confirmed = await cup.ask("PUT", path, {"isValid": True, "score": 2652}, cup.server)
            assert (confirmed.json["status"], confirmed.json["evidenceLevel"]) == ("accepted", 2)
            document = await evidence(cup, held.json["submissionId"])
            assert (document["proof"], document["evidenceLevel"], document["round"]["id"]) == (proof, 2, round_id)
            signature = document["claim"]["signature"]
            for form in (signature, *other_forms(signature).values()):  # of another round, whatever way it is written
                reply = await cup.report(second, ALICE, signature=form)
                assert reply.status == 422

    asyncio.run(scenario())


async def evidence(cup: Cup, submission_id: str) -> dict[str, Any]:
    """The evidence of a submission as it is now."""
    named = (await cup.ask("GET", f"/api/submissions/{submission_id}")).json["evidenceHash"]
    return dict((await cup.ask("GET", f"/api/evidence/{named}")).json)


def test_one_key_of_idempotency_for_two_players(sqlite_url: str) -> None:
    """Their requests never meet."""

    async def scenario() -> None:
        async with cup_at(sqlite_url) as (cup, token):
            desk = Desk(cup.relay, (await cup.relay.request("GET", "/openapi.json")).json)
            tokens = (token, await desk.token(BOB))
            bodies = [json.dumps({"idempotencyKey": "first"}).encode()] * 2
            replies = [
                await cup.relay.request("POST", ROUNDS, body, {"authorization": f"Bearer {one}"})
                for body, one in zip(bodies, tokens, strict=True)
            ]
            assert [reply.status for reply in replies] == [201, 201]
            assert [reply.json["player"] for reply in replies] == [ALICE.address, BOB.address]

    asyncio.run(scenario())
