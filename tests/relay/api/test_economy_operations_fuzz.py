"""Whatever is asked of the economy is done or refused by name: nothing a client sends is a fault of ours."""

import asyncio
import json
from typing import Any

from tests.harness.economy_http import Server, data_of, with_server
from tests.relay.api.test_economy_fuzz import HOLE, ODD, variants

MONEY = {"externalId": "ann", "currencyId": "gold", "amount": 1, "reason": "r", "reference": "o"}
BODIES: dict[str, dict[str, Any]] = {
    "/grant": MONEY,
    "/spend": MONEY,
    "/transfer": {"fromExternalId": "ann", "toExternalId": "bob", "currencyId": "gold", "amount": 1},
    "/purchase": {"externalId": "ann", "itemId": "iron", "quantity": 1, "currencyId": "gold"},
    "/craft": {"externalId": "ann", "recipeId": "blade", "clientSeed": "s", "reference": "o"},
    "/loot/roll": {"externalId": "ann", "lootTableId": "chest", "clientSeed": "s", "reference": "o"},
    "/marketplace/list": {"externalId": "ann", "itemId": "iron", "quantity": 1, "currencyId": "gold", "price": 1,
                          "expiresAt": "2999-01-01T00:00:00Z"},
    "/marketplace/buy": {"externalId": "ann", "listingId": "lst_1"},
    "/marketplace/cancel": {"externalId": "ann", "listingId": "lst_1"},
    "/transactions/txn_1/reverse": {"reason": "r", "reference": "o"},
}  # fmt: skip
DECLARED: dict[str, dict[str, Any]] = {
    "/currencies": {"currencyId": "gold", "name": "G", "icon": "g"},
    "/items": {"itemId": "iron", "name": "I", "prices": [{"currencyId": "gold", "amount": 1}]},
    "/recipes": {"recipeId": "blade", "outputs": [{"itemId": "iron", "quantity": 1, "chance": 0.5}]},
    "/loot-tables": {"lootTableId": "chest", "rolls": 1, "entries": [{"itemId": "iron", "quantity": 1, "weight": 1}]},
}


def test_operations_with_anything_anywhere(database_url: str, relay_at: Any) -> None:
    """Every part of every body, replaced by every odd value: 200 or a named refusal, and the ledger holds."""

    async def scenario(server: Server) -> None:
        for path, body in DECLARED.items():
            data_of(await server.post(path, body))
        for name in ("ann", "bob"):
            wallets = [{"currencyId": "gold", "balance": 1_000}]
            data_of(await server.post("/players", {"externalId": name, "wallets": wallets}))
        assert (await server.call("PATCH", "/config", {"rateLimits": {"default": 10_000}})).status == 200
        for path, body in BODIES.items():
            raws = [
                json.dumps(variant).replace(json.dumps(HOLE), odd).encode() for variant in variants(body) for odd in ODD
            ]
            replies = await asyncio.gather(*(server.call("POST", path, raw) for raw in raws))
            for raw, reply in zip(raws, replies, strict=True):
                assert reply.status in {200, 400, 404, 409, 422, 429}, (path, raw, reply.body)
                assert reply.json["success"] is (reply.status == 200)
        await server.check_ledger()

    with_server(database_url, relay_at, scenario)
