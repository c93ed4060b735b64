"""Whoever is told to stop stops, even at the moment of a wake-up: asyncio.wait_for of Python 3.11 forgets it then."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from indexer.follower import Follower, Plan
from indexer.store.wakeup import Wakeup
from relay.chain_types import ChainUnavailableError
from relay.store.engine import open_database

MOMENTS = range(8)  # turns of the event loop between the wake-up and the cancellation


class Nothing:
    """A store that has nothing yet, and a chain that does not answer."""

    async def load(self, *_given: object) -> None:
        """Nothing is committed."""

    async def identity(self) -> None:
        """No answer."""
        raise ChainUnavailableError("nobody is there")


async def check_ends(work: Awaitable[Any], wake: Callable[[], object], moments: int) -> None:
    """Wake and then cancel."""
    task = asyncio.ensure_future(work)
    for _ in range(10):
        await asyncio.sleep(0)
    wake()
    for _ in range(moments):
        await asyncio.sleep(0)
    task.cancel()
    done, _ = await asyncio.wait({task}, timeout=60)
    assert done, "it goes on"


@pytest.mark.parametrize("moments", MOMENTS)
def test_the_follower_ends(moments: int) -> None:
    async def run() -> None:
        nothing: Any = Nothing()
        follower = Follower(nothing, nothing, nothing, [], Plan())
        await check_ends(follower.run(), follower.wake, moments)

    asyncio.run(run())


@pytest.mark.parametrize("moments", MOMENTS)
def test_who_follows_the_log_ends(moments: int, tmp_path: Path) -> None:
    async def run() -> None:
        database = open_database(f"sqlite:///{tmp_path / 'fairscore.db'}")
        wakeup = Wakeup(database)

        async def follow() -> None:
            while True:
                await wakeup.wait()

        await check_ends(follow(), wakeup._news.set, moments)
        database.close()

    asyncio.run(run())
