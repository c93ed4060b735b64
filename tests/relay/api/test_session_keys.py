"""Keys that players delegate to, over HTTP: made by the wallet's signature, shown, revoked, and all that makes none."""

import asyncio
import time
from typing import Any

from tests.harness.wallets import Wallet, other_forms, twin
from tests.relay.api.test_sessions import ALICE, BOB, Answers, desk_at
from tests.relay.conftest import DOMAIN


def test_session_keys_from_delegation_to_revocation(database_url: str) -> None:
    """Made by the wallet's signature alone, published, listed, revoked, and never made again by the same one."""

    async def scenario() -> None:
        async with desk_at(database_url) as desk:
            body = ALICE.delegate(DOMAIN, BOB.address, int(time.time()) + 3_600)
            made = await desk.ask("POST", "/api/sessions/keys", body)
            assert (made.status, made.json["address"], made.json["player"]) == (201, BOB.address, ALICE.address)
            evidence = await desk.relay.request("GET", f"/api/evidence/{made.json['delegationHash']}")
            assert (evidence.json["signature"], evidence.json["key"]) == (body["signature"], BOB.address.lower())
            twice = await desk.ask("POST", "/api/sessions/keys", body)
            assert (twice.status, twice.json["code"]) == (409, "DELEGATION_USED")

            token, others = await desk.token(), await desk.token(BOB)
            path = f"/api/sessions/keys/{made.json['keyId']}"
            assert [
                key["keyId"] for key in (await desk.ask("GET", "/api/sessions/keys", token=token)).json["keys"]
            ] == [made.json["keyId"]]
            assert (await desk.ask("GET", "/api/sessions/keys", token=others)).json["keys"] == []
            assert (await desk.ask("DELETE", path, token=others)).json["code"] == "SESSION_KEY_UNKNOWN"
            assert (await desk.ask("POST", "/api/sessions/keys", body, token=others)).json["code"] == "FORBIDDEN_PLAYER"
            ended = await desk.ask("DELETE", path, token=token)
            assert ended.json["revokedAt"] is not None
            assert (await desk.ask("DELETE", path, token=token)).json == ended.json
            assert (await desk.ask("GET", "/api/sessions/keys", token=token)).json["keys"] == []
            for form in (body["signature"], other_forms(body["signature"])["v 0/1"]):
                again = await desk.ask("POST", "/api/sessions/keys", {**body, "signature": form})
                assert again.json["code"] == "DELEGATION_USED"  # a revoked key stays revoked

    asyncio.run(scenario())


def test_delegations_that_are_refused(sqlite_url: str) -> None:
    """Too long, over, altered, another's, of another contract or chain, malleable, to oneself, too many, no scope."""

    async def scenario() -> None:
        async with desk_at(sqlite_url, chain=Answers(b"")) as desk:
            now_s = int(time.time())
            good = ALICE.delegate(DOMAIN, BOB.address, now_s + 600)

            async def code(body: dict[str, Any]) -> str:
                return str((await desk.ask("POST", "/api/sessions/keys", body)).json["code"])

            assert await code(ALICE.delegate(DOMAIN, BOB.address, now_s + 90_000)) == "DELEGATION_LIFETIME"
            assert await code(ALICE.delegate(DOMAIN, BOB.address, now_s - 1)) == "DELEGATION_LIFETIME"
            assert await code({**good, "expiresAt": good["expiresAt"] + 1}) == "DELEGATION_INVALID"
            assert await code({**good, "address": Wallet("eve").address}) == "DELEGATION_INVALID"
            assert await code({**good, "player": Wallet("eve").address}) == "DELEGATION_INVALID"
            assert await code({**good, "signature": twin(good["signature"])}) == "DELEGATION_INVALID"
            assert await code(ALICE.delegate(DOMAIN, ALICE.address, now_s + 600)) == "DELEGATION_INVALID"
            for other in (type(DOMAIN)(1, DOMAIN.contract), type(DOMAIN)(DOMAIN.chain_id, b"\x01" * 20)):
                assert await code(ALICE.delegate(other, BOB.address, now_s + 600)) == "DELEGATION_INVALID"
            assert await code({**good, "scope": "admin"}) == "PAYLOAD_MALFORMED"
            assert await code({**good, "address": "0x" + "00" * 20}) == "PLAYER_INVALID"
            for number in range(16):
                made = await desk.ask(
                    "POST", "/api/sessions/keys", ALICE.delegate(DOMAIN, Wallet(f"key {number}").address, now_s + 600)
                )
                assert made.status == 201
            assert await code(good) == "DELEGATIONS_TOO_MANY"

    asyncio.run(scenario())
