"""Loot: weighted tables whose entries may be rolls of other tables.

Pure. Tables are handed in by id, all that can be reached from the one that is rolled.
"""

from collections.abc import Mapping
from typing import NamedTuple

from relay.economy import entries
from relay.economy.catalog import LootEntry, LootTable
from relay.economy.crafting import Yield
from relay.economy.entries import AMOUNT_MAX, Asset
from relay.economy.ledger import Refusal
from relay.economy.randomness import Draws

DEPTH_MAX = 8  # tables within tables
DRAWS_MAX = 1_000  # of one roll, at the worst

Tables = Mapping[str, LootTable]


class Bound(NamedTuple):
    """The most that one roll of a table can take and yield; of several assets not necessarily at once."""

    draws: int
    depth: int
    yields: Mapping[Asset, int]


def nested(table: LootTable) -> set[str]:
    """Return the ids of the tables that a table rolls."""
    return {entry.loot_table_id for entry in table.entries if entry.loot_table_id is not None}


def bound(tables: Tables, table_id: str) -> Bound | Refusal:
    """Return the most that one roll can take and yield, or why the table cannot be rolled.

    It cannot where a table in it is not declared or contains itself, with more than 8 levels or 1,000 draws at the
    worst, and where it could yield more than 2^53-1 of anything.
    """
    found = _bound(tables, table_id, (), {})
    if isinstance(found, Refusal):
        return found
    too_much = [asset for asset, quantity in found.yields.items() if quantity > AMOUNT_MAX]
    if found.draws > DRAWS_MAX:
        return _unusable(f"{table_id} could take {found.draws} draws; {DRAWS_MAX} is the most.")
    return _unusable(f"{table_id} could yield more than 2^53-1 of {too_much[0]}.") if too_much else found


def _bound(tables: Tables, table_id: str, above: tuple[str, ...], known: dict[str, Bound]) -> Bound | Refusal:
    """Each table is looked at once: entries that roll the same table again must not multiply the work."""
    if table_id in above:
        return _unusable(f"{table_id} contains itself: {' > '.join((*above, table_id))}.")
    if len(above) >= DEPTH_MAX:
        return _unusable(f"{above[0]} nests deeper than {DEPTH_MAX} tables.")
    table = tables.get(table_id)
    if table is None:
        return Refusal("LOOT_TABLE_UNKNOWN", f"The game has no loot table {table_id}.")
    draws = depth = 0
    best: dict[Asset, int] = {}
    for entry in table.entries:
        yields = dict(_yield(entry))
        if entry.loot_table_id is not None:
            inner = known.get(entry.loot_table_id) or _bound(tables, entry.loot_table_id, (*above, table_id), known)
            if isinstance(inner, Refusal):
                return inner
            draws, depth = max(draws, entry.count * inner.draws), max(depth, inner.depth)
            yields = {asset: quantity * entry.count for asset, quantity in inner.yields.items()}
        best |= {asset: max(best.get(asset, 0), quantity) for asset, quantity in yields.items()}
    if depth >= DEPTH_MAX:
        return _unusable(f"{(*above, table_id)[0]} nests deeper than {DEPTH_MAX} tables.")
    made = Bound(
        table.rolls * (1 + draws), depth + 1, {asset: quantity * table.rolls for asset, quantity in best.items()}
    )
    known[table_id] = made
    return made


def rolled(tables: Tables, table_id: str, draws: Draws) -> list[Yield]:
    """Return what one roll of a usable table yields, in the order of the draws: a table within is rolled at once."""
    table = tables[table_id]
    weights = [entry.weight for entry in table.entries]
    yields: list[Yield] = []
    for _ in range(table.rolls):
        entry = table.entries[draws.weighted(weights)]
        if entry.loot_table_id is not None:
            for _ in range(entry.count):
                yields += rolled(tables, entry.loot_table_id, draws)
        else:
            yields += _yield(entry)
    return yields


def _yield(entry: LootEntry) -> list[Yield]:
    if entry.item_id is not None:
        return [Yield(entries.item(entry.item_id), entry.count)]
    if entry.currency_id is not None:
        return [Yield(entries.currency(entry.currency_id), entry.count)]
    return []


def _unusable(why: str) -> Refusal:
    return Refusal("LOOT_TABLE_UNUSABLE", why)
