"""Secrets of seeds: made when they are first needed, committed to, revealed after.

The only SQL on `seed_secrets`. A secret is in no log and in no answer before its time.
"""

import secrets
from typing import NamedTuple

from sqlalchemy import Connection, select
from sqlalchemy.dialects import postgresql, sqlite

from relay.seeds import SECRET_BYTES, commitment, day_of, of_day
from relay.store.round_tables import seed_secrets


class SeedSecret(NamedTuple):
    """A secret with its name and its commitment."""

    subject: str
    secret: bytes
    commitment: bytes

    def __repr__(self) -> str:
        """Never show the secret."""
        return f"SeedSecret({self.subject})"


def find(c: Connection, subject: str) -> SeedSecret | None:
    """Return a secret."""
    t = seed_secrets.c
    row = c.execute(select(t.subject, t.secret, t.commitment).where(t.subject == subject)).first()
    return None if row is None else SeedSecret(row.subject, bytes(row.secret), bytes(row.commitment))


def ensure(c: Connection, subject: str, now_ms: int) -> SeedSecret:
    """Return a secret; make it if it is the first time. Of several processes one makes it."""
    known = find(c, subject)
    if known is not None:
        return known
    secret = secrets.token_bytes(SECRET_BYTES)
    row = {"subject": subject, "secret": secret, "commitment": commitment(secret), "created_at_ms": now_ms}
    kind = postgresql if c.dialect.name == "postgresql" else sqlite
    c.execute(kind.insert(seed_secrets).values(row).on_conflict_do_nothing())
    found = find(c, subject)
    if found is None:
        raise RuntimeError("a secret that was just stored is not there")
    return found


def ensure_days(c: Connection, game_id: str, now_ms: int) -> SeedSecret:
    """Return the secret of a game's day, and make tomorrow's: so each is committed to a day before."""
    today = day_of(now_ms)
    ensure(c, of_day(game_id, today + 1), now_ms)
    return ensure(c, of_day(game_id, today), now_ms)
