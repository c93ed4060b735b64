"""How submissions move from status to status, each change with its history row in the same commit.

Touches `submissions` (status, transaction, block) and `history`, on the connection it is given. Set-based: two
statements, however many submissions move. One that was revoked meanwhile stays revoked; beneath, it moves on.
"""

from collections.abc import Mapping, Sequence

from sqlalchemy import BigInteger, Connection, Text, and_, literal, select, update

from relay.store.tables import history, submissions

UNFINISHED = ("queued", "sent", "included")  # a score that was parked meanwhile stays so

NOTHING: Mapping[str, object] = {}


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
    chosen = and_(submissions.c.id.in_(submission_ids), submissions.c.status.in_(was))
    # History first: afterwards the rows no longer have the status that chooses them. They are locked here, so that
    # nobody else moves them in between and history tells of no change that was not made.
    after = [
        literal(values[column.name], column.type) if column.name in values else column
        for column in (submissions.c.tx_hash, submissions.c.block_number)
    ]
    row = select(submissions.c.id, literal(status, Text), literal(now_ms, BigInteger), literal(detail, Text), *after)
    columns = ["submission_id", "status", "at_ms", "detail", "tx_hash", "block_number"]
    c.execute(history.insert().from_select(columns, row.where(chosen).with_for_update(of=submissions)))
    moved = c.execute(update(submissions).where(chosen).values(status=status, **values)).rowcount
    if moved < len(submission_ids):
        s = submissions.c
        beneath = and_(s.id.in_(submission_ids), s.status == "revoked", s.status_beneath.in_(was))
        c.execute(update(submissions).where(beneath).values(status_beneath=status, **values))
    return moved
