"""The Merkle tree of each game's ledger, kept in tiles that grow behind the ledger.

The only SQL on `ledger_trees` and `ledger_tiles`; reads transactions. The tree can be dropped and grown anew: whatever
it says follows from the ledger, and what the contract anchored does not.
"""

from collections.abc import Callable
from typing import Any

from sqlalchemy import Connection, func, select, tuple_, update
from sqlalchemy.dialects import postgresql, sqlite

from relay.economy.merkle import Node, leaf_hash
from relay.economy.tiles import Tile, grow, nodes_in, open_tiles
from relay.store import ledger_view
from relay.store.checkpoint_tables import ledger_tiles, ledger_trees
from relay.store.economy_tables import ledger_heads

GROW_MAX = 4_096  # transactions per commit: some milliseconds of the writer's time


def behind(c: Connection) -> dict[str, int]:
    """Return the games whose tree lacks transactions, and how many."""
    size = func.coalesce(ledger_trees.c.size, 0)
    lacking = ledger_heads.c.next_sequence - size
    joined = ledger_heads.outerjoin(ledger_trees, ledger_trees.c.game_id == ledger_heads.c.game_id)
    rows = c.execute(select(ledger_heads.c.game_id, lacking).select_from(joined).where(lacking > 0))
    return {row[0]: int(row[1]) for row in rows}


def lock_tree(c: Connection, game_id: str) -> int:
    """Lock a game's tree until the commit and return its size."""
    _insert(c, ledger_trees, {"game_id": game_id, "size": 0})
    query = select(ledger_trees.c.size).where(ledger_trees.c.game_id == game_id).with_for_update()
    return int(c.execute(query).scalar_one())


def tree_size(c: Connection, game_id: str) -> int:
    """Return how many transactions are in a game's tree."""
    return int(c.scalar(select(ledger_trees.c.size).where(ledger_trees.c.game_id == game_id)) or 0)


def extend(c: Connection, game_id: str, most: int = GROW_MAX) -> int:
    """Take the next transactions, at most `most`, into the tree; returns how many it took."""
    size = lock_tree(c, game_id)
    leaves = [leaf_hash(body) for body in ledger_view.read(c, game_id, size, most)]
    if not leaves:
        return 0
    changed = grow(size, _read(c, game_id, open_tiles(size)), leaves)
    _put(c, [{"game_id": game_id, "level": tile[0], "number": tile[1], "hashes": changed[tile]} for tile in changed])
    c.execute(update(ledger_trees).where(ledger_trees.c.game_id == game_id).values(size=size + len(leaves)))
    return len(leaves)


def nodes(c: Connection, game_id: str) -> Node:
    """Return the tree of a game for as long as the connection is open; a tile is read once."""
    read: dict[Tile, bytes] = {}

    def tile(wanted: Tile) -> bytes:
        if wanted not in read:
            read.update(_read(c, game_id, [wanted]))
        return read[wanted]

    return nodes_in(tile)


def _read(c: Connection, game_id: str, tiles: list[Tile]) -> dict[Tile, bytes]:
    if not tiles:
        return {}
    t = ledger_tiles.c
    query = select(t.level, t.number, t.hashes).where(t.game_id == game_id, tuple_(t.level, t.number).in_(tiles))
    return {Tile(row.level, row.number): bytes(row.hashes) for row in c.execute(query)}


def _insert(c: Connection, table: Any, values: dict[str, object]) -> None:
    kind: Callable[[Any], Any] = postgresql.insert if c.dialect.name == "postgresql" else sqlite.insert
    c.execute(kind(table).on_conflict_do_nothing(), [values])


def _put(c: Connection, rows: list[dict[str, object]]) -> None:
    kind: Callable[[Any], Any] = postgresql.insert if c.dialect.name == "postgresql" else sqlite.insert
    made = kind(ledger_tiles)
    key = [ledger_tiles.c.game_id, ledger_tiles.c.level, ledger_tiles.c.number]
    c.execute(made.on_conflict_do_update(index_elements=key, set_={"hashes": made.excluded.hashes}), rows)
