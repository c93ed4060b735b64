"""The outbox killed at every commit and every send, alone and in pairs; and long random lives. Nothing lost or doubled.

The contract's own protection against repeats is off: whatever is recorded once is recorded once by the outbox alone.
"""

import asyncio
import contextlib
import random
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import replace

import pytest
from sqlalchemy import Connection

from relay.chain_types import ChainError
from relay.contract import game_key
from relay.errors import CallerError
from relay.outbox.batches import BatchLimits
from relay.outbox.loop import Outbox
from relay.outbox.slots import Policy
from relay.store import controls
from relay.store.controls import By
from relay.store.outbox import LeaseLostError
from relay.store.outbox_leases import Key
from tests.harness.fake_chain import GWEI, FakeChain
from tests.harness.outboxes import CHAIN_ID, CONTRACT, GAS_KEY, SETTINGS, Bench, bench

GAME = game_key("streambeat")
POINTS = (
    "seal", "sealed", "record", "recorded", "send", "sent", "settle", "settled", "finish", "finished", "unmine",
    "unmined", "give_up", "gave_up",
)  # fmt: skip


class KilledError(BaseException):
    """The process ends here: no `except Exception` of the product may catch it."""


class Killer:
    """A hook that kills at the n-th visit of given points."""

    def __init__(self, *plan: tuple[str, int]) -> None:
        self.plan = list(plan)
        self.visits: Counter[str] = Counter()
        self.kills = 0

    def __call__(self, point: str) -> None:
        self.visits[point] += 1
        if self.plan and self.plan[0] == (point, self.visits[point]):
            self.plan.pop(0)
            self.visits.clear()
            self.kills += 1
            raise KilledError(point)


async def live(b: Bench, chain: FakeChain, killer: Killer, steps: int = 14) -> None:
    """A life with a reorg, a failed transaction and a foreign nonce in it; a killed outbox is replaced by a new one."""
    settings = replace(SETTINGS, confirmations=4)
    outbox = b.outbox(chain, settings=settings, hook=killer)
    for turn in range(steps):
        if turn == 2:
            chain.reorg(2, back_to_pool=True)
            chain.gas_fault = {1}
        for _ in range(4):
            try:
                await outbox.step()
            except KilledError:
                outbox = b.outbox(chain, settings=settings, hook=killer)
            else:
                break
        await b.check_invariants()
        chain.mine()


async def scenario(url: str, *plan: tuple[str, int]) -> int:
    """Run a life under a plan of kills; returns how many happened."""
    async with bench(url) as b:
        chain = FakeChain(CONTRACT, dedupe=False)
        killer = Killer(*plan)
        await b.accept(10)
        await live(b, chain, killer, 18)
        assert await b.statuses() == Counter(final=10)
        assert sorted(chain.recorded()) == [(GAME, number) for number in range(1, 11)]
        return killer.kills


@pytest.mark.parametrize("point", POINTS)
def test_killed_at_every_point(database_url: str, point: str) -> None:
    kills = asyncio.run(scenario(database_url, (point, 1)))
    assert kills == 1


def operate(b: Bench, turn: int) -> Awaitable[object] | None:
    """What an operator does in a life: void a stuck nonce, pause the key, resume it."""
    key, ops = Key(CHAIN_ID, GAS_KEY.address), By("ops", "stuck", 1)
    if turn == 1:
        return b.writer.run(lambda c: controls.request_void(c, key, 0, ops))
    if turn == 3:
        return b.writer.run(lambda c: controls.pause(c, key, ops))
    if turn == 5:
        return b.writer.run(lambda c: controls.resume(c, key, ops))
    return None


async def voided_life(url: str, *plan: tuple[str, int]) -> int:
    """A life in which a batch is stuck and voided, and the key paused while that is open; returns the kills."""
    async with bench(url) as b:
        chain = FakeChain(CONTRACT, dedupe=False)
        killer = Killer(*plan)
        await b.accept(10)
        settings = replace(SETTINGS, confirmations=4)
        outbox = b.outbox(chain, settings=settings, hook=killer)
        for turn in range(22):
            if (change := operate(b, turn)) is not None:
                await change
            if turn == 5:
                chain.reorg(3, back_to_pool=True)
            for _ in range(4):
                try:
                    await outbox.step()
                except KilledError:
                    outbox = b.outbox(chain, settings=settings, hook=killer)
                else:
                    break
            await b.check_invariants()
            if turn not in (0, 1):  # nothing is mined before the void is out
                chain.mine()
        assert await b.statuses() == Counter(final=10)
        assert sorted(chain.recorded()) == [(GAME, number) for number in range(1, 11)]
        return killer.kills


@pytest.mark.parametrize("point", POINTS)
@pytest.mark.parametrize("visit", [1, 2])
def test_killed_at_every_point_of_a_void(sqlite_url: str, point: str, visit: int) -> None:
    kills = asyncio.run(voided_life(sqlite_url, (point, visit)))
    assert kills == 1 or visit == 2


def test_a_void_killed_between_its_commit_and_its_send_on_both_databases(database_url: str) -> None:
    assert asyncio.run(voided_life(database_url, ("recorded", 2), ("send", 1))) == 2


@pytest.mark.parametrize("point", ["send", "sent", "record", "recorded"])
@pytest.mark.parametrize("visit", [2, 3])
def test_killed_between_the_sends_of_one_step(sqlite_url: str, point: str, visit: int) -> None:
    kills = asyncio.run(scenario(sqlite_url, (point, visit)))
    assert kills == 1 or point in {"record", "recorded"}


@pytest.mark.parametrize("first", POINTS)
def test_killed_twice(tmp_path: object, first: str) -> None:
    for number, second in enumerate(POINTS[POINTS.index(first) % 3 :: 3]):  # a third of the pairs: seconds, not minutes
        kills = asyncio.run(scenario(f"sqlite:///{tmp_path}/{number}.db", (first, 1), (second, 1)))
        assert kills >= 1


async def random_life(url: str, seed: int) -> None:
    """A seeded life: kills, reorgs, drops, lost answers, fee spikes, outages, late work."""
    chance = random.Random(seed)
    async with bench(url) as b:
        chain = FakeChain(CONTRACT, dedupe=False)
        settings = replace(
            SETTINGS,
            confirmations=6,
            limits=BatchLimits(size=chance.randint(1, 6), wait_ms=0),
            in_flight_max=chance.randint(1, 6),
            policy=Policy(resend_blocks=chance.randint(1, 3), bump_blocks=chance.randint(1, 3)),
        )

        def hook(point: str) -> None:
            if chance.random() < 0.04:
                raise KilledError(point)

        outbox = b.outbox(chain, settings=settings, hook=hook)
        accepted = 0
        for _ in range(40):
            outbox = await _turn(b, chain, chance, outbox, lambda: b.outbox(chain, settings=settings, hook=hook))
            if chance.random() < 0.5:
                accepted += len(await b.accept(chance.randint(1, 5)))
        chain.base_fee, chain.down, chain.fate, chain.gas_fault = GWEI, False, [], set()
        with contextlib.suppress(CallerError):
            resume = By("ops", "the end", 1)
            await b.writer.run(lambda c: controls.resume(c, Key(CHAIN_ID, GAS_KEY.address), resume))
        last = b.outbox(chain, settings=settings)
        for _ in range(300):  # with one score per batch and one batch in flight, each takes a block
            await last.step()
            chain.mine()
            if await b.all_final(accepted):
                break
        assert await b.statuses() == Counter(final=accepted), seed
        assert sorted(chain.recorded()) == [(GAME, number) for number in range(1, accepted + 1)], seed
        await b.check_invariants()


def _weather(chain: FakeChain, chance: random.Random, event: float) -> None:
    if event < 0.1:
        chain.reorg(chance.randint(1, 5), back_to_pool=chance.random() < 0.5)
    elif event < 0.2:
        chain.pool.clear()
    elif event < 0.3:
        chain.base_fee = GWEI * chance.choice([1, 1, 5, 50])
    elif event < 0.35:
        chain.down = not chain.down
    elif event < 0.5:
        chain.fate.append(chance.choice(["lose request", "lose answer", "drop"]))
    elif event < 0.55:
        chain.gas_fault.add(chain.next_nonce() + chance.randint(0, 3))


async def _turn(b: Bench, chain: FakeChain, chance: random.Random, outbox: Outbox, restart: object) -> Outbox:
    event = chance.random()
    _weather(chain, chance, event)
    if 0.55 <= event < 0.65:
        await _operate(b, chain, chance)
    if chance.random() < 0.7:
        chain.mine(limit=chance.randint(0, 4))
    try:
        await outbox.step()
    except (KilledError, ChainError, LeaseLostError) as error:
        if isinstance(error, KilledError):
            assert callable(restart)
            outbox = restart()
    await b.check_invariants()
    return outbox


async def _operate(b: Bench, chain: FakeChain, chance: random.Random) -> None:
    key, ops = Key(CHAIN_ID, GAS_KEY.address), By("ops", "why not", 1)
    change: Callable[[Connection], object] = chance.choice(
        [
            lambda c: controls.request_void(c, key, chain.next_nonce() + chance.randint(0, 2), ops),
            lambda c: controls.pause(c, key, ops),
            lambda c: controls.resume(c, key, ops),
        ]
    )
    with contextlib.suppress(CallerError):  # a nonce that is not, or no longer, voidable; a key that never sent
        await b.writer.run(change)


@pytest.mark.parametrize("seed", range(25))
def test_random_lives(sqlite_url: str, seed: int) -> None:
    asyncio.run(random_life(sqlite_url, seed))
    assert seed >= 0


@pytest.mark.parametrize("seed", range(100, 104))
def test_random_lives_on_postgresql(postgres_url: str, seed: int) -> None:
    asyncio.run(random_life(postgres_url, seed))
    assert seed >= 0
