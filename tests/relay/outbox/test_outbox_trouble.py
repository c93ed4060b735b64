"""The outbox among others: endpoints that answer nonsense, senders with another key."""

import asyncio
import sqlite3
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from relay.chain_types import ChainAnswerError, Fees, Log, Receipt
from relay.contract import SUBMIT_SCORES, decode_submit_scores, unpack_records
from relay.outbox.batches import GAS_PER_TRANSACTION_MAX, BatchLimits
from relay.outbox.loop import Outbox
from relay.signer import LocalSigner
from relay.store.engine import StoreUnavailableError
from tests.harness.fake_chain import FakeChain
from tests.harness.grounds import WallClock
from tests.harness.outboxes import ATTESTER, CONTRACT, SETTINGS, Bench, bench, carry, eventually


async def rounds(outbox: Outbox, chain: FakeChain, bench_: Bench, count: int = 8) -> None:
    """Step and mine alternately."""
    for _ in range(count):
        await outbox.step()
        chain.mine()
        await bench_.check_invariants()


class Grumpy(FakeChain):
    """A chain whose endpoint answers a call of submitScores with an error that is not the contract's."""

    grumpy = True

    async def call(self, to: bytes, data: bytes, sender: bytes | None = None, gas: int | None = None) -> bytes:
        if self.grumpy and data[:4] == SUBMIT_SCORES:
            raise ChainAnswerError(-32000, "header not found", None)
        return await super().call(to, data, sender, gas)


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


# ------------------------------------------------- endpoints that are not believed alone


def test_bad_news_is_believed_when_a_second_provider_agrees(sqlite_url: str) -> None:
    """A nonce used by another, and a transaction that failed: nothing is released on one endpoint's word."""

    async def run() -> None:
        async with bench(sqlite_url) as b:
            chain = FakeChain(CONTRACT, dedupe=False)
            await b.accept(8)
            outbox = b.outbox(chain)
            await outbox.step()
            chain.pool.pop(0)
            chain.someone_else(0)
            chain.gas_fault = {1}
            chain.agreed = False
            await rounds(outbox, chain, b)
            assert await b.statuses() == Counter(sent=8)
            assert "no second provider confirms" in outbox.trouble["foreign"]
            assert "no other one confirms" in outbox.trouble["logs"]
            chain.agreed = True
            await rounds(outbox, chain, b, 14)
            assert await b.statuses() == Counter(final=8)
            assert sorted(Counter(chain.recorded()).values()) == [1] * 8
            assert outbox.meter.foreign_nonces == 1
            assert outbox.meter.failures == 1
            assert not outbox.trouble

    asyncio.run(run())


class Denying(FakeChain):
    """An endpoint that hides receipts, or flips their status; its logs and calls are honest."""

    hides = flips = False

    async def receipts(self, hashes: Sequence[bytes]) -> list[Receipt | None]:
        found = await super().receipts(hashes)
        if self.hides:
            return [None for _ in found]
        return [replace(one, succeeded=False, logs=()) if one and self.flips else one for one in found]


@pytest.mark.parametrize("lie", ["hides", "flips"])
def test_an_endpoint_that_denies_our_own_transaction_contradicts_its_logs(sqlite_url: str, lie: str) -> None:
    async def run() -> None:
        async with bench(sqlite_url) as b:
            chain = Denying(CONTRACT, dedupe=False)
            await b.accept(4)
            outbox = b.outbox(chain)
            await outbox.step()
            setattr(chain, lie, True)
            await rounds(outbox, chain, b)
            assert await b.statuses() == Counter(sent=4)
            assert "denies that it succeeded" in outbox.trouble["logs"]
            setattr(chain, lie, False)
            await rounds(outbox, chain, b)
            assert await b.statuses() == Counter(final=4)
            assert len(chain.recorded()) == 4
            assert outbox.meter.foreign_nonces == 0

    asyncio.run(run())


class Forgetful(FakeChain):
    """An endpoint whose logs are incomplete; the contract's own record is not."""

    forgets = True

    async def logs(
        self, address: bytes, topics: Sequence[bytes | Sequence[bytes] | None], first: int, last: int | None = None
    ) -> list[Log]:
        return [] if self.forgets else await super().logs(address, topics, first, last)


def test_the_contracts_own_record_outweighs_missing_logs(sqlite_url: str) -> None:
    """The players carried all of it, our transaction failed, and the endpoint shows no logs: nothing is sent again."""

    async def run() -> None:
        async with bench(sqlite_url) as b:
            chain = Forgetful(CONTRACT)
            await b.accept(2)
            carry(chain, b, [1, 2])
            outbox = b.outbox(chain)
            await rounds(outbox, chain, b)
            assert await b.statuses() == Counter(sent=2)
            assert "without a final log" in outbox.trouble["logs"]
            chain.forgets = False
            await rounds(outbox, chain, b)
            assert await b.statuses() == Counter(final=2)
            assert chain.next_nonce() == 1

    asyncio.run(run())


class Boastful(FakeChain):
    """An endpoint whose latest nonce is now and then too high, as if it counted pending transactions."""

    lies = 0

    async def nonce(self, address: bytes, tag: int | str = "latest") -> int:
        true = await super().nonce(address, tag)
        if tag == "latest" and self.lies:
            self.lies -= 1
            return true + 3
        return true


def test_a_new_key_begins_where_no_single_answer_says(sqlite_url: str) -> None:
    async def run() -> None:
        async with bench(sqlite_url) as b:
            chain = Boastful(CONTRACT, dedupe=False)
            chain.lies = 1
            await b.accept(4)
            await rounds(b.outbox(chain), chain, b)
            assert await b.statuses() == Counter(final=4)
            assert chain.next_nonce() == 1

    asyncio.run(run())


class Pricey(FakeChain):
    """A chain where a score costs ten times the gas of Ethereum, and whose endpoint estimates up to eight scores."""

    async def estimate_gas(self, sender: bytes, to: bytes | None, data: bytes) -> int:
        await self.call(to or b"", data, sender)
        size = len(unpack_records(decode_submit_scores(data).records))
        if size > 8:
            raise ChainAnswerError(-32000, "gas required exceeds allowance", None)
        return 200_000 + size * 500_000


def test_batches_are_as_small_as_the_chains_gas_prices_ask_for(sqlite_url: str) -> None:
    async def run() -> None:
        async with bench(sqlite_url) as b:
            chain = Pricey(CONTRACT, dedupe=False)
            await b.accept(100)
            settings = replace(SETTINGS, limits=BatchLimits(100, 0), estimate_gas=True)
            outbox = b.outbox(chain, settings=settings)
            await outbox.step()
            assert chain.pool
            assert all(tx.gas <= GAS_PER_TRANSACTION_MAX for tx in chain.pool.values())
            await rounds(outbox, chain, b, 12)
            assert await b.statuses() == Counter(final=100)

    asyncio.run(run())


def test_a_new_key_waits_until_its_past_is_final(sqlite_url: str) -> None:
    """A reorg may take a transaction of the key back that was made by hand: then its nonce was not used after all."""

    async def run() -> None:
        async with bench(sqlite_url) as b:
            chain = FakeChain(CONTRACT, dedupe=False)
            chain.someone_else(0)
            chain.mine()
            await b.accept(4)
            outbox = b.outbox(chain)
            await outbox.step()
            assert "was used a moment ago" in outbox.trouble["nonce"]
            chain.reorg(1, back_to_pool=False)
            await rounds(outbox, chain, b)
            assert await b.statuses() == Counter(final=4)
            assert chain.next_nonce() == 1
            assert not outbox.trouble

    asyncio.run(run())


def test_a_new_key_on_a_chain_that_makes_no_blocks_by_itself(sqlite_url: str) -> None:
    async def run() -> None:
        async with bench(sqlite_url) as b:
            chain = FakeChain(CONTRACT, dedupe=False)
            chain.someone_else(0)
            chain.mine()
            await b.accept(4)
            outbox = b.outbox(chain)
            await outbox.step()
            assert not chain.pool
            b.clock.now += 11
            await outbox.step()
            assert sorted(chain.pool) == [1]

    asyncio.run(run())


# --------------------------------------------------------- a database older than its chain


def test_a_database_restored_from_a_backup_doubles_and_loses_nothing(tmp_path: Path) -> None:
    """The contract does not protect itself here: what the lost rows carried is found by round before it is sent."""

    async def run() -> None:
        chain = FakeChain(CONTRACT, dedupe=False)
        one_by_one = replace(SETTINGS, in_flight_max=1)
        async with bench(f"sqlite:///{tmp_path}/first.db") as b:
            ids = await b.accept(12)
            outbox = b.outbox(chain, settings=one_by_one)
            await outbox.step()  # the first four are under way, eight wait
            with sqlite3.connect(tmp_path / "first.db") as live, sqlite3.connect(tmp_path / "backup.db") as copy:
                live.backup(copy)
            chain.mine()
            await outbox.step()
            chain.mine()
            await outbox.step()
            assert (await b.statuses())["accepted"] == 0  # the third batch is sent and not mined yet
        async with bench(f"sqlite:///{tmp_path}/backup.db") as b:
            outbox = b.outbox(chain, settings=one_by_one)
            assert await b.statuses() == Counter(sent=4, accepted=8)
            await outbox.step()
            assert "are not ours" in outbox.trouble["nonce"]  # nothing is sent before it is clear what they did
            await rounds(outbox, chain, b, 16)
            assert await b.statuses() == Counter(final=12)
            assert sorted(Counter(chain.recorded()).values()) == [1] * 12
            assert await b.history(ids[5]) in (["final"], ["queued", "sent", "included", "final"])
            assert not outbox.trouble

    asyncio.run(run())


# ------------------------------------------------------------------------ a full disk


def test_while_the_database_takes_nothing_nothing_is_sent(sqlite_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async def run() -> None:
        async with bench(sqlite_url) as b:
            chain = FakeChain(CONTRACT, dedupe=False)
            await b.accept(4)
            outbox = b.outbox(chain, settings=replace(SETTINGS, poll_ms=5, step_gap_ms=1))
            await outbox.start()
            await eventually(lambda: is_sent(chain))
            sends = chain.sends
            run_job = b.writer.run

            async def full(_job: object) -> object:
                raise StoreUnavailableError("OperationalError")

            monkeypatch.setattr(b.writer, "run", full)
            chain.mine()
            await eventually(lambda: is_told(outbox, "store", "does not answer"))
            await asyncio.sleep(0.3)
            assert chain.sends == sends
            assert await b.statuses() == Counter(sent=4)
            monkeypatch.setattr(b.writer, "run", run_job)
            chain.mine(3)
            await eventually(lambda: status_is(b, Counter(final=4)))
            await outbox.stop()

    asyncio.run(run())


async def is_sent(chain: FakeChain) -> bool:
    """Whether anything was broadcast."""
    return chain.sends > 0


async def is_told(outbox: Outbox, name: str, words: str) -> bool:
    """Whether the sender tells this trouble."""
    return words in outbox.trouble.get(name, "")


async def leads(outbox: Outbox) -> bool:
    """Whether it holds the lease."""
    return outbox.ready()["outbox"].detail == "leads"


async def status_is(b: Bench, expected: Counter[str]) -> bool:
    """Whether the submissions are distributed so."""
    return await b.statuses() == expected


def test_a_slow_step_keeps_its_lease(sqlite_url: str) -> None:
    """A heartbeat renews it; a replica that stands by does not take over what is only slow."""

    class Slow(FakeChain):
        async def fees(self) -> Fees:
            await asyncio.sleep(3)
            return await super().fees()

    async def run() -> None:
        async with bench(sqlite_url) as b:
            chain = Slow(CONTRACT, dedupe=False)
            brief = replace(SETTINGS, steal_lease=False, lease_ttl_ms=2_400, poll_ms=10, step_gap_ms=1)
            await b.accept(4)
            b.clock = WallClock()
            first, second = b.outbox(chain, settings=brief), b.outbox(chain, settings=brief)
            await first.start()
            await eventually(lambda: leads(first))
            await second.start()
            await eventually(lambda: status_is(b, Counter(sent=4)))
            assert first.ready()["outbox"].detail == "leads"
            assert "stands by" in second.ready()["outbox"].detail
            assert chain.sends == 1
            await first.stop()
            await second.stop()

    asyncio.run(run())
