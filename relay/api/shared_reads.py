"""Costly reads that anybody may ask for: one at a time, and one for all who ask the same meanwhile.

Touches the event loop. However many ask, the other reading threads stay with other reads.
"""

import asyncio
from collections.abc import Awaitable, Callable, Hashable
from typing import Generic, TypeVar

T = TypeVar("T")


class SharedReads(Generic[T]):
    """Reads of one kind. Who asks is never shown what was read before: only looks that have not begun are shared."""

    def __init__(self) -> None:
        self._turn = asyncio.Lock()
        self._waiting: dict[Hashable, asyncio.Task[T]] = {}

    async def ask(self, question: Hashable, read: Callable[[], Awaitable[T]]) -> T:
        """Return what `read` finds; of equal questions that wait, the first one's `read` answers all.

        Raises:
            Exception: whatever `read` raised.
        """
        look = self._waiting.get(question)
        if look is None:
            look = self._waiting[question] = asyncio.create_task(self._look(question, read))
        return await asyncio.shield(look)  # one who leaves does not take the others' answer along

    async def _look(self, question: Hashable, read: Callable[[], Awaitable[T]]) -> T:
        async with self._turn:
            del self._waiting[question]  # who asks from here on may know of a change that this look does not see
            return await read()
