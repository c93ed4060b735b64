"""Auditors decide about flags: append-only history, and the score that a confirmed flag takes back."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from relay.guard.flags import Flag
from relay.store.flags import raise_flags
from tests.relay.api.test_openapi import check_answer
from tests.relay.conftest import PLAYER, Relay, Reply, play, running

PATH = "/api/audit-flags/{flagId}"
# Accepted, but improbable: 200 of 200 perfect.
PERFECT = {"score": 200 * 10 * 11, "perfect": 200, "good": 0, "miss": 0, "combo": 100, "gameTime": 60_000}


class Desk:
    """Asks with one key; every answer is held against the OpenAPI document."""

    def __init__(self, relay: Relay, api: dict[str, Any], role: str = "auditor", game_id: str | None = None) -> None:
        self.relay, self.api, self.key = relay, api, relay.keys.create(role, game_id=game_id).secret

    async def ask(self, method: str, flag_id: str, body: object = None) -> Reply:
        """One request."""
        headers = {"authorization": f"Bearer {self.key}", "content-type": "application/json"}
        raw = None if body is None else json.dumps(body).encode()
        reply = await self.relay.request(method, f"/api/audit-flags/{flag_id}", raw, headers)
        check_answer(self.api, method, PATH, reply)
        return reply

    async def flags(self) -> list[dict[str, Any]]:
        """The list."""
        headers = {"authorization": f"Bearer {self.key}"}
        found: list[dict[str, Any]] = (await self.relay.request("GET", "/api/audit-flags", None, headers)).json["flags"]
        return found


def with_relay(url: str, scenario: Callable[[Relay, dict[str, Any]], Awaitable[None]]) -> None:
    """Run a scenario on a relay."""

    async def run() -> None:
        async with running(url) as relay:
            await scenario(relay, (await relay.request("GET", "/openapi.json")).json)

    asyncio.run(run())


async def raise_one(relay: Relay, subject_type: str, subject_id: str, evidence_hash: str = "0x00") -> None:
    """A flag as doubt opens it."""
    context = {"evidenceHash": evidence_hash}
    flag = Flag(
        "streambeat",
        PLAYER.lower(),
        "score",
        "EVIDENCE_MISMATCH",
        "critical",
        "forged",
        subject_type,
        subject_id,
        context,
    )
    await relay.writer.run(lambda c: raise_flags(c, [flag], 1_700_000_000_000))


def test_decisions_are_kept_in_order_and_the_same_again_is_none(database_url: str) -> None:
    async def scenario(relay: Relay, api: dict[str, Any]) -> None:
        desk = Desk(relay, api)
        await raise_one(relay, "score", "streambeat:7")
        flag_id = (await desk.flags())[0]["id"]
        assert (await desk.ask("GET", flag_id)).json["history"] == []
        for body in [{"status": "dismissed", "note": "a test"}] * 2 + [{"status": "confirmed", "note": "no, real"}]:
            reply = await desk.ask("PATCH", flag_id, body)
            assert reply.status == 200
        document = reply.json
        assert document["flag"]["status"] == "confirmed"
        assert document["flag"]["resolved"] is True
        assert document["flag"]["resolution"]["note"] == "no, real"
        assert [(step["status"], step["note"]) for step in document["history"]] == [
            ("dismissed", "a test"), ("confirmed", "no, real"),
        ]  # fmt: skip
        assert document["revocation"] is None
        assert (await desk.ask("GET", flag_id)).json["history"] == document["history"]
        await raise_one(relay, "score", "streambeat:8")
        assert sorted(flag["status"] for flag in await desk.flags()) == ["confirmed", "open"]

    with_relay(database_url, scenario)


def test_a_confirmed_flag_takes_its_score_back(database_url: str) -> None:
    async def scenario(relay: Relay, api: dict[str, Any]) -> None:
        desk = Desk(relay, api)
        answer = (await relay.submit(play(PLAYER, **PERFECT))).json
        assert answer["success"], answer
        flag = (await desk.flags())[0]
        assert flag["subject"] == {"type": "submission", "id": answer["submissionId"]}
        reply = await desk.ask("PATCH", flag["id"], {"status": "confirmed", "note": "a bot", "revoke": True})
        assert reply.status == 200
        assert reply.json["revocation"]["reason"] == "a bot"
        assert relay.woken
        shown = (await relay.request("GET", f"/api/submissions/{answer['submissionId']}")).json
        assert shown["status"] == "revoked"

    with_relay(database_url, scenario)


def test_a_forged_score_does_not_take_the_honest_one_with_it(database_url: str) -> None:
    async def scenario(relay: Relay, api: dict[str, Any]) -> None:
        desk = Desk(relay, api)
        answer = (await relay.submit()).json
        mine = int(answer["receipt"]["roundId"])
        await raise_one(relay, "score", f"streambeat:{mine}", "0x" + "ee" * 32)  # its round, another's evidence
        refused = await desk.ask(
            "PATCH", (await desk.flags())[0]["id"], {"status": "confirmed", "note": "x", "revoke": True}
        )
        assert (refused.status, refused.json["code"]) == (409, "FLAG_NOT_REVOCABLE")
        assert (await desk.flags())[0]["status"] == "open"  # all or nothing
        await raise_one(relay, "score", f"streambeat:{mine}", answer["evidenceHash"])
        reply = await desk.ask(
            "PATCH", (await desk.flags())[0]["id"], {"status": "confirmed", "note": "x", "revoke": True}
        )
        assert reply.json["revocation"]["action"] == "revoke"

    with_relay(database_url, scenario)


def test_refusals(database_url: str) -> None:
    async def scenario(relay: Relay, api: dict[str, Any]) -> None:
        desk = Desk(relay, api)
        await raise_one(relay, "player", PLAYER.lower())
        flag_id = (await desk.flags())[0]["id"]
        confirmed = {"status": "confirmed", "note": "x"}
        cases: list[tuple[Desk, str, object, int, str]] = [
            (desk, "flg_none", confirmed, 404, "FLAG_UNKNOWN"),
            (desk, flag_id, {**confirmed, "revoke": True}, 409, "FLAG_NOT_REVOCABLE"),
            (desk, flag_id, {"status": "dismissed", "note": "x", "revoke": True}, 400, "PAYLOAD_MALFORMED"),
            (desk, flag_id, {"status": "open", "note": "x"}, 400, "PAYLOAD_MALFORMED"),
            (desk, flag_id, {"status": "confirmed", "note": " "}, 400, "PAYLOAD_MALFORMED"),
            (Desk(relay, api, "server"), flag_id, confirmed, 403, "FORBIDDEN_ROLE"),
            (Desk(relay, api, "auditor", "other"), flag_id, confirmed, 404, "FLAG_UNKNOWN"),
        ]
        for asker, asked, body, status, code in cases:
            reply = await asker.ask("PATCH", asked, body)
            assert (reply.status, reply.json["code"]) == (status, code)
        assert (await Desk(relay, api, "server").ask("GET", flag_id)).status == 200

    with_relay(database_url, scenario)


@pytest.mark.parametrize("round_id", [2**63, 2**64 - 1])
def test_a_round_beyond_the_database_is_nobodys(sqlite_url: str, round_id: int) -> None:
    async def scenario(relay: Relay, api: dict[str, Any]) -> None:
        desk = Desk(relay, api)
        await raise_one(relay, "score", f"streambeat:{round_id}")
        reply = await desk.ask(
            "PATCH", (await desk.flags())[0]["id"], {"status": "confirmed", "note": "x", "revoke": True}
        )
        assert reply.json["code"] == "FLAG_NOT_REVOCABLE"

    with_relay(sqlite_url, scenario)
