"""Lists of transactions: whatever is asked for, a list is what looking at every transaction would find."""

import random
from collections.abc import Iterator
from itertools import product

import pytest
from sqlalchemy import Connection, event

from relay.economy import drafts, entries
from relay.economy.drafts import SOURCES, By, Draft
from relay.economy.entries import BURN, MINT, Move
from relay.economy.ledger import Posted, Transaction
from relay.store import ledger_history
from relay.store.ledger_history import CLOCK_STEP_MS, History
from tests.harness.ledgers import BY, NOW, PLAYERS, found_game, ledger_at, post, reverse

GAME = "chess"
GOLD, GEMS, SWORD = entries.currency("gold"), entries.currency("gems"), entries.item("sword")
ANN = entries.wallet("ann")
BY_CLIENT = By("client", "key_c", 1)
HOUR_MS = 3_600_000


def any_draft(draw: random.Random) -> Draft:
    """A booking of some type; some have several lines of one player."""
    player, other = draw.sample(PLAYERS, 2)
    by = draw.choice((BY, BY_CLIENT))
    mine = entries.wallet(player)
    kinds = {
        "grant": [Move(draw.choice((GOLD, GEMS)), 1, MINT, mine)],
        "spend": [Move(GOLD, 1, mine, BURN)],
        "transfer": [Move(GOLD, 1, mine, entries.wallet(other))],
        "craft": [Move(GOLD, 1, mine, BURN), Move(GEMS, 1, mine, BURN), Move(SWORD, 1, MINT, mine)],
        "list": [Move(SWORD, 1, mine, entries.escrow(player))],
        "loot": [Move(SWORD, 1, MINT, mine), Move(GOLD, 2, MINT, mine), Move(GEMS, 1, MINT, mine)],
    }
    kind = draw.choice(list(kinds))
    return drafts.draft(kind, by, kinds[kind])


def played(c: Connection, count: int) -> list[Transaction]:
    """Book at times that rise but for two steps of the clock; returns all, oldest first. Another game has some, too."""
    draw = random.Random(7)
    for game_id in (GAME, "go"):
        found_game(c, game_id)
    rich = [Move(asset, 10_000, MINT, entries.wallet(name)) for name in PLAYERS for asset in (GOLD, SWORD)]
    rich += [Move(GEMS, 40, MINT, entries.wallet(name)) for name in PLAYERS]
    at_ms, told = NOW, []
    for number in range(count):
        at_ms += draw.randrange(HOUR_MS // 60)
        if number in (count // 3, count // 2):
            at_ms -= CLOCK_STEP_MS - 1
        draft = drafts.draft("opening", BY, rich) if number == 0 else any_draft(draw)
        outcomes = post(c, {GAME: [draft], "go": [drafts.grant("ann", "gold", 1, BY)]}, at_ms)[GAME]
        told += [one.transaction for one in outcomes if isinstance(one, Posted)]
    return told


def shown(one: Transaction, wanted: History) -> bool:
    """Whether a list shows it, by looking at it."""
    moves = one.draft.moves
    if wanted.asset is not None:
        moves = tuple(move for move in moves if move.asset == wanted.asset)
    if wanted.player is not None:
        mine = {entries.wallet(wanted.player), entries.escrow(wanted.player)}
        moves = tuple(move for move in moves if mine & {move.source, move.target})
    return (
        bool(moves)
        and wanted.type in (None, one.draft.type)
        and wanted.source in (None, one.draft.source)
        and (wanted.from_ms is None or one.at_ms >= wanted.from_ms)
        and (wanted.to_ms is None or one.at_ms < wanted.to_ms)
    )


def paged(c: Connection, wanted: History, limit: int) -> Iterator[list[str]]:
    """Every page of a list, as a client turns them."""
    before = None
    while True:
        rows = ledger_history.history(c, GAME, wanted, limit + 1, before)
        yield [one.transaction.id for one in rows[:limit]]
        if len(rows) <= limit:
            return
        before = rows[limit - 1].transaction.sequence


def test_a_list_is_what_looking_at_every_transaction_finds(database_url: str) -> None:
    """Each combination of filters, in pages: nothing twice or left out; lines repeat, and the clock steps back."""
    with ledger_at(database_url) as database, database.write() as c:
        told = played(c, 120)
        spans = ((None, None), (told[30].at_ms, told[80].at_ms), (told[40].at_ms, None), (None, told[61].at_ms))
        filters = product(
            (None, "bob", "nobody"), (None, GEMS, SWORD), (None, "craft", "grant"), (None, "client"), spans
        )
        found = 0
        for player, asset, kind, source, (from_ms, to_ms) in filters:
            wanted = History(player, asset, kind, source, from_ms, to_ms)
            expected = [one.id for one in reversed(told) if shown(one, wanted)]
            assert [one for page in paged(c, wanted, 20) for one in page] == expected, wanted
            found += len(expected)
    assert found > 1_000


def test_every_type_has_the_sources_it_is_listed_by(sqlite_url: str) -> None:
    """What the ledger may hold, a filter by source alone finds."""
    with ledger_at(sqlite_url) as database, database.write() as c:
        found_game(c, GAME)
        moves = [Move(GOLD, 1, MINT, ANN)]
        for kind, by in product([one for one in SOURCES if one != "reversal"], (BY, BY_CLIENT)):
            draft = drafts.draft(kind, by, moves)
            post(c, {GAME: [draft]}, NOW)
            newest = ledger_history.history(c, GAME, History(source=draft.source), 1, None)
            assert [(one.transaction.draft.type, one.transaction.draft.source) for one in newest] == [
                (kind, draft.source)
            ]


def test_a_reversed_transaction_names_what_reversed_it(database_url: str) -> None:
    """In lists and alone; of another game it is not there."""
    with ledger_at(database_url) as database, database.write() as c:
        found_game(c, GAME)
        granted = post(c, {GAME: [drafts.grant("ann", "gold", 5, BY)]}, NOW)[GAME][0]
        assert isinstance(granted, Posted)
        undone = reverse(c, GAME, granted.transaction.id, BY, NOW)
        assert isinstance(undone, Posted)
        listed = ledger_history.history(c, GAME, History(), 10, None)
        assert [one.reversed_by for one in listed] == [None, undone.transaction.id]
        assert ledger_history.find(c, GAME, granted.transaction.id) == listed[1]
        assert listed[0].transaction.previous == listed[1].hash
        assert ledger_history.find(c, "go", granted.transaction.id) is None


@pytest.mark.parametrize(
    "wanted",
    [
        History(),
        History(player="ann"),
        History(asset=GOLD),
        History(type="craft"),
        History(source="client"),
        History(player="ann", type="craft", source="craft"),
        History(asset=GOLD, type="grant"),
        History(from_ms=NOW, to_ms=NOW + HOUR_MS),
    ],
)
def test_every_list_is_read_in_an_index_s_order(sqlite_url: str, wanted: History) -> None:
    """No statement of a list looks at a whole table, whatever the planner knows of its size."""
    with ledger_at(sqlite_url) as database, database.write() as c:
        played(c, 3)
        asked: list[tuple[str, object]] = []
        event.listen(c, "before_cursor_execute", lambda *args: asked.append((args[2], args[3])))
        ledger_history.history(c, GAME, wanted, 51, None)
        for statement, parameters in asked[:]:
            plan = [str(row[-1]) for row in c.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters)]  # type: ignore[arg-type]
            tables = [line for line in plan if line.startswith("SCAN ledger_")]
            assert not tables, (statement, plan)
        assert asked
