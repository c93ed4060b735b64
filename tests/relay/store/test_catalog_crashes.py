"""Trades, crafts and rolls in any order, with crashes between any two statements: all that is kept agrees."""

import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from decimal import Decimal

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection, select

from relay.economy import entries
from relay.economy.catalog import Item, LootEntry, LootTable, Output, Price, Recipe, Stack
from relay.economy.chances import Craft, RollLoot, Wanted
from relay.economy.drafts import draft
from relay.economy.entries import MINT
from relay.economy.ledger import Book, Posted
from relay.economy.rolls import verify_roll
from relay.economy.steps import Purchase
from relay.economy.trades import Buy, Cancel, Expire, Offer, PutUp
from relay.findings import passed
from relay.seeds import DAY_MS
from relay.store import catalog, desks, ledger, ledger_view, rolls
from relay.store.catalog_tables import economy_rolls, market_listings
from relay.store.engine import Database
from tests.harness.crashing import CrashError, crashing
from tests.harness.ledgers import BY, NOW, PLAYERS, all_balances, check_ledger, found_game, ledger_at

Operation = Callable[[Connection, Book, int], object]
DECLARED = (
    Item("iron", "Iron", prices=(Price("gold", 3),)),
    Item("sword", "Sword", max_owned=4),
    Recipe("blade", (Output("sword", 1, Decimal("0.5")),), inputs=(Stack("iron", 2),), cooldown_seconds=1),
    LootTable(
        "chest", (LootEntry(2, item_id="iron", quantity=3), LootEntry(1, currency_id="gems", amount=9), LootEntry(1))
    ),
)


def operations() -> st.SearchStrategy[Operation]:
    """Anything that players do; of listings the one that was put up n-th."""
    player, which = st.sampled_from(PLAYERS), st.integers(0, 2)
    return st.one_of(
        st.builds(_put_up, player, st.sampled_from(["iron", "sword"]), st.integers(1, 3)),
        st.builds(_buy, player, which),
        st.builds(_cancel, player, which),
        st.builds(_expire, which),
        st.builds(_craft, player),
        st.builds(_loot, player),
        st.builds(_purchase, player, st.integers(1, 4)),
    )


def _put_up(player: str, item_id: str, quantity: int) -> Operation:
    return lambda c, b, now_ms: desks.decide(
        c, b, PutUp(Offer(player, item_id, quantity, "gold", 7, 500, now_ms + 2_000), BY), now_ms
    )


def _buy(player: str, which: int) -> Operation:
    return lambda c, b, now_ms: desks.decide(c, b, Buy(_nth(c, b, which), player, BY), now_ms)


def _cancel(player: str, which: int) -> Operation:
    return lambda c, b, now_ms: desks.decide(c, b, Cancel(_nth(c, b, which), player, BY), now_ms)


def _expire(which: int) -> Operation:
    return lambda c, b, now_ms: desks.decide(c, b, Expire(_nth(c, b, which), BY), now_ms)


def _craft(player: str) -> Operation:
    return lambda c, b, now_ms: desks.decide(c, b, Craft(Wanted(player, "blade"), BY), now_ms)


def _loot(player: str) -> Operation:
    return lambda c, b, now_ms: desks.decide(c, b, RollLoot(Wanted(player, "chest", "lucky"), BY), now_ms)


def _purchase(player: str, quantity: int) -> Operation:
    return lambda c, b, now_ms: desks.decide(c, b, Purchase(player, "iron", quantity, None, BY), now_ms)


def _nth(c: Connection, book: Book, which: int) -> str:
    t = market_listings.c
    query = select(t.listing_id).where(t.game_id == book.game_id).order_by(t.listed_at_ms, t.listing_id)
    return c.scalar(query.offset(which).limit(1)) or "none"


def found(c: Connection, game_id: str) -> None:
    """Players with gold and iron, and everything declared."""
    found_game(c, game_id)
    book = ledger.open_books(c, [game_id])[game_id]
    for declared in DECLARED:
        assert catalog.declare(c, book, declared, "key_1", NOW) == 1
    assets = [(name, asset, n) for name in PLAYERS for asset, n in (("currency:gold", 30), ("item:iron", 5))]
    first = draft("loot", BY, [entries.moved(asset, n, MINT, f"player:{name}") for name, asset, n in assets])
    ledger.load(c, book, [first])
    assert isinstance(book.record(first, f"txn_{game_id}", NOW), Posted)
    ledger.write(c, book)


def check_market_and_rolls(c: Connection, game_id: str) -> None:
    """Escrow is what open listings say; rolls are numbered without a gap, booked once each, and can be done again."""
    t, r = market_listings.c, economy_rolls.c
    held = Counter[entries.Position]()
    for row in c.execute(select(t.seller, t.item_id, t.quantity).where(t.game_id == game_id, t.state == "open")):
        held[f"escrow:{row.seller}", f"item:{row.item_id}"] += row.quantity
    balances = all_balances(c, game_id)
    assert {key: n for key, n in balances.items() if key[0].startswith("escrow:")} == dict(held)
    made = c.execute(select(r.number, r.epoch, r.transaction_id).where(r.game_id == game_id).order_by(r.number)).all()
    assert [row.number for row in made] == list(range(len(made)))
    size, _ = ledger_view.head(c, game_id)
    told = [ledger_view.parsed(body) for body in ledger_view.read(c, game_id, 0, size)]
    booked = [one.id for one in told if "rollId" in one.draft.detail]
    assert booked == [row.transaction_id for row in made if row.transaction_id is not None]
    for row in made:
        document = rolls.document(c, game_id, f"roll_{row.epoch}_{row.number}", NOW + 2 * DAY_MS)
        assert passed(verify_roll(document))


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    """An empty, migrated database."""
    with ledger_at(database_url) as opened:
        yield opened


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    groups=st.lists(
        st.tuples(st.lists(operations(), min_size=1, max_size=5), st.none() | st.integers(0, 40)),
        min_size=2,
        max_size=8,
    )
)
def test_what_is_kept_beside_the_ledger_agrees_with_it(
    database: Database, groups: list[tuple[list[Operation], int | None]]
) -> None:
    """Each group is one commit, which is there wholly or not at all."""
    game_id = uuid.uuid4().hex
    with database.write() as c:
        found(c, game_id)
    for n, (group, crash) in enumerate(groups):
        with suppress(CrashError), crashing(database, crash), database.write() as c:
            book = ledger.open_books(c, [game_id])[game_id]
            for operation in group:
                operation(c, book, NOW + n * 1_000)
            ledger.write(c, book)
        database.read_now(lambda c: check_ledger(c, game_id))
        database.read_now(lambda c: check_market_and_rolls(c, game_id))
