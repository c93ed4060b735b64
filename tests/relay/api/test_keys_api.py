"""API keys over HTTP: made, listed, rotated, revoked; and how fast every process knows."""

import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from sqlalchemy import text

from relay.api.asgi import Api
from relay.api.auth import REMEMBER_S, KeyRing
from relay.api.operations import Answer, Call, Operation, answer
from relay.store import keys as store
from relay.store.engine import open_database
from relay.store.writer import Writer


def run(scenario: Callable[[], Awaitable[None]]) -> None:
    """Run a coroutine function."""
    asyncio.run(scenario())  # type: ignore[arg-type]


async def ask(relay: Any, key: str, method: str, path: str, body: Any = None) -> Any:
    """Send a request with a key."""
    raw = None if body is None else json.dumps(body).encode()
    return await relay.request(method, path, raw, {"Authorization": f"Bearer {key}"})


def test_a_key_is_shown_once_and_listed_without_its_secret(database_url: str, relay_at: Any) -> None:
    """201 with the secret; afterwards only prefix, role, game, times and state are told, and never cached."""

    async def scenario() -> None:
        async with relay_at(database_url) as relay:
            admin = relay.keys.create("admin").secret
            body = {"role": "server", "gameId": "streambeat", "name": "build", "expiresAt": "2100-01-01T00:00:00Z"}
            made = await ask(relay, admin, "POST", "/api/keys", body)
            assert (made.status, made.headers["cache-control"]) == (201, "no-store")
            secret, key = made.json["secret"], made.json["key"]
            assert secret.startswith("fs_live_sk_")
            assert key | {"keyId": "", "createdAt": ""} == {
                "keyId": "", "prefix": secret[:15], "role": "server", "gameId": "streambeat", "name": "build",
                "state": "active", "createdAt": "", "expiresAt": "2100-01-01T00:00:00.000Z", "revokedAt": None,
                "lastUsedAt": None,
            }  # fmt: skip
            listed = await ask(relay, admin, "GET", "/api/keys?gameId=streambeat&role=server&state=active")
            assert listed.json == {"keys": [key], "nextCursor": None}
            assert secret not in listed.body.decode()
            assert (await ask(relay, admin, "GET", f"/api/keys/{key['keyId']}")).json == key
            pages: list[str] = []
            cursor: str | None = ""
            while cursor is not None:
                page = await ask(relay, admin, "GET", f"/api/keys?limit=1{cursor and f'&cursor={cursor}'}")
                pages += [one["keyId"] for one in page.json["keys"]]
                cursor = page.json["nextCursor"]
            assert pages == sorted(pages, reverse=True)
            assert len(pages) == 2

    run(scenario)


@pytest.mark.parametrize(
    "body",
    [{"role": "root"}, {"role": "player"}, {}, {"role": "client", "gameId": "no such id!"},
     {"role": "client", "expiresAt": "2001-01-01T00:00:00Z"}, {"role": "client", "expiresAt": "2100-01-01T00:00:00"},
     {"role": "client", "expiresAt": "9999-12-31T23:59:59-23:59"}, {"role": "client", "expiresAt": 1},
     {"role": "client", "name": "x" * 201}, {"role": "client", "secret": "mine"}],
)  # fmt: skip
def test_keys_that_cannot_be_made(sqlite_url: str, relay_at: Any, body: Any) -> None:
    """400, and no key."""

    async def scenario() -> None:
        async with relay_at(sqlite_url) as relay:
            admin = relay.keys.create("admin").secret
            refused = await ask(relay, admin, "POST", "/api/keys", body)
            assert (refused.status, refused.json["code"]) == (400, "PAYLOAD_MALFORMED")
            assert len(relay.keys.list()) == 1

    run(scenario)


def test_an_admin_of_one_game_administers_its_keys_only(database_url: str, relay_at: Any) -> None:
    """Keys of other games are unknown to it, and it makes none."""

    async def scenario() -> None:
        async with relay_at(database_url) as relay:
            mine = relay.keys.create("admin", game_id="streambeat").secret
            other = relay.keys.create("server", game_id="chess").info
            whole = relay.keys.create("admin").info
            made = await ask(relay, mine, "POST", "/api/keys", {"role": "client"})
            assert (made.status, made.json["key"]["gameId"]) == (201, "streambeat")
            for body in ({"role": "client", "gameId": "chess"},):
                assert (await ask(relay, mine, "POST", "/api/keys", body)).json["code"] == "FORBIDDEN_GAME"
            assert (await ask(relay, mine, "GET", "/api/keys?gameId=chess")).json["code"] == "FORBIDDEN_GAME"
            assert len((await ask(relay, mine, "GET", "/api/keys")).json["keys"]) == 2
            for key_id in (other.id, whole.id, "key_nobody", "%00"):
                for method, what, sent in (("GET", "", None), ("POST", "/revoke", None), ("POST", "/rotate", {})):
                    refused = await ask(relay, mine, method, f"/api/keys/{key_id}{what}", sent)
                    assert (refused.status, refused.json["code"]) == (404, "API_KEY_UNKNOWN")

    run(scenario)


def test_rotation_overlaps(database_url: str, relay_at: Any) -> None:
    """Both keys are valid until the overlap ends; a lifetime is given to the successor anew; ended keys are refused."""

    async def scenario() -> None:
        async with relay_at(database_url) as relay:
            admin = relay.keys.create("admin").secret
            soon = int(time.time() * 1000) + 3_600_000
            old = relay.keys.create("server", game_id="streambeat", name="build", expires_at_ms=soon)
            path = f"/api/keys/{old.info.id}/rotate"
            made = (await ask(relay, admin, "POST", path, {"overlapSeconds": 60})).json
            new, replaced = made["key"], made["replaces"]
            assert (new["role"], new["gameId"], new["name"]) == ("server", "streambeat", "build")
            assert replaced["keyId"] == old.info.id
            assert replaced["expiresAt"] < new["expiresAt"]
            for secret in (old.secret, made["secret"]):
                assert (await ask(relay, secret, "GET", "/api/audit-flags")).status == 200
            # Over at once: with no overlap the old one is refused by the process that ended it.
            assert (await ask(relay, admin, "POST", path, {"overlapSeconds": 0})).status == 201
            assert (await ask(relay, old.secret, "GET", "/api/audit-flags")).status == 401
            refused = await ask(relay, admin, "POST", path, {})
            assert (refused.status, refused.json["code"]) == (409, "API_KEY_NOT_ACTIVE")
            stored = await relay.database.read(
                lambda c: c.execute(text("SELECT action, subject, reason FROM operator_actions ORDER BY seq")).all()
            )
            rotations = [row for row in stored if row.action == "key.rotate"]
            assert rotations[0][1:] == (old.info.id, f"replaced by {new['keyId']}")

    run(scenario)


def test_a_revocation_holds_at_once_here(database_url: str, relay_at: Any) -> None:
    """The next request is refused, though the key was remembered as valid; twice is the same answer."""

    async def scenario() -> None:
        async with relay_at(database_url) as relay:
            admin, key = relay.keys.create("admin").secret, relay.keys.create("auditor")
            assert (await ask(relay, key.secret, "GET", "/api/audit-flags")).status == 200
            first = await ask(relay, admin, "POST", f"/api/keys/{key.info.id}/revoke")
            assert first.json["state"] == "revoked"
            assert (await ask(relay, key.secret, "GET", "/api/audit-flags")).status == 401
            again = await ask(relay, admin, "POST", f"/api/keys/{key.info.id}/revoke")
            assert again.json == first.json

    run(scenario)


def test_a_revocation_holds_elsewhere_within_a_second(database_url: str, relay_at: Any) -> None:
    """Two rings on one database, as of two processes: the other one asks again after `REMEMBER_S`, never later."""
    clock = {"s": 0.0}

    async def scenario() -> None:
        async with relay_at(database_url) as relay:
            other = open_database(database_url)
            elsewhere = KeyRing(other, Writer(other), lambda: clock["s"])
            key = relay.keys.create("server")
            assert await elsewhere(key.secret) is not None
            relay.keys.revoke(key.info.id)
            clock["s"] += REMEMBER_S - 0.001
            assert await elsewhere(key.secret) is not None
            clock["s"] += 0.001
            assert await elsewhere(key.secret) is None
            other.close()

    assert REMEMBER_S <= 1.0
    run(scenario)


def test_a_slow_look_up_does_not_prolong_a_key(sqlite_url: str, relay_at: Any) -> None:
    """The second counts from the question: an answer that took 0.9 s is believed for 0.1 s more; forgotten meanwhile,
    it is not remembered at all."""
    clock = {"s": 0.0}

    async def scenario() -> None:
        async with relay_at(sqlite_url) as relay:
            ring = KeyRing(relay.database, relay.writer, lambda: clock["s"])
            key = relay.keys.create("server")
            read = relay.database.read
            forgotten = False

            async def slow(job: Any) -> Any:
                found = await read(job)
                clock["s"] += 0.9
                if forgotten:
                    relay.keys.revoke(key.info.id)
                    ring.forget(store.digest(key.secret))
                return found

            relay.database.read = slow
            assert await ring(key.secret) is not None
            clock["s"] += 0.2
            forgotten = True
            assert await ring(key.secret) is not None  # read before it was revoked
            relay.database.read = read
            assert await ring(key.secret) is None

    run(scenario)


def test_the_last_use_never_goes_back(database_url: str, relay_at: Any) -> None:
    """Several processes write it; the latest stays."""

    async def scenario() -> None:
        async with relay_at(database_url) as relay:
            key = relay.keys.create("server").info
            for at_ms in (5_000, 9_000, 7_000):
                await relay.writer.run(lambda c, at_ms=at_ms: store.mark_used(c, {key.id: at_ms}))
            assert relay.keys.list()[0].last_used_at_ms == 9_000

    run(scenario)


def test_a_key_in_the_header_of_an_operation(sqlite_url: str, relay_at: Any) -> None:
    """`escs-game-secret-key` is as good as a bearer key where it is declared: a server's only, and one at a time."""

    async def who(call: Call) -> Answer:
        return answer({"key": call.credential.key_id if call.credential else None})

    async def scenario() -> None:
        async with relay_at(sqlite_url) as relay:
            ring = KeyRing(relay.database, relay.writer)
            header, servers = b"escs-game-secret-key", frozenset({"server"})
            relay.api = Api(
                [
                    Operation("PUT", "/confirm", "", who, roles=servers, secret_header=header),
                    Operation("PUT", "/plain", "", who, roles=servers),
                ],
                ring,
            )
            one, two, client = relay.keys.create("server"), relay.keys.create("server"), relay.keys.create("client")
            secret, bearer = "escs-game-secret-key", "Authorization"
            cases: list[tuple[str, dict[str, str], int]] = [
                ("/confirm", {secret: one.secret}, 200),
                ("/confirm", {bearer: f"Bearer {one.secret}"}, 200),
                ("/confirm", {secret: one.secret, bearer: f"Bearer {one.secret}"}, 200),
                ("/confirm", {secret: one.secret, bearer: f"Bearer {two.secret}"}, 401),
                ("/confirm", {secret: one.secret, bearer: "Bearer wrong"}, 401),
                ("/confirm", {secret: client.secret}, 403),
                ("/confirm", {secret: one.secret[:-1]}, 401),
                ("/confirm", {secret: ""}, 401),
                ("/confirm", {secret: "é"}, 401),
                ("/confirm", {}, 401),
                ("/plain", {secret: one.secret}, 401),
            ]
            for path, headers, status in cases:
                reply = await relay.request("PUT", path, headers=headers)
                assert reply.status == status, (path, headers)
                if status == 200:
                    assert reply.json == {"key": one.info.id}

    run(scenario)
