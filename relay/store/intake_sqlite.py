"""What one group of submissions reads and writes, on SQLite.

The only SQL of the intake for this database. Statements go to the driver: through SQLAlchemy's compiler each row
would cost several times as much.
"""

import time
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from sqlalchemy import Connection

from relay.store import sqlite_bulk
from relay.store.intake_rows import (
    FIRST_ANSWER_COLUMNS,
    SUBMISSION_COLUMNS,
    FirstAnswer,
    KeyRow,
    SubmissionRow,
    WindowRow,
)

INSERT_SUBMISSIONS = f"INSERT INTO submissions ({', '.join(SUBMISSION_COLUMNS)}) VALUES"
REPLACE_WINDOWS = (
    "INSERT OR REPLACE INTO limit_windows "
    "(game_id, action, subject, admitted, refused, scores, claims, updated_at_ms) VALUES"
)
SELECT_FIRST_ANSWER = (
    f"SELECT {', '.join('s.' + name for name in FIRST_ANSWER_COLUMNS)}, "  # noqa: S608 - names are ours
    "CASE WHEN s.code IS NULL THEN NULL ELSE e.body END "
    "FROM submissions s JOIN evidence e ON e.hash = s.evidence_hash WHERE s.id = ?"
)


class SqliteIntakeStore:
    """The writer holds the only write transaction, so reading is locking."""

    def now_ms(self, connection: Connection) -> int:  # noqa: ARG002 - the database is in this process
        """Return this process's clock: SQLite has no other."""
        return time.time_ns() // 1_000_000

    def claim_keys(self, connection: Connection, keys: Sequence[KeyRow], now_ms: int) -> dict[bytes, KeyRow]:
        """Claim keys; returns by scope those taken before."""
        cursor = _cursor(connection)
        cursor.executemany(
            "INSERT INTO idempotency (scope, claim_hash, submission_id, created_at_ms) VALUES (?, ?, ?, ?) "
            "ON CONFLICT DO NOTHING",
            [(*key, now_ms) for key in keys],
        )
        taken: dict[bytes, KeyRow] = {}
        for key in keys:
            cursor.execute("SELECT scope, claim_hash, submission_id FROM idempotency WHERE scope = ?", (key.scope,))
            found = KeyRow(*cursor.fetchone())
            if found.submission_id != key.submission_id:
                taken[key.scope] = found
        return taken

    def release_keys(self, connection: Connection, scopes: Sequence[bytes]) -> None:
        """Give back keys whose request was not admitted."""
        _cursor(connection).executemany("DELETE FROM idempotency WHERE scope = ?", [(scope,) for scope in scopes])

    def lock_windows(
        self, connection: Connection, game_id: str, action: str, subjects: Sequence[bytes]
    ) -> dict[bytes, WindowRow]:
        """Return the windows; one that is missing is empty, and written when it is saved."""
        windows = {subject: WindowRow(subject) for subject in subjects}
        for row in sqlite_bulk.select(_cursor(connection), _select_windows, (game_id, action), subjects):
            windows[row[0]] = WindowRow._make(row)
        return windows

    def writing(self, connection: Connection) -> AbstractContextManager[object]:  # noqa: ARG002
        """Nothing to prepare: the database is in this process."""
        return nullcontext()

    def save_windows(
        self, connection: Connection, game_id: str, action: str, rows: Sequence[WindowRow], now_ms: int
    ) -> None:
        """Write windows."""
        values = [(game_id, action, *map(bytearray, row), now_ms) for row in rows]
        sqlite_bulk.insert(_cursor(connection), REPLACE_WINDOWS, 8, values)

    def take_serials(self, connection: Connection, game_id: str, count: int) -> int:
        """Take `count` serials; returns the first."""
        cursor = _cursor(connection)
        cursor.execute(
            "INSERT INTO round_counters (game_id, next) VALUES (?, 1 + ?) "
            "ON CONFLICT (game_id) DO UPDATE SET next = next + ? RETURNING next",
            (game_id, count, count),
        )
        return int(cursor.fetchone()[0]) - count

    def insert_evidence(
        self,
        connection: Connection,
        evidence: Sequence[tuple[bytes, bytes]],
        history: Sequence[tuple[str, str, int]],
    ) -> None:
        """Insert evidence and history of a group."""
        cursor = _cursor(connection)
        bodies = [(bytearray(body_hash), bytearray(body)) for body_hash, body in evidence]
        sqlite_bulk.insert(cursor, "INSERT INTO evidence (hash, body) VALUES", 2, bodies)
        sqlite_bulk.insert(cursor, "INSERT INTO history (submission_id, status, at_ms) VALUES", 3, history)

    def insert_submissions(self, connection: Connection, rows: Sequence[SubmissionRow]) -> None:
        """Insert submissions of a group."""
        values = [_bound(row) for row in rows]
        sqlite_bulk.insert(_cursor(connection), INSERT_SUBMISSIONS, len(SUBMISSION_COLUMNS), values)

    def first_answers(self, connection: Connection, ids: Sequence[str]) -> dict[str, FirstAnswer]:
        """Return what the first answers were made of."""
        cursor = _cursor(connection)
        found: dict[str, FirstAnswer] = {}
        for submission_id in ids:
            cursor.execute(SELECT_FIRST_ANSWER, (submission_id,))
            if (row := cursor.fetchone()) is not None:
                found[submission_id] = FirstAnswer(*row)
        return found

    def settle_answers(self, connection: Connection, rows: Sequence[tuple[str, str, bytes | None]]) -> None:
        """Write down what is answered, where nothing was answered yet."""
        _cursor(connection).executemany(
            "UPDATE submissions SET answered_status = ?, answered_tx = ? WHERE id = ? AND answered_status IS NULL",
            [(status, tx_hash, submission_id) for submission_id, status, tx_hash in rows],
        )


def _select_windows(marks: str) -> str:
    return (
        "SELECT subject, admitted, refused, scores, claims FROM limit_windows "  # noqa: S608 - question marks only
        f"WHERE game_id = ? AND action = ? AND subject IN ({marks})"
    )


def _bound(row: SubmissionRow) -> tuple[Any, ...]:
    """Return a row as the driver binds it fastest: `bytes` it would first try to adapt, each through four look-ups."""
    return tuple([bytearray(value) if value.__class__ is bytes else value for value in row])


def _cursor(connection: Connection) -> Any:  # sqlite3.Cursor, behind SQLAlchemy's adapter
    return connection.connection.driver_connection.cursor()  # type: ignore[union-attr]
