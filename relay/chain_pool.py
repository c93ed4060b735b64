"""Several endpoints as one chain: `relay.chain.Chain` over whichever of them can be trusted now.

Touches the endpoints and a clock; decides nothing itself, `relay.outbox.providers` does. All reads go to the first
healthy provider in the order configured, so that what one step of the outbox sees is of one piece; the others are
looked at in rounds beside it. Transactions go to all healthy ones. One endpoint costs no request more than without.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any, TypeVar

from relay.chain_endpoint import Endpoint
from relay.chain_limits import troubled
from relay.chain_types import (
    Block,
    ChainAnswerError,
    ChainError,
    ChainUnavailableError,
    Fees,
    Log,
    Look,
    ProviderState,
    Receipt,
    SendAnswer,
)
from relay.outbox import providers
from relay.outbox.providers import Identity, Standing

T = TypeVar("T")

ROUND_S = 5.0  # between looks at all providers
ROUND_ALONE_S = 30.0  # a single one: only whether it is still on the same chain
LOOK_S = 5.0  # a provider that shows nothing for so long is silent
GRACE_S = 2.0  # at the first look: for the others, once one has answered
SEND_GRACE_S = 1.0  # for the others, once one has taken a transaction
AGAIN_AFTER_S = (0.05, 0.2)  # when no provider answered a read
AGAIN_WITHIN_S = 2.0  # but not after failures as slow as this: whoever asks has better to do
NOT_YET = SendAnswer(False, None, "no answer yet")

log = logging.getLogger(__name__)


class ChainPool:
    """One chain over 1..n endpoints, first the preferred; raises what `Chain` raises, and answers sends as it does."""

    def __init__(
        self, endpoints: Sequence[tuple[str, Endpoint]], *, clock: Callable[[], float] = time.monotonic
    ) -> None:
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

    async def _ask(self, job: Callable[[Endpoint], Awaitable[T]]) -> tuple[int, T]:
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

    async def chain_id(self) -> int:
        """EIP-155 id."""
        return (await self._ask(lambda one: one.chain_id()))[1]

    async def block(self, tag: int | str) -> Block | None:
        """A block by number or tag; None when the endpoint does not have it."""
        return (await self._ask(lambda one: one.block(tag)))[1]

    async def head(self) -> Block:
        """The newest block, of a provider whose head did not go back, where there is one."""

        async def timed(one: Endpoint) -> tuple[float, Block]:
            return self._clock(), await one.head()

        while True:
            index, (asked, head) = await self._ask(timed)
            before = self._standings[index]
            self._stand(index, providers.showed(before, head, asked, self._clock()))
            demoted = before.fault is None and self._standings[index].fault is not None
            if not demoted or self.leader() == index:
                return head

    async def blocks(self, numbers: Sequence[int]) -> list[Block | None]:
        """Blocks by number, in order."""
        return (await self._ask(lambda one: one.blocks(numbers)))[1]

    async def finalized(self, confirmations: int, head: Block) -> int:
        """Highest final block number; 0 confirmations: by the chain's tag, see `Chain.finalized`."""
        found = (await self._ask(lambda one: one.finalized(confirmations, head)))[1]
        self._final = max(self._final, min(found, head.number))
        return found

    async def nonce(self, address: bytes, tag: int | str = "latest") -> int:
        """Next nonce of the account as of `tag`."""
        return (await self._ask(lambda one: one.nonce(address, tag)))[1]

    async def balance(self, address: bytes) -> int:
        """Balance in wei."""
        return (await self._ask(lambda one: one.balance(address)))[1]

    async def code(self, address: bytes) -> bytes:
        """Code at the address; empty for a plain account."""
        return (await self._ask(lambda one: one.code(address)))[1]

    async def fees(self) -> Fees:
        """The fee market as of the latest block."""
        return (await self._ask(lambda one: one.fees()))[1]

    async def call(self, to: bytes, data: bytes, sender: bytes | None = None) -> bytes:
        """eth_call at the latest block; ChainAnswerError.revert holds the revert data."""
        return (await self._ask(lambda one: one.call(to, data, sender)))[1]

    async def calls(self, to: bytes, data: Sequence[bytes]) -> list[bytes]:
        """Several eth_calls at the latest block, in order; the first error is raised."""
        return (await self._ask(lambda one: one.calls(to, data)))[1]

    async def estimate_gas(self, sender: bytes, to: bytes | None, data: bytes) -> int:
        """Gas limit with which the call succeeds; a revert raises ChainAnswerError."""
        return (await self._ask(lambda one: one.estimate_gas(sender, to, data)))[1]

    async def receipts(self, hashes: Sequence[bytes]) -> list[Receipt | None]:
        """Receipts in the order of the hashes; None for a transaction that is not mined."""
        return (await self._ask(lambda one: one.receipts(hashes)))[1]

    async def logs(
        self, address: bytes, topics: Sequence[bytes | Sequence[bytes] | None], first: int, last: int | None = None
    ) -> list[Log]:
        """Logs of the contract in the blocks first..last (None: the latest)."""
        return (await self._ask(lambda one: one.logs(address, topics, first, last)))[1]

    # ---------------------------------------------------------------------- asking all

    async def send_raw(self, raw: bytes) -> SendAnswer:
        """Broadcast through every healthy provider at once; else through the first that answers. Never raises."""
        try:
            await self._ready()
        except ChainError as error:
            return SendAnswer(False, None, str(error))
        healthy = providers.healthy(self._standings)
        if len(healthy) > 1:
            return providers.best_answer(await self._send_to(healthy, raw))
        answers: list[tuple[str, SendAnswer]] = []
        for index in providers.order(self._standings):
            if await self._fit(index):
                answers.append(self._said(index, await self._endpoints[index].send_raw(raw)))
                if answers[-1][1].accepted or answers[-1][1].code is not None:
                    break
        return providers.best_answer(answers) if answers else SendAnswer(False, None, str(self._nobody()))

    async def _send_to(self, chosen: Sequence[int], raw: bytes) -> list[tuple[str, SendAnswer]]:
        """Send to several; whoever is slow although another took it is left to answer beside, and is silent."""
        tasks = {index: self._beside(self._endpoints[index].send_raw(raw)) for index in chosen}
        pending, grace = set(tasks.values()), None
        while pending:
            done, pending = await asyncio.wait(pending, timeout=grace, return_when=asyncio.FIRST_COMPLETED)
            if not done:
                break
            if any(providers.taken(task.result()) for task in done):
                grace = SEND_GRACE_S
        return [self._said(index, task.result() if task.done() else NOT_YET) for index, task in tasks.items()]

    def _said(self, index: int, answer: SendAnswer) -> tuple[str, SendAnswer]:
        if not answer.accepted and answer.code is None:
            self._silent(index, answer.message)
        else:
            self._stand(index, providers.answered(self._standings[index], self._clock()))
        return self._names[index], answer

    # ---------------------------------------------------------------- a second opinion

    async def confirm_absent(self, address: bytes, hashes: Sequence[bytes], nonce: int, block: int) -> bool:
        """Whether two providers show none of the transactions, but the nonce used as of the block.

        One that shows a receipt, or the nonce unused, is enough for False; so is no second one that can answer.
        """

        async def tells(one: Endpoint) -> bool:
            return not any(await one.receipts(hashes)) and await one.nonce(address, block) > nonce

        return await self._confirm(tells)

    async def confirm_failed(self, tx_hash: bytes, block_hash: bytes) -> bool:
        """Whether two providers show the transaction failed in this block, and none anything else."""

        async def tells(one: Endpoint) -> bool | None:
            receipt = (await one.receipts([tx_hash]))[0]
            return None if receipt is None else receipt.block_hash == block_hash and not receipt.succeeded

        return await self._confirm(tells)

    async def _confirm(self, tells: Callable[[Endpoint], Awaitable[bool | None]]) -> bool:
        """Ask everyone who is still on this chain. The only one there is, is believed if it is."""
        await self._ready()
        if len(self._endpoints) == 1:
            return await self._proved(0)

        async def opinion(index: int) -> bool | None:
            try:
                return await tells(self._endpoints[index])
            except ChainUnavailableError as error:
                self._silent(index, str(error), error.retry_after_s)
            except ChainAnswerError:
                log.debug("no opinion", extra={"provider": self._names[index]})  # it no longer has that block's state
            return None

        fit = [index for index in providers.order(self._standings) if await self._proved(index)]
        return providers.confirmed(await asyncio.gather(*map(opinion, fit)), len(self._endpoints))
