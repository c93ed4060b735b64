"""Several endpoints as one chain: `indexer.chain.Rpc` over whichever of them can be believed now.

Touches the endpoints; which of them is asked, `relay.provider_pool` knows. All that belongs to one step of the follower
comes from the one provider that gave its head, so it is of one piece: what fails there, or cannot be true, ends the
step, and the next one asks the next provider.
"""

import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol, TypeAlias, TypeVar

from indexer.backfill import RangeSize
from indexer.chain import RefusedError, Rpc, TooMuchError, UnreachableError, as_block
from indexer.decoding import RpcLog
from indexer.events import Header, Mark
from indexer.state import Identity
from relay.chain_types import Block, ChainUnavailableError, Look
from relay.config_sources import HTTP, endpoints
from relay.outbox.providers import REFUSED, confirmed, names
from relay.provider_pool import ProviderPool

T = TypeVar("T")

RULES_SPAN = 10_000  # blocks looked through at once for published rules, to begin with: common providers allow it


class Endpoint(Protocol):
    """What the pool needs of one endpoint (`indexer.chain.Rpc`)."""

    contract: str
    calls: int

    async def close(self) -> None:
        """Close the connections."""

    async def look(self, heights: Sequence[int]) -> Look:
        """Chain id, head, and hashes at these heights."""

    async def identity(self) -> Identity:
        """Which chain and contract this is."""

    async def head(self) -> Header:
        """Newest block."""

    async def headers(self, numbers: Sequence[int]) -> list[Header | None]:
        """Blocks by number."""

    async def logs(self, first: int, last: int) -> list[RpcLog]:
        """The contract's logs of a range."""

    async def finalized(self) -> int | None:
        """The newest final block's number."""

    async def heads(self, games: Sequence[bytes], block: int) -> dict[bytes, bytes] | None:
        """The contract's own heads after a block."""

    async def published_rules(self, game: bytes, rules_hash: bytes, first: int, last: int) -> bytes | None:
        """A rules document published in a range."""


Job: TypeAlias = Callable[[Endpoint], Awaitable[T]]


class ChainPool(ProviderPool[Endpoint]):
    """One chain over 1..n endpoints of one contract, first the preferred. `start_block`: where its history begins."""

    def __init__(
        self,
        endpoints: Sequence[tuple[str, Endpoint]],
        start_block: int = 0,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`endpoints`: each with the name it is shown by. `clock`: seconds that only rise."""
        super().__init__(endpoints, clock=clock)
        self.contract = self._endpoints[0].contract
        self._start_block = start_block
        self._pinned: int | None = None  # who gave the head of this step
        self.lies: Counter[str] = Counter()  # by provider
        self._rules_ranges = RangeSize(RULES_SPAN)

    @property
    def calls(self) -> int:
        """Requests made so far."""
        return sum(endpoint.calls for endpoint in self._endpoints)

    # ------------------------------------------------------------------------- belief

    def blame(self, why: str) -> None:
        """Take note that what this step was given cannot be true: the next one asks another provider."""
        index, self._pinned = self._pinned, None
        if index is not None:
            self.lies[self._names[index]] += 1
            self._blame(index, why)

    async def confirms(self, mark: Mark) -> bool | None:
        """Whether two providers (the only one, where there is one) show this block, and none another in its place.

        None: none shows another, but too few can be asked.
        """

        async def tells(one: Endpoint) -> bool | None:
            found = (await one.headers([mark.number]))[0]
            return None if found is None else found.hash == mark.hash

        opinions = await self._opinions(tells)
        return confirmed(opinions, len(self._endpoints)) or (False if False in opinions else None)

    # ------------------------------------------------------------------------- asking

    async def identity(self) -> Identity:
        """Which chain this is; where every provider is refused for being on another one, that one."""
        try:
            return await self._same(lambda one: one.identity())
        except ChainUnavailableError:
            others = [index for index, standing in enumerate(self._standings) if standing.fault in REFUSED]
            if len(others) < len(self._standings):
                raise
            return await self._endpoints[others[0]].identity()

    async def head(self) -> Header:
        """The newest block; until it is asked for again, everything is asked of the provider that gave it."""

        async def newest(one: Endpoint) -> Block:
            return as_block(await one.head())

        self._pinned = None
        self._pinned, head = await self._newest(answered(newest))
        return Header(head.number, head.hash, head.parent_hash, head.timestamp)

    async def headers(self, numbers: Sequence[int]) -> list[Header | None]:
        """Blocks by number, None for each the provider does not have."""
        return await self._same(lambda one: one.headers(numbers))

    async def logs(self, first: int, last: int) -> list[RpcLog]:
        """The contract's logs of a range; TooMuchError where the provider wants a smaller one."""
        return await self._same(lambda one: one.logs(first, last))

    async def finalized(self) -> int | None:
        """The newest final block's number, None where the chain has no such notion."""
        return await self._same(lambda one: one.finalized())

    async def heads(self, games: Sequence[bytes], block: int) -> dict[bytes, bytes] | None:
        """The contract's own heads after a block, None where its state is no longer at hand."""
        return await self._same(lambda one: one.heads(games, block))

    async def _same(self, job: Job[T]) -> T:
        """Ask whoever gave the head; before there was one, the first that answers."""
        if self._pinned is None:
            self._pinned, found = await self._ask(answered(job))
            return found
        index = self._pinned
        try:
            return await answered(job)(self._endpoints[index])
        except ChainUnavailableError as error:
            if self._pinned == index:  # of what fails together the first counts
                self._pinned = None
                self._silent(index, str(error), error.retry_after_s)
            raise

    async def published_rules(self, game: bytes, rules_hash: bytes) -> bytes | None:
        """The rules document that the contract published for a game under a hash, None where it did not.

        Looked for from the contract's first block on, in ranges that adapt to the providers.
        """
        last = (await self._ask(answered(lambda one: one.head())))[1].number
        first = self._start_block
        while first <= last:
            until = min(last, first + self._rules_ranges.size - 1)
            try:
                found = await self._rules_in(game, rules_hash, first, until)
            except (TooMuchError, ChainUnavailableError) as error:
                self._rules_ranges.refused(until - first + 1)  # after a timeout for the next time
                if first == until or not isinstance(error, TooMuchError):
                    raise
                continue
            if found is not None:
                return found
            self._rules_ranges.took(until - first + 1, 0)
            first = until + 1
        return None

    async def _rules_in(self, game: bytes, rules_hash: bytes, first: int, last: int) -> bytes | None:
        return (await self._ask(answered(lambda one: one.published_rules(game, rules_hash, first, last))))[1]


def answered(job: Job[T]) -> Job[T]:
    """Return the question, so asked that a refusal is no answer: what one provider refuses another may answer.

    That a range is too wide is an answer: less is asked for.
    """

    async def asked(one: Endpoint) -> T:
        try:
            return await job(one)
        except TooMuchError:
            raise
        except RefusedError as error:
            raise UnreachableError(str(error)) from error

    return asked


def connect(rpc_url: str, contract: bytes, start_block: int = 0) -> ChainPool:
    """Return the chain over the endpoints of a setting that can be asked; nothing is asked yet."""
    urls = endpoints(rpc_url, *HTTP)
    return ChainPool([(name, Rpc(url, contract)) for name, url in zip(names(urls), urls, strict=True)], start_block)
