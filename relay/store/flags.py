"""Audit flags: raised by decisions and doubts, listed for auditors, resolved by them.

The only SQL for audit flags: relay and indexer both raise them.
"""

import json
from collections.abc import Sequence
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Connection, Select, select, text, update

from relay.guard.flags import Flag, merged
from relay.ids import new_ids
from relay.store.flag_tables import flag_history
from relay.store.tables import audit_flags

# Both databases speak this upsert; the conflict target is the partial unique index of open flags.
RAISE = text(
    "INSERT INTO audit_flags (id, game_id, severity, code, reason, player_id, about, subject_type, subject_id, action, "
    "context, occurrences, first_seen_ms, last_seen_ms, status) VALUES (:id, :game_id, :severity, :code, :reason, "
    ":player_id, :about, :subject_type, :subject_id, :action, :context, :occurrences, :now_ms, :now_ms, 'open') "
    "ON CONFLICT (game_id, about, action, code) WHERE status = 'open' DO UPDATE SET "
    "occurrences = audit_flags.occurrences + excluded.occurrences, last_seen_ms = excluded.last_seen_ms, "
    "reason = excluded.reason, subject_type = excluded.subject_type, subject_id = excluded.subject_id, "
    "context = excluded.context"
)


class FlagFilter(NamedTuple):
    """Which flags a list shows; None means any."""

    severity: str | None = None
    status: str | None = None
    player: str | None = None
    reason: str | None = None  # part of the reason's text, or the code
    subject: str | None = None
    game_id: str | None = None


def raise_flags(connection: Connection, flags: Sequence[Flag], now_ms: int) -> None:
    """Open the flags, or count another occurrence where one is open; rows are touched in a fixed order of keys."""
    distinct = merged(flags)
    if not distinct:
        return
    ids = new_ids("flg_", now_ms, len(distinct))
    connection.execute(
        RAISE,
        [
            {
                "id": flag_id,
                "game_id": flag.game_id,
                "severity": flag.severity,
                "code": flag.code,
                "reason": flag.reason,
                "player_id": flag.player_id,
                "about": flag.about,
                "subject_type": flag.subject_type,
                "subject_id": flag.subject_id,
                "action": flag.action,
                "context": json.dumps(flag.context),
                "occurrences": times,
                "now_ms": now_ms,
            }
            for flag_id, (flag, times) in zip(ids, distinct, strict=True)
        ],
    )


class Resolution(NamedTuple):
    """What an auditor (or whoever raised the flag) makes of it: the new status, who says so, and why."""

    status: str
    by: str
    note: str


def open_flag(connection: Connection, game_id: str, about: str, action: str, code: str) -> Any | None:
    """Return the open flag of this kind, None where there is none; it stays as it is until the commit."""
    query = _of(game_id, about, action, code).where(audit_flags.c.status == "open")
    return connection.execute(query.with_for_update()).first()


def newest_flag(connection: Connection, game_id: str, about: str, action: str, code: str) -> Any | None:
    """Return the newest flag of this kind, open or not."""
    return connection.execute(_of(game_id, about, action, code).order_by(audit_flags.c.id.desc()).limit(1)).first()


def _of(game_id: str, about: str, action: str, code: str) -> Select[Any]:
    columns = audit_flags.c
    same = (columns.game_id == game_id, columns.about == about, columns.action == action, columns.code == code)
    return select(audit_flags).where(*same)


def resolve(connection: Connection, flag_id: str, resolution: Resolution, now_ms: int) -> None:
    """Give a flag another status; how it came to be so is kept in its history."""
    status, by, note = resolution
    values = {"status": status, "resolved_by": by, "resolved_at_ms": now_ms, "resolution_note": note}
    connection.execute(update(audit_flags).where(audit_flags.c.id == flag_id).values(**values))
    connection.execute(flag_history.insert().values(flag_id=flag_id, at_ms=now_ms, status=status, actor=by, note=note))


def list_flags(connection: Connection, wanted: FlagFilter, limit: int, before_id: str | None) -> Sequence[Any]:
    """Return at most `limit` flags, newest first, older than `before_id`."""
    columns = audit_flags.c
    conditions: list[ColumnElement[bool]] = []
    for column, value in (
        (columns.severity, wanted.severity),
        (columns.status, wanted.status),
        (columns.player_id, wanted.player),
        (columns.subject_id, wanted.subject),
        (columns.game_id, wanted.game_id),
    ):
        if value is not None:
            conditions.append(column == value)
    if wanted.reason is not None:
        conditions.append((columns.code == wanted.reason) | columns.reason.contains(wanted.reason, autoescape=True))
    if before_id is not None:
        conditions.append(columns.id < before_id)
    return connection.execute(select(audit_flags).where(*conditions).order_by(columns.id.desc()).limit(limit)).all()
