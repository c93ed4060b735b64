"""What operators decide about senders: pause, resume, void a nonce, retry a parked score.

The only SQL on `sender_pauses` and `operator_actions`. Each function changes and records in the transaction of the
connection it is given; refusals are CallerErrors with a stable code, and nothing is stored then.
"""

from typing import NamedTuple

from sqlalchemy import ColumnElement, Connection, delete, select, update

from relay.errors import CallerError
from relay.keccak import checksum_address
from relay.store.control_tables import operator_actions, sender_pauses
from relay.store.outbox_leases import Key, is_of
from relay.store.outbox_moves import move
from relay.store.outbox_tables import leases, slots
from relay.store.tables import submissions

__all__ = ["Action", "By", "Pause", "actions", "pause", "paused", "record", "request_void", "resume", "retry"]


VOIDABLE = ("reserved", "live")
OF_SENDERS = ("pause", "resume", "void", "retry")  # other decisions are recorded here, too, and shown elsewhere


IS_OF = is_of(sender_pauses.c.chain_id, sender_pauses.c.signer)
PAUSE = select(sender_pauses.c.paused_at_ms, sender_pauses.c.paused_by, sender_pauses.c.reason).where(IS_OF)


class By(NamedTuple):
    """Who decided and why, at the database's time (epoch ms)."""

    actor: str
    reason: str
    at_ms: int


class Pause(NamedTuple):
    """A key that signs and broadcasts nothing. Time in epoch ms."""

    at_ms: int
    by: str
    reason: str


class Action(NamedTuple):
    """One recorded decision."""

    seq: int
    at_ms: int
    actor: str
    action: str
    subject: str
    reason: str


def paused(c: Connection, key: Key) -> Pause | None:
    """Return the pause of a key, None while it may send."""
    found = c.execute(PAUSE, key.of()).first()
    return None if found is None else Pause(*found)


def pause(c: Connection, key: Key, by: By) -> Pause:
    """Let a key sign and broadcast nothing from its next round on; a key that is paused already keeps its pause.

    Raises:
        CallerError: SENDER_UNKNOWN.
    """
    _must_be_known(c, key)
    found = paused(c, key)
    if found is None:
        values = {"paused_at_ms": by.at_ms, "paused_by": by.actor, "reason": by.reason}
        c.execute(sender_pauses.insert().values(chain_id=key.chain_id, signer=key.signer, **values))
        record(c, by, "pause", checksum_address(key.signer))
        found = Pause(by.at_ms, by.actor, by.reason)
    return found


def resume(c: Connection, key: Key, by: By) -> bool:
    """Let a key send again; False when it was not paused.

    Raises:
        CallerError: SENDER_UNKNOWN.
    """
    _must_be_known(c, key)
    lifted = c.execute(delete(sender_pauses).where(*_is_paused(key))).rowcount == 1
    if lifted:
        record(c, by, "resume", checksum_address(key.signer))
    return lifted


def request_void(c: Connection, key: Key, nonce: int, by: By) -> int:
    """Ask the key's sender to use a nonce up with a transaction to itself; returns since when it is asked (epoch ms).

    What decides is which of the nonce's transactions is mined: the void, or an older attempt that was under way.

    Raises:
        CallerError: SENDER_UNKNOWN, NONCE_UNKNOWN, NONCE_NOT_VOIDABLE.
    """
    _must_be_known(c, key)
    s = slots.c
    chosen = (s.chain_id == key.chain_id, s.signer == key.signer, s.nonce == nonce)
    open_ones = update(slots).where(*chosen, s.state.in_(VOIDABLE), s.void_requested_at_ms.is_(None))
    if c.execute(open_ones.values(void_requested_at_ms=by.at_ms, void_by=by.actor)).rowcount:
        record(c, by, "void", f"{checksum_address(key.signer)}/{nonce}")
        return by.at_ms
    found = c.execute(select(s.state, s.void_requested_at_ms).where(*chosen)).first()
    if found is None:
        raise CallerError("NONCE_UNKNOWN", f"{checksum_address(key.signer)} never reserved the nonce {nonce}.")
    state, since = found
    if state not in VOIDABLE:
        raise CallerError(
            "NONCE_NOT_VOIDABLE", f"Nonce {nonce} is {state}: only one that is in no block can be voided."
        )
    return int(since)


def retry(c: Connection, submission_id: str, by: By) -> None:
    """Let a parked score wait for a transaction again.

    Raises:
        CallerError: SUBMISSION_UNKNOWN, SUBMISSION_NOT_PARKED.
    """
    nowhere = {"tx_hash": None, "block_number": None}
    why = f"retried: {by.reason}"
    if move(c, [submission_id], "accepted", by.at_ms, ("parked",), values=nowhere, detail=why):
        record(c, by, "retry", submission_id)
        return
    status = c.scalar(select(submissions.c.status).where(submissions.c.id == submission_id))
    if status is None:
        raise CallerError("SUBMISSION_UNKNOWN", "No submission has this id.")
    raise CallerError("SUBMISSION_NOT_PARKED", f"Only a parked submission can be retried; this one is {status}.")


def actions(c: Connection, limit: int) -> list[Action]:
    """Return the newest decisions about senders, newest first."""
    chosen = operator_actions.c.action.in_(OF_SENDERS)
    rows = select(*operator_actions.c).where(chosen).order_by(operator_actions.c.seq.desc()).limit(limit)
    return [Action(*row) for row in c.execute(rows)]


def record(c: Connection, by: By, action: str, subject: str) -> None:
    """Write down who did what to which key, game or submission, in the same commit as the change."""
    row = {"at_ms": by.at_ms, "actor": by.actor, "action": action, "subject": subject, "reason": by.reason}
    c.execute(operator_actions.insert().values(row))


def _is_paused(key: Key) -> tuple[ColumnElement[bool], ...]:
    return sender_pauses.c.chain_id == key.chain_id, sender_pauses.c.signer == key.signer


def _must_be_known(c: Connection, key: Key) -> None:
    """A key is known once it held a lease: an address that never did is a typing error, not a sender."""
    held = select(leases.c.epoch).where(leases.c.chain_id == key.chain_id, leases.c.signer == key.signer)
    # Locked: of two operators who pause at the same moment, the second finds the first one's pause.
    if c.execute(held.with_for_update()).first() is None:
        at = f"{checksum_address(key.signer)} sends nothing on chain {key.chain_id}"
        raise CallerError("SENDER_UNKNOWN", f"{at}: see GET /api/outbox, or `fairscore outbox show`")
