"""Follows the contract: reads blocks and logs, proves they belong together, has them committed, says so.

Touches nothing by itself: chain, store and evidence are handed in. What to do is decided by `indexer.reorg`,
`indexer.fold` and `indexer.backfill.RangeSize`; this loop obeys.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing, suppress
from types import MappingProxyType
from typing import NamedTuple, Protocol

from indexer.ancestry import Alarm, Answers, ChainIdentityError, Past, Retreat, block_before, demand_same, no_alarm
from indexer.backfill import Chunk, RangeSize, Source, all_logs, chunks
from indexer.boards import BoardConfig
from indexer.chain import MalformedError
from indexer.decoding import LogError, decode
from indexer.events import Accepted, Header, Mark, Recorded
from indexer.evidence import EvidenceSource
from indexer.fold import BrokenChainError, Evidence
from indexer.health import Health
from indexer.known_games import KnownGames
from indexer.pace import NO_BLOCK, Pace
from indexer.reorg import confirmed, continues, linked
from indexer.state import Audience, Identity, Outcome, State, Step, adopt
from relay.chain_types import ChainError, ChainUnavailableError
from relay.store.engine import StoreUnavailableError

BLOCKS_PER_STEP = 32
BULK_BEHIND = 128  # more blocks than this behind what is safe: read as history, without a message for each score
BACKOFF_S = (0.1, 0.25, 0.5, 1.0, 2.0, 5.0)
CONFIRMATIONS = 12  # where the chain knows no `finalized`
BROKEN_TRIES = 2  # refusals at one place before it is asked whether we lack something ourselves
MOVES_MAX = 10  # times in a row that blocks do not follow each other, before the chain's moving is no excuse
LIES = (BrokenChainError, LogError, MalformedError)  # told by whoever was asked
EXPECTED = (*LIES, ChainIdentityError, ChainError, StoreUnavailableError)

log = logging.getLogger(__name__)


class Chain(Source, Answers, Protocol):
    """What following needs of the chain."""

    async def identity(self) -> Identity:
        """Return which chain and contract this is."""

    async def head(self) -> Header:
        """Return the newest block."""

    async def finalized(self) -> int | None:
        """Return the newest finalised block's number, None where there is no such notion."""

    def expect(self, chain_id: int, genesis: bytes) -> None:
        """Ask only who is on this chain."""

    def blame(self, why: str) -> None:
        """Take note that what was given since the last head cannot be true."""


class FollowerStore(Past, Protocol):
    """What following needs of the database."""

    async def load(
        self,
        names: Mapping[bytes, str],
        configured: Mapping[bytes, Sequence[BoardConfig]],
        progress: Callable[[str, int, int], None],
    ) -> State | None:
        """Return everything committed; boards whose configuration changed are made anew first, with progress."""

    async def create(self, identity: Identity, start: Header) -> None:
        """Write the first checkpoint."""

    async def commit(
        self, state: State, step: Step, names: dict[bytes, str], evidence: dict[bytes, Evidence]
    ) -> Outcome:
        """Do one step in one transaction."""

    async def learn(
        self, state: State, found: Mapping[tuple[int, bytes], Evidence], names: dict[bytes, str]
    ) -> Outcome:
        """Fill in late evidence."""


class Plan(NamedTuple):
    """What to follow, and how."""

    games: Sequence[str] = ()  # ids whose boards exist from the start; others get theirs with their first score
    boards: Mapping[str, Sequence[BoardConfig]] = MappingProxyType({})  # of each game, `default` first
    start_block: int = 0
    confirmations: int = 0  # 0: the chain's own finality, else 12
    poll_s: float = 0.0  # 0: a tenth of the block time; see `indexer.pace`


class Follower:
    """One follower of one contract on one chain into one database."""

    def __init__(
        self,
        chain: Chain,
        store: FollowerStore,
        evidence: EvidenceSource,
        audiences: Sequence[Audience],
        plan: Plan,
        clock: Callable[[], float] = time.monotonic,
        alarm: Alarm = no_alarm,
    ) -> None:
        self._chain, self._store, self._evidence, self._audiences = chain, store, evidence, audiences
        self._plan, self._clock = plan, clock
        self.known = KnownGames(plan.games, plan.boards)
        self._sizes = RangeSize()
        self._pace = Pace(plan.poll_s)
        self._started_s = clock()
        self._moves = 0
        self._strange: list[bytes] = []  # games that were refused and are not ours yet
        self._sweep = self._stale = False
        self._committing = asyncio.Lock()
        self._wake = asyncio.Event()
        self.state: State | None = None
        self.health = Health()
        self._retreat = Retreat(chain, store, self.health, alarm)
        self.subscribed: Callable[[], bool] = lambda: False  # whether somebody announces new blocks

    # ----------------------------------------------------------------------- the loop

    async def run(self) -> None:
        """Follow until cancelled. Trouble with the chain or the database is waited out, never fatal."""
        failures = 0
        while True:
            try:
                busy = await self.step()
                failures = 0
            except Exception as error:
                if not isinstance(error, EXPECTED):
                    log.exception("following failed")
                    self.state = None
                self._note(error)
                failures += 1
                busy = False
            if not busy:
                await self._pause(failures)

    async def _pause(self, failures: int) -> None:
        usual_s = self._pace.pause_s(self.health.head, subscribed=self.subscribed())
        pause_s = BACKOFF_S[min(failures, len(BACKOFF_S)) - 1] if failures else usual_s
        with suppress(TimeoutError):
            async with asyncio.timeout(pause_s):
                await self._wake.wait()
        self._wake.clear()

    def wake(self, block: int = NO_BLOCK) -> None:
        """Ask for news now: somebody knows of a new block, or announced this one."""
        self._pace.announced(block)
        self._wake.set()

    def silent_s(self) -> float:
        """Return the seconds since the provider last answered sensibly."""
        return self._clock() - (self.health.polled_at_s or self._started_s)

    def sweep(self) -> None:
        """Ask for the chain's finality at the next poll even if there is no new block."""
        self._sweep = True
        self._wake.set()

    def _note(self, error: Exception) -> None:
        text = str(error) if isinstance(error, EXPECTED) else f"internal error ({type(error).__name__})"
        if isinstance(error, BrokenChainError):
            self.health.broken = text
            self.health.broken_count += 1
        elif isinstance(error, ChainIdentityError):
            self.health.wrong_chain = text
        elif isinstance(error, StoreUnavailableError):
            self.state = None  # whether the commit took effect is unknown: read anew
        if self.health.trouble != text:
            log.warning("following paused: %s", text)
        self.health.trouble = text

    async def step(self) -> bool:
        """Do the next thing there is to do; returns whether there may be more at once.

        Raises:
            ChainIdentityError: another chain or contract; nothing was touched.
            BrokenChainError: the provider's events are not the contract's; nothing of them was kept.
            ChainError: the provider does not answer, or not sensibly.
        """
        try:
            return await self._step()
        except LIES as lie:
            self._chain.blame(str(lie))
            raise

    async def _step(self) -> bool:
        state = await self.connect() if self.state is None or self._stale else self.state
        if self.health.wrong_chain:
            await self._check_identity(state.identity)
        try:
            head = await self._chain.head()
        except ChainUnavailableError:
            await self._check_identity(state.identity)  # nobody can be asked: of another chain, all of them?
            raise
        self.health.saw(head.number, self._clock())
        if self.health.broken_count >= BROKEN_TRIES and await self._rewind(state):
            return True
        if head.number <= state.tip.number:
            known = state.recent.get(head.number, head.hash)
            busy = await (self._settle(state, head) if known == head.hash else self._reorganise(state, head))
        elif head.number - state.tip.number > BULK_BEHIND + (self._plan.confirmations or CONFIRMATIONS):
            busy = await self._catch_up(state, head)
        else:
            busy = await self._advance(state, head)
        self._answered(state)
        if head.number <= state.tip.number:
            self.health.deep = ""
        return busy

    # -------------------------------------------------------------------- beginnings

    async def connect(self) -> State:
        """Load what is committed, or begin; check that it is of this chain.

        Raises:
            ChainIdentityError: it is not.
        """
        state = await self._store.load(self.known.names, self.known.boards, self.health.progress)
        if state is None:
            start = await block_before(self._chain, self._plan.start_block)
            await self._store.create(await self._chain.identity(), start)
            state = await self._store.load(self.known.names, self.known.boards, self.health.progress)
            if state is None:
                raise StoreUnavailableError("the first checkpoint was not kept")
        self._chain.expect(state.identity.chain_id, state.identity.genesis_hash)
        await self._check_identity(state.identity)
        for audience in self._audiences:
            await audience.reset(state)
        self.state, self.health.rebuilding, self._stale = state, "", False
        return state

    def reload(self) -> None:
        """Read everything anew before the next step: a board was configured, or a game became known."""
        self._stale = True
        self._wake.set()

    async def _check_identity(self, expected: Identity) -> None:
        found = await self._chain.identity()
        try:
            demand_same(expected, found)
        except ChainIdentityError as other:
            self._chain.blame(str(other))
            raise
        self.health.wrong_chain = ""

    # ----------------------------------------------------------------- going forward

    async def _advance(self, state: State, head: Header) -> bool:
        """Take in the next few blocks."""
        headers = await self._headers(state.tip.number + 1, head)
        if headers is None:
            return self._moved()
        if not continues(state.tip, headers):
            return await self._reorganise(state, head)
        await self._take(state, headers, head, None)
        return head.number > headers[-1].number

    async def _headers(self, first: int, head: Header) -> list[Header] | None:
        """Return up to a step's worth of linked blocks; None when the chain moved while they were read."""
        last = min(head.number, first + BLOCKS_PER_STEP - 1)
        if first == head.number:
            return [head]
        headers = [header for header in await self._chain.headers(range(first, last + 1)) if header is not None]
        return headers if len(headers) == last - first + 1 and linked(headers) else None

    def _moved(self) -> bool:
        """The chain moved while it was read; a provider whose blocks never fit has no chain."""
        self._moves += 1
        if self._moves > MOVES_MAX:
            self._moves = 0
            raise MalformedError("the provider's blocks do not follow each other")
        return False

    async def _take(self, state: State, headers: Sequence[Header], head: Header, rollback_to: Mark | None) -> None:
        first, last = headers[0].number, headers[-1].number
        logs, heads, final = await asyncio.gather(
            all_logs(self._chain, first, last), self._chain.heads(list(state.games), last), self._final(head)
        )
        hashes = {header.number: header.hash for header in headers}
        if any(hashes.get(int(log_.block_number, 16)) != bytes.fromhex(log_.block_hash[2:]) for log_ in logs):
            raise MalformedError(f"the provider's logs of blocks {first} to {last} are of another fork than its blocks")
        facts = decode(logs, self._chain.contract, {header.number: header.time_s for header in headers})
        found = await self._evidence.find([fact.evidence_hash for fact in facts if isinstance(fact, Recorded)])
        await self._commit(state, Step(rollback_to, headers, facts, final, heads), found)
        self.health.broken = ""
        self._pace.took(headers)

    async def _catch_up(self, state: State, head: Header) -> bool:
        """Read history up to where it cannot be reorganised any more."""
        here = (await self._chain.headers([state.tip.number]))[0]
        if here is not None and here.hash != state.tip.hash:
            return await self._reorganise(state, head)
        final = min(await self._final(head), head.number)
        safe = max(final, head.number - BULK_BEHIND)
        async with aclosing(chunks(self._chain, state.tip, safe, self._sizes)) as history:
            async for chunk in history:
                await self._take_history(state, chunk, final)
        return True

    async def _take_history(self, state: State, chunk: Chunk, final: int) -> None:
        heads = await self._chain.heads(list(state.games), chunk.last.number)
        hashes = [fact.evidence_hash for fact in chunk.facts if isinstance(fact, Recorded)]
        found = await self._evidence.find(hashes) if self._evidence.quick else {}
        try:
            await self._commit(state, Step(None, [chunk.last], chunk.facts, final, heads, bulk=True), found)
        except BrokenChainError:
            # Providers are known to cut long answers silently: ask for less.
            self._sizes.refused(max(2, chunk.last.number - chunk.first.number + 1))
            raise
        self.health.broken = ""
        self._answered(state)

    async def _settle(self, state: State, head: Header) -> bool:
        """Without a new block only finality can be news."""
        if not self._plan.confirmations and not self._sweep:
            return False
        self._sweep = False
        final = min(await self._final(head), state.tip.number)
        if final > state.final_block:
            await self._commit(state, Step(None, [], [], final), {})
        return False

    async def _final(self, head: Header) -> int:
        if self._plan.confirmations:
            return confirmed(head.number, self._plan.confirmations)
        tagged = await self._chain.finalized()
        return confirmed(head.number, CONFIRMATIONS) if tagged is None else tagged

    # --------------------------------------------------------------------- going back

    async def _reorganise(self, state: State, head: Header) -> bool:
        """Find where our chain and the provider's parted; replace what comes after, in one transaction."""
        await self._check_identity(state.identity)
        ancestor = await self._retreat.ancestor(state)
        if ancestor == state.tip:
            return False  # the chain came back to us
        headers = await self._headers(ancestor.number + 1, head) if head.number > ancestor.number else None
        if headers is None or not continues(ancestor, headers):
            return self._moved()
        if ancestor.number < state.final_block:
            await self._retreat.past_finality(state, headers[0])
        self.health.reorganisations += 1
        depth = state.tip.number - ancestor.number
        log.warning("the chain was reorganised: %d blocks back to %d", depth, ancestor.number)
        await self._take(state, headers, head, ancestor)
        return True

    async def _rewind(self, state: State) -> bool:
        """Read again what we read ourselves, if it is we who lack an event; returns whether it is."""
        target = await self._retreat.lacking(state, self._strange)
        self.health.broken_count, self._strange = 0, []
        if target is not None:
            log.error("events are missing: reading again from block %d", target.number)
            await self._commit(state, Step(target, [], [], state.final_block), {})
        return target is not None

    async def _commit(self, state: State, step: Step, found: dict[bytes, Evidence]) -> None:
        async with self._committing:
            try:
                outcome = await self._store.commit(state, step, self.known.names, found)
            except BrokenChainError:
                games = {fact.game for fact in step.facts if isinstance(fact, Accepted)}
                self._strange = sorted(games - state.games.keys())
                raise
            except Exception:
                self.state = None  # out of date, or not known to be kept: read anew
                raise
            self._adopt(state, outcome)
        self.health.broken_count = self._moves = 0

    async def learn(self, found: Mapping[tuple[int, bytes], Evidence]) -> None:
        """Commit evidence, by (place, hash), that was found after its score."""
        if found:
            await self.amend(lambda state: self._store.learn(state, found, self.known.names))

    async def amend(self, change: Callable[[State], Awaitable[Outcome]]) -> bool:
        """Commit what is learned about scores that are there, between two steps; False where nothing is read yet."""
        async with self._committing:
            state = self.state
            if state is None:
                return False
            self._adopt(state, await change(state))
        return True

    def _adopt(self, state: State, outcome: Outcome) -> None:
        adopt(state, outcome)
        for audience in self._audiences:
            audience.tell(state, outcome)

    def _answered(self, state: State) -> None:
        self.health.polled_at_s, self.health.trouble, self.health.tip = self._clock(), "", state.tip.number
