"""Whatever is asked of the operations and reads of economies is done or refused by name: no fault of ours."""

import json
from typing import Any
from urllib.parse import quote

from tests.harness.economy_http import Server, data_of, with_server
from tests.relay.api.test_economy_fuzz import HOLE, ODD, variants
from tests.relay.api.test_economy_operations import found

ANN = {"externalId": "ann"}
GOLD = {"currencyId": "gold", "amount": 1}
BODIES: dict[str, dict[str, Any]] = {
    "/grant": ANN | GOLD | {"reason": "r", "reference": "R"},
    "/spend": ANN | GOLD,
    "/transfer": {"fromExternalId": "ann", "toExternalId": "bob"} | GOLD,
    "/purchase": ANN | {"itemId": "iron", "quantity": 1, "currencyId": "gold"},
    "/craft": ANN | {"recipeId": "blade", "clientSeed": "a"},
    "/loot/roll": ANN | {"lootTableId": "chest", "clientSeed": "a"},
    "/marketplace/list": ANN | {"itemId": "iron", "quantity": 1, "currencyId": "gold", "price": 5,
                                "expiresAt": "2999-01-01T00:00:00Z"},
    "/marketplace/buy": ANN | {"listingId": "lst_x"},
    "/marketplace/cancel": ANN | {"listingId": "lst_x"},
    "/transactions/txn_x/reverse": {"reason": "r", "reference": "S"},
}  # fmt: skip
MOMENTS = ('"9999-12-31T23:59:59.9999999-23:59"', '"0001-01-01T00:00:00+23:59"', '"1970-01-01T24:00:00Z"')
RAW = (b"", b"{", b"\xff", b"null", b"[" * 100_000, b'{"a":' * 5_000, b'{"amount":1,"amount":2}')
TEXTS = ("", "0", "-1", "9" * 30, "\x00", "\u2028", "%", "_", "\ud800", "../x", "A" * 900, "LTE=", "ann", "gold",
         "9999-12-31T23:59:59-23:59", "0001-01-01T00:00:00+23:59", "x/y", "roll_999999999_9999999999999999",
         "c2VxXzk5OTk5OTk5OTk5OTk5OTk", "\u0663")  # fmt: skip


def test_operations_with_anything_anywhere(database_url: str, relay_at: Any) -> None:
    """Every part of every body, replaced by every odd value; and bodies that are none."""

    async def scenario(server: Server) -> None:
        await found(server)
        statuses = set()
        for path, body in BODIES.items():
            odd_ones = [(variant, odd) for variant in variants(body) for odd in (*ODD, *MOMENTS)]
            raws = [json.dumps(variant).replace(json.dumps(HOLE), odd).encode() for variant, odd in odd_ones]
            for raw in (*raws, *RAW):
                reply = await server.call("POST", path, raw)
                assert reply.status in {200, 400, 404, 409, 422, 429}, (path, raw[:200], reply.body)
                assert reply.json["success"] is (reply.status == 200)
                statuses.add(reply.status)
        assert statuses >= {200, 400, 404, 422, 429}
        await server.check_ledger()

    with_server(database_url, relay_at, scenario)


def test_reads_with_anything(database_url: str, relay_at: Any) -> None:
    """Every query parameter and every part of a path that the document names, for those with a key and without."""

    async def scenario(server: Server) -> None:
        await found(server)
        api = (await server.relay.request("GET", "/openapi.json")).json
        made = data_of(await server.post("/grant", ANN | GOLD))["transactionId"]
        bearer = {"authorization": f"Bearer {server.secret}"}
        asked = 0
        for path, methods in api["paths"].items():
            if not path.startswith(("/api/economy", "/api/audit/checkpoints")) or "get" not in methods:
                continue
            named = [(one["in"], one["name"]) for one in methods["get"].get("parameters", [])]
            real = path.replace("{transactionId}", made).replace("{externalId}", "ann")
            for odd in TEXTS:
                for place, name in named:
                    url = path.replace(f"{{{name}}}", odd or "_")
                    if place == "query":
                        url = f"{real}?{name}={quote(odd.encode('utf-8', 'surrogatepass'))}"
                    for headers in (bearer, {}):
                        reply = await server.relay.request("GET", url, None, headers)
                        assert reply.status < 500, (url, reply.body)
                        asked += 1
        assert asked > 1_000

    with_server(database_url, relay_at, scenario)
