"""Whatever is declared to the economy is taken or refused by name: nothing a client sends is a fault of ours."""

import json
from collections.abc import Iterator
from copy import deepcopy
from typing import Any
from urllib.parse import quote

from tests.harness.economy_http import Server, with_server

LINE = {"currencyId": "gold", "amount": 1}
STACK = {"itemId": "iron", "quantity": 1}
BODIES: list[tuple[str, str, dict[str, Any]]] = [
    ("POST", "/currencies", {"currencyId": "gold", "name": "G", "icon": "g", "maxBalance": 5, "decimals": 2}),
    ("POST", "/items", {"itemId": "iron", "name": "I", "rarity": "r", "prices": [LINE], "stackable": False,
                        "soulbound": True, "maxOwned": 2}),
    ("POST", "/recipes", {"recipeId": "r", "inputs": [STACK], "costs": [LINE], "outputs": [STACK | {"chance": 0.5}],
                          "cooldownSeconds": 1}),
    ("POST", "/loot-tables", {"lootTableId": "t", "rolls": 1, "entries": [STACK | {"weight": 1}]}),
    ("POST", "/players", {"externalId": "ann", "displayName": "Ann", "address": "0x" + "12" * 20,
                          "wallets": [{"currencyId": "gold", "balance": 1}]}),
    ("POST", "/players/batch", {"players": [{"externalId": "bob", "wallets": [{"currencyId": "gold", "balance": 0}]}]}),
    ("PUT", "/config", {"enabled": True, "rateLimits": {"default": 5}, "maxTransactionAmount": 5, "configVersion": 0}),
    ("PATCH", "/config", {"amountPerWindow": {"grant": 5}, "marketplaceTaxBps": 5, "reason": "r"}),
]  # fmt: skip
ODD = (
    "null", "true", "0", "-1", "1.5", "1e3", "1e999", str(2**53), str(2**63), str(10**400), "-0", '""', '" "',
    '"\\u0000"', '"\\ud800"', '"\\u2028"', '"' + "x" * 3_000 + '"', '"🗡"', '"0x"', '"NaN"', "[]", "{}", "[null]",
    '{"a":1}', "[[[]]]",
)  # fmt: skip
HOLE = "\x01hole\x01"


def variants(value: Any) -> Iterator[Any]:
    """The same value with a hole in place of each of its parts in turn, and with a member that is nobody's."""
    yield HOLE
    members = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, part in members:
        for changed in variants(part):
            whole = deepcopy(value)
            whole[name] = changed
            yield whole
    if isinstance(value, dict):
        yield value | {"odd": HOLE}
        yield value | {"idempotencyKey": HOLE}


def test_bodies_with_anything_anywhere(database_url: str, relay_at: Any) -> None:
    """Every part of every body, replaced by every odd value: 2xx or a named refusal, and the ledger holds."""

    async def scenario(server: Server) -> None:
        statuses = set()
        for method, path, body in BODIES:
            for variant in variants(body):
                for odd in ODD:
                    raw = json.dumps(variant).replace(json.dumps(HOLE), odd).encode()
                    reply = await server.call(method, path, raw)
                    assert reply.status in {200, 201, 400, 404, 409, 422}, (path, raw, reply.body)
                    assert reply.json["success"] is (reply.status < 300)
                    statuses.add(reply.status)
        assert statuses == {200, 201, 400, 409}
        await server.check_ledger()

    with_server(database_url, relay_at, scenario)


def test_queries_and_headers_with_anything(database_url: str, relay_at: Any) -> None:
    """Of the lists and of whose game it is: an answer or a named refusal."""
    texts = ("", "0", "-1", "1e2", "201", "9" * 30, "\x00", "%", "_", "\ud800", "ß", "chess", "../x", "A" * 900, "LTE=")
    paths = ("/currencies", "/items", "/recipes", "/loot-tables", "/players", "/config/history", "/games", "/config",
             "/items/history")  # fmt: skip

    async def scenario(server: Server) -> None:
        callers = (server, Server(server.relay, "admin", None))
        for path in paths:
            for name in ("limit", "cursor", "search", "gameId", "id", "x"):
                for odd in texts:
                    query = quote(odd.encode("utf-8", "surrogatepass"))
                    for caller in callers:
                        reply = await caller.call("GET", f"{path}?{name}={query}")
                        assert reply.status in {200, 400, 403, 404}, (path, name, odd, reply.body)
        for odd in ("", '"', "a b", "\x7f", "é", "x" * 256, '"k"'):
            reply = await server.post("/items", {"itemId": "iron", "name": "I"}, idempotency_key=odd)
            assert reply.status == (201 if odd == '"k"' else 400), (odd, reply.body)

    with_server(database_url, relay_at, scenario)
