"""How far history is settled, asked for once by however many webhooks.

Touches the database, through what it is handed.
"""

import asyncio
from collections.abc import Callable
from typing import Protocol, TypeVar

from relay.store.history_feed import Settled, advance
from relay.store.intake_rows import Connection

T = TypeVar("T")

FRESH_S = 0.05


class Database(Protocol):
    """The database, as far as webhooks need it."""

    async def read(self, job: Callable[[Connection], T]) -> T:
        """Run `job` on a reading thread."""

    def now_ms(self, connection: Connection) -> int:
        """Return the database's clock."""


class Feed:
    """The newest settled number of history."""

    def __init__(self, database: Database, monotonic_s: Callable[[], float]) -> None:
        self._database, self._monotonic_s = database, monotonic_s
        self._known = Settled()
        self._looked_s = float("-inf")
        self._lock = asyncio.Lock()

    async def settled(self) -> int:
        """Return the number up to which history is complete, at most 50 ms old."""
        async with self._lock:
            if self._monotonic_s() - self._looked_s >= FRESH_S:
                known = self._known
                self._known = await self._database.read(lambda c: advance(c, known))
                self._looked_s = self._monotonic_s()
            return self._known.seq
