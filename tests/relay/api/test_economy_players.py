"""Players of an economy over HTTP: declared, with opening balances; many at once; found again."""

import asyncio
from typing import Any

from tests.harness.economy_http import Server, check_refused, data_of, with_server
from tests.relay.api.test_openapi import check_answer

ADDRESS = "0x52908400098527886E0F7030069857D2E4169EE7"
OTHER = "0xde709f2102306220921060314715629080e2fb77"
CURRENCIES = (
    {"currencyId": "gold", "name": "Gold", "icon": "g"},
    {"currencyId": "gems", "name": "Gems", "icon": "*", "maxBalance": 50},
)


def owning(external_id: str, **balances: int) -> dict[str, Any]:
    """A player with opening balances."""
    wallets = [{"currencyId": name, "balance": amount} for name, amount in balances.items()]
    return {"externalId": external_id, "wallets": wallets}


async def with_currencies(server: Server) -> None:
    """Declare the currencies."""
    for currency in CURRENCIES:
        data_of(await server.post("/currencies", currency), 201)


def test_opening_balances_count_at_the_creation_only(database_url: str, relay_at: Any) -> None:
    """They are one transaction of the ledger, of source `system`, under the settings in force; and never again."""

    async def scenario(server: Server) -> None:
        api = (await server.relay.request("GET", "/openapi.json")).json
        await with_currencies(server)
        data_of(await server.call("PATCH", "/config", {"enabled": False}))
        body = owning("ann", gold=100, gems=50) | {"displayName": "Ann", "address": ADDRESS}
        replies = [await server.post("/players", body) for _ in range(2)]
        made, again = (data_of(reply) for reply in replies)
        assert [reply.status for reply in replies] == [201, 200]
        assert (made["created"], made["source"], made["configVersion"]) == (True, "system", 1)
        assert made["balances"] == [
            {"externalId": "ann", "currencyId": "gems", "balance": 50},
            {"externalId": "ann", "currencyId": "gold", "balance": 100},
        ]
        assert (made["displayName"], made["address"]) == ("Ann", ADDRESS)
        assert (again["created"], again["transactionId"], again["balances"]) == (False, None, [])
        replay = await server.check_ledger()
        assert (replay.balances["player:ann", "currency:gold"], replay.balances["mint", "currency:gold"]) == (100, -100)
        bare = data_of(await server.post("/players", owning("bob", gold=0)), 201)
        assert (bare["created"], bare["transactionId"]) == (True, None)
        assert (await server.check_ledger()).sequence == 1
        for reply in replies:
            check_answer(api, "POST", "/api/economy/players", reply)

    with_server(database_url, relay_at, scenario)


def test_a_repeated_declaration_changes_what_it_names(database_url: str, relay_at: Any) -> None:
    """What is left out stays as it was; null takes it away."""

    async def scenario(server: Server) -> None:
        async def put(**fields: object) -> tuple[str | None, str | None]:
            shown = data_of(await server.post("/players", {"externalId": "ann"} | fields))
            return shown["displayName"], shown["address"]

        assert await put(displayName="Ann", address=ADDRESS) == ("Ann", ADDRESS)
        assert await put() == ("Ann", ADDRESS)
        assert await put(displayName="A\x00nn") == ("A\ufffdnn", ADDRESS)
        assert await put(address=OTHER) == ("A\ufffdnn", OTHER)
        assert await put(displayName=None) == (None, OTHER)
        assert await put(address=None, displayName="") == ("", None)

    with_server(database_url, relay_at, scenario)


def test_what_cannot_be_booked_creates_nobody(database_url: str, relay_at: Any) -> None:
    """A balance above the currency's, a currency that is none: refused as a whole; declared rightly, created."""

    async def scenario(server: Server) -> None:
        await with_currencies(server)
        check_refused(await server.post("/players", owning("a", gold=1, gems=51)), 409, "MAX_BALANCE_EXCEEDED")
        for silver in (0, 1):
            check_refused(await server.post("/players", owning("a", gold=1, silver=silver)), 404, "CURRENCY_UNKNOWN")
        assert await server.count("economy_players") == await server.count("ledger_transactions") == 0
        data_of(await server.post("/players", owning("a", gold=2**53 - 1)), 201)
        check_refused(await server.post("/players", owning("b", gold=1)), 409, "SUPPLY_EXCEEDED")
        assert (await server.check_ledger()).sequence == 1

    with_server(database_url, relay_at, scenario)


def test_each_line_of_a_batch_is_told(database_url: str, relay_at: Any) -> None:
    """Lines stand for themselves, in order; a refused one takes nothing down; the whole answer is kept for its key."""

    async def scenario(server: Server) -> None:
        api = (await server.relay.request("GET", "/openapi.json")).json
        await with_currencies(server)
        data_of(await server.post("/players", owning("old", gold=1)), 201)
        lines = [
            owning("new", gold=5, gems=5), owning("old", gold=9), owning("rich", gems=51), owning("new", gold=7),
            owning("rich", gems=50), owning("lost", silver=1) | {"displayName": "Lost"},
        ]  # fmt: skip
        reply = await server.post("/players/batch", {"players": lines}, idempotency_key="b")
        check_answer(api, "POST", "/api/economy/players/batch", reply)
        told = data_of(reply, 200)
        assert (told["created"], told["updated"], told["refused"]) == (2, 2, 2)
        assert [(line["externalId"], line["code"] or line["player"]["created"]) for line in told["players"]] == [
            ("new", True), ("old", False), ("rich", "MAX_BALANCE_EXCEEDED"), ("new", False), ("rich", True),
            ("lost", "CURRENCY_UNKNOWN"),
        ]  # fmt: skip
        assert told["players"][2]["reason"] == "rich would own 51 of gems, and 50 is the most allowed."
        replay = await server.check_ledger()
        balances = {key: amount for key, amount in replay.balances.items() if key[0].startswith("player:") and amount}
        assert balances == {
            ("player:old", "currency:gold"): 1, ("player:new", "currency:gold"): 5, ("player:new", "currency:gems"): 5,
            ("player:rich", "currency:gems"): 50,
        }  # fmt: skip
        again = await server.post("/players/batch", {"players": lines}, idempotency_key="b")
        assert (again.body, again.headers["idempotent-replayed"]) == (reply.body, "true")
        assert (await server.check_ledger()).sequence == 3
        many = [owning(f"p{n}", gold=1) for n in range(101)]
        check_refused(await server.post("/players/batch", {"players": many}), 400, "PAYLOAD_MALFORMED", "/players")
        check_refused(await server.post("/players/batch", {"players": []}), 400, "PAYLOAD_MALFORMED", "/players")
        assert data_of(await server.post("/players/batch", {"players": many[:100]}), 200)["created"] == 100

    with_server(database_url, relay_at, scenario)


WRONG: list[tuple[dict[str, Any], str, list[str]]] = [
    ({}, "PAYLOAD_MALFORMED", ["/externalId"]),
    ({"externalId": ""}, "PAYLOAD_MALFORMED", ["/externalId"]),
    ({"externalId": "\x00"}, "PAYLOAD_MALFORMED", ["/externalId"]),
    ({"externalId": "a "}, "PAYLOAD_MALFORMED", ["/externalId"]),
    ({"externalId": "a", "balance": 1}, "PAYLOAD_MALFORMED", ["/balance"]),
    ({"externalId": "a", "address": "0x12"}, "PLAYER_INVALID", ["/address"]),
    ({"externalId": "a", "address": "0x" + "0" * 40}, "PLAYER_INVALID", ["/address"]),
    ({"externalId": "a", "address": ADDRESS.replace("E", "e")}, "PLAYER_INVALID", ["/address"]),
    (owning("a", gold=-1), "PAYLOAD_MALFORMED", ["/wallets/0/balance"]),
    (owning("a", gold=2**53), "PAYLOAD_MALFORMED", ["/wallets/0/balance"]),
    ({"externalId": "a", "wallets": [{"currencyId": "gold", "balance": 1}] * 2}, "PAYLOAD_MALFORMED",
     ["/wallets/1/currencyId"]),
    ({"externalId": "\u2028", "wallets": [{"currencyId": "\n", "balance": 1}]}, "PAYLOAD_MALFORMED",
     ["/externalId", "/wallets/0/currencyId"]),
]  # fmt: skip


def test_wrong_fields_are_named(sqlite_url: str, relay_at: Any) -> None:
    """By pointer, in a batch with the line; then no line takes effect."""

    async def scenario(server: Server) -> None:
        for body, code, pointers in WRONG:
            check_refused(await server.post("/players", body), 400, code, *pointers)
            batch = {"players": [{"externalId": "fine"}, body]}
            lines = [f"/players/1{pointer}" for pointer in pointers]
            check_refused(await server.post("/players/batch", batch), 400, code, *lines)
        inner = {"players": [{"externalId": "a", "idempotencyKey": "k"}]}
        check_refused(await server.post("/players/batch", inner), 400, "PAYLOAD_MALFORMED", "/players/0/idempotencyKey")
        assert await server.count("economy_players") == 0

    with_server(sqlite_url, relay_at, scenario)


def test_of_many_who_create_a_player_one_does(database_url: str, relay_at: Any) -> None:
    """Twenty at the same moment, alone and in batches: one opening transaction."""

    async def scenario(server: Server) -> None:
        await with_currencies(server)
        body = owning("ann", gold=10)
        single = (server.post("/players", body) for _ in range(10))
        batches = (server.post("/players/batch", {"players": [body, owning("bob", gems=1)]}) for _ in range(10))
        replies = await asyncio.gather(*single, *batches)
        told = [data_of(reply) for reply in replies]
        assert sum(one["created"] for one in told) == 2
        replay = await server.check_ledger()
        assert replay.sequence == 2
        assert (replay.balances["player:ann", "currency:gold"], replay.balances["player:bob", "currency:gems"]) == (
            10,
            1,
        )

    with_server(database_url, relay_at, scenario)


def test_replicas_create_a_player_once(database_url: str, relay_at: Any) -> None:
    """Two relays on one database, a retry of each request at the other: one effect each, and the same answers."""

    async def scenario() -> None:
        async with relay_at(database_url) as first, relay_at(database_url) as second:
            servers = (Server(first), Server(second))
            await with_currencies(servers[0])
            asks = [(owning(f"p{n % 4}", gold=n + 1), f"k{n}") for n in range(12)]
            calls = [server.post("/players", body, idempotency_key=key) for body, key in asks for server in servers]
            replies = await asyncio.gather(*calls)
            for one, retry in zip(replies[::2], replies[1::2], strict=True):
                assert (one.status, one.body) == (retry.status, retry.body)
                assert ("idempotent-replayed" in one.headers) != ("idempotent-replayed" in retry.headers)
            assert sum(data_of(reply)["created"] for reply in replies) == 8  # four, each told twice
            assert (await servers[0].check_ledger()).sequence == 4

    asyncio.run(scenario())


def test_players_are_found_by_part_of_id_or_name(database_url: str, relay_at: Any) -> None:
    """In any case; what means something to LIKE means itself; in pages, of the own game."""

    async def scenario(server: Server) -> None:
        names = {"u_1": "Ann", "u%2": "anna", "u-3": None, "Zoë/4": "Bob"}
        for external_id, name in names.items():
            data_of(await server.post("/players", {"externalId": external_id, "displayName": name}), 201)
        data_of(await Server(server.relay, game_id="go").post("/players", {"externalId": "ann"}), 201)

        async def found(query: str) -> set[str]:
            shown = await server.data(f"/players{query}")
            return {player["externalId"] for player in shown["players"]}

        assert await found("") == set(names)
        assert await found("?search=ANN") == {"u_1", "u%2"}
        assert await found("?search=_") == {"u_1"}
        assert await found("?search=%25") == {"u%2"}
        assert await found("?search=Zo%C3%AB/") == {"Zoë/4"}
        assert await found("?search=%00") == set()
        pages: list[int] = []
        cursor: str | None = ""
        while cursor is not None:
            page = await server.data(f"/players?limit=3{cursor and '&cursor='}{cursor}")
            pages.append(len(page["players"]))
            cursor = page["nextCursor"]
        assert pages == [3, 1]
        check_refused(await Server(server.relay, "client").call("GET", "/players"), 403, "FORBIDDEN_ROLE")
        assert (await Server(server.relay, "auditor").call("GET", "/players")).status == 200

    with_server(database_url, relay_at, scenario)
