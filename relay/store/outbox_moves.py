"""How submissions move from status to status, each change with its history row in the same commit.

Touches `submissions` (status, transaction, block) and `history`, on the connection it is given. Set-based: on
PostgreSQL one statement, on SQLite two, however many submissions move. One that was revoked meanwhile stays revoked;
beneath, it moves on.
"""

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

from sqlalchemy import (
    ARRAY,
    BigInteger,
    ColumnCollection,
    ColumnElement,
    Connection,
    Insert,
    Text,
    and_,
    any_,
    bindparam,
    literal,
    select,
    update,
)

from relay.store.tables import history, submissions

UNFINISHED = ("queued", "sent", "included")  # a score that was parked meanwhile stays so

NOTHING: Mapping[str, object] = {}
Columns: TypeAlias = ColumnCollection[str, Any]


def move(
    c: Connection,
    submission_ids: Sequence[str],
    status: str,
    now_ms: int,
    was: Sequence[str],
    *,
    values: Mapping[str, object] = NOTHING,
    detail: str | None = None,
) -> int:
    """Move those of the submissions that are in one of the statuses `was`; returns how many."""
    if not submission_ids:
        return 0
    chosen = and_(among(c, submissions.c.id, submission_ids), submissions.c.status.in_(was))
    changed = update(submissions).where(chosen).values(status=status, **values)
    if c.dialect.name == "postgresql":
        made = changed.returning(submissions.c.id, submissions.c.tx_hash, submissions.c.block_number).cte("moved")
        told = _told(made.c, status, now_ms, detail).execution_options(preserve_rowcount=True)
        moved = c.execute(told).rowcount
    else:
        # SQLite has no such statement. History first: afterwards the rows no longer have the status that chooses them.
        c.execute(_told(submissions.c, status, now_ms, detail, values, chosen))
        moved = c.execute(changed).rowcount
    if moved < len(submission_ids):
        s = submissions.c
        beneath = and_(among(c, s.id, submission_ids), s.status == "revoked", s.status_beneath.in_(was))
        c.execute(update(submissions).where(beneath).values(status_beneath=status, **values))
    return moved


def among(c: Connection, column: ColumnElement[str], ids: Sequence[str]) -> ColumnElement[bool]:
    """Whether the column is one of the ids: on PostgreSQL one parameter, however many they are."""
    if c.dialect.name == "postgresql":
        return column == any_(bindparam(None, list(ids), ARRAY(Text)))
    return column.in_(ids)


def _told(
    rows: Columns,
    status: str,
    now_ms: int,
    detail: str | None,
    values: Mapping[str, object] = NOTHING,
    chosen: ColumnElement[bool] | None = None,
) -> Insert:
    """The history of a change of these rows; `values` are what the change will make of them, if it is not made yet."""
    after = [
        literal(values[name], rows[name].type) if name in values else rows[name] for name in ("tx_hash", "block_number")
    ]
    row = select(rows["id"], literal(status, Text), literal(now_ms, BigInteger), literal(detail, Text), *after)
    columns = ["submission_id", "status", "at_ms", "detail", "tx_hash", "block_number"]
    return history.insert().from_select(columns, row if chosen is None else row.where(chosen))
