"""Which of several indexers writes: one row that changes hands only with a higher epoch.

The only SQL on `ix_leases`. Every write of an indexer checks the epoch it began under, so one that was stopped and
woken can change nothing.
"""

from sqlalchemy import Connection, case, or_, select, update
from sqlalchemy.dialects import postgresql, sqlite

from indexer.lease import Held
from indexer.store.lease_tables import leases

NAME = "indexer"


class LeaseLostError(Exception):
    """Another indexer writes now."""


def held(connection: Connection) -> Held | None:
    """Return who holds the lease, expired or not."""
    row = connection.execute(
        select(leases.c.holder, leases.c.epoch, leases.c.expires_at_ms).where(leases.c.name == NAME)
    ).first()
    return None if row is None else Held(*row)


def take(connection: Connection, holder: str, seen: Held | None, now_ms: int, ttl_ms: int) -> int:
    """Take or renew the lease that was `seen`; returns its epoch, 0 where somebody else was quicker."""
    insert = postgresql.insert if connection.dialect.name == "postgresql" else sqlite.insert
    values = {"holder": holder, "expires_at_ms": now_ms + ttl_ms}
    known = -1 if seen is None else seen.epoch
    connection.execute(
        insert(leases)
        .values(name=NAME, epoch=1, **values)
        .on_conflict_do_update(
            index_elements=[leases.c.name],
            set_={"epoch": case((leases.c.holder == holder, leases.c.epoch), else_=leases.c.epoch + 1), **values},
            where=or_(leases.c.holder == holder, leases.c.epoch == known),
        )
    )
    now = held(connection)
    return now.epoch if now is not None and now.holder == holder else 0


def release(connection: Connection, epoch: int) -> None:
    """Let the lease expire now."""
    connection.execute(update(leases).where(leases.c.name == NAME, leases.c.epoch == epoch).values(expires_at_ms=0))


def fence(connection: Connection, epoch: int) -> None:
    """Hold the lease until the commit; LeaseLostError if its epoch is not this one any more."""
    query = select(leases.c.epoch).where(leases.c.name == NAME).with_for_update(read=True)  # PostgreSQL only
    if connection.scalar(query) != epoch:
        raise LeaseLostError(f"epoch {epoch} is over")
