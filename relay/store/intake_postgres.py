"""What one group of submissions reads and writes, on PostgreSQL.

The only SQL of the intake for this database. Groups travel as arrays, one statement per table and group whatever its
size, several statements per round trip (psycopg 3's pipeline; COPY cannot be part of one).
"""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any
from zlib import crc32

from sqlalchemy import Connection

from relay.store.engine import POSTGRESQL_IDLE_MS
from relay.store.intake_rows import (
    FIRST_ANSWER_COLUMNS,
    SUBMISSION_COLUMNS,
    FirstAnswer,
    KeyRow,
    SubmissionRow,
    WindowRow,
)
from relay.store.pg_arrays import bigints, byteas, smallints, texts

# How each column of a submission travels.
COLUMN_ARRAYS: tuple[tuple[Callable[[Any], bytes], str], ...] = (
    (texts, "text"), (texts, "text"), (byteas, "bytea"), (texts, "text"), (bigints, "int8"), (bigints, "int8"),
    (texts, "text"), (byteas, "bytea"), (smallints, "int2"), (byteas, "bytea"), (byteas, "bytea"), (bigints, "int8"),
    (bigints, "int8"), (bigints, "int8"), (byteas, "bytea"), (byteas, "bytea"), (texts, "text"), (texts, "text"),
    (bigints, "int8"),
)  # fmt: skip
INSERT_SUBMISSIONS = (
    f"INSERT INTO submissions ({', '.join(SUBMISSION_COLUMNS)}) SELECT * FROM unnest("  # noqa: S608 - names are ours
    + ", ".join(f"%b::{kind}[]" for _, kind in COLUMN_ARRAYS)
    + ")"
)
SELECT_FIRST_ANSWERS = (
    f"SELECT {', '.join('s.' + name for name in FIRST_ANSWER_COLUMNS)}, "  # noqa: S608 - names are ours
    "CASE WHEN s.code IS NULL THEN NULL ELSE e.body END "
    "FROM submissions s JOIN evidence e ON e.hash = s.evidence_hash WHERE s.id = ANY(%b)"
)
# How long the transaction may take, locks and all, whatever becomes of this process: a pipeline of psycopg ends with a
# Flush, after which the server does not count how long it has been idle (see relay.store.engine).
LIMIT = f"SET LOCAL transaction_timeout = {2 * POSTGRESQL_IDLE_MS}"
TRANSACTION_TIMEOUT_SINCE = 170_000  # server version
# Locks that live until the commit, taken in the order of their numbers: no row has to exist to be locked.
LOCK = "SELECT count(pg_advisory_xact_lock(key)) FROM unnest(%b::int8[]) AS given (key)"
SELECT_WINDOWS = (
    "SELECT subject, admitted, refused, scores, claims FROM limit_windows "
    "WHERE game_id = %b AND action = %b AND subject = ANY(%b::bytea[])"
)
UPSERT_WINDOWS = (
    "INSERT INTO limit_windows (game_id, action, subject, admitted, refused, scores, claims, updated_at_ms) "
    "SELECT %b, %b, subject, admitted, refused, scores, claims, %b::int8 "
    "FROM unnest(%b::bytea[], %b::bytea[], %b::bytea[], %b::bytea[], %b::bytea[]) "
    "AS given (subject, admitted, refused, scores, claims) ON CONFLICT (game_id, action, subject) DO UPDATE SET "
    "admitted = excluded.admitted, refused = excluded.refused, scores = excluded.scores, claims = excluded.claims, "
    "updated_at_ms = excluded.updated_at_ms"
)


class PostgresIntakeStore:
    """Correct with any number of relay processes: rows are locked before they are decided on."""

    def now_ms(self, connection: Connection) -> int:
        """Return the server's clock: one for all replicas."""
        cursor = _cursor(connection)
        cursor.execute("SELECT (extract(epoch FROM clock_timestamp()) * 1000)::int8")
        return int(cursor.fetchone()[0])

    def claim_keys(self, connection: Connection, keys: Sequence[KeyRow], now_ms: int) -> dict[bytes, KeyRow]:
        """Claim keys; a key that another transaction is claiming is waited for; returns by scope those taken."""
        ordered = sorted(keys)
        cursor = _cursor(connection)
        cursor.execute(
            "INSERT INTO idempotency (scope, claim_hash, submission_id, created_at_ms) "
            "SELECT scope, claim_hash, submission_id, %b FROM unnest(%b::bytea[], %b::bytea[], %b::text[]) "
            "AS given (scope, claim_hash, submission_id) ON CONFLICT DO NOTHING RETURNING scope",
            (now_ms, *(list(column) for column in zip(*ordered, strict=True))),
        )
        claimed = {row[0] for row in cursor.fetchall()}
        others = [key.scope for key in ordered if key.scope not in claimed]
        if not others:
            return {}
        cursor.execute("SELECT scope, claim_hash, submission_id FROM idempotency WHERE scope = ANY(%b)", (others,))
        return {row[0]: KeyRow(*row) for row in cursor.fetchall()}

    def release_keys(self, connection: Connection, scopes: Sequence[bytes]) -> None:
        """Give back keys whose request was not admitted."""
        _cursor(connection).execute("DELETE FROM idempotency WHERE scope = ANY(%b)", (list(scopes),))

    def lock_windows(
        self, connection: Connection, game_id: str, action: str, subjects: Sequence[bytes]
    ) -> dict[bytes, WindowRow]:
        """Lock the subjects, then read what is stored of them; both in one round trip, each with its own snapshot."""
        cursor, reader = _cursor(connection), _cursor(connection)
        base = crc32(f"{game_id}\0{action}".encode()) << 32
        keys = sorted({_signed(base ^ int.from_bytes(subject[-8:], "big")) for subject in subjects})
        with self.writing(connection):
            if _raw(connection).info.server_version >= TRANSACTION_TIMEOUT_SINCE:
                cursor.execute(LIMIT)
            cursor.execute(LOCK, (bigints(keys),), prepare=True)
            reader.execute(SELECT_WINDOWS, (game_id, action, byteas(subjects)), prepare=True)
        found = {row[0]: WindowRow._make(row) for row in reader.fetchall()}
        return {subject: found.get(subject) or WindowRow(subject) for subject in subjects}

    def writing(self, connection: Connection) -> AbstractContextManager[object]:
        """Send the statements inside without waiting for each one's answer."""
        pipeline: AbstractContextManager[object] = _raw(connection).pipeline()
        return pipeline

    def save_windows(
        self, connection: Connection, game_id: str, action: str, rows: Sequence[WindowRow], now_ms: int
    ) -> None:
        """Write what is remembered of subjects that are locked."""
        columns = [byteas(column) for column in zip(*rows, strict=True)]
        _cursor(connection).execute(UPSERT_WINDOWS, (game_id, action, now_ms, *columns), prepare=True)

    def take_serials(self, connection: Connection, game_id: str, count: int) -> int:
        """Take `count` serials; holds the counter until the commit, so a rollback leaves no gap."""
        cursor = _cursor(connection)
        cursor.execute(
            "INSERT INTO round_counters AS c (game_id, next) VALUES (%b, 1 + %b::int8) "
            "ON CONFLICT (game_id) DO UPDATE SET next = c.next + %b::int8 RETURNING next",
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
        hashes, bodies = zip(*evidence, strict=True)
        _cursor(connection).execute(
            "INSERT INTO evidence (hash, body) SELECT * FROM unnest(%b::bytea[], %b::bytea[])",
            (byteas(hashes), byteas(bodies)),
            prepare=True,
        )
        ids, statuses, times = zip(*history, strict=True)
        _cursor(connection).execute(
            "INSERT INTO history (submission_id, status, at_ms) "
            "SELECT * FROM unnest(%b::text[], %b::text[], %b::int8[])",
            (texts(ids), texts(statuses), bigints(times)),
            prepare=True,
        )

    def insert_submissions(self, connection: Connection, rows: Sequence[SubmissionRow]) -> None:
        """Insert submissions of a group."""
        columns = zip(*rows, strict=True)
        arrays = tuple(array(column) for (array, _), column in zip(COLUMN_ARRAYS, columns, strict=True))
        _cursor(connection).execute(INSERT_SUBMISSIONS, arrays, prepare=True)

    def first_answers(self, connection: Connection, ids: Sequence[str]) -> dict[str, FirstAnswer]:
        """Return what the first answers were made of."""
        cursor = _cursor(connection)
        cursor.execute(SELECT_FIRST_ANSWERS, (list(ids),))
        return {row[0]: FirstAnswer(*row) for row in cursor.fetchall()}

    def settle_answers(self, connection: Connection, rows: Sequence[tuple[str, str, bytes | None]]) -> None:
        """Write down what is answered, where nothing was answered yet."""
        ids, statuses, hashes = (list(column) for column in zip(*sorted(rows, key=lambda row: row[0]), strict=True))
        _cursor(connection).execute(
            "UPDATE submissions s SET answered_status = given.status, answered_tx = given.tx "
            "FROM unnest(%b::text[], %b::text[], %b::bytea[]) AS given (id, status, tx) "
            "WHERE s.id = given.id AND s.answered_status IS NULL",
            (ids, statuses, hashes),
        )


def _signed(key: int) -> int:
    return key - (1 << 64) if key >= 1 << 63 else key


def _raw(connection: Connection) -> Any:  # psycopg.Connection, behind SQLAlchemy's adapter
    return connection.connection.driver_connection


def _cursor(connection: Connection) -> Any:  # psycopg.Cursor
    return _raw(connection).cursor(binary=True)
