"""The rows an intake writes and reads, and the port through which it does.

Pure: declarations only. `relay.store.intake_sqlite` and `relay.store.intake_postgres` are the two implementations.
"""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import NamedTuple, Protocol

from sqlalchemy import Connection as Connection  # noqa: PLC0414 - offered from here: only the store knows its library


class SubmissionRow(NamedTuple):
    """One new submission, in the order of SUBMISSION_COLUMNS."""

    id: str
    game_id: str
    player: bytes
    status: str
    score: int | None
    round_id: int | None
    external_round: str | None
    evidence_hash: bytes
    evidence_level: int
    rules_hash: bytes
    claim_hash: bytes
    received_at_ms: int
    accepted_at_ms: int | None
    receipt_deadline: int | None
    receipt_signer: bytes | None
    receipt_signature: bytes | None
    code: str | None
    request_id: str
    answering_until_ms: int | None


SUBMISSION_COLUMNS = SubmissionRow._fields


class KeyRow(NamedTuple):
    """One idempotency key: hash of its scope, hash of the claim it was first used for, that submission."""

    scope: bytes
    claim_hash: bytes
    submission_id: str


class WindowRow(NamedTuple):
    """What is remembered of one player for one action, packed: see the columns of `limit_windows`."""

    subject: bytes
    admitted: bytes = b""
    refused: bytes = b""
    scores: bytes = b""
    claims: bytes = b""


class FirstAnswer(NamedTuple):
    """All that a first answer was made of: what is needed to give it again byte for byte."""

    id: str
    game_id: str
    player: bytes
    score: int | None
    round_id: int | None
    evidence_hash: bytes
    evidence_level: int
    rules_hash: bytes
    receipt_deadline: int | None
    receipt_signer: bytes | None
    receipt_signature: bytes | None
    code: str | None
    request_id: str
    answering_until_ms: int | None
    answered_status: str | None = None
    answered_tx: bytes | None = None
    evidence: bytes | None = None  # of a refusal: its checks are part of the answer


FIRST_ANSWER_COLUMNS = FirstAnswer._fields[:-1]


class IntakeStore(Protocol):
    """What one group of submissions reads and writes; every method belongs to the writer's transaction.

    Lock order, the same in every process: idempotency keys, rounds, windows, each in ascending order, then the serial
    counters. So no two groups wait for each other in a circle. Who ends rounds by the clock waits for nobody: it takes
    those that nobody holds (`relay.store.rounds.due`).
    """

    def now_ms(self, connection: Connection) -> int:
        """Return the database's clock in epoch milliseconds."""

    def claim_keys(self, connection: Connection, keys: Sequence[KeyRow], now_ms: int) -> dict[bytes, KeyRow]:
        """Claim idempotency keys; returns, by scope, those that were taken before."""

    def release_keys(self, connection: Connection, scopes: Sequence[bytes]) -> None:
        """Give back keys whose request was not admitted."""

    def lock_windows(
        self, connection: Connection, game_id: str, action: str, subjects: Sequence[bytes]
    ) -> dict[bytes, WindowRow]:
        """Lock `subjects` until the commit; returns what is stored of each, an empty row for one never seen."""

    def writing(self, connection: Connection) -> AbstractContextManager[object]:
        """Return the context in which rows are written: their statements may travel together."""

    def save_windows(
        self, connection: Connection, game_id: str, action: str, rows: Sequence[WindowRow], now_ms: int
    ) -> None:
        """Write back windows that `lock_windows` returned."""

    def take_serials(self, connection: Connection, game_id: str, count: int) -> int:
        """Take `count` consecutive serial numbers of a game; returns the first. The first of all is 1."""

    def insert_evidence(
        self,
        connection: Connection,
        evidence: Sequence[tuple[bytes, bytes]],
        history: Sequence[tuple[str, str, int]],
    ) -> None:
        """Insert evidence (hash, body) and history (submission, status, at_ms)."""

    def insert_submissions(self, connection: Connection, rows: Sequence[SubmissionRow]) -> None:
        """Insert submissions."""

    def first_answers(self, connection: Connection, ids: Sequence[str]) -> dict[str, FirstAnswer]:
        """Return what the first answers of `ids` were made of."""

    def settle_answers(self, connection: Connection, rows: Sequence[tuple[str, str, bytes | None]]) -> None:
        """Write down what is answered (submission, status, transaction), where nothing was answered yet."""
