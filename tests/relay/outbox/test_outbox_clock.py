"""The clock of the machine is set back while work waits and transactions are stuck."""

import asyncio
from collections import Counter
from itertools import count

import pytest
from sqlalchemy import update

from relay.outbox.batches import Waiting, choose, due_in_ms
from relay.revocation import WaitingOrder, plans
from relay.store import controls, outbox_leases, webhooks
from relay.store.controls import By
from relay.store.engine import Database
from relay.store.outbox_leases import Key
from relay.store.outbox_tables import leases
from tests.harness.fake_chain import GWEI, FakeChain
from tests.harness.outboxes import CHAIN_ID, CONTRACT, GAS_KEY, bench

KEY = Key(CHAIN_ID, GAS_KEY.address)
HOUR_MS = 3_600_000


@pytest.mark.parametrize("voided", [False, True])
def test_a_stuck_transaction_is_raised_on_and_on_though_the_clock_runs_backwards(
    database_url: str, monkeypatch: pytest.MonkeyPatch, voided: bool
) -> None:
    earlier = count(10**12, -1000)
    monkeypatch.setattr(Database, "now_ms", lambda *_: next(earlier))

    async def run() -> None:
        async with bench(database_url) as b:
            chain = FakeChain(CONTRACT, dedupe=False)
            await b.accept(4)
            outbox = b.outbox(chain)
            await outbox.step()
            bids = [chain.pool[0].fee]
            if voided:
                await b.writer.run(lambda c: controls.request_void(c, KEY, 0, By("ops", "stuck", 1)))
            for turn in range(1, 6):
                chain.base_fee = 15 * turn * GWEI
                chain.mine(3, limit=0)
                await outbox.step()
                await b.check_invariants()
                bids.append(chain.pool[0].fee)
            assert bids == sorted(bids)
            assert len(set(bids)) > 2  # raised again and again, from the newest attempt
            assert (chain.pool[0].data == b"") is voided
            chain.base_fee = GWEI
            for _ in range(8):
                chain.mine()
                await outbox.step()
            assert await b.statuses() == Counter(final=4)

    asyncio.run(run())


def test_what_came_before_the_clock_was_set_back_waits_no_hour() -> None:
    scores = [Waiting("sub_1", "a", b"r", bytes(20), 1, 1, bytes(32), HOUR_MS)]
    assert choose(scores, HOUR_MS + 10, 250, 100, 1) == []
    assert choose(scores, 10, 250, 100, 1) == [scores]
    assert due_in_ms(scores, 10, 250) == 0
    orders = [WaitingOrder(1, "rev_1", "sub_1", "a", 1, "reason", HOUR_MS, None, 0, False, True)]
    assert plans(orders, HOUR_MS + 10, 250, 100) == []
    assert plans(orders, 10, 250, 100) == [orders]


def test_a_lease_from_before_the_clock_was_set_back_is_over(database_url: str) -> None:
    async def run() -> None:
        async with bench(database_url) as b:

            def take(holder: str, now_ms: int) -> int:
                return outbox_leases.acquire(c, KEY, holder, now_ms, 10_000, steal=False)

            with b.database.engine.begin() as c:
                assert take("dead", HOUR_MS) == 1
                assert take("other", HOUR_MS + 10_000) == 0  # it lives until then
                assert take("other", 20_000) == 2
                assert take("dead", 20_001) == 0
                c.execute(update(leases).values(expires_at_ms=30_001))  # the longest that a lease can have left
                assert take("dead", 20_001) == 0
                webhooks.register(c, "hook", bytes(32))
                assert webhooks.acquire(c, "hook", bytes(32), "dead", HOUR_MS, 15_000)
                assert webhooks.acquire(c, "hook", bytes(32), "other", HOUR_MS + 1, 15_000) is None
                assert webhooks.acquire(c, "hook", bytes(32), "other", 20_000, 15_000)

    asyncio.run(run())
