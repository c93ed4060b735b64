"""Revocations and reinstatements as they are asked for and shown.

The only SQL on `revocations`, with `relay.store.revocation_moves` beside it. What a request changes is decided in
`relay.revocation`; here it is carried out while the submission's row is locked, so that of many who ask at once all
but one hear what the first one began.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

from sqlalchemy import BigInteger, Connection, Text, func, literal, select, update

from relay.errors import CallerError
from relay.ids import new_id
from relay.revocation import Action, Order, Place, Refuse, State, Withdraw, respond
from relay.store.revocation_tables import revocations
from relay.store.tables import history, submissions

ID_PREFIX = "rev_"


class Request(NamedTuple):
    """What an auditor asks for. `game_id`: the game their key belongs to, None: every game."""

    submission_id: str
    action: Action
    reason: str
    by: str
    game_id: str | None = None


class Shown(NamedTuple):
    """A submission's status and transaction, with the order that answers a request; `changed`: by this request."""

    status: str
    tx_hash: bytes | None
    order: Any
    changed: bool


class Backlog(NamedTuple):
    """Orders of one state: how many, since when (epoch ms) the oldest, and what the newest of them says."""

    state: str
    orders: int
    oldest_at_ms: int
    detail: str | None


def ask(c: Connection, request: Request, now_ms: int) -> Shown:
    """Carry out a request; the same request again changes nothing and finds the same order.

    Raises:
        CallerError: SUBMISSION_UNKNOWN, FORBIDDEN_GAME, SUBMISSION_NOT_ACCEPTED, SUBMISSION_NOT_REVOKED.
    """
    s = submissions.c
    columns = (s.status, s.game_id, s.round_id)
    row = c.execute(select(*columns).where(s.id == request.submission_id).with_for_update()).first()
    if row is None:
        raise CallerError("SUBMISSION_UNKNOWN", "No submission has this id.")
    if request.game_id not in (None, row.game_id):
        raise CallerError("FORBIDDEN_GAME", "The key belongs to another game.")
    # Locked as well: a sender may be sealing the order that this request would withdraw.
    rows = c.execute(_orders(request.submission_id).with_for_update()).all()
    orders = [Order(one.seq, Action(one.action), State(one.state)) for one in rows]
    accepted = row.round_id is not None  # a score that waits for its game server is not, yet
    response = respond(request.action, row.status if accepted else "rejected", orders)
    if isinstance(response, Refuse):
        raise CallerError(response.code, response.detail)
    if isinstance(response, Place):
        seq = _place(c, request, row, now_ms)
    else:
        seq = response.seq
        if isinstance(response, Withdraw):
            _withdraw(c, request, response, now_ms)
    now = c.execute(select(s.status, s.tx_hash).where(s.id == request.submission_id)).one()
    order = c.execute(select(revocations).where(revocations.c.seq == seq)).one()
    return Shown(now.status, now.tx_hash, order, isinstance(response, Place | Withdraw))


def _place(c: Connection, request: Request, row: Any, now_ms: int) -> int:
    if row.status != "revoked":
        set_revoked = {"status": "revoked", "status_beneath": row.status}
        c.execute(update(submissions).where(submissions.c.id == request.submission_id).values(set_revoked))
    tell(c, [request.submission_id], f"{request.action.value}: {request.reason}", now_ms)
    values = {
        "id": new_id(ID_PREFIX, now_ms),
        "submission_id": request.submission_id,
        "game_id": row.game_id,
        "round_id": row.round_id,
        "action": request.action.value,
        "state": State.WAITING.value,
        "reason": request.reason,
        "asked_by": request.by,
        "asked_at_ms": now_ms,
    }
    return int(c.execute(revocations.insert().values(values).returning(revocations.c.seq)).scalar_one())


def _withdraw(c: Connection, request: Request, response: Withdraw, now_ms: int) -> None:
    detail = f"{request.action.value}, before the contract was told: {request.reason}"
    values = {"state": State.WITHDRAWN.value, "detail": detail, "resolved_at_ms": now_ms}
    c.execute(update(revocations).where(revocations.c.seq == response.seq).values(values))
    if not response.revoked:
        restore(c, [request.submission_id])
    tell(c, [request.submission_id], detail, now_ms)


def restore(c: Connection, submission_ids: Sequence[str]) -> None:
    """Let submissions be again what they are beneath their revocation."""
    if not submission_ids:
        return
    chosen = submissions.c.id.in_(submission_ids), submissions.c.status == "revoked"
    values = {"status": func.coalesce(submissions.c.status_beneath, "accepted"), "status_beneath": None}
    c.execute(update(submissions).where(*chosen).values(values))


def tell(c: Connection, submission_ids: Sequence[str], detail: str, now_ms: int) -> None:
    """Append to the history of submissions what happened to them, with what they have now."""
    if not submission_ids:
        return
    s = submissions.c
    said = (literal(now_ms, BigInteger), literal(detail, Text))
    now = select(s.id, s.status, *said, s.tx_hash, s.block_number).where(s.id.in_(submission_ids))
    columns = ["submission_id", "status", "at_ms", "detail", "tx_hash", "block_number"]
    c.execute(history.insert().from_select(columns, now))


def _orders(submission_id: str) -> Any:
    columns = (revocations.c.seq, revocations.c.action, revocations.c.state)
    return select(*columns).where(revocations.c.submission_id == submission_id).order_by(revocations.c.seq)


def shown(c: Connection, submission_id: str) -> Any | None:
    """Return the order that decides about a submission: the newest that was not withdrawn, else the newest."""
    newest = (revocations.c.state == State.WITHDRAWN.value, revocations.c.seq.desc())
    query = select(revocations).where(revocations.c.submission_id == submission_id).order_by(*newest)
    return c.execute(query.limit(1)).first()


def backlog(c: Connection) -> Sequence[Backlog]:
    """Return the orders that are not resolved, by state."""
    r = revocations.c
    unresolved = r.state.in_([State.WAITING.value, "queued", "sent", "included"])
    query = select(r.state, func.count(), func.min(r.asked_at_ms), func.max(r.detail)).where(unresolved)
    return [Backlog(*row) for row in c.execute(query.group_by(r.state).order_by(r.state))]
