"""An event loop whose time is a number: sleeping costs nothing, and the same program runs the same way every time.

Touches nothing outside the process: no selector, no threads, no real clock.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

T = TypeVar("T")

EPOCH_S = 1_700_000_000  # when time is zero, unix seconds; a float that large could not hold a microsecond


class DeadlockError(Exception):
    """Every task waits and nothing will ever wake one."""


class VirtualLoop(asyncio.BaseEventLoop):
    """Runs what is ready, then lets time jump to the next timer. Work for threads is done at once, in line."""

    def __init__(self) -> None:
        super().__init__()
        self.now_s = 0.0
        self._clock_resolution = 1e-9
        self._selector = self  # BaseEventLoop asks it how long to wait: see `select`

    def time(self) -> float:
        """Virtual seconds since the start."""
        return self.now_s

    def select(self, timeout: float | None) -> list[Any]:
        """Wait until the next timer."""
        if timeout is None:
            raise DeadlockError("every task waits and nothing will wake one")
        self.now_s += timeout
        return []

    def run_in_executor(  # type: ignore[override]
        self,
        executor: Any,  # noqa: ARG002 - the port's
        func: Callable[..., T],
        *args: Any,
    ) -> "asyncio.Future[T]":
        """Run it now: threads would bring the machine's own timing in."""
        done: asyncio.Future[T] = self.create_future()
        try:
            done.set_result(func(*args))
        except Exception as error:  # noqa: BLE001 - it belongs to whoever awaits it
            done.set_exception(error)
        return done

    def _process_events(self, event_list: list[Any]) -> None:
        """There are none."""

    def _write_to_self(self) -> None:
        """Nobody sleeps in the system."""


def run_virtually(main: Callable[[VirtualLoop], Awaitable[T]]) -> T:
    """Run `main` from the start of time to its end; tasks it leaves behind are cancelled."""
    loop = VirtualLoop()
    loop.set_exception_handler(lambda _loop, _context: None)  # a killed process leaves broken tasks behind
    asyncio.set_event_loop(loop)
    try:
        task = asyncio.ensure_future(main(loop), loop=loop)
        result = loop.run_until_complete(task)
        left = asyncio.all_tasks(loop)
        for one in left:
            one.cancel()
        if left:
            loop.run_until_complete(asyncio.gather(*left, return_exceptions=True))
        return result
    finally:
        asyncio.set_event_loop(None)
        loop.close()
