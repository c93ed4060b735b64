"""The outbox on chains that misbehave by themselves: reorgs, dropped transactions, fee spikes, pauses, other kinds.

Blocks of 0.1 s, unless said otherwise. `anvil_reorg` does not return transactions to the pool: the outbox must.
"""

import asyncio
import random
from dataclasses import replace

import pytest
from sqlalchemy import func, select

from relay.store.outbox_tables import attempts
from tests.harness.grounds import GAS, QUICK, Ground, check_carried, ground
from tests.harness.outboxes import Bench
from tests.harness.rpc import rpc

FAST_BLOCKS = ("--block-time", "0.1")
DEEP = replace(QUICK, confirmations=8)  # reorgs of up to seven blocks may happen to it


def pooled(where: Ground) -> list[str]:
    """Hashes of the transactions that wait in the pool."""
    content = rpc(where.anvil.url, "txpool_content")
    return [
        transaction["hash"]
        for kind in ("pending", "queued")
        for by_nonce in content[kind].values()
        for transaction in by_nonce.values()
    ]


@pytest.mark.parametrize("depth", [1, 3, 7])
def test_reorgs_that_lose_transactions(depth: int, sqlite_url: str) -> None:
    """Blocks are replaced by empty ones, again and again, up to one less than what is final."""

    async def reorgs(where: Ground, _b: Bench) -> None:
        chance = random.Random(depth)
        for _ in range(5):
            await asyncio.sleep(chance.uniform(0.3, 0.8))
            await asyncio.to_thread(where.anvil.rpc, "anvil_reorg", depth, [])

    async def run() -> None:
        async with ground(*FAST_BLOCKS) as g:
            took = await check_carried(g, sqlite_url, reorgs, settings=DEEP)
            print(f"five reorgs of {depth}: {took:.1f} s")

    asyncio.run(run())


def test_dropped_transactions(sqlite_url: str) -> None:
    """Whatever is in the pool vanishes, three times."""
    dropped: list[str] = []

    async def drops(where: Ground, _b: Bench) -> None:
        await asyncio.to_thread(rpc, where.anvil.url, "evm_setIntervalMining", 0)
        for _ in range(3):
            while not (found := await asyncio.to_thread(pooled, where)):  # noqa: ASYNC110 - a node has no events
                await asyncio.sleep(0.05)
            for tx_hash in found:
                await asyncio.to_thread(rpc, where.anvil.url, "anvil_dropTransaction", tx_hash)
            dropped.extend(found)
            await asyncio.to_thread(rpc, where.anvil.url, "anvil_mine", "0x3")
        await asyncio.to_thread(rpc, where.anvil.url, "evm_setIntervalMining", 1)

    async def run() -> None:
        async with ground(*FAST_BLOCKS) as g:
            took = await check_carried(g, sqlite_url, drops)
            print(f"{len(dropped)} transactions dropped: {took:.1f} s")
            assert len(dropped) >= 3

    asyncio.run(run())


def test_base_fee_spikes(sqlite_url: str) -> None:
    """The base fee rises fiftyfold while transactions wait: fees are raised until they are taken."""

    async def spikes(where: Ground, _b: Bench) -> None:
        for _ in range(3):
            await asyncio.sleep(0.25)
            await asyncio.to_thread(rpc, where.anvil.url, "anvil_setNextBlockBaseFeePerGas", hex(50 * 10**9))

    async def run() -> None:
        async with ground(*FAST_BLOCKS) as g:
            took = await check_carried(g, sqlite_url, spikes)
            print(f"three spikes: {took:.1f} s")

    asyncio.run(run())


def test_a_lasting_spike_is_outbid(sqlite_url: str) -> None:
    """Every block wants fifty times the usual until fees were raised: nothing is mined without a raise."""
    raised: list[int] = []

    async def spike(where: Ground, b: Bench) -> None:
        await asyncio.to_thread(rpc, where.anvil.url, "evm_setIntervalMining", 0)
        bids = select(func.max(attempts.c.fee_wei_max))
        while (await b.database.read(lambda c: c.scalar(bids)) or 0) < 50 * 10**9:
            await asyncio.to_thread(rpc, where.anvil.url, "anvil_setNextBlockBaseFeePerGas", hex(50 * 10**9))
            await asyncio.to_thread(rpc, where.anvil.url, "anvil_mine", "0x1")
            await asyncio.sleep(0.05)
        await asyncio.to_thread(rpc, where.anvil.url, "evm_setIntervalMining", 1)

    async def run() -> None:
        async with ground(*FAST_BLOCKS) as g:
            took = await check_carried(g, sqlite_url, spike)
            blocks = range(int(rpc(g.anvil.url, "eth_blockNumber"), 16) + 1)
            sent = [
                transaction
                for number in blocks
                for transaction in rpc(g.anvil.url, "eth_getBlockByNumber", hex(number), True)["transactions"]
            ]
            raised.extend(
                int(one["maxFeePerGas"], 16) for one in sent if one["from"].lower() == "0x" + GAS.address.hex()
            )
            print(f"highest bid {max(raised) / 10**9:.0f} gwei: {took:.1f} s")
            assert max(raised) >= 50 * 10**9

    asyncio.run(run())


def test_mining_stops_and_goes_on(sqlite_url: str) -> None:
    """No block for two seconds, then one for each transaction."""

    async def pause(where: Ground, _b: Bench) -> None:
        await asyncio.to_thread(rpc, where.anvil.url, "evm_setIntervalMining", 0)
        await asyncio.sleep(2)
        await asyncio.to_thread(rpc, where.anvil.url, "evm_setAutomine", True)
        await asyncio.sleep(1)
        await asyncio.to_thread(rpc, where.anvil.url, "evm_setIntervalMining", 1)

    async def run() -> None:
        async with ground(*FAST_BLOCKS) as g:
            took = await check_carried(g, sqlite_url, pause)
            print(f"a pause: {took:.1f} s")

    asyncio.run(run())


@pytest.mark.parametrize(
    "options",
    [FAST_BLOCKS, ("--block-time", "1"), ("--block-time", "0.1", "--hardfork", "berlin")],
    ids=["0.1 s", "1 s", "legacy fees"],
)
def test_kinds_of_chains(options: tuple[str, ...], database_url: str) -> None:
    """Fast and slow blocks, and a chain from before EIP-1559."""

    async def run() -> None:
        async with ground(*options) as g:
            legacy = "baseFeePerGas" not in rpc(g.anvil.url, "eth_getBlockByNumber", "latest", False)
            assert legacy == ("berlin" in options)
            took = await check_carried(g, database_url)
            print(f"{options}: {took:.1f} s")

    asyncio.run(run())


def test_the_finalized_tag(sqlite_url: str) -> None:
    """Finality by the chain's own word (anvil: 64 blocks), not by a number of confirmations."""

    async def run() -> None:
        async with ground(*FAST_BLOCKS) as g:
            took = await check_carried(g, sqlite_url, settings=replace(QUICK, confirmations=0))
            print(f"finalized: {took:.1f} s")
            assert took > 3

    asyncio.run(run())


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(4))
def test_a_chain_gone_mad(seed: int, database_url: str) -> None:
    """Reorgs, drops and spikes by seed for twenty seconds."""

    async def madness(where: Ground, _b: Bench) -> None:
        chance = random.Random(seed)
        for _ in range(40):
            await asyncio.sleep(chance.uniform(0.2, 0.8))
            match chance.choice(["reorg", "drop", "spike"]):
                case "reorg":
                    await asyncio.to_thread(rpc, where.anvil.url, "anvil_reorg", chance.randint(1, 7), [])
                case "drop":
                    for tx_hash in await asyncio.to_thread(pooled, where):
                        await asyncio.to_thread(rpc, where.anvil.url, "anvil_dropTransaction", tx_hash)
                case _:
                    fee = hex(chance.randint(1, 50) * 10**9)
                    await asyncio.to_thread(rpc, where.anvil.url, "anvil_setNextBlockBaseFeePerGas", fee)

    async def run() -> None:
        async with ground(*FAST_BLOCKS) as g:
            took = await check_carried(g, database_url, madness, count=300, settings=DEEP, timeout_s=600)
            print(f"seed {seed}: {took:.1f} s")

    asyncio.run(run())
