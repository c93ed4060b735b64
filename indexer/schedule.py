"""What happens by the clock: pruning, late evidence, finality, the watchdog.

Touches APScheduler, and what its jobs are handed. A job that fails is logged and comes again; none of them is needed
for standings to be right.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable

from apscheduler.schedulers.asyncio import AsyncIOScheduler

from indexer.chain_pool import ChainPool
from indexer.evidence import EvidenceSource
from indexer.follower import Follower
from indexer.health import SILENT_S, STALLED_S
from indexer.store.access import Store
from indexer.stream_ring import RING
from relay.store.engine import StoreUnavailableError

PRUNE_OLDER_MS = 3_600_000
PRUNE_EVERY_S = 300
FINALITY_EVERY_S = 4
EVIDENCE_EVERY_S = 5
EVIDENCE_LOOK = 5_000  # scores looked through per turn
WATCH_EVERY_S = 10

log = logging.getLogger(__name__)


class Jobs:
    """The indexer's periodic work."""

    def __init__(self, follower: Follower, store: Store, evidence: EvidenceSource, chain: ChainPool) -> None:
        self._follower, self._store, self._evidence, self._chain = follower, store, evidence, chain
        self._still_at: int | None = None  # block at which the connections were made anew
        self._look_after = -1
        self._scheduler: AsyncIOScheduler | None = None

    def start(self) -> None:
        """Start the clock; must be called inside the running loop (APScheduler 3 binds to it)."""
        scheduler = AsyncIOScheduler(
            event_loop=asyncio.get_running_loop(), job_defaults={"coalesce": True, "max_instances": 1}, timezone="UTC"
        )
        plan: tuple[tuple[Callable[[], Awaitable[None]], int], ...] = (
            (self.prune, PRUNE_EVERY_S),
            (self.sweep, FINALITY_EVERY_S),
            (self.look_for_evidence, EVIDENCE_EVERY_S),
            (self.watch, WATCH_EVERY_S),
        )
        for job, seconds in plan:
            scheduler.add_job(job, "interval", seconds=seconds, misfire_grace_time=None)
        scheduler.start()
        self._scheduler = scheduler

    def stop(self) -> None:
        """Stop the clock."""
        if self._scheduler is not None:
            self._scheduler.shutdown(wait=False)
            self._scheduler = None

    async def prune(self) -> None:
        """Delete stream messages that nobody can resume from any more."""
        try:
            deleted = await self._store.prune_stream(RING, PRUNE_OLDER_MS)
        except StoreUnavailableError:
            return
        if deleted:
            log.info("pruned %d stream messages", deleted)

    async def sweep(self) -> None:
        """Let the follower look at finality, which can move without a new block."""
        self._follower.sweep()

    async def look_for_evidence(self) -> None:
        """Look again for the evidence of scores that were shown without it, a stretch at a time."""
        if self._follower.state is None:
            return
        try:
            last, missing = await self._store.unexplained(self._look_after, EVIDENCE_LOOK)
            self._look_after = -1 if last is None else last
            found = await self._evidence.find([known for _, known in missing]) if missing else {}
            learned = {(place, known): found[known] for place, known in missing if known in found}
            await self._follower.learn(learned)
        except StoreUnavailableError:
            return

    async def watch(self) -> None:
        """Connect anew when the provider is silent, and once when its head stands still: connections can hang."""
        head, silent_s = self._follower.health.head, self._follower.silent_s()
        if silent_s > SILENT_S:
            log.warning("the provider has been silent for %d s: connecting anew", silent_s)
        elif head == self._still_at or self._follower.health.still_s(time.monotonic()) <= STALLED_S:
            return
        self._still_at = head
        await self._chain.close()
