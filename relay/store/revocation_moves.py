"""The rows of the cargo of moderation: which orders wait, and how they move with the slot that carries them.

Touches `revocations`, and `submissions` and `history` where an order's end changes them. Every function that begins
with a verb returns a `Move` for the commit of the slot's change. Submissions are locked before their orders, as a
request does it (`relay.store.revocations`).
"""

from collections.abc import Sequence
from functools import lru_cache, partial
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Connection, Select, bindparam, exists, func, literal, or_, select, text, update

from relay.contract_records import Record, game_key
from relay.revocation import UNDER_WAY, Action, State, WaitingOrder
from relay.store.engine import Database
from relay.store.intake import keep_document
from relay.store.outbox import Move, SealConflictError
from relay.store.outbox_moves import move
from relay.store.outbox_tables import batch_scores
from relay.store.revocation_tables import revocations
from relay.store.revocations import restore, tell
from relay.store.tables import submissions

Done = tuple[Sequence[str], bytes, int]
"""Orders that one transaction carried out: ids, transaction hash, block number."""

# Literals, because both databases use a partial index only for its own words.
IS_WAITING = text("revocations.state = 'waiting'")
IS_UNDER_WAY = text("ahead.state IN ('queued', 'sent', 'included')")


class Uncarried(NamedTuple):
    """A revoked score that no transaction of ours recorded, though the contract has it."""

    submission_id: str
    game: bytes  # keccak-256 of the game's id
    rules_hash: bytes
    record: Record


class Standing(NamedTuple):
    """What became clear of orders that no slot carries: done by others, lapsed, or still waiting (id, why)."""

    done: tuple[Done, ...] = ()
    landed: tuple[Done, ...] = ()  # the scores of those, where others carried their receipts
    lapsed: tuple[tuple[str, str], ...] = ()
    waits: tuple[tuple[str, str], ...] = ()

    def plus(self, other: "Standing") -> "Standing":
        """Both."""
        return Standing(
            self.done + other.done,
            self.landed + other.landed,
            self.lapsed + other.lapsed,
            self.waits + other.waits,
        )


class OrderRows:
    """Reads of orders. Methods raise StoreUnavailableError when the database is away."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def ready(self, action: Action, limit: int) -> tuple[list[WaitingOrder], int]:
        """Waiting orders of which we know that the contract has the score, and the database's time (ms)."""

        def job(c: Connection) -> tuple[list[WaitingOrder], int]:
            return _waiting(c, action, limit, recorded=True, after=0), self._database.now_ms(c)

        return await self._database.read(job)

    async def unknown(self, action: Action, after: int, limit: int) -> list[WaitingOrder]:
        """The others, from the order that follows `after`: whether the contract has their scores must be asked."""
        return await self._database.read(partial(_waiting, action=action, limit=limit, recorded=False, after=after))

    async def uncarried(self, order_ids: Sequence[str]) -> list[Uncarried]:
        """The scores of these orders that are not on the chain as far as this database knows."""
        s = submissions.c
        columns = (s.id, s.game_id, s.rules_hash, s.player, s.score, s.round_id, s.evidence_hash)
        joined = select(*columns).join(revocations, revocations.c.submission_id == s.id)
        query = joined.where(revocations.c.id.in_(order_ids), s.status_beneath.in_(["accepted", "held"]))
        rows = await self._database.read(lambda c: c.execute(query).all())
        return [Uncarried(row[0], game_key(row[1]), row[2], Record(*row[3:])) for row in rows]


def _waiting(c: Connection, action: Action, limit: int, *, recorded: bool, after: int) -> list[WaitingOrder]:
    rows = c.execute(_waiting_orders(action, recorded), {"after": after, "most": limit})
    return [WaitingOrder._make((*row, recorded)) for row in rows]


@lru_cache
def _waiting_orders(action: Action, recorded: bool) -> Select[Any]:
    r, s = revocations.c, submissions.c
    ahead = revocations.alias("ahead")
    under_way = exists().where(ahead.c.submission_id == r.submission_id, IS_UNDER_WAY)
    carried = exists().where(batch_scores.c.submission_id == s.id, batch_scores.c.unresolved == 1)
    known = s.status_beneath.in_(["included", "final"])
    wanted: ColumnElement[bool] = known if recorded else ~func.coalesce(known, False)
    if action is Action.REINSTATE:  # it follows a revocation that is final: the contract has the score
        wanted = literal(recorded)
    order = (r.seq, r.id, r.submission_id, r.game_id, r.round_id, r.reason, r.asked_at_ms, r.detail)
    return (
        select(*order, s.receipt_deadline, carried)
        .join(submissions, s.id == r.submission_id)
        .where(IS_WAITING, r.action == action.value, r.seq > bindparam("after"), ~under_way, wanted)
        .order_by(r.seq)
        .limit(bindparam("most"))
    )


# ------------------------------------------------------------------------------ moves


def claim(ids: Sequence[str], reason_hash: bytes, evidence: bytes) -> Move:
    """Queue waiting orders with their evidence, or raise SealConflictError: one may just be withdrawn."""

    def run(c: Connection, now_ms: int) -> None:  # noqa: ARG001 - a move is given the time
        # Locked and counted before anything is changed: the seal goes on with its other batches.
        free = select(revocations.c.id).where(revocations.c.id.in_(ids), IS_WAITING)
        if len(c.execute(free.with_for_update(skip_locked=True)).all()) != len(ids):
            raise SealConflictError("an order of the batch is not waiting any more")
        values = {"state": "queued", "reason_hash": reason_hash, "detail": None}
        c.execute(update(revocations).where(revocations.c.id.in_(ids)).values(values))
        keep_document(c, c.dialect.name, reason_hash, evidence)

    return run


def sent(ids: Sequence[str], tx_hash: bytes) -> Move:
    """The orders' first transaction is committed."""

    def run(c: Connection, now_ms: int) -> None:  # noqa: ARG001
        _set(c, ids, ("queued",), state="sent", tx_hash=tx_hash)

    return run


def included(done: Sequence[Done]) -> Move:
    """These orders are in a block."""

    def run(c: Connection, now_ms: int) -> None:  # noqa: ARG001
        for ids, tx_hash, block_number in done:
            _set(c, ids, ("sent",), state="included", tx_hash=tx_hash, block_number=block_number)

    return run


def sent_again(ids: Sequence[str]) -> Move:
    """The block of the orders left the chain."""

    def run(c: Connection, now_ms: int) -> None:  # noqa: ARG001
        _set(c, ids, ("included",), state="sent", block_number=None)

    return run


def close(done: Sequence[Done], landed: Sequence[Done], back: Sequence[str] = (), reason: str | None = None) -> Move:
    """End a batch: orders that are final, the scores that others had carried for them, and orders that wait again."""

    def run(c: Connection, now_ms: int) -> None:
        _land(c, landed, now_ms)
        _finish(c, done, UNDER_WAY, now_ms)
        _return(c, back, reason, now_ms)

    return run


def settle_waiting(standing: Standing) -> Move:
    """Write down what became clear of waiting orders."""

    def run(c: Connection, now_ms: int) -> None:
        _land(c, standing.landed, now_ms)
        _finish(c, standing.done, (State.WAITING,), now_ms)
        for order_id, detail in standing.lapsed:
            locked = _lock(c, [order_id])
            if _set(c, [order_id], ("waiting",), state="lapsed", detail=detail, resolved_at_ms=now_ms):
                tell(c, locked, f"revoke lapsed: {detail}", now_ms)
        for order_id, detail in standing.waits:
            _set(c, [order_id], ("waiting",), detail=detail)

    return run


def _set(c: Connection, ids: Sequence[str], was: Sequence[str], **values: object) -> int:
    chosen = (revocations.c.id.in_(ids), revocations.c.state.in_(was))
    return c.execute(update(revocations).where(*chosen).values(**values)).rowcount


def _lock(c: Connection, order_ids: Sequence[str]) -> list[str]:
    """Lock the submissions of these orders: what is read of them afterwards stays so until the commit."""
    of = select(revocations.c.submission_id).where(revocations.c.id.in_(order_ids))
    rows = select(submissions.c.id).where(submissions.c.id.in_(of)).order_by(submissions.c.id).with_for_update()
    return list(c.scalars(rows).all())


def _land(c: Connection, landed: Sequence[Done], now_ms: int) -> None:
    for ids, tx_hash, block_number in landed:
        values = {"tx_hash": tx_hash, "block_number": block_number}
        move(c, ids, "final", now_ms, ("accepted", "held"), values=values)


def _finish(c: Connection, done: Sequence[Done], was: Sequence[str], now_ms: int) -> None:
    for ids, tx_hash, block_number in done:
        locked = _lock(c, ids)
        known = select(revocations.c.id).where(revocations.c.id.in_(ids), revocations.c.state.in_(was))
        found = list(c.scalars(known).all())
        where = {"tx_hash": tx_hash, "block_number": block_number, "detail": None}
        _set(c, found, was, state="final", resolved_at_ms=now_ms, **where)
        for action in Action:
            mine = (revocations.c.id.in_(found), revocations.c.action == action.value)
            ended = list(c.scalars(select(revocations.c.submission_id).where(*mine)).all())
            if action is Action.REINSTATE:
                _reinstate(c, ended)
            tell(c, [one for one in locked if one in ended], f"{action.value} is final: 0x{tx_hash.hex()}", now_ms)


def _reinstate(c: Connection, submission_ids: Sequence[str]) -> None:
    """Let submissions be again what they are beneath, but for those that are being revoked anew."""
    again = select(revocations.c.submission_id).where(revocations.c.submission_id.in_(submission_ids), IS_WAITING)
    revoked = set(c.scalars(again).all())
    restore(c, [one for one in submission_ids if one not in revoked])


def _return(c: Connection, order_ids: Sequence[str], reason: str | None, now_ms: int) -> None:
    """Let orders wait again; one whose opposite waits already cancels with it, and neither is sent."""
    if not order_ids:
        return
    locked = _lock(c, order_ids)
    r = revocations.c
    rows = c.execute(
        select(r.id, r.submission_id, r.action, r.state).where(
            r.submission_id.in_(locked), or_(IS_WAITING, r.id.in_(order_ids))
        )
    ).all()
    opposed = {row.submission_id for row in rows if row.state == State.WAITING.value}
    cancelled = [row for row in rows if row.submission_id in opposed]
    detail = "its opposite was asked for, and the contract was told neither"
    gone = {"state": "withdrawn", "detail": detail, "resolved_at_ms": now_ms, "tx_hash": None, "block_number": None}
    _set(c, [row.id for row in cancelled], (*UNDER_WAY, "waiting"), **gone)
    back = {"state": "waiting", "detail": reason, "reason_hash": None, "tx_hash": None, "block_number": None}
    _set(c, [row.id for row in rows if row.submission_id not in opposed], UNDER_WAY, **back)
    under_way = [row for row in cancelled if row.state != State.WAITING.value]
    restore(c, [row.submission_id for row in under_way if row.action == Action.REVOKE.value])
    tell(c, sorted(opposed), detail, now_ms)
