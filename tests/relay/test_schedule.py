"""The clock: a long job is neither doubled nor complained about, and the end of the clock is no failure of it."""

import asyncio
from typing import Any

import pytest

from relay import logs
from relay.schedule import Jobs

TICK_S = 0.02


class Nothing:
    """An intake that has nothing to forget."""

    async def sweep(self) -> int:
        """Forget nothing."""
        return 0


async def flush() -> int:
    """Write nothing down."""
    return 0


def test_a_long_job_is_started_once_and_ends_with_the_clock(caplog: pytest.LogCaptureFixture) -> None:
    """While it waits, others come again and again; its log is empty, before and after the end."""
    logs.configure("INFO")
    started, ticks = [0], [0]
    ended = asyncio.Event()

    async def long() -> None:
        started[0] += 1
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    async def run() -> None:
        ticked = asyncio.Event()

        async def tick() -> None:
            ticks[0] += 1
            if ticks[0] > 20 and started[0]:
                ticked.set()

        intake: Any = Nothing()
        jobs = Jobs(intake, flush, [(long, TICK_S), (tick, TICK_S)])
        jobs.start()
        await ticked.wait()
        jobs.stop()
        await ended.wait()
        await asyncio.sleep(TICK_S)  # whatever would be logged about it is logged by now

    asyncio.run(run())
    assert started == [1]
    assert [record.getMessage() for record in caplog.records] == []


def test_what_comes_rarely_comes_soon_after_a_start(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that never runs for hours does it all the same."""
    monkeypatch.setattr("relay.schedule.FIRST_S", TICK_S)

    async def run() -> None:
        done = asyncio.Event()

        async def rare() -> None:
            done.set()

        intake: Any = Nothing()
        jobs = Jobs(intake, flush, [(rare, 6 * 3_600.0)])
        jobs.start()
        async with asyncio.timeout(60):
            await done.wait()
        jobs.stop()
        assert done.is_set()

    asyncio.run(run())
