"""A game's transactions as they are listed: filtered, newest first, in pages.

The only SQL of lists of transactions. However the filters are combined, rows come from an index in order: of a player's
or an asset's moves, of the pairs of type and source that match, or of the sequence itself. A list by time begins where
the time does; that place is found by halving, as times hardly ever fall with the sequence.
"""

import json
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import NamedTuple

from sqlalchemy import ColumnElement, Connection, Select, exists, func, select, union_all

from relay.economy import entries
from relay.economy.drafts import SOURCES
from relay.economy.entries import Asset
from relay.economy.ledger import Transaction, transaction_of
from relay.store.economy_tables import ledger_heads, ledger_moves, ledger_transactions

CLOCK_STEP_MS = 600_000  # how far the database's clock may once have been set back
COUNTED = 10_000  # rows of an index, to find out which of two filters is the rarer
BY_ROLE = ("server", "client")  # the sources of types that have none of their own


_Sequences = Select[tuple[int]]


class History(NamedTuple):
    """Which transactions a list shows; None means any. Times in epoch milliseconds, from included, to excluded."""

    player: str | None = None  # external id; what is held for the player counts
    asset: Asset | None = None
    type: str | None = None
    source: str | None = None
    from_ms: int | None = None
    to_ms: int | None = None


class Told(NamedTuple):
    """A transaction, the keccak-256 of its bytes, and the id of the one that reversed it, if one did."""

    transaction: Transaction
    hash: bytes
    reversed_by: str | None = None


def find(c: Connection, game_id: str, transaction_id: str) -> Told | None:
    """Return a transaction of a game."""
    t = ledger_transactions.c
    return next(iter(_told(c, (t.id == transaction_id, t.game_id == game_id))), None)


def history(c: Connection, game_id: str, wanted: History, limit: int, before: int | None) -> list[Told]:
    """Return at most `limit` transactions, newest first, with a sequence below `before` (None: from the newest)."""
    t = ledger_transactions.c
    first, end = _bounds(c, game_id, wanted)
    end = end if before is None else min(end, before)
    rows = [query.distinct().order_by(query.selected_columns[0].desc()).limit(limit).subquery()
            for query in _candidates(c, game_id, wanted, (first, end))]  # fmt: skip
    if not rows:
        return []
    sequences = union_all(*(select(one.c.sequence) for one in rows)).subquery()
    newest = select(sequences.c.sequence).distinct().order_by(sequences.c.sequence.desc()).limit(limit)
    return _told(c, (t.game_id == game_id, t.sequence.in_(list(c.scalars(newest)))))


def _told(c: Connection, which: Sequence[ColumnElement[bool]]) -> list[Told]:
    t = ledger_transactions.c
    rows = c.execute(select(t.id, t.hash, t.body).where(*which).order_by(t.sequence.desc())).all()
    undone = select(t.reverses, t.id).where(t.reverses.in_([row.id for row in rows]))
    by = {row.reverses: row.id for row in c.execute(undone)} if rows else {}
    return [Told(transaction_of(json.loads(bytes(row.body))), bytes(row.hash), by.get(row.id)) for row in rows]


# --------------------------------------------------------------------- in an index's order


def _candidates(c: Connection, game_id: str, wanted: History, span: tuple[int, int]) -> list[_Sequences]:
    """Return queries for sequences, each in the order of an index; the list is of what any of them finds.

    Where both the moves and the kind are asked for, the rarer of them is read, and looked at for the other.
    """
    moves, kinds = _by_moves(game_id, wanted, span), _by_kind(game_id, wanted, span)
    if not moves:
        return [one.where(*_in_time(wanted)) for one in kinds]
    asked = [*_in_time(wanted), *_of_kind(wanted)]
    m, t = ledger_moves.c, ledger_transactions.c
    same = (t.game_id == m.game_id) & (t.sequence == m.sequence)
    if _pairs(wanted) is not None and _size(c, kinds) < _size(c, moves):
        move = exists().select_from(ledger_moves).where(same, *_of_moves(wanted)).correlate(ledger_transactions)
        return [one.where(move, *_in_time(wanted)) for one in kinds]
    return [one.join(ledger_transactions, same).where(*asked) for one in moves] if asked else moves


def _by_kind(game_id: str, wanted: History, span: tuple[int, int]) -> list[_Sequences]:
    t = ledger_transactions.c
    of_game = select(t.sequence).where(t.game_id == game_id, t.sequence >= span[0], t.sequence < span[1])
    pairs = _pairs(wanted)
    return [of_game] if pairs is None else [of_game.where(t.type == one[0], t.source == one[1]) for one in pairs]


def _by_moves(game_id: str, wanted: History, span: tuple[int, int]) -> list[_Sequences]:
    m = ledger_moves.c
    moves = select(m.sequence).where(m.game_id == game_id, m.sequence >= span[0], m.sequence < span[1])
    if wanted.asset is not None:
        moves = moves.where(m.asset == wanted.asset)
    if wanted.player is None:
        return [] if wanted.asset is None else [moves]
    return [moves.where(side == account) for account in _accounts(wanted.player) for side in (m.source, m.target)]


def _size(c: Connection, queries: Sequence[_Sequences]) -> int:
    """Return how many rows the queries would read, but no more than COUNTED of each."""
    parts = [select(func.count()).select_from(one.limit(COUNTED).subquery()).scalar_subquery() for one in queries]
    return sum(int(count) for count in c.execute(select(*parts)).one()) if parts else 0


def _of_moves(wanted: History) -> Iterator[ColumnElement[bool]]:
    m = ledger_moves.c
    if wanted.asset is not None:
        yield m.asset == wanted.asset
    if wanted.player is not None:
        accounts = _accounts(wanted.player)
        yield m.source.in_(accounts) | m.target.in_(accounts)


def _accounts(player: str) -> tuple[str, str]:
    return entries.wallet(player), entries.escrow(player)


def _pairs(wanted: History) -> list[tuple[str, str]] | None:
    """Return the pairs of type and source that match, None where any does: types have one or two sources each."""
    if wanted.type is None and wanted.source is None:
        return None
    every = [(kind, source) for kind, own in SOURCES.items() for source in ([own] if own else BY_ROLE)]
    return [one for one in every if wanted.type in (None, one[0]) and wanted.source in (None, one[1])]


def _of_kind(wanted: History) -> Iterator[ColumnElement[bool]]:
    t = ledger_transactions.c
    if wanted.type is not None:
        yield t.type == wanted.type
    if wanted.source is not None:
        yield t.source == wanted.source


# ------------------------------------------------------------------------------- by time


def _in_time(wanted: History) -> Iterator[ColumnElement[bool]]:
    t = ledger_transactions.c
    if wanted.from_ms is not None:
        yield t.at_ms >= wanted.from_ms
    if wanted.to_ms is not None:
        yield t.at_ms < wanted.to_ms


def _bounds(c: Connection, game_id: str, wanted: History) -> tuple[int, int]:
    """Return (first, end): every transaction of the wanted time is in between."""
    size = c.scalar(select(ledger_heads.c.next_sequence).where(ledger_heads.c.game_id == game_id)) or 0
    at = partial(_at_ms, c, game_id)
    first = 0 if wanted.from_ms is None else _begins(size, at, wanted.from_ms - CLOCK_STEP_MS)
    return first, size if wanted.to_ms is None else _begins(size, at, wanted.to_ms + CLOCK_STEP_MS)


def _begins(size: int, at: Callable[[int], int], from_ms: int) -> int:
    """Return a sequence at which times reach `from_ms`, as far as they rise; `size` where they never do."""
    low, high = 0, size
    while low < high:
        middle = (low + high) // 2
        if at(middle) < from_ms:
            low = middle + 1
        else:
            high = middle
    return low


def _at_ms(c: Connection, game_id: str, sequence: int) -> int:
    t = ledger_transactions.c
    return int(c.execute(select(t.at_ms).where(t.game_id == game_id, t.sequence == sequence)).scalar_one())
