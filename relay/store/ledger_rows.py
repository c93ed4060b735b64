"""The rows of the ledger, many per statement: read by pairs of account and asset, added, changed.

The only SQL of the ledger that differs between SQLite and PostgreSQL. Pairs travel as two arrays, or as one JSON text:
one parameter and one prepared statement whatever their number.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, text, update

from relay.economy.entries import Move, Position
from relay.economy.ledger import Balance, Transaction
from relay.store.bulk import Rows
from relay.store.economy_tables import ledger_balances, ledger_moves, ledger_transactions
from relay.store.pg_arrays import bigints, texts

_READ = {
    "postgresql": text(
        "SELECT b.account, b.asset, b.amount, b.frozen_at_ms FROM unnest(:accounts, :assets) "
        "AS k (account, asset) JOIN ledger_balances b "
        "ON b.game_id = :game_id AND b.account = k.account AND b.asset = k.asset"
    ),
    "sqlite": text(
        "SELECT b.account, b.asset, b.amount, b.frozen_at_ms FROM json_each(:rows) k CROSS JOIN ledger_balances b "
        "ON b.game_id = :game_id AND b.account = k.value ->> 0 AND b.asset = k.value ->> 1"
    ),
}
_CHANGE = {
    "postgresql": text(
        "UPDATE ledger_balances b SET amount = b.amount + k.change FROM unnest(:accounts, :assets, :changes) "
        "AS k (account, asset, change) "
        "WHERE b.game_id = :game_id AND b.account = k.account AND b.asset = k.asset AND b.frozen_at_ms IS NULL"
    ),
    # Row by row: given all at once, SQLite's planner walks over every balance of the game instead of looking them up.
    "sqlite": text(
        "UPDATE ledger_balances SET amount = amount + :change "
        "WHERE game_id = :game_id AND account = :account AND asset = :asset AND frozen_at_ms IS NULL"
    ),
}

_BALANCES = Rows(ledger_balances, "game_id", "account", "asset", "amount")
_MOVES = Rows(ledger_moves, "game_id", "sequence", "line", *Move._fields)
_TRANSACTIONS = Rows(
    ledger_transactions,
    "game_id", "sequence", "id", "type", "source", "at_ms", "reference", "reverses", "hash", "body",
)  # fmt: skip


class BalanceGoneError(Exception):
    """A balance that was read under the game's lock was frozen or removed by somebody who did not take the lock."""


def balances(c: Connection, game_id: str, positions: Sequence[Position]) -> dict[Position, Balance]:
    """Return what positions of a game hold; those never used are absent."""
    if not positions:
        return {}
    found = c.execute(_READ[c.dialect.name], {"game_id": game_id, **_rows(c, positions)})
    return {(account, asset): Balance(amount, frozen is not None) for account, asset, amount, frozen in found}


def change_balances(c: Connection, game_id: str, changes: Mapping[Position, int]) -> None:
    """Add to positions that exist what they gained or lost; the table itself refuses a balance below zero.

    Raises:
        BalanceGoneError: not all of them are there and may be moved; nothing may be committed then.
    """
    if not changes:
        return
    rows = [(*position, change) for position, change in sorted(changes.items())]
    given: Any = {"game_id": game_id, **_rows(c, rows)}
    if c.dialect.name == "sqlite":
        names = ("account", "asset", "change")
        given = [{"game_id": game_id, **dict(zip(names, row, strict=True))} for row in rows]
    if c.execute(_CHANGE[c.dialect.name], given).rowcount != len(rows):
        raise BalanceGoneError(f"of {len(rows)} balances of {game_id} some were changed without the game's lock")


def insert_balances(c: Connection, game_id: str, changes: Mapping[Position, int]) -> None:
    """Add positions that are used for the first time."""
    _BALANCES.insert(c, [(game_id, *position, amount) for position, amount in sorted(changes.items())])


def insert_transactions(c: Connection, added: Sequence[tuple[Transaction, bytes, bytes]]) -> None:
    """Add transactions with their bytes and hashes."""
    rows = []
    for made, body, digest in added:
        draft = made.draft
        key = (made.game_id, made.sequence, made.id, draft.type, draft.source, made.at_ms)
        rows.append((*key, draft.reference, draft.reverses, digest, body))
    _TRANSACTIONS.insert(c, rows)


def insert_moves(c: Connection, added: Sequence[Transaction]) -> None:
    """Add the moves of transactions."""
    rows = [(made.game_id, made.sequence, line, *move) for made in added for line, move in enumerate(made.draft.moves)]
    _MOVES.insert(c, rows)


def set_frozen(c: Connection, game_id: str, position: Position, frozen: tuple[int, str] | None) -> bool:
    """Freeze a position (since when in epoch ms, and why), or with None thaw it; False where nothing changed."""
    b = ledger_balances.c
    account, asset = position
    at_ms, why = frozen or (None, None)
    other = b.frozen_at_ms.is_(None) if frozen is not None else b.frozen_at_ms.is_not(None)
    at = (b.game_id == game_id, b.account == account, b.asset == asset, other)
    return c.execute(update(ledger_balances).where(*at).values(frozen_at_ms=at_ms, frozen_why=why)).rowcount == 1


def _rows(c: Connection, rows: Sequence[tuple[Any, ...]]) -> dict[str, Any]:
    if c.dialect.name == "sqlite":
        return {"rows": json.dumps(rows)}
    columns = zip(*rows, strict=True)
    arrays: list[tuple[str, Callable[[Any], bytes]]] = [("accounts", texts), ("assets", texts), ("changes", bigints)]
    return {name: array(column) for (name, array), column in zip(arrays, columns, strict=False)}
