"""History in the order of its numbers, without skipping a change whose transaction commits late.

The only SQL that reads `history` as a feed. PostgreSQL gives numbers before commits: a transaction that took 7 can
become visible after one that took 8. So a number counts as settled only when every transaction that held the lock of
a writer of `history` when the number was first seen has ended, which is how PostgreSQL itself waits for the writers of
a table (`WaitForLockers` of CREATE INDEX CONCURRENTLY). Writers wait for nothing and do nothing more than before.
"""

from collections.abc import Collection
from typing import Any, NamedTuple

from sqlalchemy import Connection, Select, func, select, text

from relay.store.tables import history, submissions
from relay.webhooks.messages import Event

# An INSERT takes this lock before it takes a number, and gives it back after its rows are visible.
WRITERS = text(
    "SELECT virtualtransaction FROM pg_locks WHERE locktype = 'relation' AND mode = 'RowExclusiveLock' AND granted "
    "AND relation = 'history'::regclass AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
)


class Settled(NamedTuple):
    """Up to `seq` nothing can appear any more; `next_seq` follows once the transactions `writers` have ended."""

    seq: int = 0
    next_seq: int = 0
    writers: frozenset[str] = frozenset()


def advance(c: Connection, known: Settled) -> Settled:
    """Return what is settled now, given what was known at the last look."""
    if c.dialect.name == "sqlite":  # one writer at a time: numbers become visible in their order
        newest = _newest(c)
        return Settled(newest, newest)
    if known.writers & _writers(c):
        return known
    newest = _newest(c)  # before the writers are listed: whoever took a number up to it is listed, or has ended
    writers = _writers(c)
    return Settled(known.next_seq, newest, writers) if writers else Settled(newest, newest)


def _newest(c: Connection) -> int:
    return int(c.scalar(select(func.max(history.c.seq))) or 0)


def _writers(c: Connection) -> frozenset[str]:
    return frozenset(c.scalars(WRITERS))


def events(
    c: Connection, after: int, up_to: int, game_id: str | None = None, statuses: Collection[str] | None = None
) -> list[Event]:
    """Return the events with after < seq <= up_to, of one game and of some statuses if given, in their order."""
    wanted = select_events().where(history.c.seq > after, history.c.seq <= up_to).order_by(history.c.seq)
    if game_id is not None:
        wanted = wanted.where(submissions.c.game_id == game_id)
    if statuses is not None:
        wanted = wanted.where(history.c.status.in_(sorted(statuses)))
    return [Event._make(row) for row in c.execute(wanted)]


def select_events() -> Select[Any]:
    """Return the statement that reads events, without a condition."""
    h, s = history.c, submissions.c
    return select(
        h.seq, h.submission_id, h.status, h.at_ms, h.detail,
        s.game_id, s.player, s.score, s.round_id, s.external_round, h.tx_hash, h.block_number,
    ).join_from(history, submissions, s.id == h.submission_id)  # fmt: skip


def first_since(c: Connection, at_ms: int) -> int | None:
    """Return the number of the first change made at `at_ms` or later, None if there is none."""
    found = c.scalar(select(func.min(history.c.seq)).where(history.c.at_ms >= at_ms))
    return None if found is None else int(found)
