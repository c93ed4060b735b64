"""What operators ask of the outbox: a nonce used up by a void, a key that is paused, an account that runs dry."""

import asyncio
from collections import Counter
from collections.abc import Callable
from dataclasses import replace

import pytest
from sqlalchemy import Connection, select

from relay.contract import game_key
from relay.errors import CallerError
from relay.outbox.fees import quote
from relay.outbox.loop import Outbox
from relay.store import controls
from relay.store.controls import By
from relay.store.outbox_leases import Key
from relay.store.tables import history
from tests.harness.fake_chain import GWEI, FakeChain
from tests.harness.outboxes import CHAIN_ID, CONTRACT, GAS_KEY, SETTINGS, Bench, bench

GAME = game_key("streambeat")
KEY = Key(CHAIN_ID, GAS_KEY.address)
OPS = By("ops", "stuck", 1)


async def rounds(outbox: Outbox, chain: FakeChain, bench_: Bench, count: int = 8) -> None:
    """Step and mine alternately."""
    for _ in range(count):
        await outbox.step()
        chain.mine()
        await bench_.check_invariants()


async def operate(b: Bench, change: Callable[[Connection], object]) -> None:
    """Do what an operator does, in its own transaction."""
    await b.writer.run(change)


async def void(b: Bench, nonce: int) -> None:
    await operate(b, lambda c: controls.request_void(c, KEY, nonce, OPS))


async def details(b: Bench, submission_id: str) -> list[str]:
    query = select(history.c.detail).where(history.c.submission_id == submission_id, history.c.detail.is_not(None))
    return list(await b.database.read(lambda c: c.scalars(query.order_by(history.c.seq)).all()))


def test_a_void_replaces_a_stuck_batch_and_its_scores_go_elsewhere(database_url: str) -> None:
    async def run() -> None:
        async with bench(database_url) as b:
            chain = FakeChain(CONTRACT, dedupe=False)
            ids = await b.accept(8)
            outbox = b.outbox(chain)
            await outbox.step()
            stuck, other = chain.pool[0], chain.pool[1]
            await void(b, 0)
            await outbox.step()
            assert chain.pool[0].data == b""  # with higher fees, in place of the batch
            assert chain.pool[0].gas == 21_000
            assert chain.pool[0].fee * 10 >= stuck.fee * 11
            assert chain.pool[1] == other
            assert await b.statuses() == Counter(sent=8)  # released only when the void is final
            chain.mine()
            await outbox.step()
            assert await b.statuses() == Counter(sent=4, included=4)
            await rounds(outbox, chain, b, 10)
            assert await b.statuses() == Counter(final=8)
            assert sorted(chain.recorded()) == [(GAME, number) for number in range(1, 9)]
            assert await b.history(ids[0]) == ["queued", "sent", "accepted", "queued", "sent", "included", "final"]
            assert await details(b, ids[0]) == ["voided by ops"]
            assert outbox.meter.voids == 1
            assert outbox.desk.careful == set()  # nothing is wrong with the scores

    asyncio.run(run())


def test_the_batch_may_still_win_against_its_void(database_url: str) -> None:
    async def run() -> None:
        async with bench(database_url) as b:
            chain = FakeChain(CONTRACT, dedupe=False)
            ids = await b.accept(4)
            outbox = b.outbox(chain)
            await outbox.step()
            await void(b, 0)
            chain.fate = ["lose request"]
            await outbox.step()
            assert chain.pool[0].data != b""
            chain.mine()
            await rounds(outbox, chain, b)
            assert await b.statuses() == Counter(final=4)
            assert await b.history(ids[0]) == ["queued", "sent", "included", "final"]
            assert len(chain.recorded()) == 4

    asyncio.run(run())


def test_once_a_void_is_signed_only_the_void_is_raised_and_sent(database_url: str) -> None:
    async def run() -> None:
        async with bench(database_url) as b:
            chain = FakeChain(CONTRACT, dedupe=False)
            await b.accept(4)
            outbox = b.outbox(chain)
            await outbox.step()
            await void(b, 0)
            sent: list[bytes] = []
            for turn in range(8):
                chain.base_fee = 50 * GWEI if turn else GWEI
                await outbox.step()
                sent += [chain.pool[0].data] if 0 in chain.pool else []
                chain.pool.clear()  # the node drops whatever it gets
                chain.mine()
                await b.check_invariants()
            assert sent
            assert set(sent) == {b""}
            await rounds(outbox, chain, b, 12)
            assert await b.statuses() == Counter(final=4)
            assert len(chain.recorded()) == 4
            assert outbox.meter.voids == 1
            assert outbox.meter.bumps >= 1

    asyncio.run(run())


@pytest.mark.parametrize("back_to_pool", [True, False])
def test_a_void_that_a_reorg_takes_back_decides_nothing(database_url: str, back_to_pool: bool) -> None:
    async def run() -> None:
        async with bench(database_url) as b:
            chain = FakeChain(CONTRACT, dedupe=False)
            await b.accept(4)
            outbox = b.outbox(chain, settings=replace(SETTINGS, confirmations=4))
            await outbox.step()
            batch = chain.pool[0]
            await void(b, 0)
            await outbox.step()
            chain.mine()
            await outbox.step()  # the void is mined
            chain.reorg(1, back_to_pool=back_to_pool)
            await outbox.step()
            assert await b.statuses() == Counter(sent=4)
            chain.pool[0] = batch  # a node that never dropped the batch mines it after all
            chain.mine()
            await rounds(outbox, chain, b, 10)
            assert await b.statuses() == Counter(final=4)
            assert len(chain.recorded()) == 4
            assert chain.next_nonce() == 1

    asyncio.run(run())


def test_a_nonce_that_nothing_was_signed_for_is_voided_unsigned(database_url: str) -> None:
    class StopError(Exception):
        pass

    def hook(point: str) -> None:
        if point == "record":
            raise StopError

    async def run() -> None:
        async with bench(database_url) as b:
            chain = FakeChain(CONTRACT, dedupe=False)
            ids = await b.accept(4)
            with pytest.raises(StopError):
                await b.outbox(chain, hook=hook).step()
            await void(b, 0)
            outbox = b.outbox(chain)
            await outbox.step()
            assert chain.pool[0].data == b""
            assert await b.statuses() == Counter(queued=4)
            await rounds(outbox, chain, b, 10)
            assert await b.statuses() == Counter(final=4)
            assert await b.history(ids[0]) == ["queued", "accepted", "queued", "sent", "included", "final"]

    asyncio.run(run())


def test_what_is_in_a_block_cannot_be_voided(sqlite_url: str) -> None:
    async def run() -> None:
        async with bench(sqlite_url) as b:
            chain = FakeChain(CONTRACT)
            await b.accept(4)
            await rounds(b.outbox(chain), chain, b)
            with pytest.raises(CallerError, match="only one that is in no block"):
                await void(b, 0)

    asyncio.run(run())


# ------------------------------------------------------------------- pausing


def test_a_paused_key_sends_nothing_but_still_settles(database_url: str) -> None:
    async def run() -> None:
        async with bench(database_url) as b:
            chain = FakeChain(CONTRACT, dedupe=False)
            await b.accept(4)
            outbox = b.outbox(chain)
            await outbox.step()
            await operate(b, lambda c: controls.pause(c, KEY, OPS))
            await b.accept(4)
            sends = chain.sends
            chain.mine()
            await rounds(outbox, chain, b)
            assert chain.sends == sends
            assert await b.statuses() == Counter(final=4, accepted=4)
            assert "paused by ops (stuck)" in outbox.trouble["paused"]
            assert not outbox.ready()["paused"].ok
            await operate(b, lambda c: controls.resume(c, KEY, OPS))
            await rounds(outbox, chain, b)
            assert await b.statuses() == Counter(final=8)
            assert not outbox.trouble

    asyncio.run(run())


def test_a_paused_key_neither_resends_nor_raises(sqlite_url: str) -> None:
    async def run() -> None:
        async with bench(sqlite_url) as b:
            chain = FakeChain(CONTRACT, dedupe=False)
            await b.accept(4)
            outbox = b.outbox(chain)
            await outbox.step()
            await operate(b, lambda c: controls.pause(c, KEY, OPS))
            await void(b, 0)
            chain.pool.clear()
            chain.base_fee = 50 * GWEI
            attempts, sends = outbox.meter.attempts, chain.sends
            await rounds(outbox, chain, b)
            assert (outbox.meter.attempts, chain.sends) == (attempts, sends)
            assert await b.statuses() == Counter(sent=4)

    asyncio.run(run())


# --------------------------------------------------------- balance, code, drain


def test_as_many_batches_are_sealed_as_the_balance_covers(sqlite_url: str) -> None:
    async def run() -> None:
        async with bench(sqlite_url) as b:
            chain = FakeChain(CONTRACT, dedupe=False)
            bid = quote(await chain.fees(), SETTINGS.fee_wei_cap)
            each = bid.cost(SETTINGS.limits.gas.limit(4))
            chain.money = 2 * each + each // 2
            await b.accept(16)
            outbox = b.outbox(chain)
            await outbox.step()
            assert await b.statuses() == Counter(sent=8, accepted=8)
            assert "fill it" in outbox.trouble["gas"]
            await outbox.step()  # what is under way is reserved
            assert await b.statuses() == Counter(sent=8, accepted=8)
            assert outbox.meter.balance_wei == chain.money
            assert outbox.meter.reserved_wei == 2 * each
            await rounds(outbox, chain, b, 12)  # mined ones do not reserve (this chain charges nothing)
            assert await b.statuses() == Counter(final=16)
            assert not outbox.trouble

    asyncio.run(run())


def test_an_account_with_code_has_one_transaction_under_way(sqlite_url: str) -> None:
    async def run() -> None:
        async with bench(sqlite_url) as b:
            chain = FakeChain(CONTRACT, dedupe=False)
            chain.code_at = b"\xef\x01\x00" + bytes(20)  # EIP-7702
            await b.accept(12)
            outbox = b.outbox(chain)
            for _ in range(14):
                await outbox.step()
                assert len(chain.pool) <= 1
                chain.mine()
            assert await b.statuses() == Counter(final=12)

    asyncio.run(run())


def test_a_draining_key_finishes_and_takes_nothing_more(sqlite_url: str) -> None:
    async def run() -> None:
        async with bench(sqlite_url) as b:
            chain = FakeChain(CONTRACT, dedupe=False)
            await b.accept(4)
            outbox = b.outbox(chain)
            await outbox.step()
            outbox.desk.draining = True
            await b.accept(4)
            await rounds(outbox, chain, b)
            assert await b.statuses() == Counter(final=4, accepted=4)
            assert chain.next_nonce() == 1

    asyncio.run(run())
