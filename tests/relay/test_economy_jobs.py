"""What happens to economies by the clock: done once however many processes do it, and again after a crash."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from decimal import Decimal
from functools import partial
from typing import Any

import pytest
from sqlalchemy import Connection, func, select, text, update

from relay import economy_jobs
from relay.contract import EconomyAnchored, game_key
from relay.contract_anchors import Anchored
from relay.economy import drafts, entries
from relay.economy.catalog import Item, Output, Recipe, Stack
from relay.economy.checkpoints import Cadence, Comparison
from relay.economy.desk import Traded
from relay.economy.entries import MINT
from relay.economy.trades import Offer, PutUp
from relay.economy_jobs import EconomyJobs, Pace
from relay.store import (
    catalog,
    checkpoints,
    desks,
    economy_games,
    ledger,
    market,
    rolls,
    suspicions,
    tallies,
    transfers_seen,
)
from relay.store.checkpoint_moves import take_over
from relay.store.controls import By as Operator
from relay.store.economy_tables import ledger_balances, ledger_transactions
from relay.store.engine import Database, StoreUnavailableError, open_database
from relay.store.flags import FlagFilter, list_flags
from relay.store.ledger_tree import tree_size
from relay.store.tally_tables import economy_operation_tallies
from relay.store.transfers_seen import Seen
from tests.harness.ledgers import BY, NOW, check_ledger, found_game, ledger_at, post
from tests.harness.ports import free_port

GAME, OTHER = "chess", "go"
HOUR = 3_600_000
DAY = 24 * HOUR


def found(c: Connection, game_id: str = GAME, swords: int = 9) -> None:
    """A game in which everybody has gold, and ann has swords."""
    found_game(c, game_id)
    book = ledger.open_books(c, [game_id])[game_id]
    catalog.declare(c, book, Item("sword", "Sword"), "key_1", NOW)
    moves = [entries.moved("item:sword", swords, MINT, "player:ann")]
    moves += [entries.moved("currency:gold", 100, MINT, f"player:{name}") for name in ("ann", "bob", "eve")]
    first = drafts.draft("loot", BY, moves)
    ledger.load(c, book, [first])
    book.record(first, f"txn_{game_id}", NOW)
    ledger.write(c, book)


def list_sword(c: Connection, game_id: str = GAME, expires_at_ms: int = NOW + 1_000) -> str:
    """Put one of ann's swords up; returns the listing's id."""
    book = ledger.open_books(c, [game_id])[game_id]
    traded = desks.decide(c, book, PutUp(Offer("ann", "sword", 1, "gold", 5, 0, expires_at_ms), BY), NOW)
    ledger.write(c, book)
    assert isinstance(traded, Traded)
    return traded.listing.listing_id


def state(c: Connection, game_id: str, listing_id: str) -> str:
    """What became of a listing."""
    listing = market.read(c, game_id, listing_id)
    assert listing is not None
    return listing.state


def flags(c: Connection) -> list[tuple[str, str | None, int]]:
    """Every flag: code, player, occurrences."""
    return [(row.code, row.player_id, row.occurrences) for row in list_flags(c, FlagFilter(), 99, None)]


Scenario = Callable[[Database, Sequence[EconomyJobs], list[None]], Awaitable[None]]


def by_the_clock(url: str, scenario: Scenario, pace: Pace = Pace(Cadence(0))) -> None:  # noqa: B008 - frozen
    """Run a scenario with the jobs of two processes; the list has an entry for each time senders were woken."""
    woken: list[None] = []

    async def run(database: Database) -> None:
        both = [EconomyJobs(database, pace, lambda: woken.append(None)) for _ in range(2)]
        for jobs in both:
            await jobs.start()
        try:
            await scenario(database, both, woken)
        finally:
            for jobs in both:
                await jobs.stop()

    with ledger_at(url) as database:
        database.now_ms = lambda connection: NOW  # type: ignore[method-assign]  # noqa: ARG005 - the clock's own shape
        asyncio.run(run(database))


def later(database: Database, by_ms: int) -> None:
    """Let time pass."""
    database.now_ms = lambda connection: NOW + by_ms  # type: ignore[method-assign]  # noqa: ARG005


def change(database: Database, job: Callable[[Connection], Any]) -> Any:
    """Change the database, committed."""
    with database.write() as c:
        return job(c)


def test_listings_whose_time_is_over_go_back_once(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of several games, by two processes at once, more than one transaction takes; what is not over stays."""
    monkeypatch.setattr(economy_jobs, "EXPIRED_MAX", 2)

    async def scenario(database: Database, both: Sequence[EconomyJobs], _woken: list[None]) -> None:
        def prepare(c: Connection) -> list[tuple[str, str]]:
            for game_id in (GAME, OTHER):
                found(c, game_id)
            return [(game_id, list_sword(c, game_id)) for game_id in (OTHER, GAME, OTHER, GAME, GAME)]

        over = change(database, prepare)
        stays = change(database, partial(list_sword, expires_at_ms=NOW + 1_001))
        await both[0].expire()
        assert {database.read_now(partial(state, game_id=g, listing_id=one)) for g, one in over} == {"open"}
        later(database, 1_000)
        await asyncio.gather(*(jobs.expire() for jobs in both))
        assert {database.read_now(partial(state, game_id=g, listing_id=one)) for g, one in over} == {"expired"}
        assert database.read_now(partial(state, game_id=GAME, listing_id=stays)) == "open"
        for game_id, times in ((GAME, 3), (OTHER, 2)):
            database.read_now(partial(check_ledger, game_id=game_id))
            t = ledger_transactions.c
            query = select(func.count()).where(t.game_id == game_id, t.type == "expire")
            assert database.read_now(lambda c, query=query: c.scalar(query)) == times  # type: ignore[misc]

    by_the_clock(database_url, scenario)


def test_a_listing_that_cannot_go_back_keeps_no_other(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """One whose wallet is frozen waits until it is thawed; one that fails by our own error is found out and left."""
    monkeypatch.setattr(economy_jobs, "EXPIRED_MAX", 2)
    position = ("escrow:ann", "item:sword")

    async def scenario(database: Database, both: Sequence[EconomyJobs], _woken: list[None]) -> None:
        def prepare(c: Connection) -> tuple[list[str], list[str]]:
            found(c)
            found(c, OTHER)
            frozen = [list_sword(c, expires_at_ms=NOW + number) for number in (1, 2, 3)]
            ledger.freeze(c, GAME, position, "looked into", NOW)
            return frozen, [list_sword(c, OTHER, expires_at_ms=NOW + number) for number in (4, 5, 6)]

        frozen, others = change(database, prepare)
        really = desks.decide_all

        def poisoned(c: Connection, book: Any, steps: Any, now_ms: int) -> Any:
            if others[0] in [step.listing_id for step in steps]:
                raise ZeroDivisionError
            return really(c, book, steps, now_ms)

        monkeypatch.setattr(desks, "decide_all", poisoned)
        later(database, 1_000)
        await both[0].expire()
        told = {one: database.read_now(partial(state, game_id=OTHER, listing_id=one)) for one in others}
        assert told == {others[0]: "open", others[1]: "expired", others[2]: "expired"}
        assert {database.read_now(partial(state, game_id=GAME, listing_id=one)) for one in frozen} == {"open"}
        change(database, lambda c: ledger.thaw(c, GAME, position))
        await both[1].expire()
        assert {database.read_now(partial(state, game_id=GAME, listing_id=one)) for one in frozen} == {"expired"}
        database.read_now(partial(check_ledger, game_id=GAME))

    by_the_clock(database_url, scenario)


def test_what_waits_for_the_detectors_is_looked_at_once(database_url: str) -> None:
    """A cycle is one flag with one occurrence though two processes look, and nothing is left."""

    async def scenario(database: Database, both: Sequence[EconomyJobs], _woken: list[None]) -> None:
        path = (("ann", "bob"), ("bob", "eve"), ("eve", "ann"))
        rows = [Seen(GAME, "gold", n, f"txn_{n}", *pair, 10, NOW + n) for n, pair in enumerate(path)]
        change(database, lambda c: transfers_seen.record(c, rows))
        await asyncio.gather(*(jobs.examine() for jobs in both))
        assert [(code, times) for code, _, times in database.read_now(flags)] == [("LAUNDERING_CYCLE", 1)]
        assert "waiting" not in database.read_now(partial(transfers_seen.counted, game_id=GAME))
        await both[0].examine()
        assert len(database.read_now(flags)) == 1

    by_the_clock(database_url, scenario)


def test_a_balance_that_somebody_changed_is_frozen_and_flagged(database_url: str) -> None:
    """Found whatever page the player is on; no other wallet is touched; found again, it is the same flag."""

    async def scenario(database: Database, both: Sequence[EconomyJobs], _woken: list[None]) -> None:
        b = ledger_balances.c

        def prepare(c: Connection) -> None:
            for game_id in (GAME, OTHER):
                found(c, game_id)
            stolen = (b.game_id == OTHER, b.account == "player:eve", b.asset == "currency:gold")
            c.execute(update(ledger_balances).where(*stolen).values(amount=1_000_000))

        change(database, prepare)
        await both[0].reconcile()
        frozen = select(b.game_id, b.account, b.asset).where(b.frozen_at_ms.is_not(None))
        assert database.read_now(lambda c: [tuple(row) for row in c.execute(frozen)]) == [
            (OTHER, "player:eve", "currency:gold")
        ]
        assert database.read_now(flags) == [("LEDGER_MISMATCH", "eve", 1)]
        spent = change(database, lambda c: post(c, {OTHER: [drafts.spend("eve", "gold", 1, BY)]}, NOW))[OTHER]
        assert [one.code for one in spent] == ["WALLET_FROZEN"]
        await asyncio.gather(*(jobs.reconcile() for jobs in both))
        assert database.read_now(flags) == [("LEDGER_MISMATCH", "eve", 3)]

    by_the_clock(database_url, scenario)


def test_a_ledger_that_grew_is_anchored_but_not_a_strangers(database_url: str) -> None:
    """One checkpoint though two processes look; a game that anybody registered costs us gas only where we say so."""

    async def scenario(database: Database, both: Sequence[EconomyJobs], woken: list[None]) -> None:
        def prepare(c: Connection) -> tuple[str, str]:
            made = [
                economy_games.register(c, "Mine", None, Operator(who, "", NOW))[0].game_id
                for who in ("open:203.0.113.9", "key_admin")
            ]
            for game_id in (GAME, *made):
                found(c, game_id)
            return made[0], made[1]

        strangers, ours = change(database, prepare)
        await asyncio.gather(*(jobs.anchor() for jobs in both))
        await both[0].anchor()
        rows = database.read_now(lambda c: checkpoints.listed(c, None, None, 9))
        assert sorted((row.game_id, row.state) for row in rows) == sorted([(GAME, "waiting"), (ours, "waiting")])
        assert 1 <= len(woken) <= 2
        assert database.read_now(partial(tree_size, game_id=strangers)) > 0  # what it takes to prove is there already
        generous = EconomyJobs(database, Pace(Cadence(0), strangers=True), lambda: None)
        await generous.start()
        await generous.anchor()
        await generous.stop()
        assert [row.state for row in database.read_now(lambda c: checkpoints.listed(c, strangers, None, 9))]

    by_the_clock(database_url, scenario)


def test_a_ledger_that_is_not_the_anchored_one_is_flagged(database_url: str) -> None:
    """The audit holds every transaction against what the chain has; once is one flag."""

    async def scenario(database: Database, both: Sequence[EconomyJobs], _woken: list[None]) -> None:
        change(database, found)
        event = EconomyAnchored(game_key(GAME), bytes(20), 0, 2, bytes(32), bytes(32))
        elsewhere = Comparison(2, (Anchored(event, bytes(32), 7),))
        change(database, lambda c: take_over(GAME, elsewhere)(c, NOW))
        await both[0].audit()
        await both[1].audit()
        assert database.read_now(flags) == [("LEDGER_CONTRADICTED", None, 2)]

    by_the_clock(database_url, scenario)


FORGERIES = {
    "a move more, with the balances to it": (
        "INSERT INTO ledger_moves VALUES ('chess', 0, 9, 'currency:gold', 900, 'mint', 'player:ann')",
        "UPDATE ledger_balances SET amount = 1000 WHERE account = 'player:ann' AND asset = 'currency:gold'",
        "UPDATE ledger_balances SET amount = -1200 WHERE account = 'mint' AND asset = 'currency:gold'",
    ),
    "a higher amount": ("UPDATE ledger_moves SET amount = amount + 1 WHERE sequence = 1",),
    "a move less": ("DELETE FROM ledger_moves WHERE target = 'player:eve'",),
    "moves of no transaction": (
        "INSERT INTO ledger_moves VALUES ('chess', 2, 0, 'currency:gold', 9, 'mint', 'player:ann')",
    ),
    "no last transaction": ("DELETE FROM ledger_transactions WHERE sequence = 1",),
    "no first transaction": ("DELETE FROM ledger_transactions WHERE sequence = 0",),
    "another head": ("UPDATE ledger_heads SET head = (SELECT hash FROM ledger_transactions WHERE sequence = 0)",),
}


def let_it_shrink(c: Connection) -> None:
    """Whoever owns the database can take away what keeps its ledgers from being changed."""
    if c.dialect.name == "postgresql":
        for table in ("ledger_transactions", "ledger_moves"):
            c.execute(text(f"ALTER TABLE {table} DISABLE TRIGGER ALL"))
    else:
        for name in list(c.scalars(text("SELECT name FROM sqlite_master WHERE type = 'trigger'"))):
            c.execute(text(f"DROP TRIGGER {name}"))


@pytest.mark.parametrize("forgery", FORGERIES)
def test_rows_that_no_transaction_says_are_flagged(database_url: str, forgery: str) -> None:
    """The sum of forged moves would be money from nothing: each row is held against the chained bytes."""

    async def scenario(database: Database, both: Sequence[EconomyJobs], _woken: list[None]) -> None:
        def grant(c: Connection) -> None:
            found(c)
            post(c, {GAME: [drafts.grant("ann", "gold", 1, BY)]}, NOW)

        change(database, grant)
        await both[0].audit()
        assert database.read_now(flags) == []
        change(database, let_it_shrink)
        for statement in FORGERIES[forgery]:
            change(database, lambda c, statement=statement: c.execute(text(statement)))  # type: ignore[misc]
        await both[0].audit()
        assert database.read_now(flags) == [("LEDGER_CONTRADICTED", None, 1)]

    by_the_clock(database_url, scenario)


def test_what_nobody_looks_at_any_more_is_forgotten(database_url: str) -> None:
    """Transfers after two hours, once they were looked at; counts of minutes after two days; never counts of hours."""

    async def scenario(database: Database, both: Sequence[EconomyJobs], _woken: list[None]) -> None:
        def prepare(c: Connection) -> None:
            found(c)
            transfers_seen.record(c, [Seen(GAME, "gold", n, f"txn_{n}", None, "ann", 1, NOW) for n in range(3)])
            suspicions.examine(c, NOW, 2)
            tallies.add_operations(c, {(GAME, "grant", "ok"): 3}, NOW)

        def left(c: Connection) -> tuple[int, list[int]]:
            seen = sum(transfers_seen.counted(c, GAME).values())
            t = economy_operation_tallies.c
            return seen, list(c.scalars(select(t.grain_s).order_by(t.grain_s)))

        change(database, prepare)
        for passed, expected in (
            (HOUR, (3, [60, 3_600])),
            (3 * HOUR, (1, [60, 3_600])),
            (3 * DAY, (1, [3_600])),
        ):
            later(database, passed)
            await asyncio.gather(*(jobs.sweep() for jobs in both))
            assert database.read_now(left) == expected

    by_the_clock(database_url, scenario)


def test_tomorrows_seeds_are_committed_to_where_something_is_left_to_chance(database_url: str) -> None:
    """And what was committed to stays what it is, whoever commits again."""

    async def scenario(database: Database, both: Sequence[EconomyJobs], _woken: list[None]) -> None:
        def prepare(c: Connection) -> None:
            for game_id in (GAME, OTHER):
                found(c, game_id)
            book = ledger.open_books(c, [GAME])[GAME]
            recipe = Recipe("blade", (Output("sword", 1, Decimal("0.5")),), (Stack("sword", 1),))
            assert isinstance(catalog.declare(c, book, recipe, "key_1", NOW), int)

        change(database, prepare)
        day = NOW // DAY
        await asyncio.gather(*(jobs.commit_seeds() for jobs in both))
        first = database.read_now(lambda c: rolls.published(c, GAME, day))
        assert sorted(first) == [day, day + 1]
        assert database.read_now(lambda c: rolls.published(c, OTHER, day)) == {}
        later(database, DAY)
        await both[0].commit_seeds()
        assert database.read_now(lambda c: rolls.published(c, GAME, day + 1))[day + 1] == first[day + 1]

    by_the_clock(database_url, scenario)


def test_an_outage_ends_no_job() -> None:
    """Where no database answers, every job comes and goes, and so does the start."""

    async def run() -> None:
        database = open_database(f"postgresql://nobody@127.0.0.1:{free_port()}/nothing")
        jobs = EconomyJobs(database, Pace(), lambda: None)
        await jobs.start()
        for job, every_s in jobs.jobs():
            assert every_s > 0
            await job()
        with pytest.raises(StoreUnavailableError):
            await jobs.examine()
        await jobs.stop()
        database.close()

    asyncio.run(run())
