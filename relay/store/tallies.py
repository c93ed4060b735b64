"""What happened in a game's economy, counted by minute and by hour as it happens.

The only SQL that changes the tally tables. Supply is counted with every booking, operations once per group; both under
the lock of the game's book, so that no two transactions wait for each other's counts in a circle.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from sqlalchemy import Connection, delete
from sqlalchemy.dialects import postgresql, sqlite

from relay.economy import entries
from relay.economy.ledger import Transaction
from relay.store.tally_tables import GRAINS_S, economy_operation_tallies, economy_supply_tallies

OK = "ok"  # what took effect; else the code of why not
_KINDS = {entries.MINT: 0, entries.BURN: 1, entries.TAX: 2}
_SUPPLY = ("minted", "burned", "taxed", "escrowed")


def add_operations(c: Connection, counted: Mapping[tuple[str, str, str], int], now_ms: int) -> None:
    """Add counts of operations by (game, action, `ok` or code)."""
    rows = [
        {"game_id": game_id, "grain_s": grain, "at_ms": _start(now_ms, grain), "action": action, "code": code,
         "operations": times}
        for (game_id, action, code), times in sorted(counted.items())
        for grain in GRAINS_S
    ]  # fmt: skip
    if rows:
        c.execute(_upsert(c, economy_operation_tallies, ("operations",)), rows)


def add_supply(c: Connection, game_id: str, added: Iterable[Transaction]) -> None:
    """Add what transactions of a game brought into being, burnt, kept as tax and put into escrow, by currency."""
    total: dict[tuple[int, int, str], list[int]] = {}
    for (at_ms, currency_id), changes in _supply(added).items():
        for grain in GRAINS_S:
            sums = total.setdefault((grain, _start(at_ms, grain), currency_id), [0, 0, 0, 0])
            for kind, change in changes.items():
                sums[kind] += change
    rows = [
        {"game_id": game_id, "grain_s": grain, "at_ms": at_ms, "currency_id": currency_id,
         **dict(zip(_SUPPLY, sums, strict=True))}
        for (grain, at_ms, currency_id), sums in sorted(total.items())
    ]  # fmt: skip
    if rows:
        c.execute(_upsert(c, economy_supply_tallies, _SUPPLY), rows)


def sweep(c: Connection, game_id: str, before_ms: int) -> None:
    """Forget a game's counts of minutes that began before `before_ms`; hours are kept."""
    for table in (economy_operation_tallies, economy_supply_tallies):
        of_minutes = (table.c.game_id == game_id, table.c.grain_s == min(GRAINS_S))
        c.execute(delete(table).where(*of_minutes, table.c.at_ms < before_ms))


def _supply(added: Iterable[Transaction]) -> dict[tuple[int, str], Counter[int]]:
    """Return by moment and currency what the accounts of each kind gained; what was minted is what the mint lost."""
    found: dict[tuple[int, str], Counter[int]] = {}
    for made in added:
        for (account, asset), change in made.draft.net.items():
            currency_id = entries.currency_of(asset)
            kind = _KINDS.get(account, 3)
            if currency_id is not None and not entries.is_wallet(account):
                found.setdefault((made.at_ms, currency_id), Counter())[kind] += change if kind else -change
    return found


def _start(at_ms: int, grain_s: int) -> int:
    return at_ms - at_ms % (grain_s * 1000)


def _upsert(c: Connection, table: Any, counts: Iterable[str]) -> Any:
    insert = postgresql.insert if c.dialect.name == "postgresql" else sqlite.insert
    statement = insert(table)
    added = {name: table.c[name] + statement.excluded[name] for name in counts}
    return statement.on_conflict_do_update(index_elements=list(table.primary_key), set_=added)
