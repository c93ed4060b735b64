"""A transaction that fails on the chain for a reason nobody tells: its batch goes again in halves, and whoever spoils
it ends alone and set aside; everybody else is recorded, once.
"""

import asyncio
from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.contract import game_key
from relay.outbox.batches import BatchLimits, Waiting, choose
from relay.outbox.scores import FAILURES_MAX
from tests.harness.fake_chain import FakeChain
from tests.harness.outboxes import CONTRACT, SETTINGS, bench
from tests.relay.outbox.test_outbox_loop import rounds

GAME = game_key("streambeat")


@pytest.mark.parametrize("spoilt", [{6}, {1, 16}, {3, 4, 5}])
def test_whoever_spoils_a_batch_ends_alone(database_url: str, spoilt: set[int]) -> None:
    async def run() -> None:
        async with bench(database_url) as b:
            chain = FakeChain(CONTRACT, dedupe=False)
            chain.spoilt = spoilt
            ids = await b.accept(16)
            settings = replace(SETTINGS, limits=BatchLimits(size=16, wait_ms=0))
            await rounds(b.outbox(chain, settings=settings), chain, b, 40)
            assert await b.statuses() == Counter(final=16 - len(spoilt), parked=len(spoilt))
            assert sorted(number for _, number in chain.recorded()) == sorted(set(range(1, 17)) - spoilt)
            for number in spoilt:
                told = await b.history(ids[number - 1])
                assert told.count("queued") >= FAILURES_MAX
                assert told[-1] == "parked"

    asyncio.run(run())


def test_one_failure_of_a_score_alone_is_no_verdict(database_url: str) -> None:
    """Too little gas once, a contract that was paused for a block: it is tried again before it is set aside."""

    async def run() -> None:
        async with bench(database_url) as b:
            chain = FakeChain(CONTRACT, dedupe=False)
            chain.gas_fault = {0, 1}
            ids = await b.accept(1)
            await rounds(b.outbox(chain), chain, b, 20)
            assert await b.statuses() == Counter(final=1)
            assert chain.recorded() == [(GAME, 1)]
            assert (await b.history(ids[0])).count("queued") == 3

    asyncio.run(run())


def test_a_paused_contract_is_nobodys_fault(sqlite_url: str) -> None:
    """Whatever fails while the whole contract refuses is sent again in full batches."""

    async def run() -> None:
        async with bench(sqlite_url) as b:
            chain = FakeChain(CONTRACT, dedupe=False)
            chain.paused = True
            await b.accept(8)
            outbox = b.outbox(chain, settings=replace(SETTINGS, limits=BatchLimits(size=8, wait_ms=0)))
            await rounds(outbox, chain, b, 10)
            chain.paused = False
            await rounds(outbox, chain, b)
            assert await b.statuses() == Counter(final=8)
            assert chain.next_nonce() == 2

    asyncio.run(run())


@given(st.lists(st.integers(0, 9), max_size=80), st.integers(1, 60))
def test_halves_of_what_failed_and_nothing_else(failures: list[int], capacity: int) -> None:
    scores = [
        Waiting(f"sub_{number}", "g", b"r", bytes(20), 1, number, bytes(32), 0, failed)
        for number, failed in enumerate(failures)
    ]
    batches = choose(scores, 1, 0, capacity, 1000)
    assert sorted(s.submission_id for batch in batches for s in batch) == sorted(s.submission_id for s in scores)
    for batch in batches:
        assert len({score.failures for score in batch}) == 1
        assert len(batch) <= max(1, capacity // 2 ** batch[0].failures)
