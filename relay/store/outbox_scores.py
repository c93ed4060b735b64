"""The rows of the cargo of scores: which submissions wait, and how they move with the slot that carries them.

Touches `submissions` and `history` (through `outbox_moves`). Every function that begins with a verb returns a `Move`
for the commit of the slot's change.
"""

from collections.abc import Sequence
from functools import partial

from sqlalchemy import Connection, and_, bindparam, func, select, text

from relay.outbox.batches import Waiting
from relay.store.engine import Database
from relay.store.outbox import Move, SealConflictError, WithdrawnError
from relay.store.outbox_moves import UNFINISHED, among, move
from relay.store.tables import submissions

Recorded = tuple[Sequence[str], bytes, int]
"""Submissions that one transaction recorded: ids, transaction hash, block number."""

# A literal, because both databases use a partial index only for its own words.
IS_WAITING = text("submissions.status = 'accepted'")

NEXT_GAME = select(func.min(submissions.c.game_id)).where(IS_WAITING, submissions.c.game_id > bindparam("game"))
OF_GAME = (
    select(*(submissions.c[name] for name in ("id", "game_id", "rules_hash", "player", "score", "round_id")))
    .add_columns(*(submissions.c[name] for name in ("evidence_hash", "accepted_at_ms", "failures")))
    .where(IS_WAITING, submissions.c.game_id == bindparam("game"))
    .order_by(submissions.c.round_id)
    .limit(bindparam("most"))
)


class ScoreRows:
    """Reads of the submissions that no batch holds. Methods raise StoreUnavailableError when the database is away."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def waiting(self, per_game_max: int) -> tuple[list[Waiting], int]:
        """Accepted scores by game in round order, and the database's time (ms)."""
        return await self._database.read(partial(self._waiting, per_game_max))

    async def failures(self, submission_id: str) -> int:
        """How many batches with this score failed on the chain before."""
        query = select(submissions.c.failures).where(submissions.c.id == submission_id)
        return await self._database.read(lambda c: int(c.execute(query).scalar_one()))

    def _waiting(self, per_game_max: int, c: Connection) -> tuple[list[Waiting], int]:
        found: list[Waiting] = []
        game = ""
        # From game to game, so that a busy one does not hide the others behind the row limit.
        while (game := c.scalar(NEXT_GAME, {"game": game})) is not None:
            found += [Waiting(*row) for row in c.execute(OF_GAME, {"game": game, "most": per_game_max})]
        return found, self._database.now_ms(c)


def claim(ids: Sequence[str]) -> Move:
    """Queue waiting scores, or raise SealConflictError: a sender with another key may be sealing them now."""

    def run(c: Connection, now_ms: int) -> None:
        free = select(submissions.c.id).where(among(c, submissions.c.id, ids), IS_WAITING)
        if len(c.execute(free.with_for_update(skip_locked=True)).all()) != len(ids):
            raise SealConflictError("a score of the batch is not waiting any more")
        move(c, ids, "queued", now_ms, ("accepted",))

    return run


def sent(ids: Sequence[str], tx_hash: bytes) -> Move:
    """The scores' first transaction is committed.

    Raises WithdrawnError where one was revoked since it was sealed. Looked for after the rows are locked: who revokes
    one later finds it sent.
    """

    def run(c: Connection, now_ms: int) -> None:
        if _to(c, ids, "sent", now_ms, ("queued",), tx_hash) < len(ids):
            gone = and_(among(c, submissions.c.id, ids), submissions.c.status == "revoked")
            if (first := c.scalar(select(submissions.c.id).where(gone).limit(1))) is not None:
                raise WithdrawnError(f"the revocation of {first}")

    return run


def included(landed: Sequence[Recorded]) -> Move:
    """These scores are in a block."""

    def run(c: Connection, now_ms: int) -> None:
        _land(c, landed, "included", now_ms, ("sent",))

    return run


def sent_again(ids: Sequence[str]) -> Move:
    """The block of the scores left the chain."""

    def run(c: Connection, now_ms: int) -> None:
        move(c, ids, "sent", now_ms, ("included",), values={"block_number": None}, detail="reorg")

    return run


def close(
    landed: Sequence[Recorded],
    parked: Sequence[tuple[str, str]],
    back: Sequence[str],
    reason: str | None = None,
    *,
    blamed: bool = False,
) -> Move:
    """End a batch: scores that are final, those set aside (with the reason), and those that wait again.

    With `blamed` the latter are counted as of a batch that failed.
    """

    def run(c: Connection, now_ms: int) -> None:
        for submission_id, why in parked:
            move(c, [submission_id], "parked", now_ms, UNFINISHED, detail=why)
        _land(c, landed, "final", now_ms, UNFINISHED)
        nowhere = {"tx_hash": None, "block_number": None, "failures": submissions.c.failures + int(blamed)}
        move(c, back, "accepted", now_ms, UNFINISHED, values=nowhere, detail=reason)

    return run


def settle_waiting(landed: Sequence[Recorded], parked: Sequence[tuple[str, str]]) -> Move:
    """End waiting scores that need no transaction: final on the contract already, or refused by it.

    Raises SealConflictError where one is not waiting any more; then nothing is stored, nor to be told.
    """

    def run(c: Connection, now_ms: int) -> None:
        moved = _land(c, landed, "final", now_ms, ("accepted",))
        for submission_id, why in parked:
            moved += move(c, [submission_id], "parked", now_ms, ("accepted",), detail=why)
        if moved != sum(len(ids) for ids, _, _ in landed) + len(parked):
            raise SealConflictError("a score is not waiting any more")

    return run


def _land(c: Connection, landed: Sequence[Recorded], status: str, now_ms: int, was: Sequence[str]) -> int:
    return sum(_to(c, ids, status, now_ms, was, tx_hash, number) for ids, tx_hash, number in landed)


def _to(
    c: Connection,
    ids: Sequence[str],
    status: str,
    now_ms: int,
    was: Sequence[str],
    tx_hash: bytes,
    block_number: int | None = None,
) -> int:
    return move(c, ids, status, now_ms, was, values={"tx_hash": tx_hash, "block_number": block_number})
