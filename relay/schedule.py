"""What happens by the clock: forgetting what need not be remembered, writing down the use of keys.

Touches APScheduler and what its jobs are handed. A job that fails is logged and comes again.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from functools import partial

from apscheduler.schedulers.asyncio import AsyncIOScheduler

from relay.errors import FairscoreError
from relay.intake import Intake
from relay.store.engine import StoreUnavailableError

SWEEP_EVERY_S = 600
FLUSH_EVERY_S = 5
FIRST_S = 300.0  # what is done every few hours is done so soon after a start: few processes run for as long

log = logging.getLogger(__name__)


class Jobs:
    """The relay's periodic work."""

    def __init__(
        self,
        intake: Intake,
        flush_keys: Callable[[], Awaitable[int]],
        others: Sequence[tuple[Callable[[], Awaitable[None]], float]] = (),
    ) -> None:
        """`flush_keys` writes down when keys were last used, for many requests at once; `others` come every N s."""
        self._intake, self._flush_keys, self._others = intake, flush_keys, others
        self._scheduler: AsyncIOScheduler | None = None

    def start(self) -> None:
        """Start the clock; must be called inside the running loop (APScheduler 3 binds to it)."""
        defaults = {"coalesce": True, "max_instances": 1, "misfire_grace_time": None}
        loop = asyncio.get_running_loop()
        self._scheduler = AsyncIOScheduler(event_loop=loop, job_defaults=defaults, timezone="UTC")
        self._scheduler.add_job(self.sweep, "interval", seconds=SWEEP_EVERY_S)
        self._scheduler.add_job(self.flush, "interval", seconds=FLUSH_EVERY_S)
        for job, every_s in self._others:
            first = datetime.now(UTC) + timedelta(seconds=min(every_s, FIRST_S))
            self._scheduler.add_job(partial(_until_stopped, job), "interval", seconds=every_s, next_run_time=first)
        self._scheduler.start()

    def stop(self) -> None:
        """Stop the clock; a job under way ends where it waits, and begins anew at the next start."""
        if self._scheduler is not None:
            self._scheduler.shutdown(wait=False)
            self._scheduler = None

    async def flush(self) -> None:
        """Record the last use of API keys."""
        try:
            await self._flush_keys()
        except StoreUnavailableError:
            log.warning("the last use of keys did not reach the database")

    async def sweep(self) -> None:
        """Forget idempotency keys after 24 h and windows nobody needs."""
        try:
            gone = await self._intake.sweep()
        except (FairscoreError, StoreUnavailableError):
            log.warning("the sweep did not reach the database; it comes again")
        else:
            log.debug("forgot %d idempotency keys", gone)


async def _until_stopped(job: Callable[[], Awaitable[None]]) -> None:
    """Run a job; the end of the clock is no failure of it."""
    with suppress(asyncio.CancelledError):
        await job()
