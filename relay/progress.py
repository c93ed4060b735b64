"""Who waits for a submission to move on, and who tells them.

Touches the event loop only; the database is asked through the `StatusReader` handed in, because on several replicas
the sender may be another process.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import NamedTuple

POLL_S = 0.25  # how often the database is asked while nobody in this process reports a change


class Standing(NamedTuple):
    """Where a submission is: its status and the hash of the transaction that carries it, if one is signed."""

    status: str
    tx_hash: bytes | None


StatusReader = Callable[[str], Awaitable[Standing | None]]


class Progress:
    """Waiters by submission id. Every method runs on the event loop's thread."""

    def __init__(self, read: StatusReader | None = None, poll_s: float = POLL_S) -> None:
        self._read = read
        self._poll_s = poll_s
        self._waiting: dict[str, list[asyncio.Future[Standing]]] = {}

    def changed(self, ids: Iterable[str], status: str, tx_hash: bytes | None) -> None:
        """Tell whoever waits for one of `ids` that it now is `status`; call after the commit that says so."""
        if not self._waiting:
            return
        standing = Standing(status, tx_hash)
        for submission_id in ids:
            for future in self._waiting.pop(submission_id, ()):
                if not future.done():
                    future.set_result(standing)

    async def wait(self, submission_id: str, until: frozenset[str] | set[str], timeout_s: float) -> Standing | None:
        """Return as soon as the submission's status is in `until`, or None after `timeout_s` seconds.

        Changes reported in this process end the wait at once; others are seen by asking the database every
        quarter of a second (the reader answers None for "not known now", a database out of reach included).
        """
        loop = asyncio.get_running_loop()
        ends = loop.time() + timeout_s
        while (left := ends - loop.time()) > 0:
            standing = await self._next(submission_id, min(left, self._poll_s))
            if standing is None and self._read is not None:
                standing = await self._read(submission_id)
            if standing is not None and standing.status in until:
                return standing
        return None

    async def _next(self, submission_id: str, timeout_s: float) -> Standing | None:
        future: asyncio.Future[Standing] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(submission_id, []).append(future)
        try:
            async with asyncio.timeout(timeout_s):
                return await future
        except TimeoutError:
            return None
        finally:
            if (futures := self._waiting.get(submission_id)) is not None:
                if future in futures:
                    futures.remove(future)
                if not futures:
                    self._waiting.pop(submission_id, None)

    def waiting(self) -> int:
        """Return how many submissions somebody waits for."""
        return len(self._waiting)
