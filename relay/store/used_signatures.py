"""Players' signatures that were used: each counts for one submission.

The only SQL on this table. Who asks holds the player's window locked (`relay.store.intake_rows`), so that nobody uses
the same signature between the question and the commit; the primary key would refuse it all the same.
"""

from collections.abc import Collection, Sequence
from typing import NamedTuple

from sqlalchemy import Connection, delete, insert, select

from relay.store.session_tables import used_signatures

SWEEP_ROWS = 5_000
KEPT_S = 3_600  # after the deadline: clocks of several processes differ


class Used(NamedTuple):
    """A signature by its digest, the submission it was used for, and its deadline in unix seconds."""

    digest: bytes
    submission_id: str
    deadline_s: int


def used(c: Connection, digests: Collection[bytes]) -> dict[bytes, str]:
    """Return, by digest, the submissions that signatures were used for."""
    u = used_signatures.c
    rows = c.execute(select(u.digest, u.submission_id).where(u.digest.in_(sorted(digests))))
    return {bytes(row.digest): row.submission_id for row in rows}


def use(c: Connection, rows: Sequence[Used]) -> None:
    """Write down that signatures are used."""
    c.execute(insert(used_signatures), [row._asdict() for row in sorted(rows)])


def sweep(c: Connection, now_ms: int) -> int:
    """Forget at most 5,000 signatures that their deadline refuses by now; returns how many."""
    u = used_signatures.c
    old = select(u.digest).where(u.deadline_s < now_ms // 1000 - KEPT_S).limit(SWEEP_ROWS)
    return c.execute(delete(used_signatures).where(u.digest.in_(old))).rowcount
