"""The readers of the fan-out benchmark: one process with many connections that count what arrives, and how late.

python readers.py <port> <how many> <sse|ws|others>     then one JSON command per line on standard input
"""

import asyncio
import json
import os
import sys
import threading
import time
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


async def read(port: int, count: int, kind: str) -> None:
    """Connect, then answer commands until standard input ends."""
    loop, tally = asyncio.get_running_loop(), Tally()
    request = REQUESTS[kind]

    async def connect(after: bytes) -> list[Reader]:
        asked = request.replace(b"%b", after)
        made = [loop.create_connection(lambda: Reader(asked, tally), "127.0.0.1", port) for _ in range(count)]
        return [reader for _, reader in await asyncio.gather(*made)]

    kept = await connect(b"")

    async def answer(asked: dict[str, Any]) -> dict[str, Any]:
        if asked["do"] == "clear":
            tally.clear()
            return {}
        if asked["do"] == "leave":
            for reader in kept:
                reader.transport.abort()
            return {}
        if asked["do"] == "return":
            kept[:] = await connect(b"?after=" + asked["last_id"].encode())
            return {}
        deadline = time.monotonic() + asked["timeout_s"]
        while tally.events < asked["events"] and time.monotonic() < deadline:  # noqa: ASYNC110 - costs arrivals nothing
            await asyncio.sleep(0.01)
        late = sorted(tally.late_ns) or [0]
        return {
            "events": tally.events,
            "seconds": (tally.last_ns - tally.first_ns) / 1e9,
            "p50_ms": late[len(late) // 2] / 1e6,
            "p99_ms": late[len(late) * 99 // 100] / 1e6,
        }

    def obey() -> None:
        for line in sys.stdin:
            found = asyncio.run_coroutine_threadsafe(answer(json.loads(line)), loop).result()
            sys.stdout.write(json.dumps(found) + "\n")
            sys.stdout.flush()
        os._exit(0)

    threading.Thread(target=obey, daemon=True).start()
    await asyncio.Event().wait()
    kept.clear()


if __name__ == "__main__":
    uvloop.run(read(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]))
