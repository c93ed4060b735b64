"""Which role this process has among several indexers of one database: one leads and writes, the others follow its log.

Touches the lease through the store it is handed. The lease only says who should write; that nobody else does is
enforced in every transaction, so a mistake here can delay but not falsify anything.
"""

import asyncio
import logging
import os
import secrets
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from typing import Any, Protocol

from indexer.lease import RENEW_S, Alive, Holder
from relay.store.engine import StoreUnavailableError

Duty = Callable[[], Coroutine[Any, Any, None]]

log = logging.getLogger(__name__)


class LeaseStore(Protocol):
    """What holding a post needs of the database."""

    epoch: int | None

    async def take_lease(self, me: Holder, alive: Alive) -> int:
        """Take or renew the lease; returns its epoch, 0 while another holds it."""

    async def release_lease(self, epoch: int) -> None:
        """Let another take over at once."""


def this_process() -> Holder:
    """Return who we are."""
    return Holder(socket.gethostname(), os.getpid(), secrets.randbits(32))


def alive(pid: int) -> bool:
    """Return whether there is a process with this id on this host."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True


class Post:
    """Takes the lease when it can, and does the duties of whoever leads or stands by."""

    def __init__(self, store: LeaseStore, lead: Duty, stand_by: Duty, me: Holder | None = None) -> None:
        self._store, self._lead, self._stand_by = store, lead, stand_by
        self._me = me or this_process()
        self.epoch = 0  # of the lease, 0: another's

    @property
    def leads(self) -> bool:
        """Whether this process writes."""
        return self.epoch != 0

    async def take(self) -> bool:
        """Take or renew the lease; returns whether this process writes."""
        with suppress(StoreUnavailableError):  # then nothing is known anew, and nobody can write anyway
            epoch = await self._store.take_lease(self._me, alive)
            if epoch != self.epoch:
                log.info("this indexer %s", "leads" if epoch else "stands by")
            self.epoch = epoch
            self._store.epoch = epoch
        return self.leads

    async def run(self) -> None:
        """Do the duties until cancelled, those of the other role whenever the lease changes hands."""
        while True:
            epoch = self.epoch
            duty = asyncio.create_task(self._lead() if epoch else self._stand_by())
            try:
                while epoch == self.epoch:
                    await asyncio.sleep(RENEW_S)
                    await self.take()
            finally:
                await _ended(duty)

    async def leave(self) -> None:
        """Let another take over at once."""
        if self.leads:
            with suppress(StoreUnavailableError):
                await self._store.release_lease(self.epoch)


@asynccontextmanager
async def alone(store: LeaseStore) -> AsyncIterator[None]:
    """Hold the lease while something is done that no running indexer may disturb.

    Raises:
        StoreUnavailableError: an indexer runs on this database.
    """
    post = Post(store, _wait, _wait)
    if not await post.take():
        raise StoreUnavailableError("an indexer runs on it")
    keeping = asyncio.create_task(post.run())
    try:
        yield
    finally:
        await _ended(keeping)
        await post.leave()


async def _wait() -> None:
    await asyncio.Event().wait()


async def _ended(duty: Awaitable[None]) -> None:
    task = asyncio.ensure_future(duty)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
