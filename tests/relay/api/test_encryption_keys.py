"""Payload keys over HTTP: never a secret in an answer, rotation with overlap, retirement, one game's key only."""

import asyncio
import json

from relay.games import GameConfig
from relay.store import encryption
from tests.relay.conftest import Relay, running


def bearer(relay: Relay, role: str, game_id: str | None = None) -> dict[str, str]:
    return {"authorization": f"Bearer {relay.keys.create(role, game_id=game_id).secret}"}


def test_keys_are_rotated_and_retired_and_never_shown(sqlite_url: str) -> None:
    asyncio.run(check_rotation(sqlite_url))


async def check_rotation(sqlite_url: str) -> None:
    async with running(sqlite_url, GameConfig("g"), GameConfig("h")) as relay:
        server = bearer(relay, "server", "g")
        path = "/api/games/g/encryption-keys"
        assert (await relay.request("GET", path, headers=server)).json["keys"] == []
        with relay.database.write() as c:
            first = encryption.current(c, "g", 1_000)
        made = await relay.request("POST", path, headers=server)
        assert made.status == 201
        listed = await relay.request("GET", path, headers=server)
        assert [(key["keyId"], key["state"]) for key in listed.json["keys"]] == [
            (made.json["key"]["keyId"], "current"),
            (first.id, "accepted"),
        ]
        gone = await relay.request("DELETE", f"{path}/{first.id}", headers=server)
        again = await relay.request("DELETE", f"{path}/{first.id}", headers=server)
        assert gone.json == again.json
        assert gone.json["key"]["state"] == "retired"
        assert gone.json["key"]["retiredBy"] == made.json["key"]["createdBy"]
        for answered in (made, listed, gone):
            assert first.secret.hex() not in answered.body.decode()
            assert "secret" not in answered.body.decode()
        unknown = await relay.request("DELETE", f"{path}/ek_%00", headers=server)
        assert unknown.json["code"] == "ENCRYPTION_KEY_UNKNOWN"


def test_only_the_games_server_and_admins_may_touch_them(sqlite_url: str) -> None:
    asyncio.run(check_refusals(sqlite_url))


async def check_refusals(sqlite_url: str) -> None:
    async with running(sqlite_url, GameConfig("g"), GameConfig("h")) as relay:
        server, client, admin = bearer(relay, "server", "g"), bearer(relay, "client", "g"), bearer(relay, "admin")
        cases = [
            ("GET", "/api/games/g/encryption-keys", {}, "NOT_AUTHENTICATED"),
            ("POST", "/api/games/g/encryption-keys", client, "FORBIDDEN_ROLE"),
            ("POST", "/api/games/h/encryption-keys", server, "FORBIDDEN_GAME"),
            ("DELETE", "/api/games/h/encryption-keys/ek_1", server, "FORBIDDEN_GAME"),
            ("GET", "/api/games/nope/encryption-keys", admin, "GAME_UNKNOWN"),
        ]
        for method, path, headers, code in cases:
            refused = await relay.request(method, path, headers=headers)
            assert json.loads(refused.body)["code"] == code, path
        assert (await relay.request("POST", "/api/games/h/encryption-keys", headers=admin)).status == 201
