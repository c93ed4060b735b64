"""The outbox among others: endpoints that answer nonsense, senders with another key."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from relay.chain_types import ChainAnswerError
from relay.contract import SUBMIT_SCORES
from relay.outbox.loop import Outbox
from relay.signer import LocalSigner
from tests.harness.fake_chain import FakeChain
from tests.harness.outboxes import ATTESTER, CONTRACT, Bench, bench


async def rounds(outbox: Outbox, chain: FakeChain, bench_: Bench, count: int = 8) -> None:
    """Step and mine alternately."""
    for _ in range(count):
        await outbox.step()
        chain.mine()
        await bench_.check_invariants()


class Grumpy(FakeChain):
    """A chain whose endpoint answers a call of submitScores with an error that is not the contract's."""

    grumpy = True

    async def call(self, to: bytes, data: bytes, sender: bytes | None = None) -> bytes:
        if self.grumpy and data[:4] == SUBMIT_SCORES:
            raise ChainAnswerError(-32000, "header not found", None)
        return await super().call(to, data, sender)


def test_an_endpoint_in_trouble_parks_nothing(sqlite_url: str) -> None:
    """Only a revert is the contract's word about a score; anything else is tried again."""

    async def run() -> None:
        async with bench(sqlite_url) as b:
            chain = Grumpy(CONTRACT, dedupe=False)
            chain.poison = {2}
            await b.accept(3)
            outbox = b.outbox(chain)
            with pytest.raises(ChainAnswerError, match="header not found"):
                await rounds(outbox, chain, b, 16)
            assert await b.statuses() == Counter(accepted=3)
            chain.grumpy = False
            await rounds(outbox, chain, b, 16)
            assert await b.statuses() == Counter(final=2, parked=1)

    asyncio.run(run())


def _together(both: asyncio.Barrier, seal: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
    """`seal`, begun when both senders have come to it."""

    async def together(*args: Any) -> Any:
        await both.wait()
        return await seal(*args)

    return together


def test_two_keys_never_seal_one_score_twice(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who comes second looks again; it is not an error, for both may well have seen the same scores waiting."""

    async def run() -> None:
        async with bench(database_url) as b:
            chain = FakeChain(CONTRACT)
            await b.accept(30)
            other = LocalSigner(bytes(31) + b"\x07")
            senders = [b.outbox(chain), b.outbox(chain, keys=(other, ATTESTER))]
            both = asyncio.Barrier(2)
            for sender in senders:
                monkeypatch.setattr(sender.desk.store, "seal", _together(both, sender.desk.store.seal))
            await asyncio.gather(*(sender.step() for sender in senders))
            assert await b.statuses() == Counter(sent=30)
            await b.check_invariants()

    asyncio.run(run())
