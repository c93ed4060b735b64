"""Group commit: one thread commits what is waiting as one transaction, then answers all of it.

Touches the database through `Database.write` only. No linger: while one group commits, the next forms by itself, so
an idle system commits at once and a busy one commits rarely (DeWitt et al., "Implementation techniques for main
memory database systems", 1984, section 4.1).
"""

import asyncio
import logging
import queue
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from relay.store.engine import Database, StoreUnavailableError, unavailable

T = TypeVar("T")
Job = Callable[[Connection], T]

GROUP_MAX = 512
CONFLICT_RETRIES = 5
CONFLICT_STATES = {"40001", "40P01"}  # serialization_failure, deadlock_detected (PostgreSQL, appendix A)

log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Waiting:
    job: Job[Any]
    loop: asyncio.AbstractEventLoop
    future: "asyncio.Future[Any]"
    result: Any = None
    error: BaseException | None = None


@dataclass(slots=True)
class WriterStats:
    """Counters since the start: transactions committed and jobs in them."""

    groups: int = 0
    jobs: int = 0
    alone: int = 0  # jobs that had to be run by themselves after their group failed


class Writer:
    """The only writer of its process. Jobs run in the order they were handed in.

    A job is `job(connection) -> result`: it changes nothing but the database and can be run again, because a group in
    which one job fails is rolled back and its jobs are run one by one, so that no job suffers for another's error.
    """

    def __init__(self, database: Database, group_max: int = GROUP_MAX) -> None:
        """Jobs of one transaction are at most `group_max`: 1 where the locks of several would be out of order."""
        self.database = database
        self._group_max = group_max
        self.stats = WriterStats()
        self._queue: queue.SimpleQueue[_Waiting | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, name="fairscore-writer", daemon=True)
        self._closed = False
        self._out = False  # the last change was refused because the database is out of reach

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    async def stop(self) -> None:
        """Commit what was handed in, then end the thread; later jobs are refused."""
        self._closed = True
        self._queue.put(None)
        if self._thread.is_alive():
            await asyncio.to_thread(self._thread.join)

    async def run(self, job: Job[T]) -> T:
        """Run `job` in the next group; returns after the commit.

        Raises:
            StoreUnavailableError: the database did not take it (or, if the connection was lost during the commit,
                did not say so); retry with the same idempotency key.
            Exception: whatever the job itself raised; nothing of it is stored.
        """
        if self._closed:
            raise StoreUnavailableError("shutting down")
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()
        self._queue.put(_Waiting(job, loop, future))
        return await future

    def _work(self) -> None:
        last = False
        while not last:
            first = self._queue.get()
            group: list[_Waiting] = []
            last = first is None
            if first is not None:
                group.append(first)
            while len(group) < self._group_max and not self._queue.empty():
                waiting = self._queue.get()
                if waiting is None:
                    last = True
                else:
                    group.append(waiting)
            if group:
                self._commit(group)
                _answer(group)

    def _commit(self, group: Sequence[_Waiting]) -> None:
        if not self._attempt(group):
            for waiting in group:
                self._commit_alone(waiting, first_try=len(group) == 1)
        self.stats.groups += 1
        self.stats.jobs += len(group)

    def _commit_alone(self, waiting: _Waiting, *, first_try: bool) -> None:
        if first_try and not _conflict(waiting.error):
            return  # it was alone already: its error is its own
        self.stats.alone += 1
        for _ in range(CONFLICT_RETRIES):
            if self._attempt([waiting]) or not _conflict(waiting.error):
                return

    def _attempt(self, group: Sequence[_Waiting]) -> bool:
        """Run the jobs and commit. False: nothing is stored and running them again may help."""
        for waiting in group:
            waiting.error = None
        ran = 0
        try:
            with self.database.write() as connection:
                for waiting in group:
                    waiting.result = waiting.job(connection)
                    ran += 1
        except Exception as error:  # noqa: BLE001 - a job's error belongs to whoever awaits it, not to this thread
            found = _translate(error)
            self._note(found)
            _fail(group, found)
            # If the commit itself failed, whether it took effect is unknown: never run it again. If the database is
            # out of reach, asking once per job would only make all of them wait.
            return ran == len(group) or isinstance(group[0].error, StoreUnavailableError)
        self._note(None)
        return True

    def _note(self, error: BaseException | None) -> None:
        """Log where an outage begins and ends: a line per refused change would fill the disk that is full."""
        out = isinstance(error, StoreUnavailableError)
        if out and not self._out:
            log.warning("the database does not take changes", extra={"cause": error})
        elif error is None and self._out:
            log.warning("the database takes changes again")
        self._out = out or (self._out and error is not None)


def _fail(group: Sequence[_Waiting], error: BaseException) -> None:
    for waiting in group:
        waiting.error = error


def _translate(error: BaseException) -> BaseException:
    if _conflict(error) or not unavailable(error):
        return error
    translated = StoreUnavailableError(type(getattr(error, "orig", error)).__name__)
    translated.__cause__ = error
    return translated


def _conflict(error: BaseException | None) -> bool:
    return isinstance(error, DBAPIError) and getattr(error.orig, "sqlstate", None) in CONFLICT_STATES


def _answer(group: Sequence[_Waiting]) -> None:
    """Wake the callers: one call into each event loop, however many wait there."""
    by_loop: dict[asyncio.AbstractEventLoop, list[_Waiting]] = {}
    for waiting in group:
        by_loop.setdefault(waiting.loop, []).append(waiting)
    for loop, waitings in by_loop.items():
        if not loop.is_closed():
            loop.call_soon_threadsafe(_resolve, waitings)


def _resolve(waitings: Sequence[_Waiting]) -> None:
    for waiting in waitings:
        if waiting.future.done():  # the caller was cancelled; its change is committed all the same
            continue
        if waiting.error is not None:
            waiting.future.set_exception(waiting.error)
        else:
            waiting.future.set_result(waiting.result)
