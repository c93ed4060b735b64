"""How far each webhook is, and what its receiver did not take.

The only SQL on `webhooks` and `webhook_deliveries`. Whoever delivers a hook holds its lease; every write of a deliverer
checks the epoch it began under, so one that was stopped and woken writes nothing.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from sqlalchemy import ColumnElement, Connection, delete, exists, func, literal, or_, select, update
from sqlalchemy.dialects import postgresql, sqlite

from relay.store.history_feed import select_events
from relay.store.tables import history
from relay.store.webhook_tables import webhook_deliveries, webhooks
from relay.webhooks.messages import Event

CHUNK = 500  # values in one statement


class HookLostError(Exception):
    """Another process delivers this hook now, or an operator moved its position: begin again from the database."""


class Lease(NamedTuple):
    """The right to deliver a hook, and where it stands."""

    epoch: int
    position: int


class Aside(NamedTuple):
    """An event that was not taken, or that waits behind one of its submission (`attempts` is 0 then)."""

    seq: int
    submission_id: str
    attempts: int = 0
    first_at_ms: int | None = None
    tried_at_ms: int | None = None
    next_at_ms: int | None = None
    error: str | None = None
    dead: bool = False


class Due(NamedTuple):
    """An event to be tried again."""

    event: Event
    attempts: int
    first_at_ms: int


@dataclass(slots=True)
class Progress:
    """What a deliverer writes down at once."""

    delivered: int = 0
    succeeded_at_ms: int | None = None
    failed_at_ms: int | None = None
    error: str | None = None
    aside: list[Aside] = field(default_factory=list)  # fresh events that failed, and those held behind them
    taken: list[tuple[int, str]] = field(default_factory=list)  # (seq, submission) of set aside ones, now delivered
    refused: list[Aside] = field(default_factory=list)  # set aside ones that failed again
    recovered: bool = False  # the receiver is back: everything that waits is due now
    gone: bool = False


class Standing(NamedTuple):
    """A hook as an operator sees it; times in epoch milliseconds."""

    name: str
    position: int
    holder: str
    expires_at_ms: int
    delivered: int
    succeeded_at_ms: int | None
    failed_at_ms: int | None
    error: str | None
    disabled_at_ms: int | None
    waiting: int = 0
    dead: int = 0


def register(c: Connection, name: str, target: bytes) -> None:
    """Make a hook known, if it is not: it is told everything that happens from now on."""
    insert = postgresql.insert if c.dialect.name == "postgresql" else sqlite.insert
    newest = select(func.coalesce(func.max(history.c.seq), 0)).scalar_subquery()
    row = {"name": name, "target": target, "position": newest, "holder": "", "epoch": 0, "expires_at_ms": 0}
    c.execute(insert(webhooks).values(**row, delivered=0).on_conflict_do_nothing())


def acquire(c: Connection, name: str, target: bytes, holder: str, now_ms: int, ttl_ms: int) -> Lease | None:
    """Take the lease of a hook; None while another holds it or the receiver is gone.

    `target` is the hash of its address: a new address brings a hook back whose receiver had said 410.
    """
    # What would last longer than a lease lasts is over as well: the clock was set back, and its holder may be dead.
    free = or_(webhooks.c.holder == holder, ~webhooks.c.expires_at_ms.between(now_ms, now_ms + ttl_ms))
    wanted = or_(webhooks.c.disabled_at_ms.is_(None), webhooks.c.target != target)
    values = {"holder": holder, "expires_at_ms": now_ms + ttl_ms, "target": target, "disabled_at_ms": None}
    row = c.execute(
        update(webhooks)
        .where(webhooks.c.name == name, free, wanted)
        .values(**values, epoch=webhooks.c.epoch + 1)
        .returning(webhooks.c.epoch, webhooks.c.position)
    ).one_or_none()
    return None if row is None else Lease(row.epoch, row.position)


def release(c: Connection, name: str, epoch: int) -> None:
    """Let the lease expire now."""
    c.execute(update(webhooks).where(webhooks.c.name == name, webhooks.c.epoch == epoch).values(expires_at_ms=0))


def save(c: Connection, name: str, epoch: int, position: int, progress: Progress, *, now_ms: int, ttl_ms: int) -> None:
    """Write down progress and renew the lease.

    Raises:
        HookLostError: the epoch is over; nothing is written.
    """
    values: dict[str, object] = {
        "position": position,
        "expires_at_ms": now_ms + ttl_ms,
        "delivered": webhooks.c.delivered + progress.delivered,
    }
    if progress.succeeded_at_ms is not None:
        values["succeeded_at_ms"] = progress.succeeded_at_ms
    if progress.failed_at_ms is not None:
        values |= {"failed_at_ms": progress.failed_at_ms, "error": progress.error}
    if progress.gone:
        values["disabled_at_ms"] = now_ms
    if (
        c.execute(update(webhooks).where(webhooks.c.name == name, webhooks.c.epoch == epoch).values(values)).rowcount
        != 1
    ):
        raise HookLostError(f"epoch {epoch} is over")
    _save_aside(c, name, progress, now_ms)


def _save_aside(c: Connection, name: str, progress: Progress, now_ms: int) -> None:
    table = webhook_deliveries
    if progress.recovered:  # first: what failed after the receiver came back waits its time
        later = (table.c.hook == name, table.c.next_at_ms > now_ms)
        c.execute(update(table).where(*later).values(next_at_ms=now_ms))
    if progress.aside:
        c.execute(table.insert(), [{"hook": name, **_row(aside)} for aside in progress.aside])
    for seq, _ in progress.taken:
        c.execute(delete(table).where(table.c.hook == name, table.c.seq == seq))
    for aside in progress.refused:
        c.execute(update(table).where(table.c.hook == name, table.c.seq == aside.seq).values(_row(aside)))
    touched = {aside.submission_id for aside in progress.aside} | {submission for _, submission in progress.taken}
    touched |= {aside.submission_id for aside in progress.refused if aside.dead}
    ordered = sorted(touched)
    for start in range(0, len(ordered), CHUNK):
        _promote(c, name, table.c.submission_id.in_(ordered[start : start + CHUNK]), now_ms)


def _promote(c: Connection, name: str, which: ColumnElement[bool], now_ms: int) -> None:
    """Make the oldest waiting event of each submission due, where an earlier one no longer stands before it."""
    table, earlier = webhook_deliveries, webhook_deliveries.alias("earlier")
    before = exists().where(
        earlier.c.hook == name,
        earlier.c.submission_id == table.c.submission_id,
        earlier.c.seq < table.c.seq,
        earlier.c.state == "waiting",
    )
    held = (table.c.hook == name, table.c.state == "waiting", table.c.next_at_ms.is_(None), which, ~before)
    c.execute(update(table).where(*held).values(next_at_ms=now_ms))


def _row(aside: Aside) -> dict[str, object]:
    values = aside._asdict()
    values["state"] = "dead" if values.pop("dead") else "waiting"
    return values


def blocked(c: Connection, name: str, submission_ids: Collection[str]) -> set[str]:
    """Return which of the submissions have an event waiting to be tried again."""
    found: set[str] = set()
    ordered = sorted(submission_ids)
    for start in range(0, len(ordered), CHUNK):
        found |= set(
            c.scalars(
                select(webhook_deliveries.c.submission_id).where(
                    webhook_deliveries.c.hook == name,
                    webhook_deliveries.c.submission_id.in_(ordered[start : start + CHUNK]),
                    webhook_deliveries.c.state == "waiting",
                )
            )
        )
    return found


def due(c: Connection, name: str, now_ms: int, limit: int) -> list[Due]:
    """Return events whose time to be tried again has come, the longest due first."""
    table = webhook_deliveries
    rows = c.execute(
        select_events()
        .add_columns(table.c.attempts, table.c.first_at_ms)
        .join(table, table.c.seq == history.c.seq)
        .where(table.c.hook == name, table.c.next_at_ms <= now_ms)
        .order_by(table.c.next_at_ms, table.c.seq)
        .limit(limit)
    )
    width = len(Event._fields)
    return [Due(Event._make(row[:width]), row[width], row[width + 1] or now_ms) for row in rows]


def standings(c: Connection) -> list[Standing]:
    """Return every hook the database knows, by name."""
    columns = [webhooks.c[name] for name in Standing._fields[:-2]]
    counts: dict[tuple[str, str], int] = {
        (row.hook, row.state): row.n
        for row in c.execute(
            select(webhook_deliveries.c.hook, webhook_deliveries.c.state, func.count().label("n")).group_by(
                webhook_deliveries.c.hook, webhook_deliveries.c.state
            )
        )
    }
    return [
        Standing._make((*row, counts.get((row.name, "waiting"), 0), counts.get((row.name, "dead"), 0)))
        for row in c.execute(select(*columns).order_by(webhooks.c.name))
    ]


def counts(c: Connection, name: str) -> tuple[int, int]:
    """Return how many events of a hook wait to be tried again, and how many are dead."""
    state = webhook_deliveries.c.state
    rows = c.execute(select(state, func.count()).where(webhook_deliveries.c.hook == name).group_by(state)).all()
    found: dict[str, int] = {row[0]: row[1] for row in rows}
    return found.get("waiting", 0), found.get("dead", 0)


def replay_from(c: Connection, name: str, seq: int) -> int | None:
    """Move a hook back so that `seq` is the next event it is told; returns where it was, None for an unknown hook.

    Whoever delivers it now loses the lease and begins again from there. A hook that was disabled is enabled.
    """
    was = _take_away(c, name, position=seq - 1)
    if was is not None:
        c.execute(delete(webhook_deliveries).where(webhook_deliveries.c.hook == name, webhook_deliveries.c.seq >= seq))
    return was


def replay_dead(c: Connection, name: str, now_ms: int) -> int | None:
    """Try everything again that was given up or waits; returns how many, None for an unknown hook."""
    if _take_away(c, name) is None:
        return None
    table = webhook_deliveries
    fresh = {"state": "waiting", "attempts": 0, "first_at_ms": None, "next_at_ms": None}
    count = c.execute(update(table).where(table.c.hook == name).values(fresh)).rowcount
    _promote(c, name, literal(True), now_ms)
    return count


def _take_away(c: Connection, name: str, **values: int) -> int | None:
    """End the deliverer's epoch; returns the position there was, None for an unknown hook."""
    row = c.execute(select(webhooks.c.position).where(webhooks.c.name == name).with_for_update()).one_or_none()
    if row is None:
        return None
    ended = {"epoch": webhooks.c.epoch + 1, "expires_at_ms": 0, "disabled_at_ms": None, **values}
    c.execute(update(webhooks).where(webhooks.c.name == name).values(ended))
    return int(row.position)


def dead(c: Connection, name: str, limit: int) -> Sequence[Aside]:
    """Return the newest events that were given up."""
    table = webhook_deliveries
    rows = c.execute(
        select(table).where(table.c.hook == name, table.c.state == "dead").order_by(table.c.seq.desc()).limit(limit)
    )
    return [
        Aside(r.seq, r.submission_id, r.attempts, r.first_at_ms, r.tried_at_ms, r.next_at_ms, r.error, dead=True)
        for r in rows
    ]
