"""What games declare: items, recipes, loot tables, each in versions.

The only SQL on `economy_catalog`. Whatever decides on a declaration holds the game's book (`relay.store.ledger`), and
so does who declares: no operation is decided by an old version after the new one was answered. Operations are recorded
in the book; whoever opened it writes it, once for the whole group.
"""

from collections.abc import Iterable
from typing import Any, NamedTuple, TypeVar

import msgspec
from sqlalchemy import Connection, func, insert, select

from relay.economy import catalog, loot
from relay.economy.catalog import Declaration, Item, LootTable, Named, Recipe, named
from relay.economy.ledger import Book, Refusal
from relay.store.catalog_tables import economy_catalog

D = TypeVar("D", Item, Recipe, LootTable)


class Kept(NamedTuple):
    """The version of a declaration that is in force, as canonical bytes."""

    version: int
    body: bytes


class Version(NamedTuple):
    """One version of a declaration: when (epoch ms) and by which key it was made."""

    version: int
    at_ms: int
    actor: str
    declared: Declaration


def declare(c: Connection, book: Book, declared: Declaration, actor: str, now_ms: int) -> int | Refusal:
    """Declare, or change what was declared; returns the version in force, the same where nothing changed.

    Refused: what names items or loot tables that are not declared, and tables that cannot be rolled. `declared` has
    passed `catalog.wrong`.
    """
    missing = catalog.items_of(declared) - find(c, book.game_id, Item, catalog.items_of(declared)).keys()
    if missing:
        return _unknown("item", min(missing))
    if isinstance(declared, LootTable):
        tables = {**loot_tables(c, book.game_id, loot.nested(declared)), declared.loot_table_id: declared}
        bound = loot.bound(tables, declared.loot_table_id)
        if isinstance(bound, Refusal):
            return bound
    name, body = named(declared), catalog.body(declared)
    before = _in_force(c, book.game_id, name.kind, [name.id]).get(name.id)
    if before is not None and before.body == body:
        return before.version
    version = 1 if before is None else before.version + 1
    key = {"game_id": book.game_id, "kind": name.kind, "entry_id": name.id, "version": version}
    c.execute(insert(economy_catalog).values(**key, body=body, actor=actor, at_ms=now_ms))
    return version


def known(c: Connection, game_id: str, name: Named) -> bool:
    """Whether the game has declared this."""
    return bool(_in_force(c, game_id, name.kind, [name.id]))


def find(c: Connection, game_id: str, kind: type[D], ids: Iterable[str]) -> dict[str, D]:
    """Return those of these declarations that the game has, by id, as they are in force."""
    name = next(name for name, of in catalog.KINDS.items() if of is kind)
    found = _in_force(c, game_id, name, sorted(set(ids)))
    return {one: msgspec.json.decode(kept.body, type=kind) for one, kept in found.items()}


def loot_tables(c: Connection, game_id: str, ids: Iterable[str]) -> dict[str, LootTable]:
    """Return these loot tables and all that they roll, a statement for each level."""
    tables: dict[str, LootTable] = {}
    wanted = set(ids)
    for _ in range(loot.DEPTH_MAX):
        found = find(c, game_id, LootTable, wanted)
        tables |= found
        wanted = {one for table in found.values() for one in loot.nested(table)} - tables.keys()
    return tables


def games_of_chance(c: Connection) -> list[str]:
    """Return the games that declared a recipe or a loot table, whatever the chances in them."""
    t = economy_catalog.c
    return list(c.scalars(select(t.game_id).where(t.kind != "item").distinct().order_by(t.game_id)))


def listed(c: Connection, game_id: str, kind: str, after: str, limit: int) -> list[tuple[int, Declaration]]:
    """Return at most `limit` declarations with their versions, by id, above `after`."""
    e = economy_catalog.c
    query = select(e.entry_id).where(e.game_id == game_id, e.kind == kind, e.entry_id > after).distinct()
    ids = list(c.scalars(query.order_by(e.entry_id).limit(limit)))
    found = _in_force(c, game_id, kind, ids)
    return [(found[one].version, catalog.parse(kind, found[one].body)) for one in ids]


def history(c: Connection, game_id: str, name: Named, limit: int, before: int | None = None) -> list[Version]:
    """Return at most `limit` versions of a declaration, newest first, older than version `before`."""
    e = economy_catalog.c
    query = select(e.version, e.at_ms, e.actor, e.body).order_by(e.version.desc()).limit(limit)
    query = query.where(e.game_id == game_id, e.kind == name.kind, e.entry_id == name.id)
    rows = c.execute(query if before is None else query.where(e.version < before))
    return [Version(row.version, row.at_ms, row.actor, catalog.parse(name.kind, bytes(row.body))) for row in rows]


def _in_force(c: Connection, game_id: str, kind: str, ids: list[str]) -> dict[str, Kept]:
    if not ids:
        return {}
    e = economy_catalog.c
    of_kind: Any = (e.game_id == game_id, e.kind == kind)
    newest = select(e.entry_id, func.max(e.version).label("version")).where(*of_kind, e.entry_id.in_(ids))
    last = newest.group_by(e.entry_id).subquery()
    query = select(e.entry_id, e.version, e.body).where(*of_kind)
    query = query.join(last, (e.entry_id == last.c.entry_id) & (e.version == last.c.version))
    return {row.entry_id: Kept(row.version, bytes(row.body)) for row in c.execute(query)}


def _unknown(kind: str, one: str) -> Refusal:
    return Refusal(f"{kind.upper()}_UNKNOWN", f"The game has no {kind} {one}.")
