"""How the outbox moves submissions from status to status, each change with its history row in the same commit.

Touches `submissions` (status, transaction, block), `history` and the resolution columns of batches, on the connection
it is given. Set-based: two statements per batch, however many scores it has.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import BigInteger, ColumnElement, Connection, Text, and_, literal, select, update

from relay.store.outbox_tables import batch_scores, batches
from relay.store.tables import history, submissions

UNFINISHED = ("queued", "sent", "included")  # a score that was revoked or parked meanwhile keeps its status

NOTHING: Mapping[str, object] = {}


@dataclass(frozen=True)
class Landed:
    """A slot whose transaction is in a block. `elsewhere`: scores another transaction recorded (id, hash, block)."""

    nonce: int
    batch_id: int
    tx_hash: bytes
    block_number: int
    block_hash: bytes
    succeeded: bool
    elsewhere: tuple[tuple[str, bytes, int], ...] = ()
    withheld: tuple[str, ...] = ()  # in no log found (yet), or contradicted by one: not included


def land(c: Connection, item: Landed, status: str, now_ms: int, was: Sequence[str]) -> None:
    """Set the status of a batch whose transaction is in a block; those recorded elsewhere carry that transaction."""
    for submission_id, tx_hash, number in item.elsewhere:
        move_one(c, submission_id, status, now_ms, was, values={"tx_hash": tx_hash, "block_number": number})
    excluded = [submission_id for submission_id, _, _ in item.elsewhere] + list(item.withheld)
    values = {"tx_hash": item.tx_hash, "block_number": item.block_number}
    move(c, item.batch_id, status, now_ms, was, values=values, excluded=excluded)


def resolve(c: Connection, batch_id: int, state: str, now_ms: int) -> None:
    """Close a batch: its scores may be in another one from here on."""
    c.execute(update(batch_scores).where(batch_scores.c.batch_id == batch_id).values(unresolved=0))
    c.execute(update(batches).where(batches.c.id == batch_id).values(state=state, resolved_at_ms=now_ms))


def move(
    c: Connection,
    batch_id: int,
    status: str,
    now_ms: int,
    was: Sequence[str],
    *,
    values: Mapping[str, object] = NOTHING,
    detail: str | None = None,
    excluded: Sequence[str] = (),
) -> int:
    """Move a batch's scores that are in one of the statuses `was`; returns how many."""
    members = select(batch_scores.c.submission_id).where(batch_scores.c.batch_id == batch_id)
    if excluded:
        members = members.where(batch_scores.c.submission_id.not_in(excluded))
    return _apply(c, and_(submissions.c.id.in_(members), submissions.c.status.in_(was)), status, now_ms, values, detail)


def move_one(
    c: Connection,
    submission_id: str,
    status: str,
    now_ms: int,
    was: Sequence[str],
    *,
    values: Mapping[str, object] = NOTHING,
    detail: str | None = None,
) -> int:
    """Move one score if it is in one of the statuses `was`; returns 1 or 0."""
    chosen = and_(submissions.c.id == submission_id, submissions.c.status.in_(was))
    return _apply(c, chosen, status, now_ms, values, detail)


def _apply(
    c: Connection,
    chosen: ColumnElement[bool],
    status: str,
    now_ms: int,
    values: Mapping[str, object],
    detail: str | None,
) -> int:
    # History first: afterwards the rows no longer have the status that chooses them.
    row = select(submissions.c.id, literal(status, Text), literal(now_ms, BigInteger), literal(detail, Text))
    columns = ["submission_id", "status", "at_ms", "detail"]
    c.execute(history.insert().from_select(columns, row.where(chosen)))
    return c.execute(update(submissions).where(chosen).values(status=status, **values)).rowcount
