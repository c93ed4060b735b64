"""Costly reads that many ask for: how many are made, how many at once, and what everybody is told."""

import asyncio

import pytest

from relay.api.shared_reads import SharedReads


class Counter:
    """Something that is read; each look takes until `go` is called."""

    def __init__(self) -> None:
        self.value = self.looks = self.now = self.most = 0
        self.begun = asyncio.Event()
        self._gate = asyncio.Event()

    def go(self) -> None:
        """Let the looks under way, and all later ones, come to their end."""
        self._gate.set()

    async def look(self) -> int:
        """Return the value as it was when the look began."""
        self.looks, self.now = self.looks + 1, self.now + 1
        self.most = max(self.most, self.now)
        self.begun.set()
        seen = self.value
        await self._gate.wait()
        self.now -= 1
        return seen


def test_a_crowd_costs_two_looks_and_is_told_what_is() -> None:
    """Who asks while a look is under way waits for the next one, which sees what has changed since."""

    async def scenario() -> None:
        reads: SharedReads[int] = SharedReads()
        counter = Counter()
        first = asyncio.create_task(reads.ask("cup", counter.look))
        await counter.begun.wait()
        counter.value = 1
        crowd = [asyncio.create_task(reads.ask("cup", counter.look)) for _ in range(100)]
        others = [asyncio.create_task(reads.ask(f"cup {number}", counter.look)) for number in range(5)]
        await asyncio.sleep(0)
        crowd[0].cancel()  # it was the first of those who wait: the others are answered all the same
        counter.go()
        assert await first == 0
        assert await asyncio.gather(*crowd[1:], *others) == [1] * 104
        assert (counter.looks, counter.most) == (7, 1)

    asyncio.run(scenario())


def test_an_error_is_told_to_all_and_kept_for_nobody() -> None:
    """The next question is a new one."""

    async def scenario() -> None:
        reads: SharedReads[int] = SharedReads()

        async def away() -> int:
            raise OSError("away")

        async def back() -> int:
            return 7

        for told in await asyncio.gather(*(reads.ask("cup", away) for _ in range(3)), return_exceptions=True):
            assert isinstance(told, OSError)
        with pytest.raises(OSError, match="away"):
            await reads.ask("cup", away)
        assert await reads.ask("cup", back) == 7

    asyncio.run(scenario())
