"""Several endpoints that should all show one chain: which of them is asked, and who is set aside.

Touches the endpoints and a clock; decides nothing itself, `relay.outbox.providers` does. Knows no method of the chain
but a look at it: what is asked of whoever is chosen is the business of the pools made of this, the relay's and the
indexer's `chain_pool`.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any, Generic, Protocol, TypeVar

from relay.chain_limits import troubled
from relay.chain_types import Block, ChainAnswerError, ChainUnavailableError, Look, ProviderState
from relay.outbox import providers
from relay.outbox.providers import Identity, Standing

ROUND_S = 5.0  # between looks at all providers
ROUND_ALONE_S = 30.0  # a single one: only whether it is still on the same chain
LOOK_S = 5.0  # a provider that shows nothing for so long is silent
GRACE_S = 2.0  # at the first look: for the others, once one has answered
AGAIN_AFTER_S = (0.05, 0.2)  # when no provider answered a read
AGAIN_WITHIN_S = 2.0  # but not after failures as slow as this: whoever asks has better to do

log = logging.getLogger(__name__)


class Looked(Protocol):
    """What choosing among endpoints needs of each."""

    async def close(self) -> None:
        """Close the connections."""

    async def look(self, heights: Sequence[int]) -> Look:
        """Chain id, head, and hashes at these heights."""


T = TypeVar("T")
E = TypeVar("E", bound=Looked)


class ProviderPool(Generic[E]):
    """1..n endpoints, first the preferred. Raises ChainUnavailableError where nobody answers."""

    def __init__(self, endpoints: Sequence[tuple[str, E]], *, clock: Callable[[], float] = time.monotonic) -> None:
        """`endpoints`: each with the name it is shown by, see `providers.names`. `clock`: seconds that only rise."""
        self._names = [name for name, _ in endpoints]
        self._endpoints = [endpoint for _, endpoint in endpoints]
        self._standings = [Standing() for _ in endpoints]
        self._clock = clock
        self._identity: Identity | None = None
        self._final = 0  # newest block number that was called final
        self._next_round_s = 0.0
        self._meeting = asyncio.Lock()
        self._tasks: set[asyncio.Task[Any]] = set()  # rounds, and sends that are slow to be answered

    async def close(self) -> None:
        """End what runs beside, close the connections."""
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for endpoint in self._endpoints:
            await endpoint.close()

    # ------------------------------------------------------------------- who they are

    def providers(self) -> list[ProviderState]:
        """Every provider as last seen, in the order configured."""
        return [
            ProviderState(
                name, standing.fault is None, standing.head.number if standing.head else None, standing.lag_blocks,
                standing.reason,
            )
            for name, standing in zip(self._names, self._standings, strict=True)
        ]  # fmt: skip

    def leader(self) -> int | None:
        """Which provider is asked first now, by its place in the order configured; None when all are refused."""
        return next(iter(providers.order(self._standings)), None)

    def expect(self, chain_id: int, genesis: bytes) -> None:
        """Hold everyone to this chain from the start, instead of to the one that most of them are on."""
        if self._identity is None:
            self._identity = Identity(chain_id, {0: genesis})

    def _blame(self, index: int, why: str) -> None:
        """What this provider gave cannot be true: others are asked first."""
        self._stand(index, providers.lied(self._standings[index], why, self._clock()))

    async def examine(self) -> None:
        """Look at all providers that are not at rest, and compare them."""
        if self._identity is None:
            await self._meet()
            return
        heights, began = self._heights(), self._clock()
        asked = providers.due(self._standings, began)
        found = await asyncio.gather(*(self._look(index, heights) for index in asked))
        self._conclude({index: look for index, look in zip(asked, found, strict=True) if look}, heights, began)

    async def _meet(self) -> None:
        """Look at all for the first time, and take what they say for the chain's identity.

        One that is slow must not hold up the start: once one has answered, the others have a moment left.
        """
        async with self._meeting:
            if self._identity is not None:
                return
            began = self._clock()
            tasks = {self._beside(self._look(index, (0,))): index for index in range(len(self._endpoints))}
            pending, looks, grace = set(tasks), dict[int, Look](), None
            while pending:
                done, pending = await asyncio.wait(pending, timeout=grace, return_when=asyncio.FIRST_COMPLETED)
                looks |= {tasks[task]: look for task in done if (look := task.result())}
                if not done:
                    break
                grace = GRACE_S if looks else None
            for task in pending:
                task.cancel()
                self._silent(tasks[task], f"no answer within {GRACE_S:.0f} s of the others'")
            self._identity = providers.identified([looks[index] for index in sorted(looks)])
            if self._identity is None:
                raise self._nobody()
            self._conclude(looks, (), began)

    async def _look(self, index: int, heights: Sequence[int]) -> Look | None:
        """Look at one provider; None, and it is silent, where it shows nothing."""
        try:
            return await asyncio.wait_for(self._endpoints[index].look(heights), LOOK_S)
        except ChainUnavailableError as error:
            self._silent(index, str(error), error.retry_after_s)
        except TimeoutError:
            self._silent(index, f"no answer in {LOOK_S:.0f} s")
        except ChainAnswerError as error:  # shows nothing, but answers: good enough for one that is known
            if providers.unproved(self._standings[index], self._clock()):
                self._silent(index, str(error))
        return None

    def _conclude(self, looks: dict[int, Look], heights: Sequence[int], began: float) -> None:
        if self._identity is None:
            return
        now = self._clock()
        if len(self._endpoints) > 1:  # alone, a provider contradicts nobody: it is held to the first block only
            self._identity = providers.settled(self._identity, [looks[index] for index in sorted(looks)], heights)
        for index, look in looks.items():
            self._stand(index, providers.judged(self._standings[index], look, self._identity, began, now))
        fit = [index for index in looks if self._standings[index].fault not in providers.REFUSED]
        best = providers.best_head(looks[index].head for index in fit)
        if best is not None:
            for index in looks:
                self._stand(index, providers.compared(self._standings[index], best, now))

    def _heights(self) -> tuple[int, ...]:
        """Final heights at which all must show the same block."""
        known = tuple(self._identity.known) if self._identity else (0,)
        newest = max(known, default=0)
        return (*known, self._final) if len(self._endpoints) > 1 and self._final > newest else known

    def _stand(self, index: int, standing: Standing) -> None:
        before, self._standings[index] = self._standings[index], standing
        if before.fault is standing.fault or len(self._endpoints) == 1:
            return
        if standing.fault is None:
            log.info("provider is used", extra={"provider": self._names[index]})
        else:
            log.warning("provider is not used", extra={"provider": self._names[index], "reason": standing.reason})

    def _silent(self, index: int, why: str, retry_after_s: float | None = None) -> None:
        self._stand(index, providers.silent(self._standings[index], why, self._clock(), retry_after_s))

    def _nobody(self) -> ChainUnavailableError:
        """What is said when nobody answers: with one endpoint, what it said."""
        reasons = [standing.reason for standing in self._standings]
        if len(reasons) == 1:
            return ChainUnavailableError(reasons[0])
        return ChainUnavailableError(
            "; ".join(f"{name}: {why}" for name, why in zip(self._names, reasons, strict=True))
        )

    # ---------------------------------------------------------------------- asking one

    def _beside(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _ready(self) -> None:
        """Know which chain this is; begin a round beside the request where one is due."""
        now = self._clock()
        if self._identity is None:
            await self._meet()
        elif now >= self._next_round_s:
            self._beside(self.examine())
        else:
            return
        self._next_round_s = now + (ROUND_S if len(self._endpoints) > 1 else ROUND_ALONE_S)

    async def _fit(self, index: int) -> bool:
        """Whether it may be asked, after a look at it where it needs one."""
        if providers.unproved(self._standings[index], self._clock()):
            return await self._proved(index)
        return self._standings[index].fault not in providers.REFUSED

    async def _proved(self, index: int) -> bool:
        """Look at it now; whether it is still on the chain it should be on."""
        began = self._clock()
        look = await self._look(index, self._heights())
        if look is None or self._identity is None:
            return False
        self._stand(index, providers.judged(self._standings[index], look, self._identity, began, self._clock()))
        return self._standings[index].fault not in providers.REFUSED

    async def _ask(self, job: Callable[[E], Awaitable[T]]) -> tuple[int, T]:
        """Ask the first that gives a usable answer, all of them again after a moment; returns who, and the answer.

        An error object is an answer, unless it is about the endpoint itself: then others are asked as well, and nothing
        is held against it. Asking again is for reads only: they change nothing.
        """
        await self._ready()
        until = self._clock() + AGAIN_WITHIN_S
        trouble: ChainAnswerError | None = None
        for pause in (*AGAIN_AFTER_S, None):
            for index in providers.order(self._standings):
                if not await self._fit(index):
                    continue
                try:
                    found = await job(self._endpoints[index])
                except ChainUnavailableError as error:
                    self._silent(index, str(error), error.retry_after_s)
                except ChainAnswerError as error:
                    if not troubled(error):
                        raise
                    trouble = error
                else:
                    self._stand(index, providers.answered(self._standings[index], self._clock()))
                    return index, found
            if pause is None or self._clock() >= until:
                break
            await asyncio.sleep(pause)
        raise trouble or self._nobody()

    async def _newest(self, newest: Callable[[E], Awaitable[Block]]) -> tuple[int, Block]:
        """Return the newest block, of a provider whose head did not go back, where there is one; and which that is."""

        async def timed(one: E) -> tuple[float, Block]:
            return self._clock(), await newest(one)

        while True:
            index, (asked, head) = await self._ask(timed)
            before = self._standings[index]
            self._stand(index, providers.showed(before, head, asked, self._clock()))
            demoted = before.fault is None and self._standings[index].fault is not None
            if not demoted or self.leader() == index:
                return index, head

    async def _confirm(self, tells: Callable[[E], Awaitable[bool | None]]) -> bool:
        """Ask everyone who is still on this chain. The only one there is, is believed if it is."""
        return providers.confirmed(await self._opinions(tells), len(self._endpoints))

    async def _opinions(self, tells: Callable[[E], Awaitable[bool | None]]) -> list[bool | None]:
        """What everyone who is still on this chain tells; the only one there is need not be asked."""
        await self._ready()
        if len(self._endpoints) == 1:
            return [await self._proved(0)]

        async def opinion(index: int) -> bool | None:
            try:
                return await tells(self._endpoints[index])
            except ChainUnavailableError as error:
                self._silent(index, str(error), error.retry_after_s)
            except ChainAnswerError:
                log.debug("no opinion", extra={"provider": self._names[index]})  # it no longer has that block's state
            return None

        fit = [index for index in providers.order(self._standings) if await self._proved(index)]
        return await asyncio.gather(*map(opinion, fit))
