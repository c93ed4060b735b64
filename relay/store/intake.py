"""The intake's store for a database, and the cold statements about submissions that every database shares.

The only SQL of this package for these statements.
"""

from sqlalchemy import Connection, delete, select, update
from sqlalchemy.dialects import postgresql, sqlite

from relay.progress import Standing
from relay.store.engine import Database, StoreUnavailableError
from relay.store.intake_postgres import PostgresIntakeStore
from relay.store.intake_rows import IntakeStore
from relay.store.intake_sqlite import SqliteIntakeStore
from relay.store.tables import evidence, idempotency, limit_windows, submissions

SWEEP_ROWS = 5_000  # per transaction, so that a sweep never holds up submissions


def intake_store(database: Database) -> IntakeStore:
    """Return the intake's store for the kind of `database`."""
    return SqliteIntakeStore() if database.dialect == "sqlite" else PostgresIntakeStore()


def keep_document(connection: Connection, dialect: str, body_hash: bytes, body: bytes) -> None:
    """Store a content-addressed document (a ruleset) once; it is served as evidence is."""
    insert = sqlite.insert if dialect == "sqlite" else postgresql.insert
    connection.execute(insert(evidence).values(hash=body_hash, body=body).on_conflict_do_nothing())


async def standing(database: Database, submission_id: str) -> Standing | None:
    """Return where a submission is, None if unknown or while the database is out of reach."""

    def job(connection: Connection) -> Standing | None:
        row = connection.execute(
            select(submissions.c.status, submissions.c.tx_hash).where(submissions.c.id == submission_id)
        ).first()
        return Standing(row.status, row.tx_hash) if row else None

    try:
        return await database.read(job)
    except StoreUnavailableError:
        return None


def extend_answering(connection: Connection, submission_id: str, until_ms: int) -> None:
    """Say until when a submission's first answer is still coming, if it was not given."""
    waiting = (submissions.c.id == submission_id, submissions.c.answered_status.is_(None))
    connection.execute(update(submissions).where(*waiting).values(answering_until_ms=until_ms))


def sweep_keys(connection: Connection, before_ms: int) -> int:
    """Forget at most 5,000 idempotency keys claimed before `before_ms`; returns how many."""
    old = select(idempotency.c.scope).where(idempotency.c.created_at_ms < before_ms).limit(SWEEP_ROWS)
    return connection.execute(delete(idempotency).where(idempotency.c.scope.in_(old))).rowcount


def sweep_windows(connection: Connection, before_ms: int) -> int:
    """Forget players not seen since `before_ms` of whom no accepted score is remembered; returns how many."""
    empty = (limit_windows.c.updated_at_ms < before_ms) & (limit_windows.c.scores == b"")
    return connection.execute(delete(limit_windows).where(empty)).rowcount
