"""Waiting for a submission: told in this process, or seen in the database, or in vain."""

import asyncio
import time

from relay.progress import Progress, Standing

SENT = frozenset({"sent"})


def test_told_and_seen() -> None:
    """A report ends the wait at once, also one that comes while the database is being asked; others are ignored."""
    asking = asyncio.Event()
    answer = asyncio.Event()

    async def read(submission_id: str) -> Standing | None:
        assert submission_id == "a"
        asking.set()
        await answer.wait()
        return Standing("accepted", None)

    async def scenario() -> None:
        progress = Progress(read, poll_s=0.01)
        waiting = asyncio.create_task(progress.wait("a", SENT, 60))
        await asking.wait()
        progress.changed(["a", "b"], "sent", b"\x01")
        answer.set()
        assert await waiting == Standing("sent", b"\x01")
        assert progress.waiting() == 0

    asyncio.run(scenario())


def test_steps_that_are_not_waited_for() -> None:
    """`queued` does not end a wait for `sent`; several may wait for one submission."""

    async def scenario() -> None:
        progress = Progress()
        both = [asyncio.create_task(progress.wait("a", SENT, 60)) for _ in range(2)]
        for status in ("queued", "sent"):
            await asyncio.sleep(0.01)
            progress.changed(["a"], status, None)
        assert await asyncio.gather(*both) == [Standing("sent", None)] * 2

    asyncio.run(scenario())


def test_in_vain_and_seen_in_the_database() -> None:
    """None after the time; another process's change is seen by asking."""
    standings: list[Standing | None] = [None, Standing("accepted", None), Standing("sent", b"\x02")]

    async def read(_: str) -> Standing | None:
        return standings.pop(0) if standings else None

    async def scenario() -> None:
        progress = Progress(read, poll_s=0.01)
        assert await progress.wait("a", SENT, 60) == Standing("sent", b"\x02")
        started = time.monotonic()
        assert await progress.wait("a", SENT, 0.05) is None
        assert time.monotonic() - started > 0.04
        assert await progress.wait("a", SENT, 0) is None
        assert progress.waiting() == 0

    asyncio.run(scenario())
