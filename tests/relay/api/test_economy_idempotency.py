"""One effect for one key, and for one reference: retries, other bodies, other processes, a lost answer."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any

from sqlalchemy import text

from relay.store import kept_answers
from tests.harness.economy_http import Server, check_refused, data_of, with_server

GRANT = {"externalId": "ann", "currencyId": "gold", "amount": 5}
DAY_MS = 86_400_000


async def found(server: Server) -> None:
    """A game with gold, a player of 10 gold, and a loot table of nothing."""
    data_of(await server.post("/currencies", {"currencyId": "gold", "name": "Gold", "icon": "g"}))
    data_of(await server.post("/loot-tables", {"lootTableId": "air", "rolls": 1, "entries": [{"weight": 1}]}))
    for name in ("ann", "bob"):
        wallets = [{"currencyId": "gold", "balance": 10}]
        data_of(await server.post("/players", {"externalId": name, "wallets": wallets}))


def play(url: str, relay_at: Any, scenario: Callable[[Server], Awaitable[None]]) -> None:
    """Run a scenario in a founded game, and look at the whole ledger afterwards."""

    async def all_of_it(server: Server) -> None:
        await found(server)
        await scenario(server)
        await server.check_ledger()

    with_server(url, relay_at, all_of_it)


async def balance(server: Server, external_id: str = "ann") -> int:
    """What a player has of gold."""
    (one,) = (await server.data(f"/players/{external_id}/balance"))["balances"]
    return int(one["balance"])


def test_a_retry_hears_the_first_answer(database_url: str, relay_at: Any) -> None:
    """The same bytes, marked, and nothing more happens; the key may come in the header or in the body."""

    async def scenario(server: Server) -> None:
        first = await server.post("/grant", GRANT, idempotency_key="k-1")
        assert "idempotent-replayed" not in first.headers
        for again in (
            await server.post("/grant", GRANT, idempotency_key='"k-1"'),
            await server.post("/grant", GRANT | {"idempotencyKey": "k-1"}),
            await server.post("/grant", GRANT | {"idempotencyKey": "k-1"}, idempotency_key="k-1"),
        ):
            assert (again.status, again.body) == (first.status, first.body)
            assert again.headers["idempotent-replayed"] == "true"
        assert await balance(server) == 15
        both = await server.post("/grant", GRANT | {"idempotencyKey": "k-2"}, idempotency_key="k-1")
        check_refused(both, 400, "IDEMPOTENCY_KEY_INVALID")
        for path in ("/grant", "/currencies"):  # an empty key is no way to say that there is none
            body = GRANT if path == "/grant" else {"currencyId": "tin", "name": "Tin", "icon": "t"}
            check_refused(await server.post(path, body | {"idempotencyKey": ""}), 400, "IDEMPOTENCY_KEY_INVALID")
        assert await balance(server) == 15

    play(database_url, relay_at, scenario)


def test_a_key_is_of_one_request_of_one_route(database_url: str, relay_at: Any) -> None:
    """Another body is refused and not done; another route or game has keys of its own."""

    async def scenario(server: Server) -> None:
        data_of(await server.post("/grant", GRANT, idempotency_key="k"))
        for change in ({"amount": 6}, {"externalId": "bob"}, {"reason": "why"}, {"reference": "r"}):
            other = await server.post("/grant", GRANT | change, idempotency_key="k")
            check_refused(other, 422, "IDEMPOTENCY_KEY_REUSED")
        data_of(await server.post("/spend", GRANT, idempotency_key="k"))
        go = Server(server.relay, game_id="go")
        await found(go)
        data_of(await go.post("/grant", GRANT, idempotency_key="k"))
        assert (await balance(server), await balance(go)) == (10, 15)
        assert data_of(await server.post("/grant", GRANT, idempotency_key="k"))["balances"][0]["balance"] == 15

    play(database_url, relay_at, scenario)


def test_reversals_of_two_transactions_are_two_requests(database_url: str, relay_at: Any) -> None:
    """The path belongs to what a key stands for."""

    async def scenario(server: Server) -> None:
        ids = [data_of(await server.post("/grant", GRANT))["transactionId"] for _ in range(2)]
        why = {"reason": "r"}
        data_of(await server.post(f"/transactions/{ids[0]}/reverse", why, idempotency_key="k"))
        other = await server.post(f"/transactions/{ids[1]}/reverse", why, idempotency_key="k")
        check_refused(other, 422, "IDEMPOTENCY_KEY_REUSED")
        assert await balance(server) == 15

    play(database_url, relay_at, scenario)


def test_refusals_are_kept_and_limits_are_not(database_url: str, relay_at: Any) -> None:
    """What was refused for want of money stays refused under its key; what came too often may come again."""

    async def scenario(server: Server) -> None:
        spend = GRANT | {"amount": 11}
        refused = await server.post("/spend", spend, idempotency_key="poor")
        check_refused(refused, 409, "INSUFFICIENT_BALANCE")
        data_of(await server.post("/grant", GRANT))
        again = await server.post("/spend", spend, idempotency_key="poor")
        assert (again.status, again.body) == (409, refused.body)
        assert again.headers["idempotent-replayed"] == "true"
        assert (await server.call("PATCH", "/config", {"rateLimits": {"transfer": 1}})).status == 200
        move = {"fromExternalId": "ann", "toExternalId": "bob", "currencyId": "gold", "amount": 1}
        data_of(await server.post("/transfer", move, idempotency_key="first"))
        for _ in range(3):
            replayed = await server.post("/transfer", move, idempotency_key="first")
            assert (replayed.status, replayed.headers["idempotent-replayed"]) == (200, "true")
        check_refused(await server.post("/transfer", move, idempotency_key="later"), 429, "RATE_LIMITED")
        assert (await server.call("PATCH", "/config", {"rateLimits": {"transfer": 2}})).status == 200
        assert data_of(await server.post("/transfer", move, idempotency_key="later"))["configVersion"] == 2

    play(database_url, relay_at, scenario)


def test_fifty_at_once_are_one(database_url: str, relay_at: Any) -> None:
    """Fifty requests with one key on two relays of one database: one effect, and everybody hears of that one."""

    async def run() -> None:
        async with relay_at(database_url) as first, relay_at(database_url) as second:
            here = Server(first)
            await found(here)
            there = Server(second)
            replies = await asyncio.gather(
                *((here, there)[n % 2].post("/grant", GRANT, idempotency_key="k") for n in range(50))
            )
            assert {(reply.status, reply.body) for reply in replies} == {(200, replies[0].body)}
            assert Counter(reply.headers.get("idempotent-replayed") for reply in replies) == {None: 1, "true": 49}
            assert await balance(here) == 15
            await here.check_ledger()

    asyncio.run(run())


def test_one_key_and_two_bodies_at_once(database_url: str, relay_at: Any) -> None:
    """Within one group, too, the key is of whichever came first."""

    async def scenario(server: Server) -> None:
        replies = await asyncio.gather(
            *(server.post("/grant", GRANT | {"amount": 1 + n % 2}, idempotency_key="k") for n in range(10))
        )
        assert Counter(reply.status for reply in replies) == {200: 5, 422: 5}
        assert await balance(server) == 11

    play(database_url, relay_at, scenario)


def test_a_reference_is_used_once_for_ever(database_url: str, relay_at: Any) -> None:
    """After the key is forgotten, too: the first operation is named, and nothing is done again."""

    async def scenario(server: Server) -> None:
        named = GRANT | {"reference": "order 1"}
        first = data_of(await server.post("/grant", named, idempotency_key="k/grantann"))
        forget = kept_answers.sweep
        await server.relay.writer.run(lambda c: forget(c, server.relay.database.now_ms(c) + DAY_MS))
        for path, body in (("/grant", named), ("/spend", named), ("/grant", named | {"externalId": "bob"})):
            refused = await server.post(path, body, idempotency_key=f"k{path}{body['externalId']}")
            check_refused(refused, 409, "REFERENCE_EXISTS")
            assert refused.json["transactionId"] == first["transactionId"]
        both = await asyncio.gather(*(server.post("/grant", GRANT | {"reference": "order 2"}) for _ in range(2)))
        assert sorted(reply.status for reply in both) == [200, 409]
        assert await balance(server) == 20

    play(database_url, relay_at, scenario)


def test_a_roll_of_nothing_uses_its_reference(database_url: str, relay_at: Any) -> None:
    """Nobody rolls again under the same reference because nothing came out; the roll is named."""

    async def scenario(server: Server) -> None:
        roll = {"externalId": "ann", "lootTableId": "air", "reference": "chest 1"}
        first = data_of(await server.post("/loot/roll", roll))
        assert first["transactionId"] is None
        for path, body in (("/loot/roll", roll), ("/grant", GRANT | {"reference": "chest 1"})):
            refused = await server.post(path, body)
            check_refused(refused, 409, "REFERENCE_EXISTS")
            assert refused.json["rollId"] == first["rollId"]
        spent = GRANT | {"reference": "chest 2"}
        paid = data_of(await server.post("/grant", spent))
        refused = await server.post("/loot/roll", roll | {"reference": "chest 2"})
        check_refused(refused, 409, "REFERENCE_EXISTS")
        assert refused.json["transactionId"] == paid["transactionId"]
        both = await asyncio.gather(*(server.post("/loot/roll", roll | {"reference": "chest 3"}) for _ in range(2)))
        assert sorted(reply.status for reply in both) == [200, 409]

    play(database_url, relay_at, scenario)


def test_chance_is_not_asked_twice(database_url: str, relay_at: Any) -> None:
    """A roll that is retried with its key is the same roll."""

    async def scenario(server: Server) -> None:
        entries = [{"currencyId": "gold", "amount": 1 + n, "weight": 1} for n in range(100)]
        data_of(await server.post("/loot-tables", {"lootTableId": "wheel", "rolls": 1, "entries": entries}))
        roll = {"externalId": "ann", "lootTableId": "wheel"}
        bodies = {(await server.post("/loot/roll", roll, idempotency_key="k")).body for _ in range(5)}
        assert len(bodies) == 1
        rolls = await server.relay.database.read(lambda c: c.scalar(text("SELECT count(*) FROM economy_rolls")))
        assert rolls == 1

    play(database_url, relay_at, scenario)
