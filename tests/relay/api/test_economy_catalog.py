"""What a game declares, over HTTP: currencies, items, recipes, loot tables."""

import asyncio
from typing import Any

import pytest

from tests.harness.economy_http import Server, check_refused, data_of, with_server
from tests.relay.api.test_openapi import check_answer

GOLD = {"currencyId": "gold", "name": "Gold", "icon": "coin.png"}
SWORD = {"itemId": "sword", "name": "Sword", "prices": [{"currencyId": "gold", "amount": 5}]}
IRON = {"itemId": "iron", "name": "Iron"}
FORGE = {
    "recipeId": "forge",
    "inputs": [{"itemId": "iron", "quantity": 3}],
    "outputs": [{"itemId": "sword", "quantity": 1, "chance": 0.000001}, {"itemId": "iron", "quantity": 1}],
}
CHEST = {"lootTableId": "chest", "entries": [{"itemId": "sword", "weight": 1}, {"weight": 9}]}
# what is declared, where, and a change of it
CASES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "/currencies": (GOLD, {"maxBalance": 100, "decimals": 2}),
    "/items": (SWORD, {"rarity": "epic", "stackable": False, "soulbound": True, "maxOwned": 3}),
    "/recipes": (FORGE, {"costs": [{"currencyId": "gold", "amount": 1}], "cooldownSeconds": 60}),
    "/loot-tables": (CHEST, {"rolls": 2, "entries": [{"currencyId": "gold", "amount": 7, "weight": 1}]}),
}
SHOWN: dict[str, dict[str, Any]] = {
    "/currencies": {**GOLD, "maxBalance": None, "decimals": 0},
    "/items": {**SWORD, "rarity": None, "stackable": True, "soulbound": False, "maxOwned": None, "version": 1},
    "/recipes": {
        **FORGE, "outputs": [{"itemId": "sword", "quantity": 1, "chance": 0.000001},
                             {"itemId": "iron", "quantity": 1, "chance": 1}],
        "costs": [], "cooldownSeconds": 0, "version": 1,
    },
    "/loot-tables": {**CHEST, "rolls": 1, "version": 1},
}  # fmt: skip
PLURAL = {"/currencies": "currencies", "/items": "items", "/recipes": "recipes", "/loot-tables": "lootTables"}


async def declared(server: Server) -> None:
    """Declare what recipes and loot tables name."""
    for item in (SWORD, IRON):
        data_of(await server.post("/items", item), 201)


@pytest.mark.parametrize("path", CASES)
def test_a_declaration_is_new_then_there_then_changed(database_url: str, relay_at: Any, path: str) -> None:
    """201, 200 as it was, 200 as it is now; versions count changes; the list shows what is in force; other games don't.

    Each answer is as the document says.
    """
    body, change = CASES[path]

    async def scenario(server: Server) -> None:
        api = (await server.relay.request("GET", "/openapi.json")).json
        if path != "/items":
            await declared(server)
        replies = [await server.post(path, one) for one in (body, body, body | change)]
        assert [reply.status for reply in replies] == [201, 200, 200]
        first, again, changed = map(data_of, replies)
        assert first == again == SHOWN[path]
        assert changed == SHOWN[path] | change | ({"version": 2} if "version" in first else {})
        listed = await server.call("GET", path)
        assert changed in data_of(listed)[PLURAL[path]]
        # What is left out is as by default, not as it was.
        back = data_of(await server.post(path, body))
        assert back == SHOWN[path] | ({"version": 3} if "version" in first else {})
        other = Server(server.relay, game_id="go")
        assert await other.data(path) == {PLURAL[path]: [], "nextCursor": None}
        for method, reply in (*(("POST", one) for one in replies), ("GET", listed)):
            check_answer(api, method, f"/api/economy{path}", reply)

    with_server(database_url, relay_at, scenario)


@pytest.mark.parametrize("path", ["/items", "/recipes", "/loot-tables"])
def test_every_version_can_be_read(database_url: str, relay_at: Any, path: str) -> None:
    """Who declared what and when, newest first, in pages; of what was never declared, that it was not."""
    body, change = CASES[path]
    declared_id = next(value for name, value in body.items() if name.endswith("Id"))
    unknown = {"/items": "ITEM_UNKNOWN", "/recipes": "RECIPE_UNKNOWN", "/loot-tables": "LOOT_TABLE_UNKNOWN"}[path]

    async def scenario(server: Server) -> None:
        api = (await server.relay.request("GET", "/openapi.json")).json
        if path != "/items":
            await declared(server)
        other = Server(server.relay)
        for caller, one in ((server, body), (other, body | change), (other, body | change), (server, body)):
            data_of(await caller.post(path, one))
        reply = await server.call("GET", f"{path}/history?id={declared_id}&limit=2")
        check_answer(api, "GET", f"/api/economy{path}/history", reply)
        first = data_of(reply)
        rest = await server.data(f"{path}/history?id={declared_id}&limit=2&cursor={first['nextCursor']}")
        told = [*first["changes"], *rest["changes"]]
        assert rest["nextCursor"] is None
        assert [(one["version"], one["actor"]) for one in told] == [
            (3, server.key_id), (2, other.key_id), (1, server.key_id),
        ]  # fmt: skip
        shown = SHOWN[path]
        assert [one["declared"] for one in told] == [
            shown | {"version": 3}, shown | change | {"version": 2}, shown,
        ]  # fmt: skip
        check_refused(await server.call("GET", f"{path}/history?id=none"), 404, unknown)
        check_refused(await Server(server.relay, game_id="go").call("GET", f"{path}/history?id=sword"), 404, unknown)
        for wrong in ("", "?id=%00"):
            check_refused(await server.call("GET", f"{path}/history{wrong}"), 400, "QUERY_INVALID", "?id")
        late = await server.call("GET", f"{path}/history?id={declared_id}&cursor=AA")
        check_refused(late, 400, "QUERY_INVALID", "?cursor")
        check_refused(await Server(server.relay, "client").call("GET", f"{path}/history"), 403, "FORBIDDEN_ROLE")

    with_server(database_url, relay_at, scenario)


def test_a_list_has_pages_whatever_the_ids(database_url: str, relay_at: Any) -> None:
    """Ids of any alphabet, 128 characters long: each page goes on where the one before ended, and nothing is missed."""
    ids = ["a", "z/..%2F?#", "Ω" * 128, "🗡" * 128, "'; DROP TABLE x --", "ß b", "a%_\\"]

    async def scenario(server: Server) -> None:
        for one in ids:
            data_of(await server.post("/items", {"itemId": one, "name": "x\x00y"}), 201)
            data_of(await server.post("/currencies", {"currencyId": one, "name": "x\x00y", "icon": "\x00"}), 201)
        for path, name in (("/items", "itemId"), ("/currencies", "currencyId")):
            found: list[str] = []
            cursor: str | None = ""
            while cursor is not None:
                page = await server.data(f"{path}?limit=2{cursor and '&cursor='}{cursor}")
                assert len(page[PLURAL[path]]) <= 2
                found += [one[name] for one in page[PLURAL[path]]]
                cursor = page["nextCursor"]
            assert (sorted(found), len(set(found))) == (sorted(ids), len(ids))
            for wrong in ("AA", "%21", "w4", "eAB5"):
                check_refused(await server.call("GET", f"{path}?cursor={wrong}"), 400, "QUERY_INVALID", "?cursor")

    with_server(database_url, relay_at, scenario)


LINE = {"currencyId": "gold", "amount": 1}
WRONG = [
    ("/currencies", {**GOLD, "currencyId": " gold"}, ["/currencyId"]),
    ("/currencies", {**GOLD, "currencyId": "a\nb"}, ["/currencyId"]),
    ("/currencies", {**GOLD, "currencyId": "x" * 129}, ["/currencyId"]),
    ("/currencies", {**GOLD, "maxBalance": -1, "decimals": 19}, ["/maxBalance", "/decimals"]),
    ("/currencies", {**GOLD, "maxBalance": 2**53}, ["/maxBalance"]),
    ("/currencies", {**GOLD, "maxBalance": 1.0, "decimals": True}, ["/maxBalance", "/decimals"]),
    ("/currencies", {"name": 1, "colour": "red"}, ["/currencyId", "/name", "/icon", "/colour"]),
    ("/items", {**SWORD, "prices": [LINE, LINE]}, ["/prices/1/currencyId"]),
    ("/items", {**SWORD, "prices": [{**LINE, "currencyId": "\t"}]}, ["/prices/0/currencyId"]),
    ("/items", {**SWORD, "prices": [{**LINE, "amount": 0}]}, ["/prices/0/amount"]),
    ("/items", {**SWORD, "maxOwned": 0}, ["/maxOwned"]),
    ("/recipes", {**FORGE, "outputs": []}, ["/outputs"]),
    ("/recipes", {**FORGE, "outputs": [{"itemId": "iron", "quantity": 1, "chance": 1.5}]}, ["/outputs/0/chance"]),
    ("/recipes", {**FORGE, "outputs": [{"itemId": "iron", "quantity": 1, "chance": 0.0000001}]}, ["/outputs/0/chance"]),
    ("/recipes", {**FORGE, "outputs": [{"itemId": "iron", "quantity": 1, "chance": "NaN"}]}, ["/outputs/0/chance"]),
    ("/recipes", {**FORGE, "cooldownSeconds": -1}, ["/cooldownSeconds"]),
    ("/loot-tables", {**CHEST, "entries": [{"itemId": "a", "currencyId": "b", "weight": 1}]}, ["/entries/0"]),
    ("/loot-tables", {**CHEST, "entries": [{"itemId": "a", "weight": 0}]}, ["/entries/0/weight"]),
    ("/loot-tables", {**CHEST, "rolls": 101}, ["/rolls"]),
]


def test_wrong_fields_are_named(sqlite_url: str, relay_at: Any) -> None:
    """All of them, by pointer; nothing is stored."""

    async def scenario(server: Server) -> None:
        await declared(server)
        for path, body, pointers in WRONG:
            check_refused(await server.post(path, body), 400, "PAYLOAD_MALFORMED", *pointers)
        for raw in (
            b"",
            b"[]",
            b"null",
            b'{"currencyId":"a","currencyId":"b","name":"","icon":""}',
            b"\xff",
            b"[" * 999,
        ):
            assert (await server.post("/currencies", raw)).json["code"] == "PAYLOAD_MALFORMED"
        assert (await server.count("economy_currencies"), await server.count("economy_catalog")) == (0, 2)

    with_server(sqlite_url, relay_at, scenario)


def test_what_is_named_must_be_there(database_url: str, relay_at: Any) -> None:
    """Recipes and loot tables name declared items; a table that rolls itself cannot be; nothing of it is stored."""

    async def scenario(server: Server) -> None:
        check_refused(await server.post("/recipes", FORGE), 404, "ITEM_UNKNOWN")
        check_refused(await server.post("/loot-tables", CHEST), 404, "ITEM_UNKNOWN")
        await declared(server)
        nested = {"lootTableId": "box", "entries": [{"lootTableId": "chest", "weight": 1}]}
        check_refused(await server.post("/loot-tables", nested), 404, "LOOT_TABLE_UNKNOWN")
        data_of(await server.post("/loot-tables", CHEST), 201)
        data_of(await server.post("/loot-tables", nested), 201)
        knot = {**CHEST, "entries": [{"lootTableId": "box", "weight": 1}]}
        check_refused(await server.post("/loot-tables", knot), 409, "LOOT_TABLE_UNUSABLE")
        assert await server.count("economy_catalog") == 4

    with_server(database_url, relay_at, scenario)


def test_an_idempotency_key_counts_once(database_url: str, relay_at: Any) -> None:
    """The stored answer again, a refusal's too; for another body 422; keys of games and routes never meet."""

    async def scenario(server: Server) -> None:
        first = await server.post("/items", SWORD, idempotency_key='"k"')
        data_of(await server.post("/items", SWORD | {"rarity": "epic"}))
        for retry in (await server.post("/items", SWORD, idempotency_key="k"),
                      await server.post("/items", SWORD | {"idempotencyKey": "k"})):  # fmt: skip
            assert (retry.status, retry.body, retry.headers["idempotent-replayed"]) == (201, first.body, "true")
        assert (await server.data("/items"))["items"][0]["version"] == 2  # the replay changed nothing back
        check_refused(await server.post("/items", IRON, idempotency_key="k"), 422, "IDEMPOTENCY_KEY_REUSED")
        refused = await server.post("/recipes", FORGE | {"idempotencyKey": "k"})
        data_of(await server.post("/items", IRON, idempotency_key="other"), 201)
        same = await server.post("/recipes", FORGE | {"idempotencyKey": "k"})
        check_refused(same, 404, "ITEM_UNKNOWN")
        assert same.body == refused.body
        data_of(await server.post("/recipes", FORGE), 201)
        data_of(await Server(server.relay, game_id="go").post("/items", SWORD, idempotency_key="k"), 201)
        check_refused(await server.post("/items", SWORD, idempotency_key="a b"), 400, "IDEMPOTENCY_KEY_INVALID")
        differ = await server.post("/items", SWORD | {"idempotencyKey": "x"}, idempotency_key="y")
        check_refused(differ, 400, "IDEMPOTENCY_KEY_INVALID")

    with_server(database_url, relay_at, scenario)


def test_many_at_once_make_one_version(database_url: str, relay_at: Any) -> None:
    """Of 20 who declare the same at the same moment one makes it; with one key all hear one answer."""

    async def scenario(server: Server) -> None:
        replies = await asyncio.gather(*(server.post("/items", SWORD) for _ in range(20)))
        assert sorted(reply.status for reply in replies) == [200] * 19 + [201]
        assert {data_of(reply)["version"] for reply in replies} == {1}
        replies = await asyncio.gather(*(server.post("/items", IRON, idempotency_key="k") for _ in range(20)))
        assert {(reply.status, reply.body) for reply in replies} == {(201, replies[0].body)}
        assert sum("idempotent-replayed" in reply.headers for reply in replies) == 19

    with_server(database_url, relay_at, scenario)


@pytest.mark.parametrize("path", CASES)
def test_whose_game_it_is(sqlite_url: str, relay_at: Any, path: str) -> None:
    """Servers declare, auditors and admins read; a key of no game names one that is served, a key of one only that."""

    async def scenario(server: Server) -> None:
        await declared(server)
        body = CASES[path][0]
        for role in ("client", "auditor", "admin"):
            caller = Server(server.relay, role)
            check_refused(await caller.post(path, body), 403, "FORBIDDEN_ROLE")
            assert (await caller.call("GET", path)).status == (403 if role == "client" else 200)
        check_refused(await server.call("GET", f"{path}?gameId=go"), 403, "FORBIDDEN_GAME")
        check_refused(await server.post(f"{path}?gameId=go", body), 403, "FORBIDDEN_GAME")
        data_of(await server.post(f"{path}?gameId=chess", body))
        whole = Server(server.relay, game_id=None)
        check_refused(await whole.post(path, body), 400, "GAME_REQUIRED")
        for unknown in ("nope", "%00"):
            check_refused(await whole.post(f"{path}?gameId={unknown}", body), 404, "GAME_UNKNOWN")
        if path in ("/currencies", "/items"):
            data_of(await whole.post(f"{path}?gameId=streambeat", body), 201)
            assert len((await whole.data(f"{path}?gameId=streambeat"))[PLURAL[path]]) == 1
        check_refused(await whole.post(f"{path}?game=x", body), 400, "QUERY_INVALID", "?game")

    with_server(sqlite_url, relay_at, scenario)
