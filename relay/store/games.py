"""Games configured while relays run: read, written, with every version kept.

The only SQL on `game_versions`.
"""

import json
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from sqlalchemy import Connection, func, select
from sqlalchemy.dialects import postgresql, sqlite

from relay.store.controls import By, record
from relay.store.game_tables import game_versions


class GameRow(NamedTuple):
    """One version of a game. `table` is what `relay.games.game_from_mapping` reads; times in epoch milliseconds."""

    game_id: str
    version: int
    table: Mapping[str, Any]
    at_ms: int
    actor: str
    reason: str


def versions(c: Connection) -> dict[str, int]:
    """Return the newest version of each game."""
    v = game_versions.c
    found = c.execute(select(v.game_id, func.max(v.version).label("version")).group_by(v.game_id))
    return {row.game_id: row.version for row in found}


def read(c: Connection, game_ids: Iterable[str] | None = None) -> list[GameRow]:
    """Return the newest version of the games named (None: of all), by id."""
    v = game_versions.c
    newest = select(v.game_id, func.max(v.version).label("version")).group_by(v.game_id)
    if game_ids is not None:
        newest = newest.where(v.game_id.in_(list(game_ids)))
    at = newest.subquery()
    same = (v.game_id == at.c.game_id) & (v.version == at.c.version)
    return [_row(row) for row in c.execute(select(game_versions).join(at, same).order_by(v.game_id))]


def put(c: Connection, game_id: str, table: Mapping[str, Any], by: By) -> tuple[GameRow, bool]:
    """Let a game be so from now on, and record it; returns its version, and whether that is a new one.

    To be what it is already changes nothing.
    """
    insert = postgresql.insert if c.dialect.name == "postgresql" else sqlite.insert
    config = json.dumps(table, sort_keys=True, separators=(",", ":"))
    while True:
        now = next(iter(read(c, [game_id])), None)
        if now is not None and json.loads(config) == now.table:
            return now, False
        version = 1 if now is None else now.version + 1
        row = {
            "game_id": game_id,
            "version": version,
            "config": config,
            "at_ms": by.at_ms,
            "actor": by.actor,
            "reason": by.reason,
        }
        # Another process may be writing the same version: it is waited for, and then this is the one after it.
        statement = insert(game_versions).values(row).on_conflict_do_nothing()
        if c.execute(statement.returning(game_versions.c.version)).first() is not None:
            record(c, by, "game.put", f"{game_id}@{version}")
            return GameRow(game_id, version, table, by.at_ms, by.actor, by.reason), True


def history(c: Connection, game_id: str, limit: int) -> list[GameRow]:
    """Return the newest versions of a game, newest first."""
    v = game_versions.c
    query = select(game_versions).where(v.game_id == game_id).order_by(v.version.desc()).limit(limit)
    return [_row(row) for row in c.execute(query)]


def _row(row: Any) -> GameRow:
    return GameRow(row.game_id, row.version, json.loads(row.config), row.at_ms, row.actor, row.reason)
