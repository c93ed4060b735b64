"""Rows of history as the relay writes them, without a relay: what webhooks are fed from."""

import secrets
from collections.abc import Sequence

from sqlalchemy import Connection, insert, select

from relay.store import migrate
from relay.store.engine import Database, open_database
from relay.store.tables import history, submissions

PLAYER = bytes.fromhex("52908400098527886e0f7030069857d2e4169ee7")
AT_MS = 1_764_000_000_000


def opened(url: str) -> Database:
    """The database at `url`, at this program's version."""
    database = open_database(url)
    migrate.upgrade(database, "relay")
    return database


def add_submission(c: Connection, submission_id: str, *, game_id: str = "streambeat", score: int = 2652) -> None:
    """Insert a submission that was refused: such a row needs the fewest columns."""
    c.execute(
        insert(submissions).values(
            id=submission_id,
            game_id=game_id,
            player=PLAYER,
            status="rejected",
            score=score,
            evidence_hash=secrets.token_bytes(32),
            evidence_level=1,
            rules_hash=bytes(32),
            claim_hash=bytes(32),
            received_at_ms=AT_MS,
            request_id="req_test",
        )
    )


def add_history(c: Connection, submission_id: str, status: str, at_ms: int = AT_MS) -> int:
    """Append one change; returns its number."""
    row = {"submission_id": submission_id, "status": status, "at_ms": at_ms}
    made = c.execute(insert(history).values(row).returning(history.c.seq))
    return int(made.scalar_one())


def tell(
    database: Database, submission_id: str, *statuses: str, game_id: str = "streambeat", at_ms: int = AT_MS
) -> list[int]:
    """Append changes to one submission's history in one transaction, inserting it if it is new; returns the numbers."""
    with database.write() as c:
        if c.scalar(select(submissions.c.id).where(submissions.c.id == submission_id)) is None:
            add_submission(c, submission_id, game_id=game_id)
        return [add_history(c, submission_id, status, at_ms) for status in statuses]


def tell_many(database: Database, count: int, statuses: Sequence[str], prefix: str = "sub_") -> list[int]:
    """Append the same story to `count` new submissions, status by status; returns the numbers."""
    ids = [f"{prefix}{number:06d}" for number in range(count)]
    with database.write() as c:
        for submission_id in ids:
            add_submission(c, submission_id)
        return [add_history(c, submission_id, status) for status in statuses for submission_id in ids]
