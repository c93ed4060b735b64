"""The journey of a group of operations, without HTTP: one commit, one look at everything, one poison order."""

import asyncio
import random
from collections.abc import Iterator
from contextlib import closing
from decimal import Decimal
from functools import partial
from typing import Any

import msgspec
import pytest
from sqlalchemy import Connection, event, func, select

from relay import economy_group
from relay.api.economy_answers import render
from relay.economy.catalog import Item, LootEntry, LootTable, Output, Price, Recipe, Stack
from relay.economy.config import patched
from relay.economy.drafts import By
from relay.economy.players import Currency, Player
from relay.economy.requests import (
    Asked,
    BuyRequest,
    CancelRequest,
    CraftRequest,
    GrantRequest,
    ListRequest,
    LootRequest,
    Operation,
    PurchaseRequest,
    ReverseRequest,
    SpendRequest,
    TransferRequest,
)
from relay.economy_entries import Order, Reply
from relay.economy_intake import EconomyIntake
from relay.errors import OurError
from relay.store import catalog, controls, economy_config, ledger, ledger_view, migrate, wallets
from relay.store.economy_tables import ledger_transactions
from relay.store.engine import Database, open_database
from relay.store.intake import intake_store
from relay.store.kept_answers import Claim
from relay.store.tables import audit_flags, kept_answers
from relay.store.tally_tables import economy_operation_tallies, economy_supply_tallies
from relay.store.transfers_seen import counted
from relay.store.writer import Writer
from tests.harness.ledgers import NOW, check_ledger

GAMES = ("chess", "go")
DECLARED = (
    Item("iron", "Iron", prices=(Price("gold", 3),)),
    Recipe("blade", (Output("iron", 1, Decimal("0.5")),), inputs=(Stack("iron", 1),), costs=(Price("gold", 1),)),
    LootTable("chest", (LootEntry(1, item_id="iron", quantity=3), LootEntry(1))),
)


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    with closing(open_database(database_url)) as found:
        migrate.upgrade(found, "relay")
        with found.write() as c:
            for game_id in GAMES:
                found_game(c, game_id)
        yield found


def found_game(c: Connection, game_id: str) -> None:
    """60 players of 1,000 gold, and something of every kind that is declared."""
    wallets.put_currency(c, game_id, Currency("gold", "Gold", "g"), NOW)
    people = [Player(f"p{n}", wallets=(("gold", 1_000),)) for n in range(60)]
    wallets.put_players(c, game_id, people, By("server", "k", 0), NOW)
    book = ledger.open_books(c, [game_id])[game_id]
    for one in DECLARED:
        assert catalog.declare(c, book, one, "key_1", NOW) == 1


def order(body: Operation, key: str | None = None, game_id: str = "chess", **more: Any) -> Order:
    claim = None if key is None else Claim(key.encode().rjust(32), b"r" * 32)
    return Order(game_id, Asked(body, "server", "key_1", **more), "req_1", claim)


def grant(player: str, amount: int = 5, key: str | None = None, game_id: str = "chess") -> Order:
    return order(GrantRequest(external_id=player, currency_id="gold", amount=amount), key, game_id)


def declare(game_id: str, people: list[Player], c: Connection) -> None:
    wallets.put_players(c, game_id, people, By("server", "k", 0), NOW)


def process(database: Database, orders: list[Order]) -> list[Reply]:
    """Commit one group."""
    with database.write() as c:
        return economy_group.process(c, intake_store(database), orders, render)


def check(database: Database) -> None:
    """All that must hold of both ledgers."""
    for game_id in GAMES:
        database.read_now(lambda c, game_id=game_id: check_ledger(c, game_id))  # type: ignore[misc]


def statements_of(database: Database, orders: list[Order]) -> int:
    """How many statements SQLAlchemy sends for a group, whatever the number of their rows."""
    seen: list[str] = []

    def note(_c: object, _cursor: object, statement: str, *_: object) -> None:
        seen.append(statement)

    event.listen(database.engine, "before_cursor_execute", note)
    try:
        assert {reply.kept.status for reply in process(database, orders)} == {200}
    finally:
        event.remove(database.engine, "before_cursor_execute", note)
    return len(seen)


def everything(database: Database, players: list[str]) -> list[Order]:
    """One operation of every kind for each player; of listings and reversals what was made in a group before."""
    of: dict[str, Any] = {"currency_id": "gold"}
    first: list[Order] = []
    for name in players:
        first += [
            order(PurchaseRequest(external_id=name, item_id="iron", quantity=9)),
            order(ListRequest(external_id=name, item_id="iron", quantity=1, price=7, **of)),
            order(ListRequest(external_id=name, item_id="iron", quantity=1, price=7, **of)),
            grant(name),
        ]
    made = [document(reply) for reply in process(database, first)]
    orders: list[Order] = []
    for n, name in enumerate(players):
        sold, taken_back, granted = made[4 * n + 1], made[4 * n + 2], made[4 * n + 3]
        buyer = players[n - 1]
        orders += [
            grant(name, key=f"g{name}"),
            order(SpendRequest(external_id=name, amount=1, **of)),
            order(TransferRequest(from_external_id=name, to_external_id=buyer, amount=1, **of)),
            order(PurchaseRequest(external_id=name, item_id="iron")),
            order(CraftRequest(external_id=name, recipe_id="blade")),
            order(LootRequest(external_id=name, loot_table_id="chest")),
            order(ListRequest(external_id=name, item_id="iron", quantity=1, price=7, **of)),
            order(BuyRequest(external_id=buyer, listing_id=sold["listingId"])),
            order(CancelRequest(external_id=name, listing_id=taken_back["listingId"])),
            order(ReverseRequest(reason="r"), transaction_id=granted["transactionId"]),
        ]
    return orders


def document(reply: Reply) -> Any:
    return msgspec.json.decode(reply.kept.body)["data"]


def test_many_operations_take_no_more_statements_than_few(database: Database) -> None:
    """Every kind of operation, for two players and for 25: what is read and written is read and written for all."""
    few = statements_of(database, everything(database, ["p0", "p1"]))
    many = statements_of(database, everything(database, [f"p{n}" for n in range(10, 35)]))
    assert many < 2 * few  # of 12 times as many: SQLite takes 64 rows, 16, 4 and 1 at a time
    check(database)


def test_each_operation_sees_what_the_one_before_did(database: Database) -> None:
    """Of one group: money that was just granted is spent, and what was just spent cannot be."""
    spend = order(SpendRequest(external_id="p0", currency_id="gold", amount=1_003))
    replies = process(database, [spend, grant("p0", 5), spend, spend])
    assert [reply.kept.status for reply in replies] == [409, 200, 200, 409]
    assert document(replies[2])["balances"][0]["balance"] == 2
    check(database)


def test_two_games_of_one_group_are_two_books(database: Database) -> None:
    """Each with its own numbers, settings and players' limits."""
    with database.write() as c:
        limited = {"rateLimits": {"default": 1}}
        economy_config.change(c, "go", lambda now: patched(now, limited), controls.By("key_1", "", NOW))
    replies = process(database, [grant("p0", game_id=game_id) for game_id in ("go", "chess", "go", "chess")])
    assert [reply.kept.status for reply in replies] == [200, 200, 429, 200]
    assert [document(reply)["configVersion"] for reply in replies if reply.kept.status == 200] == [1, 0, 0]
    check(database)


def test_what_did_not_take_effect_uses_nothing_of_an_amount_limit(database: Database) -> None:
    """Only what was moved counts: a spending that found too little in the wallet leaves the whole allowance."""
    with database.write() as c:
        allowed = {"amountPerWindow": {"spend": 1_500}}
        economy_config.change(c, "chess", lambda now: patched(now, allowed), controls.By("key_1", "", NOW))
    amounts = (1_200, 1_000, 501)  # of 1,000 that there are: more than there is, all, and beyond the allowance
    spent = [order(SpendRequest(external_id="p0", currency_id="gold", amount=one)) for one in amounts]
    replies = process(database, spent)
    assert [reply.decided.code for reply in replies if reply.decided is not None] == [
        "INSUFFICIENT_BALANCE", None, "AMOUNT_WINDOW_EXCEEDED",
    ]  # fmt: skip
    check(database)


def test_a_key_within_a_group(database: Database) -> None:
    """The second order with a key hears the first one's answer; where that was refused for now, it is decided."""
    replies = process(database, [grant("p0", key="a"), grant("p0", key="a"), grant("p1", 2_000_000, key="b")] * 2)
    assert [reply.kept.status for reply in replies] == [200, 200, 422, 200, 200, 422]
    assert [reply.kept.replayed for reply in replies] == [False, True, False, True, True, True]
    with database.write() as c:
        assert c.scalar(select(func.count()).select_from(kept_answers)) == 2
    limited = [grant("p2") for _ in range(60)] + [grant("p2", key="c"), grant("p2", key="c")]
    replies = process(database, limited)
    assert [reply.kept.status for reply in replies[-2:]] == [429, 429]
    assert not any(reply.kept.replayed for reply in replies)
    check(database)


def test_what_happened_is_counted_once(database: Database) -> None:
    """Operations by what became of them, supply by what was booked, both by minute and hour; retries count nothing."""
    orders = [
        grant("p0", key="a"),
        grant("p0", 2_000_000),
        order(SpendRequest(external_id="p1", currency_id="gold", amount=7)),
    ]
    with database.write() as c:
        c.execute(economy_supply_tallies.delete())
    process(database, [*orders, orders[0]])
    process(database, [orders[0]])
    o, s = economy_operation_tallies.c, economy_supply_tallies.c
    with database.write() as c:
        for grain in (60, 3600):
            found = c.execute(
                select(o.action, o.code, o.operations).where(o.grain_s == grain).order_by(o.action, o.code)
            )
            assert [tuple(row) for row in found] == [
                ("grant", "MAX_AMOUNT_EXCEEDED", 1), ("grant", "ok", 1), ("spend", "ok", 1),
            ]  # fmt: skip
            supply = c.execute(select(s.minted, s.burned, s.taxed, s.escrowed).where(s.grain_s == grain)).all()
            assert [tuple(row) for row in supply] == [(5, 7, 0, 0)]
        assert c.scalar(select(func.count()).select_from(audit_flags)) == 1


def test_transfers_and_grants_are_looked_at(database: Database) -> None:
    """What executed waits for the detectors; five transfers of a pair within a minute are one flag, and all execute."""
    moves = [
        order(TransferRequest(from_external_id=a, to_external_id=b, currency_id="gold", amount=1))
        for a, b in (("p0", "p1"), ("p1", "p0")) * 2 + (("p0", "p1"),)
    ]
    assert {reply.kept.status for reply in process(database, [*moves, grant("p3")])} == {200}
    with database.write() as c:
        assert counted(c, "chess") == {"waiting": 6}
        found = c.execute(select(audit_flags.c.code, audit_flags.c.severity, audit_flags.c.occurrences)).all()
    assert [tuple(row) for row in found] == [("LAUNDERING_PAIR", "warning", 1)]


def test_with_the_guard_off_the_ledger_is_what_it_is(database: Database) -> None:
    """No limit and no flag; what a ledger may not do, it still does not."""
    with database.write() as c:
        off = {"enabled": False}
        economy_config.change(c, "chess", lambda now: patched(now, off), controls.By("key_1", "", NOW))
    replies = process(database, [grant("p0", 2_000_000) for _ in range(70)])
    assert {reply.kept.status for reply in replies} == {200}
    broke = process(database, [order(SpendRequest(external_id="p1", currency_id="gold", amount=1_001))])
    assert broke[0].kept.status == 409
    with database.write() as c:
        assert c.scalar(select(func.count()).select_from(audit_flags)) == 0
    check(database)


def test_one_poison_order_hurts_nobody(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """The others of its group are booked, each once; it alone fails, and its key is free."""
    decide = economy_group._decide

    def poisoned(group: Any, one: Order, step: Any) -> Any:
        if one.asked.body.reason == "poison":
            raise ZeroDivisionError
        return decide(group, one, step)

    async def scenario() -> None:
        writer = Writer(database)
        writer.start()
        intake = EconomyIntake(writer, database, render)
        bad = order(GrantRequest(external_id="p9", currency_id="gold", amount=1, reason="poison"), "poison")
        asked = [grant(f"p{n}", key=f"k{n}") for n in range(5)]
        monkeypatch.setattr(economy_group, "_decide", poisoned)
        replies = await asyncio.gather(*map(intake.submit, [*asked, bad]), return_exceptions=True)
        assert [reply.kept.status for reply in replies[:5] if isinstance(reply, Reply)] == [200] * 5
        assert isinstance(replies[5], OurError)
        monkeypatch.undo()
        assert (await intake.submit(bad)).kept.status == 200
        assert (intake.meter.operations["grant", "ok"], intake.meter.operations["grant", "INTERNAL_ERROR"]) == (6, 1)
        await intake.stop()
        await writer.stop()

    asyncio.run(scenario())
    with database.write() as c:
        granted = select(func.count()).where(ledger_transactions.c.type == "grant")
        assert c.scalar(granted) == 6
    check(database)


def test_what_arrives_together_is_one_commit(database: Database) -> None:
    """100 requests at once: far fewer commits than requests, and every answer is true."""

    async def scenario() -> None:
        writer = Writer(database)
        writer.start()
        intake = EconomyIntake(writer, database, render)
        replies = await asyncio.gather(*(intake.submit(grant(f"p{n % 60}")) for n in range(100)))
        assert {reply.kept.status for reply in replies} == {200}
        assert writer.stats.groups <= 3
        await intake.stop()
        await writer.stop()

    asyncio.run(scenario())
    assert database.read_now(lambda c: ledger_view.head(c, "chess"))[0] == 60 + 100
    check(database)


def test_two_replicas_never_wait_for_each_other_in_a_circle(postgres_url: str) -> None:
    """Groups of both games, with the same keys and players in any order: no deadlock, one effect for each key."""

    async def replica(database: Database, seed: int) -> list[Reply]:
        writer = Writer(database)
        writer.start()
        intake = EconomyIntake(writer, database, render)
        replies: list[Reply] = []
        for n in range(12):
            mixed = [grant(f"p{k}", key=f"k{n}-{k}-{game_id}", game_id=game_id) for k in range(8) for game_id in GAMES]
            random.Random(seed * 100 + n).shuffle(mixed)
            replies += await asyncio.gather(*map(intake.submit, mixed))
        assert writer.stats.alone == 0
        await intake.stop()
        await writer.stop()
        return replies

    async def both(first: Database, second: Database) -> None:
        replies = [reply for of in await asyncio.gather(replica(first, 1), replica(second, 2)) for reply in of]
        assert {reply.kept.status for reply in replies} == {200}
        assert sum(reply.kept.replayed for reply in replies) == len(replies) // 2 == 12 * 16

    with closing(open_database(postgres_url)) as first, closing(open_database(postgres_url)) as second:
        migrate.upgrade(first, "relay")
        with first.write() as c:
            for game_id in GAMES:
                found_game(c, game_id)
        asyncio.run(both(first, second))
        check(first)


def test_declarations_beside_operations_never_wait_in_a_circle(postgres_url: str) -> None:
    """A declaration takes the book first and a group the guard's windows: of a writer each is its own transaction."""

    async def replica(database: Database, seed: int) -> None:
        writer = Writer(database, group_max=1)
        writer.start()
        intake, chance = EconomyIntake(writer, database, render), random.Random(seed)
        for n in range(12):
            mixed: list[Any] = [intake.submit(grant(f"p{chance.randrange(9)}", 1, game_id=one)) for one in GAMES * 4]
            for game_id in GAMES * 4:
                people = [Player(f"new{n}-{chance.randrange(9)}", wallets=(("gold", 1),))]
                mixed.append(writer.run(partial(declare, game_id, people)))
            chance.shuffle(mixed)
            await asyncio.gather(*mixed)
        await intake.stop()
        await writer.stop()
        assert writer.stats.alone == 0

    async def both(first: Database, second: Database) -> None:
        await asyncio.gather(replica(first, 1), replica(second, 2))

    with closing(open_database(postgres_url)) as first, closing(open_database(postgres_url)) as second:
        migrate.upgrade(first, "relay")
        with first.write() as c:
            for game_id in GAMES:
                found_game(c, game_id)
        asyncio.run(both(first, second))
        check(first)
