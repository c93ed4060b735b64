"""Audit flags over HTTP.

Touches the database through `relay.store.flags` only.
"""

import json
from typing import Any, Literal

import msgspec

from relay.api.operations import Answer, Call, Query, answer
from relay.api.pages import Cursor, Limit, cursor_of, read_cursor, rfc3339, storable
from relay.errors import WorldError
from relay.store.engine import Database, StoreUnavailableError
from relay.store.flags import FlagFilter, list_flags


class Subject(msgspec.Struct, frozen=True):
    """What a flag points at."""

    type: str
    id: str


class Resolution(msgspec.Struct, frozen=True):
    """Who closed a flag, when, and why."""

    by: str
    at: str
    note: str


class AuditFlag(msgspec.Struct, frozen=True, rename="camel"):
    """A flag. `createdAt` is in epoch milliseconds, as existing clients know it; other times are RFC 3339."""

    id: str
    game_id: str
    severity: Literal["warning", "critical"]
    code: str
    reason: str
    player_id: str | None
    subject: Subject
    context: dict[str, Any]
    occurrences: int
    first_seen_at: str
    last_seen_at: str
    status: Literal["open", "confirmed", "false_positive", "dismissed"]
    resolved: bool
    created_at: int
    resolution: Resolution | None


class FlagPage(msgspec.Struct, frozen=True, rename="camel"):
    """A page of flags, newest first."""

    success: bool
    flags: list[AuditFlag]
    next_cursor: str | None


class FlagQuery(Query, frozen=True):
    """Filters of the list. `reason` is a code, or a part of the reason's text."""

    severity: Literal["warning", "critical"] | None = None
    status: Literal["open", "confirmed", "false_positive", "dismissed"] | None = None
    player: str | None = None
    reason: str | None = None
    subject: str | None = None
    game_id: str | None = None
    limit: Limit = 50
    cursor: Cursor | None = None


class Flags:
    """The endpoint."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def page(self, call: Call) -> Answer:
        """Return a page of flags; a key of one game sees that game's only."""
        query: FlagQuery = call.query
        before = read_cursor(query.cursor, "flg_")
        game_id = query.game_id
        if call.credential is not None and call.credential.game_id is not None:
            if game_id not in (None, call.credential.game_id):
                return answer(FlagPage(success=True, flags=[], next_cursor=None))
            game_id = call.credential.game_id
        player = query.player.lower() if query.player is not None and query.player.startswith("0x") else query.player
        texts = [None if text is None else storable(text) for text in (player, query.reason, query.subject, game_id)]
        wanted = FlagFilter(query.severity, query.status, *texts)
        try:
            rows = await self._database.read(lambda c: list_flags(c, wanted, query.limit + 1, before))
        except StoreUnavailableError:
            raise WorldError("STORE_UNAVAILABLE", "The database cannot be read now; try again.") from None
        shown = [flag_document(row) for row in rows[: query.limit]]
        following = cursor_of(shown[-1].id) if len(rows) > query.limit else None
        return answer(FlagPage(success=True, flags=shown, next_cursor=following))


def flag_document(row: Any) -> AuditFlag:
    """Return a flag (a row of `audit_flags`) as it is shown."""
    resolution = None
    if row.resolved_at_ms is not None:
        resolution = Resolution(row.resolved_by or "", rfc3339(row.resolved_at_ms), row.resolution_note or "")
    return AuditFlag(
        id=row.id,
        game_id=row.game_id,
        severity=row.severity,
        code=row.code,
        reason=row.reason,
        player_id=row.player_id,
        subject=Subject(row.subject_type, row.subject_id),
        context=json.loads(row.context),
        occurrences=row.occurrences,
        first_seen_at=rfc3339(row.first_seen_ms),
        last_seen_at=rfc3339(row.last_seen_ms),
        status=row.status,
        resolved=row.status != "open",
        created_at=row.first_seen_ms,
        resolution=resolution,
    )
