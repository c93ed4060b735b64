"""The outbox over several endpoints of one chain, the first of which misbehaves for good."""

import asyncio

import pytest

from tests.faults.test_outbox_proxy import FAST_BLOCKS
from tests.harness.fault_proxy import EVERY, STALE_HEAD, WRONG_CHAIN, Fault, always, fault_proxy
from tests.harness.grounds import Ground, check_carried, ground
from tests.harness.outboxes import Bench


@pytest.mark.parametrize("fault", [one for one in EVERY if one.methods is None], ids=lambda fault: fault.name)
def test_the_first_of_two_is_of_no_use(fault: Fault, sqlite_url: str) -> None:
    """From some moment on every request to it meets the fault; the other one is honest."""

    async def turn(where: Ground, _b: Bench) -> None:
        await asyncio.sleep(0.2)
        where.proxy.plan = always(fault)

    async def run() -> None:
        async with ground(*FAST_BLOCKS) as g:
            with fault_proxy(g.anvil.url) as second:
                took = await check_carried(g, sqlite_url, turn, others=[second.url])
                print(f"{fault.name}: {g.proxy.met[fault.name]} times, {took:.1f} s")
                assert g.proxy.met[fault.name] > 0
                assert second.asked["eth_sendRawTransaction"] > 0

    asyncio.run(run())


def test_the_first_moves_to_another_chain(sqlite_url: str) -> None:
    """Its address serves another chain after a silence: nothing is sent to it any more, the other one carries on."""
    sent: list[int] = []

    async def move(where: Ground, b: Bench) -> None:
        await asyncio.sleep(0.2)
        where.proxy.plan = always(WRONG_CHAIN)
        # Rounds of looks come every few seconds: from the first one on, it is refused.
        while not where.proxy.met[WRONG_CHAIN.name]:  # noqa: ASYNC110 - the proxy counts on a thread of its own
            await asyncio.sleep(0.05)
        await asyncio.sleep(0.5)
        sent.append(where.proxy.asked["eth_sendRawTransaction"])
        await b.accept(60, rules=where.rules)

    async def run() -> None:
        async with ground(*FAST_BLOCKS) as g:
            with fault_proxy(g.anvil.url) as second:
                await check_carried(g, sqlite_url, move, others=[second.url], also=60)
                assert g.proxy.asked["eth_sendRawTransaction"] == sent[0]
                assert second.asked["eth_sendRawTransaction"] > sent[0]

    asyncio.run(run())


def test_both_lag_in_turn(sqlite_url: str) -> None:
    """First the one is behind, then the other: the head never goes back for long, and nothing is undone for it."""

    async def run() -> None:
        async with ground(*FAST_BLOCKS) as g:
            with fault_proxy(g.anvil.url) as second:

                async def turns(where: Ground, _b: Bench) -> None:
                    for _ in range(3):
                        where.proxy.plan, second.plan = always(STALE_HEAD), lambda _calls: None
                        await asyncio.sleep(0.7)
                        where.proxy.plan, second.plan = (lambda _calls: None), always(STALE_HEAD)
                        await asyncio.sleep(0.7)

                took = await check_carried(g, sqlite_url, turns, others=[second.url], waves=6)
                print(f"in turn: {took:.1f} s")
                assert g.proxy.met[STALE_HEAD.name] > 0

    asyncio.run(run())
