"""The loop of one webhook: whoever holds its lease reads history, posts, and writes down how far it is.

Touches the database through `relay.store.webhooks` and the network through what it is handed. What to send next is
decided by `relay.webhooks.order`, when to try again by `relay.webhooks.retries`; this obeys.
"""

import asyncio
import contextlib
import logging
import random
from collections.abc import Awaitable, Callable, Mapping
from typing import NamedTuple, Protocol, TypeVar

from relay.api.pages import rfc3339
from relay.store import webhooks as store
from relay.store.engine import StoreUnavailableError
from relay.store.history_feed import events
from relay.store.intake_rows import Connection
from relay.store.webhooks import Aside, HookLostError, Lease, Progress
from relay.store.writer import Job
from relay.webhooks.feed import Database, Feed
from relay.webhooks.hooks import Hook
from relay.webhooks.messages import Event, body, message_id
from relay.webhooks.order import Order
from relay.webhooks.post import Answer
from relay.webhooks.retries import OUTAGE, next_try_ms, probe_ms
from relay.webhooks.tally import Tally

T = TypeVar("T")

CONCURRENCY = 16
WINDOW = 1_000  # fresh events in memory at most, and about as many are told again after a kill
PAGE = 500  # history rows looked at in one read
RETRIES = 64  # events tried again that are in memory at most
TICK_S = 0.25
SAVE_S, RENEW_S = 0.5, 5.0
LEASE_S = 15.0
COUNT_S = 10.0
GRACE_S = 1.0

log = logging.getLogger(__name__)


class RunsJobs(Protocol):
    """The writer, as far as a deliverer needs it."""

    async def run(self, job: Job[T]) -> T:
        """Run `job` in the next transaction; returns after the commit."""


class Clock(Protocol):
    """Two clocks and a pause."""

    def now_s(self) -> float:
        """Return unix time in seconds: what messages carry and retries are due by."""

    def monotonic_s(self) -> float:
        """Return a clock that nobody sets: what the lease is measured with."""


class Signs(Protocol):
    """The hook's secrets."""

    def headers(self, message_id: str, at_s: float, body: bytes) -> dict[str, str]:
        """Return the headers that identify and sign `body`."""

    def refresh(self) -> None:
        """Look whether the secrets were changed."""


Posts = Callable[[str, bytes, Mapping[str, str], float], Awaitable[Answer]]


class Edges(NamedTuple):
    """What a deliverer works with."""

    database: Database
    writer: RunsJobs
    feed: Feed
    post: Posts
    clock: Clock
    holder: str


class _Task(NamedTuple):
    """An event to be posted: a fresh one, or `again` one that was set aside."""

    event: Event
    again: bool = False
    attempts: int = 0
    first_at_ms: int = 0


class Deliverer:
    """Delivers one hook for as long as it holds the lease. `run` never ends by itself."""

    def __init__(self, hook: Hook, secrets: Signs, edges: Edges) -> None:
        self.hook, self.tally = hook, Tally()
        self._secrets, self._edges = secrets, edges
        self._wake = asyncio.Event()
        self._attempts: set[asyncio.Task[None]] = set()
        self._begin(Lease(0, 0))

    def _begin(self, lease: Lease) -> None:
        self._lease = lease
        self._order = Order(lease.position)
        self._queue: asyncio.Queue[_Task] = asyncio.Queue()
        self._progress = Progress()
        self._retrying: set[int] = set()
        self._failures = self._probes = 0  # in a row; attempts let through since that many failed
        self._proved = False  # something was taken since this lease began
        self._quiet_until_s = 0.0
        self._up = asyncio.Event()

    async def run(self) -> None:
        """Hold the lease whenever it can be had, and deliver."""
        while True:
            pause_s = LEASE_S / 5
            try:
                lease = await self._acquire()
                if lease is not None:
                    await self._deliver(lease)
            except* HookLostError:
                log.info("webhook is delivered elsewhere now, or was moved", extra={"hook": self.hook.name})
                pause_s = TICK_S
            except* StoreUnavailableError:
                log.warning("webhook pauses: the database does not answer", extra={"hook": self.hook.name})
            finally:
                self.tally.leading = False
            await asyncio.sleep(pause_s)

    async def _acquire(self) -> Lease | None:
        asked_s = self._edges.clock.monotonic_s()
        target, holder = self.hook.target, self._edges.holder

        def job(c: Connection) -> Lease | None:
            store.register(c, self.hook.name, target)
            now_ms = self._edges.database.now_ms(c)
            return store.acquire(c, self.hook.name, target, holder, now_ms, int(LEASE_S * 1000))

        lease = await self._edges.writer.run(job)
        self._held_until_s = asked_s + LEASE_S
        return lease

    async def _deliver(self, lease: Lease) -> None:
        """Deliver under `lease`; returns when the receiver wants no more.

        Raises:
            HookLostError: the lease is over.
        """
        self._begin(lease)
        log.info("webhook is delivered from here", extra={"hook": self.hook.name, "after_sequence": lease.position})
        self.tally.leading = True
        try:
            async with asyncio.TaskGroup() as group:
                workers = [group.create_task(self._work()) for _ in range(CONCURRENCY)]
                try:
                    await self._steer()
                finally:
                    for worker in workers:
                        worker.cancel()
        except asyncio.CancelledError:
            await self._end_attempts(GRACE_S)
            await self._let_go()
            raise
        finally:
            await self._end_attempts(0)

    async def _end_attempts(self, grace_s: float) -> None:
        """Wait a moment for answers under way; what is not answered then will be told again."""
        if self._attempts:
            await asyncio.wait(self._attempts, timeout=grace_s)
        left = list(self._attempts)
        for attempt in left:
            attempt.cancel()
        await asyncio.gather(*left, return_exceptions=True)

    async def _let_go(self) -> None:
        """Write down what is known and give the lease back."""
        name, epoch = self.hook.name, self._lease.epoch
        with contextlib.suppress(HookLostError, StoreUnavailableError):
            await self._save()
            await self._edges.writer.run(lambda c: store.release(c, name, epoch))

    async def _steer(self) -> None:
        """1. write down, 2. read fresh events, 3. read what is due again, 4. wait."""
        saved_s = due_s = counted_s = float("-inf")
        while not self._progress.gone:
            self._wake.clear()
            now_s = self._edges.clock.monotonic_s()
            self._check_lease()
            if self._due_to_save(now_s - saved_s):
                await self._save()
                self._secrets.refresh()
                saved_s = now_s
            more = await self._read_fresh()
            if now_s - due_s >= TICK_S:
                await self._read_due()
                due_s = now_s
            if now_s - counted_s >= COUNT_S:
                await self._count()
                counted_s = now_s
            if not more:
                await self._pause(TICK_S)
        await self._save()
        log.warning("webhook disabled: its receiver answered 410", extra={"hook": self.hook.name})

    def _due_to_save(self, since_s: float) -> bool:
        progress = self._progress
        news = progress.delivered or progress.aside or progress.taken or progress.refused
        return since_s >= (SAVE_S if news or self._order.position != self.tally.position else RENEW_S)

    async def _save(self) -> None:
        progress, self._progress = self._progress, Progress()
        position, epoch = self._order.position, self._lease.epoch
        asked_s = self._edges.clock.monotonic_s()

        def job(c: Connection) -> None:
            now_ms = self._edges.database.now_ms(c)
            store.save(c, self.hook.name, epoch, position, progress, now_ms=now_ms, ttl_ms=int(LEASE_S * 1000))

        try:
            await self._edges.writer.run(job)
        except StoreUnavailableError:
            # Whether it was stored is unknown, and it may not be stored twice: begin again from what the database says.
            raise HookLostError("progress could not be written") from None
        self._held_until_s = asked_s + LEASE_S
        self._retrying -= {seq for seq, _ in progress.taken} | {aside.seq for aside in progress.refused}
        self.tally.position = position

    async def _read_fresh(self) -> bool:
        """Read the next page of history if there is room; returns whether there may be more at once."""
        order, hook = self._order, self.hook
        if len(order) > WINDOW - PAGE:
            return False
        settled = await self._edges.feed.settled()
        up_to = min(settled, order.read_to + PAGE)
        if up_to <= order.read_to:
            return False

        def job(c: Connection) -> tuple[list[Event], set[str]]:
            found = events(c, order.read_to, up_to, hook.game, hook.statuses)
            return found, store.blocked(c, hook.name, {event.submission_id for event in found})

        found, blocked = await self._edges.database.read(job)
        blocked |= {aside.submission_id for aside in self._progress.aside}  # not written down yet
        held = [event for event in found if event.submission_id in blocked]
        order.take([event for event in found if event.submission_id not in blocked], up_to)
        self._progress.aside += [Aside(event.seq, event.submission_id) for event in held]
        self._start_ready()
        return up_to < settled and len(order) <= WINDOW - PAGE

    async def _read_due(self) -> None:
        if len(self._retrying) >= RETRIES or not self.tally.waiting:
            return
        now_ms = int(self._edges.clock.now_s() * 1000)
        name = self.hook.name
        for each in await self._edges.database.read(lambda c: store.due(c, name, now_ms, RETRIES)):
            if each.event.seq not in self._retrying:
                self._retrying.add(each.event.seq)
                self._queue.put_nowait(_Task(each.event, True, each.attempts, each.first_at_ms))

    async def _count(self) -> None:
        name = self.hook.name
        waiting, self.tally.dead = await self._edges.database.read(lambda c: store.counts(c, name))
        self.tally.waiting = waiting + len(self._progress.aside)

    def _start_ready(self) -> None:
        while (event := self._order.start()) is not None:
            self._queue.put_nowait(_Task(event))

    async def _work(self) -> None:
        while True:
            task = await self._queue.get()
            await self._gate()
            self._check_lease()
            attempt = asyncio.create_task(self._attempt(task))
            self._attempts.add(attempt)
            attempt.add_done_callback(self._attempts.discard)
            await asyncio.shield(attempt)  # a stop lets it end, see _end_attempts

    async def _gate(self) -> None:
        """While the receiver is out, let one attempt pass at a time, ever more rarely."""
        clock = self._edges.clock
        while (wait_s := self._quiet_until_s - clock.monotonic_s()) > 0:
            self._up.clear()
            try:
                async with asyncio.timeout(wait_s):
                    await self._up.wait()
            except TimeoutError:
                continue
        if self._failures >= OUTAGE:
            self._quiet_until_s = clock.monotonic_s() + probe_ms(self._probes, random.random()) / 1000  # noqa: S311
            self._probes += 1

    async def _attempt(self, task: _Task) -> None:
        event = task.event
        content = body(event, rfc3339(event.at_ms))
        headers = self._secrets.headers(message_id(event), self._edges.clock.now_s(), content)
        self._settle(task, await self._edges.post(self.hook.url, content, headers, self.hook.timeout_s))

    def _settle(self, task: _Task, answer: Answer) -> None:
        """Note what came of an attempt; everything here happens without a pause."""
        now_ms = int(self._edges.clock.now_s() * 1000)
        if answer.taken:
            self._taken(task, now_ms)
        else:
            self._failures += 1
            self.tally.failed += 1
            self._progress.failed_at_ms, self._progress.error = now_ms, answer.detail
            if answer.gone:
                self._progress.gone = True  # this event and all later ones stay where they are
            else:
                self._set_aside(task, answer, now_ms)
        if len(self._order) <= WINDOW - PAGE or not answer.taken:
            self._wake.set()

    def _taken(self, task: _Task, now_ms: int) -> None:
        progress, event = self._progress, task.event
        if self._failures >= OUTAGE or not self._proved:
            progress.recovered = self._proved = True
            self._quiet_until_s = 0.0
            self._up.set()
        self._failures = self._probes = 0
        progress.delivered += 1
        progress.succeeded_at_ms = now_ms
        self.tally.delivered += 1
        if task.again:
            progress.taken.append((event.seq, event.submission_id))
        else:
            self._order.delivered(event)
            self._start_ready()

    def _set_aside(self, task: _Task, answer: Answer, now_ms: int) -> None:
        event, attempts, first_at_ms = task.event, task.attempts + 1, task.first_at_ms or now_ms
        due_ms = next_try_ms(attempts, first_at_ms, now_ms, random.random(), answer.retry_after_ms)  # noqa: S311
        dead = due_ms is None
        aside = Aside(event.seq, event.submission_id, attempts, first_at_ms, now_ms, due_ms, answer.detail, dead)
        if task.again:
            self._progress.refused.append(aside)
        else:
            self._progress.aside.append(aside)
            self._progress.aside += [Aside(held.seq, held.submission_id) for held in self._order.set_aside(event)]
        self.tally.waiting += 1  # counted exactly every few seconds
        if dead:
            log.warning("webhook event given up", extra={"hook": self.hook.name, "sequence": event.seq})

    def _check_lease(self) -> None:
        if self._edges.clock.monotonic_s() >= self._held_until_s:
            raise HookLostError("the lease ran out")

    def numbers(self) -> dict[str, float]:
        """Return counters since the start, and how far behind the hook is while this process delivers it.

        `lag_seconds` is the age of the oldest event that was read and is neither delivered nor set aside.
        """
        tally, oldest_ms = self.tally, self._order.oldest_at_ms
        found = {"delivered_total": float(tally.delivered), "failed_total": float(tally.failed)}
        if not tally.leading:
            return found
        lag_s = 0.0 if oldest_ms is None else max(0.0, self._edges.clock.now_s() - oldest_ms / 1000)
        return found | {"waiting": float(tally.waiting), "dead": float(tally.dead), "lag_seconds": lag_s}

    async def _pause(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._wake.wait()
        except TimeoutError:
            return
