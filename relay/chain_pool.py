"""Several endpoints as one chain: `relay.chain.Chain` over whichever of them can be trusted now.

Touches the endpoints; which of them, `relay.provider_pool` knows. All reads go to the first healthy provider in the
order configured, so that what one step of the outbox sees is of one piece; the others are looked at in rounds beside
it. Transactions go to all healthy ones. One endpoint costs no request more than without.
"""

import asyncio
import logging
from collections.abc import Sequence

from relay.chain_endpoint import Endpoint
from relay.chain_types import Block, ChainError, Fees, Log, Receipt, SendAnswer
from relay.outbox import providers
from relay.provider_pool import ProviderPool

SEND_GRACE_S = 1.0  # for the others, once one has taken a transaction
NOT_YET = SendAnswer(False, None, "no answer yet")

log = logging.getLogger(__name__)


class ChainPool(ProviderPool[Endpoint]):
    """One chain over 1..n endpoints, first the preferred; raises what `Chain` raises, and answers sends as it does."""

    async def chain_id(self) -> int:
        """EIP-155 id."""
        return (await self._ask(lambda one: one.chain_id()))[1]

    async def block(self, tag: int | str) -> Block | None:
        """A block by number or tag; None when the endpoint does not have it."""
        return (await self._ask(lambda one: one.block(tag)))[1]

    async def head(self) -> Block:
        """The newest block, of a provider whose head did not go back, where there is one."""
        return (await self._newest(lambda one: one.head()))[1]

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

    async def call(self, to: bytes, data: bytes, sender: bytes | None = None, gas: int | None = None) -> bytes:
        """eth_call at the latest block, of at most `gas`; ChainAnswerError.revert holds the revert data."""
        return (await self._ask(lambda one: one.call(to, data, sender, gas)))[1]

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
