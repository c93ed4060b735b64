"""What a game asks of its reports: encrypted or not, and what a retired key still opens (nothing)."""

import asyncio
import json
import secrets
from typing import Any

import pytest

from relay import payload
from relay.games import GameConfig
from relay.store import encryption
from tests.relay.conftest import PLAY, PLAYER, Relay, Reply, play, running

# A round that is reported at once cannot have lasted 30 s; that is another check's business.
AT_ONCE = {"TIMING_IMPLAUSIBLE": "dry_run"}


def game(encrypted: str) -> GameConfig:
    return GameConfig("g", anonymous_submit=True, encryption=encrypted, switches=AT_ONCE)


async def start(relay: Relay) -> dict[str, Any]:
    reply = await relay.request("POST", "/api/rounds", json.dumps({"playerAddress": PLAYER}).encode())
    assert reply.status == 201, reply.body
    started: dict[str, Any] = reply.json
    return started


async def end(relay: Relay, round_id: str, body: object) -> Reply:
    headers = {"prefer": "respond-async"}
    return await relay.request("POST", f"/api/rounds/{round_id}/end", json.dumps(body).encode(), headers)


def sealed(relay: Relay, started: dict[str, Any], report: object) -> dict[str, str]:
    key_id = started["encryptionKeyId"]
    with relay.database.write() as c:
        key = encryption.secret(c, "g", key_id)
    assert key is not None
    told = payload.encrypt(key, started["_id"], secrets.token_bytes(12), json.dumps(report).encode())
    return {"encrypted": told, "keyId": key_id}


def test_a_game_that_requires_encryption_takes_nothing_else(sqlite_url: str) -> None:
    asyncio.run(check_required(sqlite_url))


async def check_required(url: str) -> None:
    async with running(url, game("required")) as relay:
        started = await start(relay)
        assert (await end(relay, started["_id"], PLAY)).json["code"] == "ENCRYPTION_REQUIRED"
        around = await relay.submit(play(roundId=started["_id"]))  # the same report at another address
        assert (around.status, around.json["code"]) == (400, "ENCRYPTION_REQUIRED")
        taken = await end(relay, started["_id"], sealed(relay, started, {"scoreData": PLAY}))
        assert (taken.status, taken.json["status"]) == (200, "accepted")


def test_a_game_without_encryption_gives_no_key(sqlite_url: str) -> None:
    asyncio.run(check_off(sqlite_url))


async def check_off(url: str) -> None:
    async with running(url, game("off")) as relay:
        started = await start(relay)
        assert not {"encryptionKeyId", "encryptionKey"} & set(started)
        with relay.database.write() as c:
            key = encryption.current(c, "g", 1_000)
        told = payload.encrypt(key.secret, started["_id"], bytes(12), json.dumps(PLAY).encode())
        refused = await end(relay, started["_id"], {"encrypted": told, "keyId": key.id})
        assert refused.json["code"] == "PAYLOAD_DECRYPT_FAILED"
        assert (await end(relay, started["_id"], PLAY)).status == 200


@pytest.mark.parametrize("encrypted", ["off?", ""])
def test_a_game_says_one_of_three(encrypted: str) -> None:
    with pytest.raises(ValueError, match="encryption is one of off, optional, required"):
        game(encrypted)


def test_a_rotated_key_opens_its_rounds_and_a_retired_one_none(sqlite_url: str) -> None:
    asyncio.run(check_rotation(sqlite_url))


async def check_rotation(url: str) -> None:
    async with running(url, game("optional")) as relay:
        headers = {"authorization": f"Bearer {relay.keys.create('admin').secret}"}
        first, second = await start(relay), await start(relay)
        reports = [sealed(relay, started, {"scoreData": PLAY}) for started in (first, second)]
        made = await relay.request("POST", "/api/games/g/encryption-keys", headers=headers)
        assert (await end(relay, first["_id"], reports[0])).status == 200
        assert (await start(relay))["encryptionKeyId"] == made.json["key"]["keyId"] != first["encryptionKeyId"]
        path = f"/api/games/g/encryption-keys/{second['encryptionKeyId']}"
        assert (await relay.request("DELETE", path, headers=headers)).json["key"]["state"] == "retired"
        refused = await end(relay, second["_id"], reports[1])
        assert refused.json["code"] == "PAYLOAD_DECRYPT_FAILED"
        assert (await end(relay, second["_id"], PLAY)).status == 200  # the round itself is as it was
