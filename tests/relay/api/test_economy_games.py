"""Games with an economy only: registered with a server key, by admins or, where the operator opened it, by anybody."""

import asyncio
import re
from typing import Any

from sqlalchemy import text

from relay.api.asgi import Api
from relay.api.auth import KeyRing
from relay.api.economy import economy_operations, economy_parts
from relay.api.operations import Scope
from relay.api.shields import Shields
from relay.store.checkpoints import Where
from tests.harness.economy_http import Server, check_refused, data_of, with_server
from tests.relay.api.test_openapi import check_answer

ID = re.compile(r"eco_[0-9a-z]{26}")


class From(Shields):
    """Shields that take every request for one of `address`."""

    address: str | None = "203.0.113.7"

    def client(self, scope: Scope) -> str | None:  # noqa: ARG002 - it is said here
        """Who calls."""
        return self.address


def opened(relay: Any, shields: Shields) -> None:
    """Let anybody register: the relay's economy anew, with what the operator sets."""
    parts = economy_parts(
        relay.database, relay.writer, relay.intake.games, Where(31337, bytes(20)), open_registration=True
    )
    relay.api = Api(economy_operations(parts), KeyRing(relay.database, relay.writer), shields=shields)


def test_an_admin_registers_a_game_and_hands_its_key_on(database_url: str, relay_at: Any) -> None:
    """The key is the game's server's from the answer on; nothing is published for the game, nothing judges scores."""

    async def scenario(server: Server) -> None:
        api = (await server.relay.request("GET", "/openapi.json")).json
        admin = Server(server.relay, "admin", None)
        reply = await admin.post("/games", {"name": "Go", "ownerId": "o-1"})
        check_answer(api, "POST", "/api/economy/games", reply)
        made = data_of(reply, 201)
        assert ID.fullmatch(made["gameId"])
        assert (made["name"], made["ownerId"], made["createdBy"]) == ("Go", "o-1", admin.key_id)
        assert reply.headers["cache-control"] == "no-store"
        own = Server(server.relay)
        own.secret = made["apiKey"]
        assert own.secret.startswith("fs_live_sk_")
        data_of(await own.post("/currencies", {"currencyId": "gold", "name": "Gold", "icon": "g"}), 201)
        wallets = [{"currencyId": "gold", "balance": 9}]
        data_of(await own.post("/players", {"externalId": "ann", "wallets": wallets}), 201)
        assert (await own.check_ledger(made["gameId"])).balances["player:ann", "currency:gold"] == 9
        check_refused(await own.call("GET", "/players?gameId=chess"), 403, "FORBIDDEN_GAME")
        assert len((await admin.data(f"/players?gameId={made['gameId']}"))["players"]) == 1
        assert await server.count("game_versions") == 0
        assert made["gameId"] not in server.relay.intake.games.by_id
        record = text("SELECT action FROM operator_actions WHERE actor = :actor ORDER BY seq")
        told = await server.relay.database.read(lambda c: list(c.scalars(record, {"actor": admin.key_id})))
        assert told == ["economy.game", "key.create"]

    with_server(database_url, relay_at, scenario)


def test_a_retry_finds_the_game_without_its_key(database_url: str, relay_at: Any) -> None:
    """One game and one key however often it is asked for; the key's secret is in no table."""

    async def scenario(server: Server) -> None:
        admin = Server(server.relay, "admin", None)
        body = {"name": "Go"}
        replies = await asyncio.gather(*(admin.post("/games", body, idempotency_key="k") for _ in range(10)))
        told = [data_of(reply, 201) for reply in replies]
        (secret,) = {one["apiKey"] for one in told} - {None}
        assert sum(one["apiKey"] is None for one in told) == 9
        assert len({one["gameId"] for one in told}) == 1
        assert await server.count("economy_games") == 1
        again = await admin.post("/games", body | {"idempotencyKey": "k"})
        assert (data_of(again)["apiKey"], again.headers["idempotent-replayed"]) == (None, "true")
        check_refused(await admin.post("/games", {"name": "Ho"}, idempotency_key="k"), 422, "IDEMPOTENCY_KEY_REUSED")
        for table, column in (("kept_answers", "body"), ("api_keys", "hash")):
            rows = text(f"SELECT {column} FROM {table}")
            found = await server.relay.database.read(lambda c, rows=rows: list(c.scalars(rows)))
            assert found
            assert not any(secret.encode() in bytes(one) for one in found)

    with_server(database_url, relay_at, scenario)


def test_only_an_admin_of_every_game_registers(sqlite_url: str, relay_at: Any) -> None:
    """Unless registration is open; names are texts that say something."""

    async def scenario(server: Server) -> None:
        body = {"name": "Go"}
        nobody = await server.relay.request("POST", "/api/economy/games", b'{"name":"Go"}')
        check_refused(nobody, 401, "NOT_AUTHENTICATED")
        for role in ("server", "client", "auditor"):
            check_refused(await Server(server.relay, role, None).post("/games", body), 403, "FORBIDDEN_ROLE")
        check_refused(await Server(server.relay, "admin").post("/games", body), 403, "FORBIDDEN_GAME")
        admin = Server(server.relay, "admin", None)
        for wrong, pointer in (
            ({}, "/name"), ({"name": " "}, "/name"), ({"name": "x" * 201}, "/name"),
            (body | {"ownerId": 1}, "/ownerId"), (body | {"gameId": "chess"}, "/gameId"),
        ):  # fmt: skip
            check_refused(await admin.post("/games", wrong), 400, "PAYLOAD_MALFORMED", pointer)
        keyless = await admin.post("/games", body | {"idempotencyKey": ""})
        check_refused(keyless, 400, "IDEMPOTENCY_KEY_INVALID")
        assert await server.count("economy_games") == 0

    with_server(sqlite_url, relay_at, scenario)


def test_ids_of_economies_are_no_game_of_scores(sqlite_url: str, relay_at: Any) -> None:
    """Neither that of a registered game nor any other that begins so."""

    async def scenario(server: Server) -> None:
        admin = Server(server.relay, "admin", None)
        made = data_of(await admin.post("/games", {"name": "Go"}))
        headers = {"authorization": f"Bearer {admin.secret}"}
        for game_id in (made["gameId"], "eco_mine"):
            reply = await server.relay.request("PUT", f"/api/games/{game_id}", b"{}", headers)
            assert (reply.status, reply.json["code"]) == (400, "PAYLOAD_MALFORMED")
        assert (await server.relay.request("PUT", "/api/games/economy", b"{}", headers)).status == 201

    with_server(sqlite_url, relay_at, scenario)


def test_games_are_listed_to_whom_they_concern(database_url: str, relay_at: Any) -> None:
    """All of them to keys of every game, in pages, newest first; to a game's own key that game."""

    async def scenario(server: Server) -> None:
        api = (await server.relay.request("GET", "/openapi.json")).json
        admin = Server(server.relay, "admin", None)
        made = [data_of(await admin.post("/games", {"name": f"G\x00{n}"})) for n in range(3)]
        reply = await admin.call("GET", "/games?limit=2")
        check_answer(api, "GET", "/api/economy/games", reply)
        first = data_of(reply)
        second = await Server(server.relay, "auditor", None).data(f"/games?limit=2&cursor={first['nextCursor']}")
        listed = [*first["games"], *second["games"]]
        assert second["nextCursor"] is None
        # Those of one millisecond are in no order among themselves.
        assert sorted(one["gameId"] for one in listed) == sorted(one["gameId"] for one in made)
        assert all("apiKey" not in one for one in listed)
        own = Server(server.relay, game_id=made[0]["gameId"])
        assert [one["gameId"] for one in (await own.data("/games"))["games"]] == [made[0]["gameId"]]
        assert (await own.data(f"/games/{made[0]['gameId']}"))["name"] == "G\ufffd0"
        check_refused(await own.call("GET", f"/games/{made[1]['gameId']}"), 403, "FORBIDDEN_GAME")
        assert (await server.data("/games"))["games"] == []  # a game of scores has its economy without being listed
        check_refused(await admin.call("GET", "/games/nope"), 404, "GAME_UNKNOWN")
        check_refused(await admin.call("GET", "/games?cursor=AA"), 400, "QUERY_INVALID", "?cursor")

    with_server(database_url, relay_at, scenario)


def test_where_it_is_open_anybody_registers_a_few(sqlite_url: str, relay_at: Any) -> None:
    """Five a minute from an address; keys of idempotency are of the address; a key that is presented must be valid."""

    async def scenario(server: Server) -> None:
        shields = From()
        opened(server.relay, shields)

        async def register(body: bytes = b'{"name":"Go"}', **headers: str) -> Any:
            named = {name.replace("_", "-"): value for name, value in headers.items()}
            return await server.relay.request("POST", "/api/economy/games", body, named)

        first = await register(idempotency_key="k")
        made = data_of(first, 201)
        assert made["createdBy"] == "open"
        assert first.headers["cache-control"] == "no-store"
        own = Server(server.relay)
        own.secret = made["apiKey"]
        assert await own.data("/currencies") == {"currencies": [], "nextCursor": None}
        assert data_of(await register(idempotency_key="k"))["apiKey"] is None
        for _ in range(3):
            data_of(await register(), 201)
        late = await register()
        check_refused(late, 429, "TOO_MANY_REQUESTS")
        assert 1 <= int(late.headers["retry-after"]) <= 60
        assert await server.count("economy_games") == 4
        shields.address = "203.0.113.8"
        assert data_of(await register(idempotency_key="k"), 201)["gameId"] != made["gameId"]
        shields.address = "203.0.113.7"
        check_refused(await register(authorization="Bearer fs_live_ad_wrong"), 401, "NOT_AUTHENTICATED")
        check_refused(await server.post("/games", {"name": "Go"}), 403, "FORBIDDEN_ROLE")
        data_of(await Server(server.relay, "admin", None).post("/games", {"name": "Go"}), 201)  # without that limit

    with_server(sqlite_url, relay_at, scenario)
