"""What auditors make of flags: one flag, its history, a new status, and the revocation that may come with it.

The only SQL that resolves flags by hand; runs inside one transaction.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

from sqlalchemy import Connection, select

from relay.errors import CallerError
from relay.revocation import Action
from relay.store import revocations
from relay.store.flag_tables import flag_history
from relay.store.flags import Resolution, resolve
from relay.store.tables import audit_flags, submissions


class Wanted(NamedTuple):
    """What an auditor asks for. `game_id`: the game their key belongs to, None: every game."""

    flag_id: str
    status: str
    note: str
    revoke: bool
    by: str
    game_id: str | None


class Desk(NamedTuple):
    """A flag with its history, oldest first, and the revocation that was asked for with it."""

    flag: Any
    history: Sequence[Any]
    revocation: revocations.Shown | None = None


def look(c: Connection, flag_id: str, game_id: str | None) -> Desk:
    """Return a flag with its history; CallerError FLAG_UNKNOWN, also for one of another game than the key's."""
    flag = c.execute(select(audit_flags).where(audit_flags.c.id == flag_id)).first()
    if flag is None or game_id not in (None, flag.game_id):
        raise CallerError("FLAG_UNKNOWN", "No flag has this id, or it is of another game than the key.")
    query = select(flag_history).where(flag_history.c.flag_id == flag_id).order_by(flag_history.c.seq)
    return Desk(flag, c.execute(query).all())


def judge(c: Connection, wanted: Wanted, now_ms: int) -> Desk:
    """Give a flag the status that an auditor decides on; the same again changes nothing.

    Raises:
        CallerError: FLAG_UNKNOWN, FLAG_NOT_REVOCABLE, or what `relay.store.revocations.ask` refuses.
    """
    c.execute(select(audit_flags.c.id).where(audit_flags.c.id == wanted.flag_id).with_for_update()).all()
    flag = look(c, wanted.flag_id, wanted.game_id).flag
    if (flag.status, flag.resolved_by, flag.resolution_note) != (wanted.status, wanted.by, wanted.note):
        resolve(c, flag.id, Resolution(wanted.status, wanted.by, wanted.note), now_ms)
    revocation = None
    if wanted.revoke:
        request = revocations.Request(submission_of(c, flag), Action.REVOKE, wanted.note, wanted.by, wanted.game_id)
        revocation = revocations.ask(c, request, now_ms)
    return look(c, flag.id, wanted.game_id)._replace(revocation=revocation)


def submission_of(c: Connection, flag: Any) -> str:
    """Return the submission whose score a flag is about.

    A score on the chain is a submission's only if round and evidence are: a forged one may name an honest player's
    evidence, and revoking that would do the thief's work.
    """
    if flag.subject_type == "submission":
        return str(flag.subject_id)
    if flag.subject_type == "score":
        round_id = flag.subject_id.rpartition(":")[2]
        s = submissions.c
        mine = select(s.id, s.evidence_hash).where(s.game_id == flag.game_id, s.round_id == int(round_id))
        found = c.execute(mine).first() if int(round_id) < 2**63 else None
        if found is not None and f'"0x{found.evidence_hash.hex()}"' in flag.context:
            return str(found.id)
        detail = (
            f"No submission stands behind the score: an auditor's key can invalidate round {round_id} on the contract."
        )
        raise CallerError("FLAG_NOT_REVOCABLE", detail)
    raise CallerError("FLAG_NOT_REVOCABLE", "The flag is not about one score: there is nothing to revoke.")
