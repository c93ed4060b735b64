"""Players who do not give up: every submission is retried over new connections until it has an answer.

Touches loopback HTTP.
"""

import asyncio
import json
import random
from collections.abc import Callable, Coroutine, Iterator, Sequence
from typing import Any

from tests.harness.load import content_length


class Ledger:
    """What the players remember: answers by index of the request, refusals, and how often a connection broke.

    ``replayed`` counts answers that were first given to nobody: committed, then killed before the answer left.
    """

    def __init__(self) -> None:
        self.answers: dict[int, dict[str, Any]] = {}
        self.refusals: list[bytes] = []
        self.broken = 0
        self.replayed = 0
        self._awaited: list[tuple[int, asyncio.Event]] = []

    def accept(self, index: int, answer: dict[str, Any]) -> None:
        """Remember an acceptance and wake whoever waits for that many."""
        self.answers[index] = answer
        for count, reached in self._awaited:
            if len(self.answers) >= count:
                reached.set()

    async def answered(self, count: int) -> None:
        """Wait until so many submissions are answered as accepted."""
        reached = asyncio.Event()
        self._awaited.append((count, reached))
        if len(self.answers) < count:
            await reached.wait()


async def submit_all(
    port: int,
    requests: Sequence[bytes],
    connections: int,
    meanwhile: Callable[[Ledger], Coroutine[Any, Any, None]],
    *,
    per_second: float,
    timeout_s: float = 300,
) -> Ledger:
    """Send all requests, ``connections`` at a time, while ``meanwhile`` does its worst to the server.

    Players pause between plays so that together they send about ``per_second``: the worst happens amid their work.
    A request is sent again after a broken connection or a 503 or 409 IDEMPOTENCY_IN_FLIGHT; any other answer is final.
    """
    ledger = Ledger()
    todo = iter(range(len(requests)))
    pause_s = connections / per_second
    async with asyncio.timeout(timeout_s), asyncio.TaskGroup() as group:
        group.create_task(meanwhile(ledger))
        for _ in range(connections):
            group.create_task(_play(port, requests, todo, ledger, pause_s))
    return ledger


async def _play(port: int, requests: Sequence[bytes], todo: Iterator[int], ledger: Ledger, pause_s: float) -> None:
    """One player: takes the next request until none is left."""
    streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
    moments = random.Random(pause_s)
    for index in todo:
        await asyncio.sleep(moments.uniform(0, 2 * pause_s))
        while True:
            try:
                streams = streams or await asyncio.open_connection("127.0.0.1", port)
                status, head, body = await exchange(*streams, requests[index])
            except (OSError, EOFError):
                ledger.broken += streams is not None
                if streams is not None:
                    streams[1].close()
                streams = None
                await asyncio.sleep(0.05)
                continue
            if status in {200, 202}:
                ledger.accept(index, json.loads(body))
                ledger.replayed += b"idempotent-replayed: true" in head.lower()
            elif status == 503 or b"IDEMPOTENCY_IN_FLIGHT" in body:
                await asyncio.sleep(0.05)
                continue
            else:
                ledger.refusals.append(body)
            break
    if streams is not None:
        streams[1].close()


async def exchange(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, request: bytes
) -> tuple[int, bytes, bytes]:
    """One request; status, head and body of its answer.

    Raises:
        OSError, EOFError: the connection ended first.
    """
    writer.write(request)
    await writer.drain()
    head = await reader.readuntil(b"\r\n\r\n")
    return int(head[9:12]), head, await reader.readexactly(content_length(head))
