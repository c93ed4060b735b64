"""What an operator sees of the outbox: how much waits in each state, what each key has under way, what is set aside.

The only SQL of these reads. Each is short however long the history is: it follows the partial indexes of what is not
finished.
"""

import json
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from sqlalchemy import Connection, and_, func, select, text

from relay.store import controls
from relay.store.controls import Pause
from relay.store.outbox_leases import Key
from relay.store.outbox_tables import attempts, batch_scores, batches, leases, slots
from relay.store.revocations import Backlog, backlog
from relay.store.tables import history, submissions

# Literals, because both databases use a partial index only for its own words.
IS_WAITING = text("submissions.status = 'accepted'")
IS_UNFINISHED = text("slots.state IN ('reserved', 'live', 'mined')")
IS_UNRESOLVED = text("batch_scores.unresolved = 1")
IS_ASIDE = text("submissions.status IN ('held', 'parked')")
DEPTH_STATES = ("accepted", "queued", "sent", "included", "held", "parked")
PARKED_MAX = 100
ACTIONS_MAX = 20


class Depth(NamedTuple):
    """Submissions in one state, and when the oldest of them was accepted (epoch ms; None when there are none)."""

    size: int
    oldest_ms: int | None


class AttemptView(NamedTuple):
    """A signed transaction. Fees in wei per gas (`tip_wei_max` None: legacy), time in epoch ms."""

    tx_hash: bytes
    fee_wei_max: int
    tip_wei_max: int | None
    gas_limit: int
    created_at_ms: int
    void: bool


class SlotView(NamedTuple):
    """A nonce that is not final. `size`: scores (or other records) of its batch; attempts oldest first."""

    nonce: int
    state: str
    batch_id: int
    kind: str
    game_id: str
    size: int
    reserved_at_ms: int
    tx_hash: bytes | None
    block_number: int | None
    void_requested_at_ms: int | None
    attempts: tuple[AttemptView, ...]

    @property
    def reserved_wei(self) -> int:
        """The most this nonce can still cost: nothing once it is mined."""
        if self.state == "mined":
            return 0
        return max((one.fee_wei_max * one.gas_limit for one in self.attempts), default=0)


class KeyView(NamedTuple):
    """A sending account. `led`: a process holds its lease now; `next_nonce` None: it never reserved one.

    `trouble`: what was in the holder's way when it last renewed the lease, by a short name.
    """

    key: Key
    holder: str
    epoch: int
    led: bool
    trouble: Mapping[str, str]
    pause: Pause | None
    next_nonce: int | None
    slots: tuple[SlotView, ...]

    @property
    def reserved_wei(self) -> int:
        """Worst case of everything under way."""
        return sum(slot.reserved_wei for slot in self.slots)


class View(NamedTuple):
    """The outbox of one chain at one moment (database's time, epoch ms)."""

    now_ms: int
    depth: Mapping[str, "Depth"]
    keys: Sequence[KeyView]


class Parked(NamedTuple):
    """A score that the contract refused, with the reason and since when (epoch ms)."""

    submission_id: str
    game_id: str
    reason: str
    since_ms: int


class Seen(NamedTuple):
    """A view with what is set aside, revocations under way, and the newest actions of operators."""

    view: View
    parked: Sequence["Parked"]
    orders: Sequence[Backlog]
    actions: Sequence[controls.Action]


def everything(c: Connection, chain_id: int, now_ms: int) -> Seen:
    """Return all that an operator sees of a chain."""
    return Seen(view(c, chain_id, now_ms), parked(c), backlog(c), controls.actions(c, ACTIONS_MAX))


def chain_ids(c: Connection) -> list[int]:
    """Return the chains that anything was ever sent to from this database."""
    return list(c.scalars(select(leases.c.chain_id).distinct().order_by(leases.c.chain_id)))


def view(c: Connection, chain_id: int, now_ms: int) -> View:
    """Return what is under way on a chain."""
    return View(now_ms, depth(c), keys(c, chain_id, now_ms))


def depth(c: Connection) -> dict[str, Depth]:
    """Return how many submissions are in each state that is not an end, with their oldest."""
    found = {state: Depth(0, None) for state in DEPTH_STATES}
    found["accepted"] = _waiting(c)
    columns = (submissions.c.status, func.count(), func.min(submissions.c.accepted_at_ms))
    under_way = (
        select(*columns)
        .join(batch_scores, batch_scores.c.submission_id == submissions.c.id)
        .where(IS_UNRESOLVED, submissions.c.status.in_(("queued", "sent", "included")))
    )
    aside = select(*columns).where(IS_ASIDE)
    for query in (under_way, aside):
        for status, count, oldest in c.execute(query.group_by(submissions.c.status)):
            found[status] = Depth(count, oldest)
    return found


def _waiting(c: Connection) -> Depth:
    """Count what waits; its oldest is the lowest round of some game, so a long queue need not be read through."""
    count = c.scalar(select(func.count()).select_from(submissions).where(IS_WAITING)) or 0
    oldest: int | None = None
    game = ""
    s = submissions.c
    while (game := c.scalar(select(func.min(s.game_id)).where(IS_WAITING, s.game_id > game))) is not None:
        first = select(s.accepted_at_ms).where(IS_WAITING, s.game_id == game).order_by(s.round_id).limit(1)
        at_ms = c.scalar(first)
        oldest = at_ms if oldest is None else min(oldest, at_ms or oldest)
    return Depth(count, oldest)


def keys(c: Connection, chain_id: int, now_ms: int) -> list[KeyView]:
    """Return every key that ever sent on the chain from this database, with what it has under way."""
    slots_of = _unfinished(c)
    found: list[KeyView] = []
    for row in c.execute(select(leases).where(leases.c.chain_id == chain_id).order_by(leases.c.signer)).all():
        key = Key(chain_id, bytes(row.signer))
        mine = (slots.c.chain_id == key.chain_id, slots.c.signer == key.signer)
        highest = c.scalar(select(func.max(slots.c.nonce)).where(*mine))
        led = row.expires_at_ms > now_ms
        following = None if highest is None else highest + 1
        pause = controls.paused(c, key)
        trouble = json.loads(row.trouble) if led and row.trouble else {}
        under_way = tuple(slots_of.get(key, ()))
        found.append(KeyView(key, row.holder, row.epoch, led, trouble, pause, following, under_way))
    return found


def _unfinished(c: Connection) -> Mapping[Key, list[SlotView]]:
    s, b = slots.c, batches.c
    columns = (s.nonce, s.state, s.batch_id, b.kind, b.game_id, b.size, s.reserved_at_ms, s.tx_hash, s.block_number)
    query = (
        select(s.chain_id, s.signer, *columns, s.void_requested_at_ms)
        .join(batches, b.id == s.batch_id)
        .where(IS_UNFINISHED)
        .order_by(s.nonce)
    )
    tried = _attempts(c)
    found: dict[Key, list[SlotView]] = {}
    for chain_id, signer, nonce, *rest in c.execute(query):
        key = Key(chain_id, bytes(signer))
        found.setdefault(key, []).append(SlotView._make((nonce, *rest, tuple(tried.get((key, nonce), ())))))
    return found


def _attempts(c: Connection) -> Mapping[tuple[Key, int], list[AttemptView]]:
    s, a = slots.c, attempts.c
    same = and_(a.chain_id == s.chain_id, a.signer == s.signer, a.nonce == s.nonce)
    query = (
        select(s.chain_id, s.signer, s.nonce)
        .add_columns(a.tx_hash, a.fee_wei_max, a.tip_wei_max, a.gas_limit, a.created_at_ms, a.void)
        .join(attempts, same)
        .where(IS_UNFINISHED)
        .order_by(a.void, a.fee_wei_max)  # as they were made, whatever the clock did
    )
    found: dict[tuple[Key, int], list[AttemptView]] = {}
    for chain_id, signer, nonce, tx_hash, *rest, void in c.execute(query):
        attempt = AttemptView._make((bytes(tx_hash), *rest, bool(void)))
        found.setdefault((Key(chain_id, bytes(signer)), nonce), []).append(attempt)
    return found


def parked(c: Connection) -> list[Parked]:
    """Return the newest parked scores, at most PARKED_MAX."""
    s, h = submissions.c, history.c
    steps = history.alias()
    parking = (steps.c.submission_id == s.id, steps.c.status == "parked")
    last = select(func.max(steps.c.seq)).where(*parking).correlate(submissions).scalar_subquery()
    query = (
        select(s.id, s.game_id, h.detail, h.at_ms)
        .select_from(submissions.join(history, h.seq == last))
        .where(IS_ASIDE, s.status == "parked")
        .order_by(s.id.desc())
        .limit(PARKED_MAX)
    )
    return [Parked(one, game, reason or "", at_ms) for one, game, reason, at_ms in c.execute(query)]
