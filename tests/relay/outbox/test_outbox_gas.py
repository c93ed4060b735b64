"""A chain whose gas prices are not Ethereum's: one score tells little of what hundreds cost."""

import asyncio
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from relay.chain_types import Block, ChainAnswerError, Receipt
from relay.contract import decode_submit_scores, unpack_records
from relay.outbox.batches import GAS_PER_TRANSACTION_MAX, BatchLimits
from tests.harness.fake_chain import FakeChain, Tx
from tests.harness.outboxes import CONTRACT, SETTINGS, bench


class Dear(FakeChain):
    """Ten times Ethereum's gas for each score and for each call; a transaction with less fails."""

    estimates = 0

    def cost(self, data: bytes) -> int:
        """Gas of a call of submitScores."""
        return 500_000 + 46_000 * len(unpack_records(decode_submit_scores(data).records))

    async def estimate_gas(self, sender: bytes, to: bytes | None, data: bytes) -> int:
        await self.call(to or b"", data, sender)
        self.estimates += 1
        if self.cost(data) > GAS_PER_TRANSACTION_MAX:
            raise ChainAnswerError(-32000, "gas required exceeds allowance", None)
        return self.cost(data)

    def _execute(self, tx: Tx, at: Block, done: Sequence[Receipt]) -> Receipt:
        if tx.data and tx.gas < self.cost(tx.data):
            self.gas_fault.add(tx.nonce)
        return super()._execute(tx, at, done)


def test_what_one_score_costs_is_not_taken_for_what_hundreds_cost(sqlite_url: str) -> None:
    """A quiet hour teaches the price of one; then a backlog must not go in batches that run out of gas, on and on."""

    async def run() -> None:
        async with bench(sqlite_url) as b:
            chain = Dear(CONTRACT, dedupe=False)
            settings = replace(SETTINGS, limits=BatchLimits(500, 0), estimate_gas=True)
            outbox = b.outbox(chain, settings=settings)
            total = 0
            for more in (1, 2000):
                total += more
                await b.accept(more)
                for _ in range(12):
                    await outbox.step()
                    assert all(tx.gas <= GAS_PER_TRANSACTION_MAX for tx in chain.pool.values())
                    chain.mine()
                assert await b.statuses() == Counter(final=total)
            assert outbox.meter.failures == 0
            assert chain.estimates <= chain.sends + 8  # one for each transaction, and a few to learn the price
            assert len(chain.recorded()) == total

    asyncio.run(run())
