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
        told = self._register(submission_id)
        try:
            while (left := ends - loop.time()) > 0:
                await asyncio.wait([told], timeout=min(left, self._poll_s))
                standing: Standing | None = None
                if told.done():
                    standing = told.result()
                    told = self._register(submission_id)
                elif self._read is not None:
                    standing = await self._read(submission_id)
                if standing is not None and standing.status in until:
                    return standing
            return None
        finally:
            self._forget(submission_id, told)

    def _register(self, submission_id: str) -> "asyncio.Future[Standing]":
        future: asyncio.Future[Standing] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(submission_id, []).append(future)
        return future

    def _forget(self, submission_id: str, future: "asyncio.Future[Standing]") -> None:
        futures = self._waiting.get(submission_id)
        if futures is None or future not in futures:
            return
        futures.remove(future)
        if not futures:
            del self._waiting[submission_id]

    def waiting(self) -> int:
        """Return how many submissions somebody waits for."""
        return len(self._waiting)
