"""The outbox on real nodes of several kinds: voids, legacy fees, fast blocks, an account with code, four keys."""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest

from relay.keccak import checksum_address, keccak
from relay.outbox.batches import BatchLimits
from relay.outbox.desk import OutboxSettings
from relay.outbox.loop import Outbox
from relay.signer import LocalSigner
from relay.store import controls
from relay.store.controls import By
from relay.store.outbox_leases import Key
from tests.harness.grounds import ATTESTER, GAS, Ground, WallClock, ground
from tests.harness.outboxes import SETTINGS, Bench, bench, eventually

OPS = By("ops", "a test", 1)
RUNNING = replace(SETTINGS, limits=BatchLimits(50, 50), confirmations=2, policy=None, estimate_gas=True, step_gap_ms=5)


def sender(g: Ground, b: Bench, settings: OutboxSettings = RUNNING, key: LocalSigner = GAS) -> Outbox:
    b.clock = WallClock()
    return b.outbox(g.chain, settings=settings, domain=g.domain, keys=(key, ATTESTER))


def recorded(g: Ground) -> Counter[int]:
    return Counter(score.round_id for score in g.scores())


@asynccontextmanager
async def by_hand(*options: str) -> AsyncIterator[Ground]:
    """A chain that makes blocks only when told to, once the contract stands."""
    async with ground(*options) as g:
        g.anvil.rpc("evm_setAutomine", False)
        yield g


async def rounds(outbox: Outbox, g: Ground, count: int = 6) -> None:
    for _ in range(count):
        await outbox.step()
        g.anvil.rpc("anvil_mine", "0x1")


def sent_hashes(b: Bench) -> set[bytes]:
    return {tx_hash for _, status, tx_hash in b.ears.heard if status == "sent" and tx_hash is not None}


def transaction(g: Ground, tx_hash: bytes) -> dict[str, str]:
    found = g.anvil.rpc("eth_getTransactionByHash", "0x" + tx_hash.hex())
    assert isinstance(found, dict)
    return found


def test_a_void_on_a_real_node(database_url: str) -> None:
    async def run() -> None:
        async with by_hand() as g, bench(database_url) as b:
            ids = await b.accept(4, rules=g.rules)
            outbox = sender(g, b)
            await asyncio.sleep(0.06)
            await outbox.step()
            assert await b.statuses() == Counter(sent=4)
            key = Key(g.domain.chain_id, GAS.address)
            await b.writer.run(lambda c: controls.request_void(c, key, 0, OPS))
            await outbox.step()
            g.anvil.rpc("anvil_mine", "0x1")
            await outbox.step()
            receipt = (await g.chain.receipts(list(sent_hashes(b))))[0]
            assert receipt is None  # the node replaced the batch by the void
            assert await g.chain.nonce(GAS.address) == 1
            await rounds(outbox, g, 8)
            assert await b.statuses() == Counter(final=4)
            assert recorded(g) == Counter(range(1, 5))
            assert await b.history(ids[0]) == ["queued", "sent", "accepted", "queued", "sent", "included", "final"]
            await b.check_invariants()

    asyncio.run(run())


def test_pause_and_resume_on_a_real_node(sqlite_url: str) -> None:
    async def run() -> None:
        async with by_hand() as g, bench(sqlite_url) as b:
            outbox = sender(g, b)
            await b.accept(4, rules=g.rules)
            await outbox.step()
            key = Key(g.domain.chain_id, GAS.address)
            await b.writer.run(lambda c: controls.pause(c, key, OPS))
            await b.accept(4, rules=g.rules)
            await rounds(outbox, g)
            assert await b.statuses() == Counter(final=4, accepted=4)
            assert await g.chain.nonce(GAS.address) == 1
            await b.writer.run(lambda c: controls.resume(c, key, OPS))
            await rounds(outbox, g)
            assert await b.statuses() == Counter(final=8)
            assert recorded(g) == Counter(range(1, 9))

    asyncio.run(run())


@pytest.mark.parametrize(
    ("arguments", "settings", "kind"),
    [
        (("--hardfork", "berlin"), RUNNING, "0x0"),
        ((), replace(RUNNING, fees="legacy"), "0x0"),
        ((), RUNNING, "0x2"),
    ],
)
def test_fees_of_the_chains_kind(
    sqlite_url: str, arguments: tuple[str, ...], settings: OutboxSettings, kind: str
) -> None:
    async def run() -> None:
        async with by_hand(*arguments) as g, bench(sqlite_url) as b:
            outbox = sender(g, b, settings)
            await b.accept(4, rules=g.rules)
            await asyncio.sleep(0.06)
            await outbox.step()
            first = sent_hashes(b)
            assert {transaction(g, tx_hash)["type"] for tx_hash in first} == {kind}
            await rounds(outbox, g)
            assert await b.statuses() == Counter(final=4)
            assert recorded(g) == Counter(range(1, 5))

    asyncio.run(run())


def test_ten_blocks_a_second_are_no_reason_to_raise_fees(sqlite_url: str) -> None:
    async def run() -> None:
        async with ground("--block-time", "0.1") as g, bench(sqlite_url) as b:
            outbox = sender(g, b)
            await outbox.start()
            began, first = time.monotonic(), (await g.chain.head()).number
            accepted = 0
            for _ in range(7):
                accepted += len(await b.accept(20, rules=g.rules))
                outbox.wake()
                await asyncio.sleep(1)
            await eventually(lambda: b.all_final(accepted))
            block_s = (time.monotonic() - began) / ((await g.chain.head()).number - first)  # of a busy machine: slower
            assert outbox.desk.pace.block_s < 3 * block_s  # whatever the timestamps say
            assert outbox.desk.policy.bump_blocks * block_s > 1
            assert outbox.meter.bumps == 0
            await outbox.stop()
            assert recorded(g) == Counter(range(1, accepted + 1))

    asyncio.run(run())


def test_an_account_with_code_sends_one_at_a_time(sqlite_url: str) -> None:
    async def run() -> None:
        async with by_hand("--hardfork", "prague") as g, bench(sqlite_url) as b:
            designator = "0xef0100" + g.domain.contract.hex()  # EIP-7702
            g.anvil.rpc("anvil_setCode", checksum_address(GAS.address), designator)
            await b.accept(150, rules=g.rules)
            outbox = sender(g, b)
            for _ in range(10):
                await outbox.step()
                pool = g.anvil.rpc("txpool_status")
                assert isinstance(pool, dict)
                assert int(pool["pending"], 16) + int(pool["queued"], 16) <= 1
                g.anvil.rpc("anvil_mine", "0x1")
            assert await b.statuses() == Counter(final=150)
            assert recorded(g) == Counter(range(1, 151))

    asyncio.run(run())


def test_four_keys_side_by_side(database_url: str) -> None:
    async def run() -> None:
        async with ground("--block-time", "1") as g, bench(database_url) as b:
            keys = [LocalSigner(keccak(b"gas" + bytes([number]))) for number in range(4)]
            for key in keys:
                g.anvil.rpc("anvil_setBalance", checksum_address(key.address), hex(10**20))
            outboxes = [sender(g, b, replace(RUNNING, in_flight_max=2), key) for key in keys]
            await b.accept(1000, rules=g.rules)
            for outbox in outboxes:
                await outbox.start()
            await eventually(lambda: b.all_final(1000))
            for outbox in outboxes:
                await outbox.stop()
            assert recorded(g) == Counter(range(1, 1001))
            used = [await g.chain.nonce(key.address) for key in keys]
            assert all(used)
            assert sum(used) == 20  # full batches only: nobody sent what another had taken
            await b.check_invariants()

    asyncio.run(run())
