"""What one group of submissions reads and writes, on PostgreSQL.

The only SQL of the intake for this database. Groups travel as arrays (unnest) and as binary COPY: one statement per
table and group, whatever its size (psycopg 3).
"""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection

from relay.store.intake_rows import (
    FIRST_ANSWER_COLUMNS,
    SUBMISSION_COLUMNS,
    FirstAnswer,
    KeyRow,
    SubmissionRow,
    WindowRow,
)

SUBMISSION_TYPES = (
    "text", "text", "bytea", "text", "int8", "int8", "text", "bytea", "int2", "bytea", "bytea", "int8", "int8", "int8",
    "bytea", "bytea", "text", "text", "int8",
)  # fmt: skip
COPY_SUBMISSIONS = f"COPY submissions ({', '.join(SUBMISSION_COLUMNS)}) FROM STDIN (FORMAT BINARY)"
SELECT_FIRST_ANSWERS = (
    f"SELECT {', '.join('s.' + name for name in FIRST_ANSWER_COLUMNS)}, "  # noqa: S608 - names are ours
    "CASE WHEN s.code IS NULL THEN NULL ELSE e.body END "
    "FROM submissions s JOIN evidence e ON e.hash = s.evidence_hash WHERE s.id = ANY(%b)"
)
SELECT_WINDOWS = (
    "SELECT subject, admitted, refused, scores, claims FROM limit_windows "
    "WHERE game_id = %b AND action = %b AND subject = ANY(%b) ORDER BY subject FOR UPDATE"
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
        """Lock and return the windows in ascending order; a missing one is created, so that it is locked too."""
        cursor = _cursor(connection)
        cursor.execute(SELECT_WINDOWS, (game_id, action, list(subjects)))
        found = {row[0]: WindowRow(*row) for row in cursor.fetchall()}
        missing = [subject for subject in subjects if subject not in found]
        if missing:
            cursor.execute(
                "INSERT INTO limit_windows "
                "(game_id, action, subject, admitted, refused, scores, claims, updated_at_ms) "
                "SELECT %b, %b, subject, '', '', '', '', 0 FROM unnest(%b::bytea[]) AS given (subject) "
                "ON CONFLICT DO NOTHING RETURNING subject",
                (game_id, action, missing),
            )
            found.update((row[0], WindowRow(row[0])) for row in cursor.fetchall())
            raced = [subject for subject in missing if subject not in found]
            if raced:  # created by another process between our two statements
                cursor.execute(SELECT_WINDOWS, (game_id, action, raced))
                found.update((row[0], WindowRow(*row)) for row in cursor.fetchall())
        return found

    def save_windows(
        self, connection: Connection, game_id: str, action: str, rows: Sequence[WindowRow], now_ms: int
    ) -> None:
        """Write windows that are locked."""
        _cursor(connection).execute(
            "UPDATE limit_windows w SET admitted = given.admitted, refused = given.refused, scores = given.scores, "
            "claims = given.claims, updated_at_ms = %b "
            "FROM unnest(%b::bytea[], %b::bytea[], %b::bytea[], %b::bytea[], %b::bytea[]) "
            "AS given (subject, admitted, refused, scores, claims) "
            "WHERE w.game_id = %b AND w.action = %b AND w.subject = given.subject",
            (now_ms, *(list(column) for column in zip(*rows, strict=True)), game_id, action),
        )

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
        cursor = _cursor(connection)
        _copy(cursor, "COPY evidence (hash, body) FROM STDIN (FORMAT BINARY)", ("bytea", "bytea"), evidence)
        statement = "COPY history (submission_id, status, at_ms) FROM STDIN (FORMAT BINARY)"
        _copy(cursor, statement, ("text", "text", "int8"), history)

    def insert_submissions(self, connection: Connection, rows: Sequence[SubmissionRow]) -> None:
        """Insert submissions of a group."""
        _copy(_cursor(connection), COPY_SUBMISSIONS, SUBMISSION_TYPES, rows)

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


def _copy(cursor: Any, statement: str, types: Sequence[str], rows: Sequence[tuple[Any, ...]]) -> None:
    with cursor.copy(statement) as copy:
        copy.set_types(types)
        write = copy.write_row
        for row in rows:
            write(row)


def _cursor(connection: Connection) -> Any:  # psycopg.Cursor, behind SQLAlchemy's adapter
    return connection.connection.driver_connection.cursor(binary=True)  # type: ignore[union-attr]
