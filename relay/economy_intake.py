"""The economy's intake: operations wait here for their group, and nothing is answered before the group is durable.

Touches the event loop and the economy's writer. The journey itself is `relay.economy_group`; this decides when it
starts, who is told, and what happens to a group that fails.
"""

import asyncio
import logging
from collections.abc import Sequence
from typing import NamedTuple

from relay.economy_entries import Order, Render, Reply
from relay.economy_group import process
from relay.economy_meter import OK, EconomyMeter
from relay.errors import FairscoreError, OurError, WorldError
from relay.intake import RunsJobs
from relay.store.engine import Database, StoreUnavailableError
from relay.store.intake import intake_store
from relay.store.intake_rows import Connection

GROUP_MAX = 256

log = logging.getLogger(__name__)


class _Waiting(NamedTuple):
    order: Order
    future: "asyncio.Future[Reply]"


class EconomyIntake:
    """Takes operations, one group per commit. All methods run on the event loop.

    While one group is committed the next one forms: an operation that comes alone is committed at once.
    """

    def __init__(self, writer: RunsJobs, database: Database, render: Render) -> None:
        """`render` makes answers of what was decided."""
        self.meter = EconomyMeter()
        self._writer, self._store, self._render = writer, intake_store(database), render
        self._waiting: list[_Waiting] = []
        self._running: asyncio.Task[None] | None = None

    async def submit(self, order: Order) -> Reply:
        """Return what became of an operation, once that is durable.

        Raises:
            WorldError: STORE_UNAVAILABLE; nothing was changed, or the same request again will tell.
            OurError: this operation alone cannot be processed.
        """
        future: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
        self._waiting.append(_Waiting(order, future))
        if self._running is None:
            self._running = asyncio.create_task(self._run())
        return await future

    async def stop(self) -> None:
        """Wait until every operation taken is answered."""
        while self._running is not None:
            await asyncio.wait([self._running])

    async def _run(self) -> None:
        try:
            await asyncio.sleep(0)  # requests that arrived together are of one group
            while self._waiting:
                taken, self._waiting = self._waiting[:GROUP_MAX], self._waiting[GROUP_MAX:]
                await self._commit(taken)
        finally:
            self._running = None

    async def _commit(self, taken: Sequence[_Waiting]) -> None:
        try:
            replies = await self._writer.run(lambda c: self._process(c, taken))
        except StoreUnavailableError:
            self._fail(taken)
        except Exception as error:  # noqa: BLE001 - one of the group is poison: find out which
            if len(taken) == 1:
                self._refuse(taken[0], error)
            else:
                for waiting in taken:
                    await self._commit([waiting])
        else:
            self._resolve(taken, replies)

    def _process(self, c: Connection, taken: Sequence[_Waiting]) -> list[Reply]:
        return process(c, self._store, [waiting.order for waiting in taken], self._render)

    def _resolve(self, taken: Sequence[_Waiting], replies: Sequence[Reply]) -> None:
        self.meter.group(len(taken))
        for waiting, reply in zip(taken, replies, strict=True):
            if reply.decided is None:
                self.meter.replayed()
            else:
                self.meter.operation(waiting.order.action, reply.decided.code or OK)
            if not waiting.future.done():  # the client may be gone; what is committed stays committed
                waiting.future.set_result(reply)

    def _fail(self, taken: Sequence[_Waiting]) -> None:
        for waiting in taken:
            self.meter.operation(waiting.order.action, "STORE_UNAVAILABLE")
            _raise_in(waiting, WorldError("STORE_UNAVAILABLE", "The operation could not be stored; try again."))

    def _refuse(self, waiting: _Waiting, error: Exception) -> None:
        self.meter.operation(waiting.order.action, "INTERNAL_ERROR")
        log.error("an operation could not be processed", exc_info=error)
        _raise_in(waiting, error if isinstance(error, FairscoreError) else OurError())


def _raise_in(waiting: _Waiting, error: FairscoreError) -> None:
    if not waiting.future.done():
        waiting.future.set_exception(error)
