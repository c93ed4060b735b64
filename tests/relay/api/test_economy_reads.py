"""What an economy holds, over HTTP: lists and their filters, balances, inventories, the marketplace, numbers."""

from typing import Any

import pytest

from tests.harness.economy_http import Server, check_refused, data_of, with_server
from tests.relay.api.test_openapi import check_answer

GOLD = {"currencyId": "gold", "name": "Gold", "icon": "coin"}
SWORD = {"itemId": "sword", "name": "Sword", "prices": [{"currencyId": "gold", "amount": 30}]}
PLAYERS = ("ann", "bob", "guild/of a+b é")
GUILD = "guild/of a+b é"
TEMPLATES = {
    "/transactions": "/transactions",
    "/players/ann/balance": "/players/{externalId}/balance",
    "/players/ann/inventory": "/players/{externalId}/inventory",
    "/marketplace": "/marketplace",
    "/stats": "/stats",
}


async def played(server: Server) -> dict[str, str]:
    """A game that was played; returns the ids of its transactions and listings by name."""
    data_of(await server.post("/currencies", GOLD))
    data_of(await server.post("/currencies", {"currencyId": "gems", "name": "Gems", "icon": "*"}))
    data_of(await server.post("/items", SWORD))
    for name in PLAYERS:
        wallets = [{"currencyId": "gold", "balance": 100}]
        data_of(await server.post("/players", {"externalId": name, "displayName": name.upper(), "wallets": wallets}))
    of_ann = {"externalId": "ann", "currencyId": "gold"}
    offer = {"externalId": "ann", "itemId": "sword", "quantity": 1, "currencyId": "gold"}
    made = {}
    for name, path, body in (
        ("grant", "/grant", of_ann | {"amount": 50, "reason": "level 3", "reference": "r-1"}),
        ("spend", "/spend", of_ann | {"amount": 20}),
        ("gems", "/grant", {"externalId": "bob", "currencyId": "gems", "amount": 5}),
        ("transfer", "/transfer", {"fromExternalId": "bob", "toExternalId": GUILD, "currencyId": "gold", "amount": 7}),
        ("purchase", "/purchase", {"externalId": "ann", "itemId": "sword", "quantity": 3}),
        ("cheap", "/marketplace/list", offer | {"price": 5}),
        ("dear", "/marketplace/list", offer | {"price": 60, "expiresAt": "2999-01-01T00:00:00Z"}),
    ):
        told = data_of(await server.post(path, body))
        made[name] = told["transactionId"]
        if "listingId" in told:
            made[f"{name} listing"] = told["listingId"]
    bought = {"externalId": "bob", "listingId": made["cheap listing"]}
    made["buy"] = data_of(await server.post("/marketplace/buy", bought))["transactionId"]
    undone = await server.post(f"/transactions/{made['spend']}/reverse", {"reason": "a bug"})
    made["reversal"] = data_of(undone)["transactionId"]
    return made


async def pages(server: Server, path: str, name: str) -> list[Any]:
    """All rows of a list, three at a time."""
    rows, cursor = [], ""
    while True:
        page = await server.data(f"{path}{'&' if '?' in path else '?'}limit=3{cursor}")
        assert len(page[name]) <= 3
        rows += page[name]
        if page["nextCursor"] is None:
            return rows
        cursor = f"&cursor={page['nextCursor']}"


def test_transactions_are_listed_and_filtered(database_url: str, relay_at: Any) -> None:
    """Newest first, in pages; each filter; one alone says the same."""

    async def scenario(server: Server) -> None:
        made = await played(server)
        every = await pages(server, "/transactions", "transactions")
        assert [one["sequence"] for one in every] == list(range(len(every)))[::-1]
        assert every[0]["transactionId"] == made["reversal"]
        by_id = {one["transactionId"]: one for one in every}
        for query, names in (
            ("type=grant", ("gems", "grant")),
            ("source=marketplace", ("buy", "dear", "cheap")),
            ("type=list&source=marketplace&item=sword", ("dear", "cheap")),
            ("currency=gems", ("gems",)),
            ("player=guild%2Fof%20a%2Bb%20%C3%A9&type=transfer", ("transfer",)),
            ("player=bob&currency=gold&source=server", ("transfer",)),
            (f"to={by_id[made['grant']]['at']}&type=grant", ()),
            (f"from={by_id[made['grant']]['at']}&type=reversal&player=ann", ("reversal",)),
            ("player=nobody", ()),
        ):
            found = await pages(server, f"/transactions?{query}", "transactions")
            assert [one["transactionId"] for one in found] == [made[name] for name in names], query
        spend = await server.data(f"/transactions/{made['spend']}")
        assert spend == by_id[made["spend"]]
        assert spend["moves"] == [
            {"asset": "currency:gold", "currencyId": "gold", "itemId": None, "amount": 20, "from": "player:ann",
             "to": "burn"}
        ]  # fmt: skip
        assert (spend["reversedBy"], spend["reverses"], spend["anchored"]) == (made["reversal"], None, False)
        assert (spend["source"], spend["actor"], spend["configVersion"]) == ("server", server.key_id, 0)
        grant = by_id[made["grant"]]
        assert (grant["reason"], grant["reference"]) == ("level 3", "r-1")
        assert spend["previous"] == grant["hash"]

    with_server(database_url, relay_at, scenario)


def test_balances_inventories_and_the_marketplace(database_url: str, relay_at: Any) -> None:
    """What is held for a player is told apart; ids are whatever text they are; listings are filtered."""

    async def scenario(server: Server) -> None:
        made = await played(server)
        ann = await server.data("/players/ann/balance")
        assert ann == {
            "externalId": "ann", "displayName": "ANN", "address": None,
            "balances": [{"currencyId": "gold", "balance": 65, "held": 0, "frozen": False}],
        }  # fmt: skip
        assert (await server.data("/players/ann/inventory"))["items"] == [
            {"itemId": "sword", "quantity": 1, "escrowed": 1, "frozen": False}
        ]
        bob = await server.data("/players/bob/balance")
        assert [(one["currencyId"], one["balance"]) for one in bob["balances"]] == [("gems", 5), ("gold", 88)]
        guild = await server.data(f"/players/{GUILD}/balance")  # as the server hands on a percent-encoded path
        assert [(one["currencyId"], one["balance"]) for one in guild["balances"]] == [("gold", 107)]
        assert (await server.data(f"/players/{GUILD}/inventory"))["items"] == []
        check_refused(await server.call("GET", "/players/nobody/balance"), 404, "PLAYER_UNKNOWN")
        check_refused(await server.call("GET", "/players/a\0b/balance"), 404, "PLAYER_UNKNOWN")
        (dear,) = await pages(server, "/marketplace", "listings")
        assert dear == {
            "listingId": made["dear listing"], "seller": "ann", "itemId": "sword", "quantity": 1, "currencyId": "gold",
            "price": 60, "taxBps": 0, "tax": 0, "listedAt": dear["listedAt"], "expiresAt": "2999-01-01T00:00:00.000Z",
        }  # fmt: skip
        for query, count in (("seller=ann&item=sword&currency=gold", 1), ("seller=bob", 0), ("item=axe", 0)):
            assert len(await pages(server, f"/marketplace?{query}", "listings")) == count

    with_server(database_url, relay_at, scenario)


def test_the_numbers_add_up(database_url: str, relay_at: Any) -> None:
    """Supply now is the last level of its series; operations and refusals are those that were made."""

    async def scenario(server: Server) -> None:
        empty = await server.data("/stats")
        assert (empty["supply"], empty["transactions"], len(empty["series"]["times"])) == ([], 0, 60)
        await played(server)
        for _ in range(2):
            check_refused(
                await server.post("/spend", {"externalId": "ann", "currencyId": "gold", "amount": 900}),
                409, "INSUFFICIENT_BALANCE",
            )  # fmt: skip
        for window, steps in (("1h", 60), ("24h", 96), ("30d", 120)):
            told = await server.data(f"/stats?window={window}")
            gold = next(one for one in told["supply"] if one["currencyId"] == "gold")
            where = {name: gold[name] for name in ("minted", "burned", "taxed", "escrowed", "circulating")}
            assert where == {"minted": 350, "burned": 90, "taxed": 0, "escrowed": 0, "circulating": 260}
            series = told["series"]
            levels = next(one for one in series["supply"] if one["currencyId"] == "gold")
            assert {name: levels[name][-1] for name in where} == where
            assert {levels[name][0] for name in where} == {0}
            assert {len(levels[name]) for name in where} | {len(series["times"])} == {steps}
            done = {one["action"]: one["total"] for one in series["operations"]}
            assert done == {"grant": 2, "marketplace_list": 2, "spend": 1, "transfer": 1, "purchase": 1,
                            "marketplace_buy": 1, "reverse": 1}  # fmt: skip
            assert [(one["code"], sum(one["counts"])) for one in series["refusals"]] == [("INSUFFICIENT_BALANCE", 2)]
        assert (told["players"], told["transactions"], told["openListings"]) == (3, told["ledger"]["size"], 1)
        assert told["declared"] == {"currencies": 2, "items": 1, "recipes": 0, "lootTables": 0}
        assert told["items"] == [
            {"itemId": "sword", "name": "Sword", "minted": 3, "burned": 0, "escrowed": 1, "circulating": 2}
        ]
        newest = (await server.data("/transactions?limit=1"))["transactions"][0]
        assert told["ledger"] == {"size": 12, "head": newest["hash"], "anchored": 0, "checkpoint": None}

    with_server(database_url, relay_at, scenario)


def test_answers_are_as_documented_and_for_those_who_may(sqlite_url: str, relay_at: Any) -> None:
    """Each route: a server's own game, any game for an auditor who names it, nobody else; nothing of other games."""

    async def scenario(server: Server) -> None:
        made = await played(server)
        api = (await server.relay.request("GET", "/openapi.json")).json
        auditor, other = Server(server.relay, "auditor", None), Server(server.relay, "server", "go")
        client = Server(server.relay, "client")
        one = f"/transactions/{made['grant']}"
        for path, template in {**TEMPLATES, one: "/transactions/{transactionId}"}.items():
            reply = await server.call("GET", path)
            check_answer(api, "GET", f"/api/economy{template}", reply)
            assert reply.headers["cache-control"] == "no-store"
            check_refused(await client.call("GET", path), 403, "FORBIDDEN_ROLE")
            assert (await server.relay.request("GET", f"/api/economy{path}")).status == 401
            check_refused(await other.call("GET", f"{path}?gameId=chess"), 403, "FORBIDDEN_GAME")
        assert (await auditor.data("/stats?gameId=streambeat"))["gameId"] == "streambeat"
        check_refused(await auditor.call("GET", "/stats"), 400, "GAME_REQUIRED")
        check_refused(await auditor.call("GET", "/stats?gameId=none"), 404, "GAME_UNKNOWN")
        check_refused(await other.call("GET", one), 404, "TRANSACTION_UNKNOWN")
        check_refused(await other.call("GET", "/players/ann/balance"), 404, "PLAYER_UNKNOWN")
        assert (await other.data("/transactions"))["transactions"] == []
        assert (await other.data("/marketplace"))["listings"] == []

    with_server(sqlite_url, relay_at, scenario)


@pytest.mark.parametrize(
    ("path", "pointer"),
    [
        ("/transactions?type=gift", "?type"),
        ("/transactions?currency=gold&item=sword", "?item"),
        ("/transactions?player=%20x", "?player"),
        ("/transactions?player=a%00b", "?player"),
        ("/transactions?from=yesterday", "?from"),
        ("/transactions?to=2026-01-01T00:00:00", "?to"),
        ("/transactions?cursor=seq_1", "?cursor"),
        ("/transactions?cursor=c2VxX3p6", "?cursor"),
        ("/transactions?cursor=c2VxXzk5OTk5OTk5OTk5OTk5OTk5OTk5OTk5", "?cursor"),
        ("/transactions?limit=0", "?limit"),
        ("/marketplace?cursor=x", "?cursor"),
        ("/stats?window=1y", "?window"),
        ("/stats?windows=1h", "?windows"),
    ],
)
def test_what_is_asked_wrongly_is_named(sqlite_url: str, relay_at: Any, path: str, pointer: str) -> None:
    """Each wrong parameter by its name."""

    async def scenario(server: Server) -> None:
        check_refused(await server.call("GET", path), 400, "QUERY_INVALID", pointer)

    with_server(sqlite_url, relay_at, scenario)


def test_the_metrics_tell_what_happened(sqlite_url: str, relay_at: Any) -> None:
    """Operations by outcome, replays, group sizes; what is not anchored; listings; flags."""

    async def scenario(server: Server) -> None:
        await played(server)
        grant = {"externalId": "ann", "currencyId": "gold", "amount": 1, "idempotencyKey": "k"}
        for _ in range(3):
            data_of(await server.post("/grant", grant))
        check_refused(
            await server.post("/grant", grant | {"amount": 2_000_000, "idempotencyKey": "l"}),
            422, "MAX_AMOUNT_EXCEEDED",
        )  # fmt: skip
        page = (await server.relay.request("GET", "/metrics")).body.decode()
        found = dict(line.rsplit(" ", 1) for line in page.splitlines() if not line.startswith("#"))
        prefix = "fairscore_economy_"
        for name, value in {
            'operations_total{action="grant",outcome="ok"}': 3,
            'operations_total{action="grant",outcome="MAX_AMOUNT_EXCEEDED"}': 1,
            "replays_total": 2,
            "games": 1,
            "ledger_transactions": 13,
            "unanchored_transactions": 13,
            "unhashed_transactions": 13,
            "listings": 1,
            "listings_overdue": 0,
            'checkpoints{state="waiting"}': 0,
            'open_flags{code="MAX_AMOUNT_EXCEEDED"}': 1,
            'open_flags{code="LEDGER_CONTRADICTED"}': 0,
        }.items():
            assert float(found[prefix + name]) == value, name
        assert float(found[prefix + "group_size_count"]) >= 13

    with_server(sqlite_url, relay_at, scenario)
