"""Answers of a whole group of requests, kept for their idempotency keys: looked up and kept at once.

The only SQL on `kept_answers` but for `relay.store.kept_answers`, which keeps one at a time. A key is locked before it
is looked up and until the commit, so of several processes that are asked the same one finds nothing, and the others
find its answer; the row is written once, with the answer.
"""

from collections.abc import Collection, Sequence
from typing import Any, NamedTuple

from sqlalchemy import Connection

from relay.store import sqlite_bulk
from relay.store.bulk import Rows
from relay.store.kept_answers import Claim, Kept
from relay.store.pg_arrays import bigints, byteas
from relay.store.tables import kept_answers

_LOCK = "SELECT count(pg_advisory_xact_lock(key)) FROM unnest(%b::int8[]) AS given (key)"
_SELECT = "SELECT scope, claim_hash, status, body FROM kept_answers WHERE scope = ANY(%b::bytea[])"
_ROWS = Rows(kept_answers, "scope", "claim_hash", "status", "body", "created_at_ms")


class Known(NamedTuple):
    """An answer that was given, and the request (hash) it was given to."""

    request: bytes
    kept: Kept


def look(c: Connection, scopes: Collection[bytes]) -> dict[bytes, Known]:
    """Lock keys (hashes of their scopes) until the commit; returns what was answered under those that were used."""
    if not scopes:
        return {}
    ordered = sorted(scopes)
    rows = _look_sqlite(c, ordered) if c.dialect.name == "sqlite" else _look_postgresql(c, ordered)
    return {
        bytes(scope): Known(bytes(request), Kept(status, bytes(body), True)) for scope, request, status, body in rows
    }


def keep(c: Connection, answers: Sequence[tuple[Claim, Kept]], now_ms: int) -> None:
    """Keep the answers of keys that are locked and were not used."""
    _ROWS.insert(c, [(claim.scope, claim.request, kept.status, kept.body, now_ms) for claim, kept in answers])


def _look_sqlite(c: Connection, scopes: Sequence[bytes]) -> list[Any]:
    """The writer holds the only write transaction, so reading is locking."""
    cursor: Any = c.connection.driver_connection.cursor()  # type: ignore[union-attr]
    return list(sqlite_bulk.select(cursor, _select_sqlite, (), scopes))


def _select_sqlite(marks: str) -> str:
    return f"SELECT scope, claim_hash, status, body FROM kept_answers WHERE scope IN ({marks})"  # noqa: S608 - ?, ?


def _look_postgresql(c: Connection, scopes: Sequence[bytes]) -> list[Any]:
    cursor: Any = c.connection.driver_connection.cursor(binary=True)  # type: ignore[union-attr]
    keys = sorted({int.from_bytes(scope[:8], "big", signed=True) for scope in scopes})
    cursor.execute(_LOCK, (bigints(keys),), prepare=True)
    cursor.execute(_SELECT, (byteas(scopes),), prepare=True)
    return list(cursor.fetchall())
