"""The economy's operations over HTTP: what each does, answers and refuses."""

import re
from collections.abc import Callable
from typing import Any

import pytest

from tests.harness.economy_http import BASE, Server, check_refused, data_of, with_server
from tests.relay.api.test_openapi import check_answer

PLAYERS = ("ann", "bob")


async def found(server: Server) -> None:
    """A game with gold and gems, two players of 100 gold, items, a recipe, a loot table."""
    for currency_id, more in (("gold", {}), ("gems", {"maxBalance": 10})):
        data_of(await server.post("/currencies", {"currencyId": currency_id, "name": currency_id, "icon": "o"} | more))
    for item in (
        {"itemId": "sword", "name": "Sword", "prices": [{"currencyId": "gold", "amount": 30}], "maxOwned": 3},
        {"itemId": "iron", "name": "Iron", "prices": [{"currencyId": "gold", "amount": 1}]},
        {"itemId": "ring", "name": "Ring", "prices": [{"currencyId": "gold", "amount": 1}], "soulbound": True},
    ):
        data_of(await server.post("/items", item))
    recipe = {"recipeId": "blade", "inputs": [{"itemId": "iron", "quantity": 2}], "cooldownSeconds": 60,
              "costs": [{"currencyId": "gold", "amount": 5}],
              "outputs": [{"itemId": "sword", "quantity": 1, "chance": 1}]}  # fmt: skip
    data_of(await server.post("/recipes", recipe))
    chest = {"lootTableId": "chest", "rolls": 2, "entries": [{"currencyId": "gold", "amount": 7, "weight": 1}]}
    data_of(await server.post("/loot-tables", chest))
    air = {"lootTableId": "air", "rolls": 1, "entries": [{"weight": 1}]}
    data_of(await server.post("/loot-tables", air))
    for name in PLAYERS:
        wallets = [{"currencyId": "gold", "balance": 100}]
        data_of(await server.post("/players", {"externalId": name, "wallets": wallets}))


class Checked(Server):
    """Looks whether every answer is one that the OpenAPI document declares, its status by name."""

    document: Any = None

    async def call(self, method: str, path: str, body: object = None, **headers: str) -> Any:
        """Send one request."""
        reply = await super().call(method, path, body, **headers)
        if self.document is None:
            self.document = (await self.relay.request("GET", "/openapi.json")).json
        template = BASE + re.sub("/txn_[^/]+/", "/{transactionId}/", path.partition("?")[0])
        check_answer(self.document, method, template, reply)
        assert str(reply.status) in self.document["paths"][template][method.lower()]["responses"], reply.body
        return reply


@pytest.fixture
def play(database_url: str, relay_at: Any) -> Callable[[Callable[[Server], Any]], None]:
    """Run a scenario in a founded game, and look at the whole ledger afterwards."""

    def run(scenario: Callable[[Server], Any]) -> None:
        async def all_of_it(server: Server) -> None:
            await found(server)
            await scenario(Checked(server.relay))
            await server.check_ledger()

        with_server(database_url, relay_at, all_of_it)

    return run


def gold(external_id: str, balance: int) -> dict[str, object]:
    """A balance of an answer."""
    return {"externalId": external_id, "currencyId": "gold", "balance": balance}


Play = Callable[[Callable[[Server], Any]], None]


def test_grant_spend_transfer(play: Play) -> None:
    """Each answers with its transaction and the balances it left, under the settings it was decided by."""

    async def scenario(server: Server) -> None:
        granted = data_of(await server.post("/grant", {"externalId": "ann", "currencyId": "gold", "amount": 5}))
        assert granted == {"transactionId": granted["transactionId"], "balances": [gold("ann", 105)],
                           "source": "server", "configVersion": 0}  # fmt: skip
        assert granted["transactionId"].startswith("txn_")
        body = {"externalId": "ann", "currencyId": "gold", "amount": 105, "reason": "rent"}
        assert data_of(await server.post("/spend", body))["balances"] == [gold("ann", 0)]
        check_refused(await server.post("/spend", body), 409, "INSUFFICIENT_BALANCE")
        moved = {"fromExternalId": "bob", "toExternalId": "ann", "currencyId": "gold", "amount": 40}
        assert data_of(await server.post("/transfer", moved))["balances"] == [gold("ann", 40), gold("bob", 60)]

    play(scenario)


def test_what_is_refused_says_why(play: Play) -> None:
    """Each refusal has its code; a wrong id is named by field."""

    async def scenario(server: Server) -> None:
        grant = {"externalId": "ann", "currencyId": "gold", "amount": 5}
        for change, status, code in (
            ({"externalId": "eve"}, 404, "PLAYER_UNKNOWN"),
            ({"currencyId": "tin"}, 404, "CURRENCY_UNKNOWN"),
            ({"amount": 0}, 422, "AMOUNT_INVALID"),
            ({"amount": -1}, 422, "AMOUNT_INVALID"),
            ({"amount": 2**53}, 422, "AMOUNT_INVALID"),
            ({"amount": 1_000_001}, 422, "MAX_AMOUNT_EXCEEDED"),
            ({"currencyId": "gems", "amount": 11}, 409, "MAX_BALANCE_EXCEEDED"),
        ):
            refused = await server.post("/grant", grant | change)
            check_refused(refused, status, code)
            assert refused.json.get("configVersion") == (None if code == "AMOUNT_INVALID" else 0)
        check_refused(
            await server.post("/grant", grant | {"externalId": " ann"}), 400, "PAYLOAD_MALFORMED", "/externalId"
        )
        check_refused(await server.post("/grant", grant | {"amount": 1.0}), 400, "PAYLOAD_MALFORMED", "/amount")
        check_refused(await server.post("/grant", grant | {"amount": True}), 400, "PAYLOAD_MALFORMED", "/amount")
        check_refused(await server.post("/grant", grant | {"source": "x"}), 400, "PAYLOAD_MALFORMED", "/source")
        itself = {"fromExternalId": "ann", "toExternalId": "ann", "currencyId": "gold", "amount": 1}
        check_refused(await server.post("/transfer", itself), 422, "TRANSFER_TO_SELF")

    play(scenario)


def test_purchase_craft_and_loot(play: Play) -> None:
    """Bought and crafted things are there, what comes out is named with the roll that decided it."""

    async def scenario(server: Server) -> None:
        bought = data_of(await server.post("/purchase", {"externalId": "ann", "itemId": "iron", "quantity": 4}))
        assert bought["items"] == [{"externalId": "ann", "itemId": "iron", "quantity": 4}]
        assert (bought["balances"], bought["source"]) == ([gold("ann", 96)], "purchase")
        one = data_of(await server.post("/purchase", {"externalId": "bob", "itemId": "sword", "currencyId": "gold"}))
        assert one["items"] == [{"externalId": "bob", "itemId": "sword", "quantity": 1}]
        crafted = data_of(await server.post("/craft", {"externalId": "ann", "recipeId": "blade"}))
        assert crafted["outputs"] == [{"itemId": "sword", "quantity": 1}]
        assert (crafted["balances"], crafted["source"]) == ([gold("ann", 91)], "craft")
        assert crafted["rollId"].startswith("roll_")
        again = await server.post("/craft", {"externalId": "ann", "recipeId": "blade"})
        check_refused(again, 429, "CRAFT_COOLDOWN")
        assert 0 < int(again.headers["retry-after"]) <= 60
        rolled = data_of(
            await server.post("/loot/roll", {"externalId": "bob", "lootTableId": "chest", "clientSeed": "x"})
        )
        assert rolled["outputs"] == [{"currencyId": "gold", "amount": 14}]
        assert rolled["balances"] == [gold("bob", 84)]
        nothing = data_of(await server.post("/loot/roll", {"externalId": "bob", "lootTableId": "air"}))
        assert (nothing["transactionId"], nothing["outputs"], nothing["source"]) == (None, [], "loot")
        smoke = {"recipeId": "smoke", "outputs": [{"itemId": "iron", "quantity": 1, "chance": 0}]}
        data_of(await server.post("/recipes", smoke))
        nothing = data_of(await server.post("/craft", {"externalId": "bob", "recipeId": "smoke"}))
        assert (nothing["transactionId"], nothing["outputs"], nothing["source"]) == (None, [], "craft")
        dream = {"recipeId": "dream", "outputs": [{"itemId": "iron", "quantity": 1, "chance": 0}]}
        data_of(await server.post("/recipes", dream))
        nothing = data_of(await server.post("/craft", {"externalId": "bob", "recipeId": "dream"}))
        assert (nothing["transactionId"], nothing["outputs"], nothing["source"]) == (None, [], "craft")
        for path, body, status, code in (
            ("/purchase", {"itemId": "none"}, 404, "ITEM_UNKNOWN"),
            ("/purchase", {"itemId": "iron", "quantity": 0}, 422, "AMOUNT_INVALID"),
            ("/purchase", {"itemId": "iron", "currencyId": "gems"}, 409, "ITEM_NOT_FOR_SALE"),
            ("/craft", {"recipeId": "none"}, 404, "RECIPE_UNKNOWN"),
            ("/loot/roll", {"lootTableId": "none"}, 404, "LOOT_TABLE_UNKNOWN"),
            ("/loot/roll", {"lootTableId": "chest", "clientSeed": "a\u0000"}, 422, "CLIENT_SEED_INVALID"),
        ):
            check_refused(await server.post(path, {"externalId": "ann"} | body), status, code)

    play(scenario)


def test_the_market(play: Play) -> None:
    """Listed goods are in escrow; sold ones are the buyer's, less tax; taken back they are the seller's again."""

    async def scenario(server: Server) -> None:
        patched = await server.call("PATCH", "/config", {"marketplaceTaxBps": 250})
        assert patched.status == 200, patched.body
        await server.post("/purchase", {"externalId": "ann", "itemId": "iron", "quantity": 4})
        offer = {"externalId": "ann", "itemId": "iron", "quantity": 3, "currencyId": "gold", "price": 10}
        listed = data_of(await server.post("/marketplace/list", offer))
        assert listed["items"] == [{"externalId": "ann", "itemId": "iron", "quantity": 1, "escrowed": 3}]
        assert (listed["source"], listed["configVersion"]) == ("marketplace", 1)
        named = {"listingId": listed["listingId"]}
        check_refused(await server.post("/marketplace/buy", named | {"externalId": "ann"}), 409, "SELF_PURCHASE")
        sold = data_of(await server.post("/marketplace/buy", named | {"externalId": "bob"}))
        assert sold["balances"] == [gold("ann", 105), gold("bob", 90)]
        assert sold["items"] == [{"externalId": "ann", "itemId": "iron", "escrowed": 0},
                                 {"externalId": "bob", "itemId": "iron", "quantity": 3}]  # fmt: skip
        check_refused(await server.post("/marketplace/cancel", named | {"externalId": "ann"}), 409, "LISTING_CLOSED")
        named = {"listingId": data_of(await server.post("/marketplace/list", offer | {"quantity": 1}))["listingId"]}
        check_refused(await server.post("/marketplace/cancel", named | {"externalId": "bob"}), 403, "NOT_THE_SELLER")
        back = data_of(await server.post("/marketplace/cancel", named | {"externalId": "ann"}))
        assert back["items"] == [{"externalId": "ann", "itemId": "iron", "quantity": 1, "escrowed": 0}]
        late = await server.post("/marketplace/list", offer | {"quantity": 1, "expiresAt": "2020-01-01T00:00:00Z"})
        check_refused(late, 409, "LISTING_EXPIRED")
        odd = await server.post("/marketplace/list", offer | {"quantity": 1, "expiresAt": "2020-13-01T00:00:00Z"})
        check_refused(odd, 400, "PAYLOAD_MALFORMED", "/expiresAt")

    play(scenario)


def test_a_reversal_is_made_once(play: Play) -> None:
    """Twice is the same answer; what the market did, and what is not there, is not reversed."""

    async def scenario(server: Server) -> None:
        granted = data_of(await server.post("/grant", {"externalId": "ann", "currencyId": "gold", "amount": 5}))
        path = f"/transactions/{granted['transactionId']}/reverse"
        first = data_of(await server.post(path, {"reason": "a mistake"}))
        assert first["balances"] == [gold("ann", 100)]
        assert first["reverses"] == granted["transactionId"]
        assert data_of(await server.post(path, {"reason": "again"})) == first
        check_refused(await server.post(path, {}), 400, "PAYLOAD_MALFORMED", "/reason")
        for unknown in ("txn_no", "txn_0\0", "txn_\ud800"):
            refused = await server.post(f"/transactions/{unknown}/reverse", {"reason": "r"})
            check_refused(refused, 404, "TRANSACTION_UNKNOWN")
        undone = f"/transactions/{first['transactionId']}/reverse"
        check_refused(await server.post(undone, {"reason": "r"}), 409, "NOT_REVERSIBLE")

    play(scenario)


def test_limits_are_told_and_flagged(play: Play) -> None:
    """60 pass, the 61st is refused with when to come back, and one flag says so however often it is refused."""

    async def scenario(server: Server) -> None:
        grant = {"externalId": "ann", "currencyId": "gold", "amount": 1}
        for left in range(59, -1, -1):
            reply = await server.post("/grant", grant)
            assert (reply.status, reply.headers["ratelimit-policy"]) == (200, '"grant";q=60;w=60')
            assert reply.headers["ratelimit"].startswith(f'"grant";r={left};t=')
        for attempt in (61, 62):
            refused = await server.post("/grant", grant, idempotency_key="k")
            check_refused(refused, 429, "RATE_LIMITED")
            assert refused.json["reason"] == f"Rate limit exceeded: grant ({attempt}/60 per minute)"
            assert 0 < int(refused.headers["retry-after"]) <= 60
        assert data_of(await server.post("/spend", grant))["balances"] == [gold("ann", 159)]
        (flag,) = (await server.call("GET", "/audit-flags")).json["flags"]
        assert (flag["occurrences"], flag["code"], flag["playerId"]) == (2, "RATE_LIMITED", "ann")

    play(scenario)


def test_only_the_games_server_moves_anything(play: Play) -> None:
    """Another role, another game's key, no key: refused before anything is looked at."""

    async def scenario(server: Server) -> None:
        body = {"externalId": "ann", "currencyId": "gold", "amount": 1}
        for role in ("client", "auditor", "admin"):
            check_refused(await Server(server.relay, role).post("/grant", body), 403, "FORBIDDEN_ROLE")
        other = Server(server.relay, game_id="go")
        check_refused(await other.post("/grant", body), 404, "CURRENCY_UNKNOWN")
        check_refused(await server.post("/grant?gameId=go", body), 403, "FORBIDDEN_GAME")
        assert (await server.relay.request("POST", "/api/economy/grant", b"{}")).status == 401

    play(scenario)
