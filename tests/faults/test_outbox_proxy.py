"""The outbox over an anvil whose endpoint misbehaves: every accepted score on chain exactly once, in bounded time."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace

import pytest

from tests.harness.fault_proxy import (
    EVERY,
    WRONG_CHAIN,
    Fault,
    Manners,
    always,
    honest,
    seeded,
)  # fmt: skip
from tests.harness.grounds import QUICK, Ground, check_carried, ground
from tests.harness.outboxes import Bench

FAST_BLOCKS = ("--block-time", "0.1")
MET = [fault for fault in EVERY if fault is not WRONG_CHAIN]  # whether it is our chain is asked at the start


@pytest.mark.parametrize("fault", MET, ids=lambda fault: fault.name)
def test_each_fault_alone(fault: Fault, sqlite_url: str) -> None:
    """A third of all requests meet it, or half of those few it is about."""
    share = 0.33 if fault.methods is None else 0.5

    async def run() -> None:
        async with ground(*FAST_BLOCKS) as g:
            g.proxy.plan = seeded(7, share, fault)
            took = await check_carried(g, sqlite_url)
            print(f"{fault.name}: {g.proxy.met[fault.name]} times, {took:.1f} s")
            assert g.proxy.met[fault.name] > 0

    asyncio.run(run())


@pytest.mark.parametrize("fault", MET, ids=lambda fault: fault.name)
def test_nothing_else_for_a_while(fault: Fault, sqlite_url: str) -> None:
    """Every request meets it for a second, twice, while scores are under way and become final."""

    async def outages(where: Ground, _b: Bench) -> None:
        for _ in range(2):
            await asyncio.sleep(0.4)
            where.proxy.plan = always(fault)
            await asyncio.sleep(1)
            where.proxy.plan = honest

    async def run() -> None:
        async with ground(*FAST_BLOCKS) as g:
            took = await check_carried(g, sqlite_url, outages)
            print(f"{fault.name}: {g.proxy.met[fault.name]} times, {took:.1f} s")
            assert g.proxy.met[fault.name] > 0

    asyncio.run(run())


def check_mixture(seed: int, url: str, options: Sequence[str], waves: int, timeout_s: float) -> None:
    """A third of all requests meet some fault, whichever the seed says."""

    async def run() -> None:
        async with ground(*options) as g:
            g.proxy.plan = seeded(seed, 0.33, *MET)
            took = await check_carried(g, url, count=15 * waves, waves=waves, timeout_s=timeout_s)
            print(f"seed {seed}: {sum(g.proxy.met.values())} faults of {len(g.proxy.met)} kinds, {took:.1f} s")
            assert sum(g.proxy.met.values()) > 20

    asyncio.run(run())


@pytest.mark.parametrize("seed", [1, 2])
def test_a_mixture(seed: int, database_url: str) -> None:
    """Two seeds on each database, in every run of the suite."""
    check_mixture(seed, database_url, FAST_BLOCKS, 12, 300)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(100, 120))
def test_more_mixtures(seed: int, sqlite_url: str) -> None:
    """Twenty seeds, blocks of 0.1 s and of 1 s in turn."""
    check_mixture(seed, sqlite_url, ("--block-time", "1") if seed % 4 == 0 else FAST_BLOCKS, 40, 240)


@pytest.mark.parametrize(
    ("manners", "met"),
    [
        (Manners(batch_max=0), "batch refused"),
        (Manners(batch_max=2), "batch refused"),
        (Manners(knows_finalized=False), "refused call"),
        (Manners(per_second=6), "rate limit"),
    ],
    ids=["no batches", "batches of two", "no finalized tag", "6 requests a second"],
)
def test_an_endpoint_with_limits(manners: Manners, met: str, sqlite_url: str) -> None:
    """Endpoints refuse batches, batches above a size, the `finalized` tag, or more than so many requests a second."""

    async def run() -> None:
        async with ground(*FAST_BLOCKS) as g:
            g.proxy.manners = manners
            settings = replace(QUICK, confirmations=0) if not manners.knows_finalized else QUICK
            took = await check_carried(g, sqlite_url, settings=settings)
            print(f"{met}: {g.proxy.met[met]} times, {took:.1f} s")
            assert g.proxy.met[met] > 0

    asyncio.run(run())
