"""The games' economy settings: read, changed, with every version kept.

The only SQL on `economy_config_versions`. Seam: a route hands `change` a function of the document in force (that
`relay.economy.config.replaced` or `patched` makes) inside the writer's transaction; an operation reads `in_force` in
its own transaction and cites the version it finds.
"""

import json
from collections.abc import Callable, Collection
from functools import lru_cache
from typing import Any, NamedTuple

from sqlalchemy import Connection, func, select
from sqlalchemy.dialects import postgresql, sqlite

from relay.economy.config import DEFAULTS, Document, EconomyConfig, read
from relay.store.controls import By, record
from relay.store.guard_tables import economy_config_versions


class ConfigRow(NamedTuple):
    """One version of a game's settings. Version 0: the defaults, never written. Time in epoch ms."""

    game_id: str
    version: int
    document: Document
    at_ms: int
    actor: str
    reason: str

    @property
    def config(self) -> EconomyConfig:
        """The settings themselves."""
        return read(self.document, self.version)


def in_force(c: Connection, game_ids: Collection[str]) -> dict[str, EconomyConfig]:
    """Return the newest settings of each of the games, in one statement."""
    found = {row.game_id: _config(row.version, row.document) for row in _newest(c, game_ids)}
    return {game_id: found.get(game_id, NONE_SET) for game_id in game_ids}


def current(c: Connection, game_id: str) -> ConfigRow:
    """Return the version in force."""
    row = next(iter(_newest(c, [game_id])), None)
    return ConfigRow(game_id, 0, DEFAULTS, 0, "", "") if row is None else _row(row)


def change(c: Connection, game_id: str, to: Callable[[Document], Document], by: By) -> tuple[ConfigRow, bool]:
    """Let a game's settings be what `to` makes of those in force; returns them, and whether that is a new version.

    To be what they are already changes nothing. `to` may run several times.

    Raises:
        PayloadError: as `to` raises it; nothing is changed.
    """
    insert = postgresql.insert if c.dialect.name == "postgresql" else sqlite.insert
    while True:
        now = current(c, game_id)
        document = to(now.document)
        if document == now.document:
            return now, False
        made = ConfigRow(game_id, now.version + 1, document, by.at_ms, by.actor, by.reason)
        row = {**made._asdict(), "document": json.dumps(document, sort_keys=True, separators=(",", ":"))}
        # Another process may be writing the same version: it is waited for, and then this is the one after it.
        statement = insert(economy_config_versions).values(row).on_conflict_do_nothing()
        if c.execute(statement.returning(economy_config_versions.c.version)).first() is not None:
            record(c, by, "economy.config", f"{game_id}@{made.version}")
            return made, True


def history(c: Connection, game_id: str, limit: int, before: int | None = None) -> list[ConfigRow]:
    """Return at most `limit` versions of a game's settings, newest first, older than version `before`."""
    v = economy_config_versions.c
    query = select(economy_config_versions).where(v.game_id == game_id).order_by(v.version.desc()).limit(limit)
    return [_row(row) for row in c.execute(query if before is None else query.where(v.version < before))]


def _newest(c: Connection, game_ids: Collection[str]) -> list[Any]:
    v = economy_config_versions.c
    newest = select(v.game_id, func.max(v.version).label("version")).where(v.game_id.in_(sorted(game_ids)))
    at = newest.group_by(v.game_id).subquery()
    same = (v.game_id == at.c.game_id) & (v.version == at.c.version)
    return list(c.execute(select(economy_config_versions).join(at, same)))


def _row(row: Any) -> ConfigRow:
    return ConfigRow(row.game_id, row.version, json.loads(row.document), row.at_ms, row.actor, row.reason)


@lru_cache(maxsize=1024)
def _config(version: int, document: str) -> EconomyConfig:
    """Read settings once for all operations under them; they are never changed."""
    return read(json.loads(document), version)


NONE_SET = read(DEFAULTS, 0)
