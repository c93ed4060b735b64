"""Answers kept for their idempotency keys, so that a request counts once and its retry hears the same bytes.

The only SQL on `kept_answers`. For operations that are rare; submissions rebuild their answers instead
(`relay.store.intake`).
"""

from collections.abc import Callable
from typing import NamedTuple

from sqlalchemy import Connection, delete, select, update
from sqlalchemy.dialects import postgresql, sqlite

from relay.errors import CallerError
from relay.store.tables import kept_answers

SWEEP_ROWS = 5_000


class Kept(NamedTuple):
    """An answer: HTTP status and body; `replayed`: it was given before."""

    status: int
    body: bytes
    replayed: bool = False


class Claim(NamedTuple):
    """An idempotency key in its scope (hash), and the request it stands for (hash)."""

    scope: bytes
    request: bytes


def once(c: Connection, claim: Claim | None, now_ms: int, make: Callable[[], Kept]) -> Kept:
    """Return the answer kept for `claim`, or make it and keep it in this same transaction.

    A key that another transaction is claiming is waited for.

    Raises:
        CallerError: IDEMPOTENCY_KEY_REUSED, the key stands for another request.
    """
    if claim is None:
        return make()
    insert = postgresql.insert if c.dialect.name == "postgresql" else sqlite.insert
    row = {"scope": claim.scope, "claim_hash": claim.request, "status": 0, "body": b"", "created_at_ms": now_ms}
    claiming = insert(kept_answers).values(row).on_conflict_do_nothing().returning(kept_answers.c.scope)
    if c.execute(claiming).first() is not None:
        made = make()
        values = {"status": made.status, "body": made.body}
        c.execute(update(kept_answers).where(kept_answers.c.scope == claim.scope).values(values))
        return made
    found = c.execute(select(kept_answers).where(kept_answers.c.scope == claim.scope)).one()
    if bytes(found.claim_hash) != claim.request:
        raise CallerError("IDEMPOTENCY_KEY_REUSED", "This idempotency key was used for a different request.")
    return Kept(found.status, bytes(found.body), replayed=True)


def sweep(c: Connection, before_ms: int) -> int:
    """Forget at most 5,000 answers given before `before_ms`; returns how many."""
    old = select(kept_answers.c.scope).where(kept_answers.c.created_at_ms < before_ms).limit(SWEEP_ROWS)
    return c.execute(delete(kept_answers).where(kept_answers.c.scope.in_(old))).rowcount
