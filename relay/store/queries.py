"""What anybody may ask about submissions and evidence.

The only SQL of this package for these reads.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Connection, select

from relay.store import revocations
from relay.store.outbox_tables import attempts, batch_scores, slots
from relay.store.tables import evidence, history, round_counters, submissions


class SubmissionFilter(NamedTuple):
    """Which submissions a list shows; None means any."""

    player: bytes | None = None
    game_id: str | None = None
    status: str | None = None


class Whole(NamedTuple):
    """A submission with its evidence, its history, the transactions that tried to carry it, and its last revocation."""

    submission: Any
    evidence: bytes
    history: Sequence[Any]
    attempts: Sequence[Any]
    revocation: Any | None


def submission(connection: Connection, submission_id: str) -> Whole | None:
    """Return everything about a submission, None if there is none of that id."""
    row = connection.execute(select(submissions).where(submissions.c.id == submission_id)).first()
    if row is None:
        return None
    steps = connection.execute(
        select(history.c.status, history.c.at_ms, history.c.detail)
        .where(history.c.submission_id == submission_id)
        .order_by(history.c.seq)
    ).all()
    tried = connection.execute(
        select(attempts.c.tx_hash, attempts.c.nonce, attempts.c.created_at_ms, attempts.c.fee_wei_max)
        .join(
            slots,
            (attempts.c.chain_id == slots.c.chain_id)
            & (attempts.c.signer == slots.c.signer)
            & (attempts.c.nonce == slots.c.nonce),
        )
        .join(batch_scores, batch_scores.c.batch_id == slots.c.batch_id)
        .where(batch_scores.c.submission_id == submission_id)
        .order_by(attempts.c.created_at_ms, attempts.c.nonce)
    ).all()
    body = evidence_body(connection, row.evidence_hash) or b""
    return Whole(row, body, steps, tried, revocations.shown(connection, submission_id))


def scored(connection: Connection, submission_id: str) -> tuple[str, int | None, int] | None:
    """Return a submission's status, score and evidence level."""
    columns = (submissions.c.status, submissions.c.score, submissions.c.evidence_level)
    row = connection.execute(select(*columns).where(submissions.c.id == submission_id)).first()
    return None if row is None else (row.status, row.score, row.evidence_level)


def next_round(connection: Connection, game_id: str) -> int:
    """Return the round number that the game's next accepted submission is given."""
    return connection.scalar(select(round_counters.c.next).where(round_counters.c.game_id == game_id)) or 1


def list_submissions(
    connection: Connection, wanted: SubmissionFilter, limit: int, before_id: str | None
) -> Sequence[Any]:
    """Return at most `limit` submissions, newest first, older than `before_id`."""
    columns = submissions.c
    conditions: list[ColumnElement[bool]] = []
    if wanted.player is not None:
        conditions.append(columns.player == wanted.player)
    if wanted.game_id is not None:
        conditions.append(columns.game_id == wanted.game_id)
    if wanted.status is not None:
        conditions.append(columns.status == wanted.status)
    if before_id is not None:
        conditions.append(columns.id < before_id)
    return connection.execute(select(submissions).where(*conditions).order_by(columns.id.desc()).limit(limit)).all()


def evidence_body(connection: Connection, evidence_hash: bytes) -> bytes | None:
    """Return the exact bytes whose keccak-256 is `evidence_hash`, None if they are not stored here."""
    body = connection.scalar(select(evidence.c.body).where(evidence.c.hash == evidence_hash))
    return None if body is None else bytes(body)
