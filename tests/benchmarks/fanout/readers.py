"""The readers of the fan-out benchmark: one process with many connections that count what arrives, and how late.

python readers.py <port> <how many> <sse|ws|others>     then one JSON command per line on standard input
"""

import asyncio
import json
import os
import socket
import sys
import threading
import time
from collections.abc import Coroutine
from typing import Any

import uvloop

MARK = b'"t":'
REQUESTS = {
    "others": b"GET / HTTP/1.1\r\nHost: x\r\nAccept: text/event-stream\r\n\r\n",
    "sse": b"GET /api/leaderboards/game/default/stream%b HTTP/1.1\r\nHost: x\r\nAccept: text/event-stream\r\n\r\n",
    "ws": b"GET /api/leaderboards/game/default/ws%b HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\n"
    b"Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n",
}


class Tally:
    """What all connections received."""

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        """Begin anew."""
        self.events = 0
        self.first_ns = 0  # published
        self.last_ns = 0  # arrived
        self.late_ns: list[int] = []


class Reader(asyncio.Protocol):
    """One connection."""

    def __init__(self, request: bytes, tally: Tally) -> None:
        self._request, self._tally = request, tally
        self._end = b""

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        data = self._end + data
        count = data.count(MARK)
        if not count:
            self._end = data[-(len(MARK) - 1) :]
            return
        tally, now = self._tally, time.monotonic_ns()
        last = data.rfind(MARK) + len(MARK)
        comma = data.find(b",", last)
        self._end = data[last:][-(len(MARK) - 1) :]
        tally.events += count
        tally.last_ns = now
        if comma > 0:
            published = int(data[last:comma])
            tally.first_ns = min(tally.first_ns or published, published)
            tally.late_ns.append(now - published)


class Commands:
    """What the benchmark asks of this process."""

    def __init__(self, port: int, count: int, kind: str) -> None:
        self._port, self._count, self._request = port, count, REQUESTS[kind]
        self._tally = Tally()
        self._kept: list[Reader] = []
        self._deaf: list[socket.socket] = []

    async def connect(self, after: bytes = b"") -> None:
        """Open all connections at once."""
        request, loop = self._request.replace(b"%b", after), asyncio.get_running_loop()
        made = (
            loop.create_connection(lambda: Reader(request, self._tally), "127.0.0.1", self._port)
            for _ in range(self._count)
        )
        self._kept = [reader for _, reader in await asyncio.gather(*made)]

    async def clear(self) -> dict[str, Any]:
        """Count anew."""
        self._tally.clear()
        return {}

    async def leave(self) -> dict[str, Any]:
        """Lose all connections."""
        for reader in self._kept:
            reader.transport.abort()
        return {}

    async def back(self, last_id: str) -> dict[str, Any]:
        """Open them again, to hear what came after an event."""
        await self.connect(b"?after=" + last_id.encode())
        return {}

    async def deaf(self, count: int) -> dict[str, Any]:
        """Open further connections that are never read."""
        for _ in range(count):
            one = socket.create_connection(("127.0.0.1", self._port))
            one.sendall(self._request.replace(b"%b", b""))
            self._deaf.append(one)
        return {}

    async def wait(self, events: int, timeout_s: float) -> dict[str, Any]:
        """Wait until so many events have arrived; how late they were."""
        tally, deadline = self._tally, time.monotonic() + timeout_s
        while tally.events < events and time.monotonic() < deadline:  # noqa: ASYNC110 - costs arrivals nothing
            await asyncio.sleep(0.01)
        late = sorted(tally.late_ns) or [0]
        return {
            "events": tally.events,
            "seconds": (tally.last_ns - tally.first_ns) / 1e9,
            "p50_ms": late[len(late) // 2] / 1e6,
            "p99_ms": late[len(late) * 99 // 100] / 1e6,
        }


async def read(port: int, count: int, kind: str) -> None:
    """Connect, then answer commands until standard input ends."""
    loop, commands = asyncio.get_running_loop(), Commands(port, count, kind)
    await commands.connect()

    def obey() -> None:
        for line in sys.stdin:
            asked = json.loads(line)
            work: Coroutine[Any, Any, dict[str, Any]] = getattr(commands, asked.pop("do"))(**asked)
            found = asyncio.run_coroutine_threadsafe(work, loop).result()
            sys.stdout.write(json.dumps(found) + "\n")
            sys.stdout.flush()
        os._exit(0)

    threading.Thread(target=obey, daemon=True).start()
    await asyncio.Event().wait()


if __name__ == "__main__":
    uvloop.run(read(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]))
