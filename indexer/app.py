"""The indexer as one service: built from settings, started and stopped by whoever composes the process.

Touches nothing itself; wires chain, store, follower, stream and API together.
"""

import asyncio
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from typing import NamedTuple

from indexer.ancestry import ChainIdentityError, demand_same
from indexer.api import page
from indexer.api.boards import Boards
from indexer.api.leaderboards import Leaderboards
from indexer.api.scores import Scores
from indexer.api.socket import Sockets
from indexer.api.stream import Streams
from indexer.archive import Archive
from indexer.building import Building
from indexer.chain_pool import ChainPool, connect
from indexer.config import IndexerSettings
from indexer.doubt_rules import Rules
from indexer.doubting import Doubting, DoubtPlan, DoubtStore, Published
from indexer.evidence import EvidenceSource, HttpEvidence
from indexer.follower import BULK_BEHIND, Follower, Plan
from indexer.heads import NewHeads
from indexer.health import Check, Health
from indexer.post import Post
from indexer.reading import Reading
from indexer.schedule import Jobs
from indexer.state import Audience, State
from indexer.store.access import Store
from indexer.store.doubt_access import DoubtTables
from indexer.store.evidence import DatabaseEvidence
from indexer.store.news import Log
from indexer.store.wakeup import Wakeup
from indexer.stream import Hub
from indexer.tail import Tail
from relay.api.operations import Operation
from relay.chain_types import ChainError, ProviderState
from relay.config_sources import HTTP, WEBSOCKET, endpoints
from relay.rules.ruleset import BoundRuleset
from relay.store.engine import Database
from relay.store.writer import Writer

__all__ = ["ChainIdentityError", "Check", "IndexerService", "build"]


class Doubts(NamedTuple):
    """What scores are doubted with."""

    store: DoubtStore
    published: Published
    rules: Rules
    plan: DoubtPlan


class IndexerService:
    """Follower, stream, API and jobs of one contract. `start` and `stop` belong to one event loop."""

    def __init__(
        self,
        store: Store,
        chain: ChainPool,
        evidence: EvidenceSource,
        plan: Plan,
        own_writer: Writer | None,
        doubts: Doubts | None = None,
        head_urls: Sequence[str] = (),
    ) -> None:
        self._store, self._chain, self._evidence, self._own_writer = store, chain, evidence, own_writer
        self.hub = Hub(store.stream_tail)
        archive = Archive(store)
        self._wakeup = Wakeup(store.database)
        audiences: list[Audience] = [archive, self.hub]
        self.follower = Follower(chain, store, evidence, audiences, plan, alarm=self._alarm)
        log = Log(store.database, self.follower.known.names)
        self.tail = Tail(log, (archive, self.hub), self.hub.tell_flag, self._wakeup.wait)
        audiences.append(self.tail)
        self.heads = NewHeads(head_urls, self.follower.wake, lambda: self.follower.health.head)
        self.follower.subscribed = lambda: self.heads.live
        self.doubting: Doubting | None = None
        if doubts is not None:
            self.doubting = Doubting(self.follower, *doubts, rests=self._reads_history, tell_flag=self.hub.tell_flag)
            audiences.append(self.doubting)
        self.building = Building(store, self.follower, log.names, audiences)
        self.post = Post(store, self._lead, self._stand_by)
        self.reading = Reading(lambda: self.follower.state or self.tail.state, store, archive)
        self._jobs = Jobs(self.follower, store, evidence, chain)
        self._tasks: list[asyncio.Task[None]] = []
        self.operations: list[Operation] = [
            *Leaderboards(self.reading).operations(),
            *Boards(self.reading, store, self.building.wake).operations(),
            *Scores(self.reading).operations(),
            *Streams(self.reading, self.hub).operations(),
            *Sockets(self.reading, self.hub).operations(),
            *page.operations(),
        ]

    async def start(self) -> None:
        """Migrate, load, compare with the chain, follow. A chain that cannot be reached yet is waited for.

        Raises:
            ChainIdentityError: the database is of another chain or contract; nothing was changed.
        """
        if self._own_writer is not None:
            self._own_writer.start()
        await asyncio.to_thread(self._store.migrate)
        if await self.post.take():
            with suppress(ChainError):  # the loop tries again, and readiness says why it has to
                await self._connect()
        else:
            await self.tail.step()
            if self.tail.state is not None:
                with suppress(ChainError):
                    demand_same(self.tail.state.identity, await self._chain.identity())
        works = [self.post.run, self.hub.keep, self.hub.recheck, self._wakeup.run, self.heads.run]
        if self.doubting is not None:  # rests while this process stands by
            works.append(self.doubting.run)
        self._tasks = [asyncio.create_task(work()) for work in works]

    async def _connect(self) -> None:
        """Compare with the chain; who shows another one is blamed, and the next provider is asked."""
        for _ in self.providers()[1:]:
            with suppress(ChainIdentityError):
                await self.follower.connect()
                return
        await self.follower.connect()

    async def _lead(self) -> None:
        """Follow the chain, and do what happens by the clock."""
        self._jobs.start()
        try:
            async with asyncio.TaskGroup() as duties:
                duties.create_task(self.follower.run())
                duties.create_task(self.building.run())
        finally:
            self._jobs.stop()
            if self.follower.state is not None:
                self.tail.go_on(self.follower.state)
                self.follower.state = None

    async def _stand_by(self) -> None:
        """Follow the log of the indexer that leads."""
        await self.tail.run()

    async def stop(self) -> None:
        """End streams, stop following after the commit under way, let go of connections."""
        self.close_streams()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks = []
        await self.post.leave()
        if self._own_writer is not None:
            await self._own_writer.stop()
        await self._evidence.close()
        await self._chain.close()

    def close_streams(self) -> None:
        """End all open streams at once: an open one would keep the server from stopping."""
        self.hub.close_streams()

    def learn_games(self, game_ids: Iterable[str]) -> None:
        """Know these games by name, and give each its board; those that are known already change nothing."""
        if self.follower.known.learn(game_ids):
            self.follower.reload()

    def wake(self) -> None:
        """Look for news now: somebody in this process knows of a new block."""
        self.follower.wake()

    def ready(self) -> dict[str, Check]:
        """Return what readiness says, by name; who stands by answers from what the one that leads has committed."""
        if self.post.leads:
            checks = self.follower.health.checks(time.monotonic()) | {"indexer.providers": self._providers()}
            return checks if self.doubting is None else checks | {"indexer.doubt": self.doubting.check()}
        state = self.tail.state
        at = "nothing is committed yet" if state is None else f"stands by; block {state.tip.number} is committed"
        return {
            "indexer.chain": Check(state is not None, "the one the rows are of" if state else at),
            "indexer.lag": Check(state is not None, at),
            "indexer.events": Check(True, "the indexer that leads checks them"),
        }

    def _providers(self) -> Check:
        """Who is asked, and why others are not. No reason to be not ready: what that takes, the others say."""
        unused = [f"{one.name} is asked last: {one.reason}" for one in self.providers() if not one.healthy]
        silent = [f"{name} announces no blocks: {why}" for name, why in self.heads.trouble.items() if why]
        return Check(True, "; ".join([*unused, *silent]) or "all are believed")

    def providers(self) -> list[ProviderState]:
        """Return the endpoints that are read from, as last seen."""
        return self._chain.providers()

    @property
    def health(self) -> Health:
        """How following goes."""
        return self.follower.health

    @property
    def lies(self) -> Mapping[str, int]:
        """How often each provider gave what could not be true."""
        return self._chain.lies

    @property
    def subscriptions(self) -> Mapping[str, bool]:
        """Whether each WebSocket endpoint announces blocks."""
        return {name: not why for name, why in self.heads.trouble.items()}

    async def _alarm(self, state: State, code: str, reason: str) -> None:
        """Open a critical flag about the chain itself, and show it to auditors."""
        for flag in await self._store.alarm(state, code, reason):
            self.hub.tell_flag(*flag)

    def _reads_history(self) -> bool:
        health = self.follower.health
        return health.head is None or health.tip is None or health.head - health.tip > BULK_BEHIND


def build(
    settings: IndexerSettings,
    database: Database,
    *,
    rpc_url: str = "",
    contract: str = "",
    start_block: int | None = None,
    rules: Iterable[BoundRuleset] = (),
    writer: Writer | None = None,
) -> IndexerService:
    """Return the service; what is given beside the settings goes before them.

    `rpc_url` may name several endpoints, as the setting does. `rules` are those that games are configured to be judged
    by; others are read from the chain. `writer` is shared with whoever gives it, and then neither started nor stopped.

    Raises:
        ValueError: no RPC URL, or no usable contract address.
    """
    url, text = rpc_url or settings.rpc_url, contract or settings.contract
    if not endpoints(url, *HTTP):
        raise ValueError("the indexer needs FAIRSCORE_RPC_URL")
    address = bytes.fromhex(text.removeprefix("0x")) if text else b""
    if len(address) != 20:
        raise ValueError("the indexer needs FAIRSCORE_CONTRACT, an address of 20 bytes")
    evidence = HttpEvidence(settings.evidence_url) if settings.evidence_url else DatabaseEvidence(database)
    plan = Plan(
        games=settings.game_ids,
        boards=settings.boards,
        start_block=settings.start_block if start_block is None else start_block,
        confirmations=settings.finality,
        poll_s=settings.indexer_poll_ms / 1000,
    )
    own = Writer(database) if writer is None else None
    used, chain = writer or own or Writer(database), connect(url, address, plan.start_block)
    doubts = Doubts(
        DoubtTables(database, used),
        evidence,
        Rules(rules, chain, settings.evidence_grace_s),
        DoubtPlan(settings.attestor_keys, settings.evidence_grace_s),
    )
    heads = endpoints(url, *WEBSOCKET)
    return IndexerService(Store(database, used), chain, evidence, plan, own, doubts, heads)
