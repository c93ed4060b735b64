"""The process that delivers: `python -m relay.webhooks.process`, started by the relay, or `fairscore webhooks deliver`.

Touches the database, the receivers and its own standard streams. A process of its own, because a delivery costs more
than accepting a score does, and accepting must not wait for it.
"""

import asyncio
import contextlib
import json
import os
import secrets
import signal
import socket
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import uvloop

from relay import logs
from relay.errors import StartupError
from relay.store.engine import open_database
from relay.store.writer import Writer
from relay.webhooks.deliverer import Deliverer, Edges
from relay.webhooks.feed import Feed
from relay.webhooks.hooks import Hook, hooks_of
from relay.webhooks.post import Post
from relay.webhooks.signing import SecretFile

REPORT_S = 1.0

Numbers = dict[str, dict[str, float]]


class SystemClock:
    """The machine's clocks."""

    def now_s(self) -> float:
        """Return unix time in seconds."""
        return time.time()

    def monotonic_s(self) -> float:
        """Return seconds of a clock that nobody sets."""
        return time.monotonic()


async def deliver(
    database_url: str, hooks: Sequence[Hook], until: Callable[[], Awaitable[object]], report: Callable[[Numbers], None]
) -> None:
    """Deliver `hooks` until `until` returns; `report` hears the numbers of each hook every second.

    Raises:
        StartupError: a secret file cannot be used.
    """
    signing = [SecretFile(hook.secret_file) for hook in hooks]
    database = open_database(database_url)
    writer = Writer(database)
    writer.start()
    clock = SystemClock()
    # Random, because two containers can share a host name and a process id, and must not share a lease.
    holder = f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(4)}"
    try:
        async with Post() as post:
            edges = Edges(database, writer, Feed(database, clock.monotonic_s), post, clock, holder)
            deliverers = [Deliverer(hook, keys, edges) for hook, keys in zip(hooks, signing, strict=True)]
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(each.run()) for each in deliverers]
                tasks.append(group.create_task(_report(deliverers, report)))
                await until()
                for task in tasks:
                    task.cancel()
    finally:
        await writer.stop()
        database.close()


async def _report(deliverers: Sequence[Deliverer], report: Callable[[Numbers], None]) -> None:
    while True:
        report({each.hook.name: each.numbers() for each in deliverers})
        await asyncio.sleep(REPORT_S)


async def until_signal() -> None:
    """Return at SIGTERM or SIGINT."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    await stop.wait()


async def _until_abandoned() -> None:
    """Return when the relay that started this process closes its pipe, however it ended."""
    for number in (signal.SIGTERM, signal.SIGINT):  # sent to the whole group: the relay says when
        asyncio.get_running_loop().add_signal_handler(number, lambda: None)
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    while await reader.read(1024):
        pass


def _tell(numbers: Numbers) -> None:
    with contextlib.suppress(BrokenPipeError):
        print(json.dumps(numbers), flush=True)


def main() -> None:
    """Read what to deliver from the first line of standard input; numbers go to standard output, a line a second."""
    given: dict[str, Any] = json.loads(sys.stdin.buffer.readline())
    logs.configure(given["log_level"])
    try:
        uvloop.run(deliver(given["database_url"], hooks_of(given["webhooks"]), _until_abandoned, _tell))
    except StartupError as refusal:
        print(f"fairscore webhooks: {refusal}", file=sys.stderr)
        raise SystemExit(2) from None


if __name__ == "__main__":
    main()
