"""Standings made again, and compared with what they were: `fairscore indexer rebuild`.

Touches nothing by itself: store and chain are handed in. No indexer may run on the database meanwhile.
"""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import NamedTuple

from indexer.boards import BoardConfig
from indexer.decoding import RpcLog
from indexer.events import Header, Mark
from indexer.evidence import EvidenceSource
from indexer.follower import Chain, Follower, Plan
from indexer.state import Identity
from indexer.store.access import Store
from indexer.store.again import Digest
from relay.contract import game_key

Progress = Callable[[str, int, int], None]  # what is done, how much of it, of how much
LOOK_S = 0.1


class Compared(NamedTuple):
    """The digests before and after, and the block up to which the chain was read (None: it was not)."""

    before: Digest
    after: Digest
    block: int | None

    @property
    def identical(self) -> bool:
        """Whether every standing is as it was, to the byte."""
        return self.before == self.after


class MovedError(Exception):
    """The chain was reorganised while it was read again: what was before cannot be compared with what is now."""


class UpTo:
    """A chain that ends at a block."""

    def __init__(self, chain: Chain, last: Header) -> None:
        self._chain, self._last = chain, last
        self.contract = chain.contract

    async def identity(self) -> Identity:
        """Return which chain and contract this is."""
        return await self._chain.identity()

    async def head(self) -> Header:
        """Return the last block; MovedError where another one has taken its place."""
        now = (await self._chain.headers([self._last.number]))[0]
        if now is None or now.hash != self._last.hash:
            raise MovedError
        return now

    def expect(self, chain_id: int, genesis: bytes) -> None:
        """Ask only who is on this chain."""
        self._chain.expect(chain_id, genesis)

    def blame(self, why: str) -> None:
        """Take note that what was given cannot be true."""
        self._chain.blame(why)

    async def confirms(self, mark: Mark) -> bool | None:
        """Return whether others have this block, too."""
        return await self._chain.confirms(mark)

    async def headers(self, numbers: Sequence[int]) -> list[Header | None]:
        """Return blocks by number."""
        return await self._chain.headers(numbers)

    async def logs(self, first: int, last: int) -> list[RpcLog]:
        """Return the contract's logs of a range."""
        return await self._chain.logs(first, last)

    async def finalized(self) -> int | None:
        """Return the newest finalised block's number."""
        return await self._chain.finalized()

    async def heads(self, games: Sequence[bytes], block: int) -> dict[bytes, bytes] | None:
        """Return the contract's own heads after a block."""
        return await self._chain.heads(games, block)


async def from_scores(store: Store, plan: Plan, progress: Progress) -> Compared:
    """Make every board anew from the scores that are stored; the chain is not asked."""
    names, configured = _configured(plan)
    await store.load(names, configured)  # boards that are to be something else now become that first
    await store.remake(names, progress)
    before = await store.digest()
    await store.unmake()
    await store.remake(names, progress)
    return Compared(before, await store.digest(), None)


async def from_chain(store: Store, chain: Chain, evidence: EvidenceSource, plan: Plan, progress: Progress) -> Compared:
    """Follow to the chain's newest block, then forget everything and read the chain again up to there.

    Raises:
        MovedError: the chain was reorganised meanwhile; what was read is right, but not comparable.
        ChainError, ChainIdentityError, BrokenChainError, StoreUnavailableError: as following does; start again.
    """
    last = await chain.head()
    names, configured = _configured(plan)
    await store.load(names, configured)
    await store.remake(names, progress)
    await _read(UpTo(chain, last), store, evidence, plan, last, progress)
    before = await store.digest()
    await store.wipe()
    await _read(UpTo(chain, last), store, evidence, plan, last, progress)
    return Compared(before, await store.digest(), last.number)


def _configured(plan: Plan) -> tuple[dict[bytes, str], dict[bytes, Sequence[BoardConfig]]]:
    names = {game_key(game): game for game in plan.games}
    return names, {key: plan.boards.get(game, (BoardConfig(),)) for key, game in names.items()}


async def _read(
    chain: Chain, store: Store, evidence: EvidenceSource, plan: Plan, last: Header, progress: Progress
) -> None:
    follower = Follower(chain, store, evidence, (), plan)
    state = await follower.connect()
    first = state.tip.number

    def tell() -> None:
        now = follower.state or state
        progress("blocks", max(now.tip.number - first, 0), last.number - first)

    watching = asyncio.create_task(_watch(tell))
    try:
        while (follower.state or state).tip != last.mark:
            await follower.step()
    finally:
        watching.cancel()
        with suppress(asyncio.CancelledError):
            await watching
    tell()


async def _watch(tell: Callable[[], None]) -> None:
    while True:
        tell()
        await asyncio.sleep(LOOK_S)
