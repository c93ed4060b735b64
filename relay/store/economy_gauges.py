"""How the economies of all games stand, in a handful of numbers: what operators watch.

The only SQL of its kind; each statement reads heads or a partial index, none a ledger.
"""

from collections.abc import Collection, Mapping
from typing import NamedTuple

from sqlalchemy import Connection, func, select, text

from relay.store import market
from relay.store.catalog_tables import market_listings
from relay.store.checkpoint_moves import IS_OPEN
from relay.store.checkpoint_tables import checkpoints, ledger_trees
from relay.store.checkpoints import IS_FINAL
from relay.store.economy_tables import ledger_heads
from relay.store.guard_tables import transfers_seen
from relay.store.tables import audit_flags


class Gauges(NamedTuple):
    """Of all games together, at `now_ms`.

    Attributes:
        games: that ever booked anything.
        transactions: in all ledgers.
        in_trees: of them, those that proofs can be made of.
        anchored: of them, those that final checkpoints cover.
        checkpoints: those that are under way, and those the chain contradicts, by state.
        oldest_checkpoint_ms: when the oldest that is under way was made; None where none is.
        listings, overdue: open ones, and those of them whose time is over.
        unexamined: transfers and grants that the slower detectors have not looked at.
        flags: open ones by code.
    """

    now_ms: int
    games: int
    transactions: int
    in_trees: int
    anchored: int
    checkpoints: Mapping[str, int]
    oldest_checkpoint_ms: int | None
    listings: int
    overdue: int
    unexamined: int
    flags: Mapping[str, int]


def gauges(c: Connection, codes: Collection[str], now_ms: int) -> Gauges:
    """Return the numbers, of flags those with one of `codes`; to be asked in one picture."""
    h, k, m, f = ledger_heads.c, checkpoints.c, market_listings.c, audit_flags.c
    games, transactions = c.execute(select(func.count(), func.sum(h.next_sequence)).where(h.next_sequence > 0)).one()
    under_way = c.execute(
        select(k.state, func.count(), func.min(k.created_at_ms)).where(IS_OPEN).group_by(k.state)
    ).all()
    contradicted = c.scalar(select(func.count()).where(k.state == "contradicted")) or 0
    overdue = (market.IS_OPEN, m.expires_at_ms.is_not(None), m.expires_at_ms <= now_ms)
    is_open = text("audit_flags.status = 'open'")
    open_flags = select(f.code, func.count()).where(is_open, f.code.in_(sorted(codes))).group_by(f.code)
    return Gauges(
        now_ms=now_ms,
        games=int(games),
        transactions=int(transactions or 0),
        in_trees=int(c.scalar(select(func.sum(ledger_trees.c.size))) or 0),
        anchored=int(c.scalar(select(func.sum(k.entries)).where(IS_FINAL)) or 0),
        checkpoints={row[0]: int(row[1]) for row in under_way} | {"contradicted": int(contradicted)},
        oldest_checkpoint_ms=min((int(row[2]) for row in under_way), default=None),
        listings=int(c.scalar(select(func.count()).select_from(market_listings).where(market.IS_OPEN)) or 0),
        overdue=int(c.scalar(select(func.count()).select_from(market_listings).where(*overdue)) or 0),
        unexamined=int(c.scalar(select(func.count()).select_from(transfers_seen).where(text("verdict IS NULL"))) or 0),
        flags={row[0]: int(row[1]) for row in c.execute(open_flags)},
    )
