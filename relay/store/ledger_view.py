"""The ledger as it is read: balances, where everything is, and whether balances are what the moves add up to.

Together with `relay.store.ledger_history` the only SQL that reads the ledger for anything but a booking. Nothing here
locks.
"""

import json
from collections.abc import Sequence
from typing import NamedTuple

from sqlalchemy import Connection, func, literal, select, text, union_all

from relay.economy import entries
from relay.economy.entries import Asset
from relay.economy.ledger import GENESIS, Transaction, transaction_of
from relay.economy.reconcile import Mismatch
from relay.store.economy_tables import (
    economy_players,
    ledger_balances,
    ledger_heads,
    ledger_moves,
    ledger_transactions,
)

RECONCILED = 500  # players that one statement looks at


class Owned(NamedTuple):
    """What a player has of one asset: to be used, and held in escrow."""

    amount: int
    held: int
    frozen: bool


class Supply(NamedTuple):
    """Of one asset of a game: brought into being, and where it is. minted = burned + taxed + escrowed + circulating."""

    minted: int
    burned: int
    taxed: int
    escrowed: int
    circulating: int


def parsed(body: bytes) -> Transaction:
    """Return the transaction of these bytes."""
    return transaction_of(json.loads(bytes(body)))


def transaction(c: Connection, game_id: str, transaction_id: str) -> Transaction | None:
    """Return a transaction of a game."""
    t = ledger_transactions.c
    body = c.scalar(select(t.body).where(t.id == transaction_id, t.game_id == game_id))
    return None if body is None else parsed(body)


def by_reference(c: Connection, game_id: str, reference: str) -> Transaction | None:
    """Return the transaction that carries a caller's reference."""
    t = ledger_transactions.c
    body = c.scalar(select(t.body).where(t.game_id == game_id, t.reference == reference))
    return None if body is None else parsed(body)


def sizes(c: Connection) -> dict[str, int]:
    """Return how many transactions each game has."""
    h = ledger_heads.c
    return {row.game_id: row.next_sequence for row in c.execute(select(h.game_id, h.next_sequence))}


def head(c: Connection, game_id: str) -> tuple[int, bytes]:
    """Return how many transactions a game has, and the hash of the last (zeros before the first)."""
    h = ledger_heads.c
    found = c.execute(select(h.next_sequence, h.head).where(h.game_id == game_id)).first()
    return (0, GENESIS) if found is None else (found.next_sequence, bytes(found.head))


def read(c: Connection, game_id: str, first: int, count: int) -> list[bytes]:
    """Return the bytes of at most `count` transactions from `first` on, in order: the leaves of the Merkle tree."""
    t = ledger_transactions.c
    part = (t.game_id == game_id, t.sequence >= first, t.sequence < first + count)
    return [bytes(body) for body in c.scalars(select(t.body).where(*part).order_by(t.sequence))]


def owned(c: Connection, game_id: str, external_id: str) -> dict[Asset, Owned]:
    """Return what a player has, by asset in ascending order; what came and went again is there at 0."""
    b = ledger_balances.c
    usable = entries.wallet(external_id)
    mine = (b.game_id == game_id, b.account.in_((usable, entries.escrow(external_id))))
    found: dict[Asset, Owned] = {}
    for row in c.execute(select(ledger_balances).where(*mine).order_by(b.asset)):
        before = found.get(row.asset, Owned(0, 0, frozen=False))
        frozen = before.frozen or row.frozen_at_ms is not None
        found[row.asset] = (
            Owned(row.amount, before.held, frozen)
            if row.account == usable
            else Owned(before.amount, row.amount, frozen)
        )
    return found


def supply(c: Connection, game_id: str) -> dict[Asset, Supply]:
    """Return where everything of a game is, by asset: read from the system's accounts, not from every wallet."""
    b = ledger_balances.c
    system = select(b.account, b.asset, b.amount).where(b.game_id == game_id, b.account.in_(entries.SYSTEM))
    in_escrow = (
        select(literal("escrow"), b.asset, func.sum(b.amount))
        .where(b.game_id == game_id, text("account LIKE 'escrow:%'"))
        .group_by(b.asset)
    )
    sums: dict[Asset, dict[str, int]] = {}
    for account, asset, amount in c.execute(union_all(system, in_escrow)):
        sums.setdefault(asset, {})[account] = int(amount)
    return {asset: _supply(of) for asset, of in sorted(sums.items())}


def _supply(of: dict[str, int]) -> Supply:
    minted = -of.get(entries.MINT, 0)
    burned, taxed, escrowed = of.get(entries.BURN, 0), of.get(entries.TAX, 0), of.get("escrow", 0)
    return Supply(minted, burned, taxed, escrowed, minted - burned - taxed - escrowed)


def mismatches_of(
    c: Connection, game_id: str, after: str | None, limit: int = RECONCILED
) -> tuple[list[Mismatch], str | None]:
    """Look at the next `limit` players by id above `after` (None: from the first, and the system's accounts too).

    Returns what differs, and after whom to go on (None: all were looked at).
    """
    p = economy_players.c
    page = select(p.external_id).where(p.game_id == game_id, p.external_id > (after or ""))
    ids = list(c.scalars(page.order_by(p.external_id).limit(limit)))
    of = [account for external_id in ids for account in (entries.wallet(external_id), entries.escrow(external_id))]
    found = mismatches(c, game_id, [*entries.SYSTEM, *of] if after is None else of)
    return found, ids[-1] if len(ids) == limit else None


def mismatches(c: Connection, game_id: str, of: Sequence[str]) -> list[Mismatch]:
    """Return the balances of these accounts that are not what all moves add up to; one statement, so one moment.

    A position with moves and without a row counts as 0 recorded.
    """
    m, b = ledger_moves.c, ledger_balances.c
    gained = select(
        m.target.label("account"), m.asset.label("asset"), m.amount.label("change"), literal(0).label("was")
    )
    lost = select(m.source, m.asset, -m.amount, literal(0))
    was = select(b.account, b.asset, literal(0), b.amount).where(b.game_id == game_id, b.account.in_(of))
    sides = union_all(
        gained.where(m.game_id == game_id, m.target.in_(of)), lost.where(m.game_id == game_id, m.source.in_(of)), was
    ).subquery()
    moved, recorded = func.sum(sides.c.change), func.sum(sides.c.was)
    query = (
        select(sides.c.account, sides.c.asset, recorded, moved)
        .group_by(sides.c.account, sides.c.asset)
        .having(moved != recorded)
        .order_by(sides.c.account, sides.c.asset)
    )
    return [Mismatch((row[0], row[1]), int(row[2]), int(row[3])) for row in c.execute(query)]
