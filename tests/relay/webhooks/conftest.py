"""A deliverer with a real database and real receivers; its clock can be set forward."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from relay.store.engine import Database
from relay.store.webhooks import Standing, standings
from relay.store.writer import Writer
from relay.webhooks.deliverer import Deliverer, Edges
from relay.webhooks.feed import Feed
from relay.webhooks.hooks import Hook
from relay.webhooks.post import Post
from relay.webhooks.signing import SecretFile
from tests.harness.histories import opened
from tests.harness.receiver import new_secret, secret_file


class ShiftedClock:
    """The machine's clocks; the wall clock can be set forward, and either can stand still."""

    def __init__(self) -> None:
        self.ahead_s = 0.0
        self._still_s: tuple[float, float] | None = None

    def now_s(self) -> float:
        """Unix time."""
        return (time.time() if self._still_s is None else self._still_s[0]) + self.ahead_s

    def monotonic_s(self) -> float:
        """A clock that nobody sets."""
        return time.monotonic() if self._still_s is None else self._still_s[1]

    def stand_still(self) -> None:
        """From now on no time passes: nothing that was put off becomes due."""
        self._still_s = time.time(), time.monotonic()

    def go_on(self) -> None:
        """Be the machine's clocks again."""
        self._still_s = None


@dataclass
class Bench:
    """What a test of deliveries may touch."""

    database: Database
    clock: ShiftedClock
    folder: Path
    secret: str
    writer: Writer
    post: Post

    def hook(self, url: str, name: str = "board", **more: Any) -> Hook:
        """A hook with the bench's secret."""
        return Hook(name, url, secret_file(self.folder, self.secret, name=f"{name}.secret"), **more)

    @asynccontextmanager
    async def delivering(self, hook: Hook, holder: str = "test") -> AsyncIterator[Deliverer]:
        """Deliver `hook` until the end of the block, then stop in order."""
        feed = Feed(self.database, time.monotonic)  # it looks now and then also while the clock stands still
        edges = Edges(self.database, self.writer, feed, self.post, self.clock, holder)
        deliverer = Deliverer(hook, SecretFile(hook.secret_file), edges)
        task = asyncio.create_task(deliverer.run())
        try:
            yield deliverer
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    async def leading(self, deliverer: Deliverer) -> None:
        """Wait until the deliverer holds its lease: what happens from then on is told."""
        async with asyncio.timeout(60):
            while not deliverer.tally.leading:  # noqa: ASYNC110 - a test looks on
                await asyncio.sleep(0.01)

    def standing(self, name: str = "board") -> Standing:
        """What the database knows of a hook."""
        return next(each for each in self.database.read_now(standings) if each.name == name)


Benched = Callable[[str], AbstractAsyncContextManager[Bench]]


@pytest.fixture
def bench(tmp_path: Path) -> Benched:
    """`async with bench(url) as b:` opens a bench over the database at `url`."""

    @asynccontextmanager
    async def opened_bench(url: str) -> AsyncIterator[Bench]:
        database = opened(url)
        writer = Writer(database)
        writer.start()
        async with Post() as post:
            yield Bench(database, ShiftedClock(), tmp_path, new_secret(), writer, post)
        await writer.stop()
        database.close()

    return opened_bench
