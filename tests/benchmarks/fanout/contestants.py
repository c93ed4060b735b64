"""One server process of the fan-out benchmark: a way to send the same events to all its readers.

    python contestants.py <name> <port>     then one JSON command per line on standard input, one answer per line

Every contestant runs under uvicorn with uvloop and httptools, and is handed events that are encoded already.
"""

import asyncio
import fcntl
import json
import os
import resource
import sys
import termios
import threading
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[3]
sys.path.insert(0, str(ROOT))  # run as a script, only this folder is on the path

import uvicorn  # noqa: E402 - needs the path above
import uvloop  # noqa: E402
from sse_starlette import EventSourceResponse  # noqa: E402
from starlette.applications import Starlette  # noqa: E402
from starlette.requests import Request  # noqa: E402
from starlette.responses import Response, StreamingResponse  # noqa: E402
from starlette.routing import Route  # noqa: E402

from indexer import stream_ring  # noqa: E402
from indexer.api.socket import Sockets  # noqa: E402
from indexer.api.stream import Streams  # noqa: E402
from indexer.boards import BoardConfig  # noqa: E402
from indexer.events import Mark  # noqa: E402
from indexer.messages import Board, FinalMessage  # noqa: E402
from indexer.reading import Reading  # noqa: E402
from indexer.seasons import ALL_TIME  # noqa: E402
from indexer.standings import Standings  # noqa: E402
from indexer.state import BoardState, Game, Identity, Outcome, Published, State  # noqa: E402
from indexer.stream import Hub  # noqa: E402
from indexer.window import Window  # noqa: E402
from relay.api.asgi import Api  # noqa: E402
from relay.server import Server, listen  # noqa: E402

EVENT_BYTES = 200
LIMITS = stream_ring.COALESCE_BYTES, stream_ring.RING
GROUP = 100  # events of one commit in a burst: a block with fifty scores

Publish = Callable[[list[bytes]], None]


def event(seq: int) -> bytes:
    """One event: its number, the moment it is published, and padding."""
    head = b'{"type":"score","seq":%d,"t":%d,"pad":"' % (seq, time.monotonic_ns())
    return head + b"." * (EVENT_BYTES - len(head) - 2) + b'"}'


class Ours:
    """The hub behind the API and the server that `fairscore` has."""

    def __init__(self) -> None:
        # Here nobody is spared anything: the others' readers get every event, so ours must, too.
        stream_ring.COALESCE_BYTES = stream_ring.RING = 1 << 40
        config = BoardConfig()
        mark = Mark(1, bytes(32))
        state = State(Identity(1, b"", b"", b""), 0, mark, 0, 0, mark, 1)
        state.games[bytes(32)] = Game(1, bytes(32), "game", bytes(32), 0)
        state.boards[1] = BoardState(
            1, 1, Board("game", "default"), config, ALL_TIME, Standings(config), Window(config)
        )
        self._state = state
        self._message = FinalMessage(0, "", "", [], 0)
        self._hub = Hub(_no_tail)
        nothing: Any = None  # no database: streams are served from memory
        reading = Reading(lambda: state, nothing, nothing)
        self._api = Api([*Streams(reading, self._hub).operations(), *Sockets(reading, self._hub).operations()])
        self.close_streams = self._hub.close_streams

    async def start(self) -> None:
        """Make the channel."""
        await self._hub.reset(self._state)

    def readers(self) -> int:
        """Open streams."""
        return self._hub.readers

    def publish(self, bodies: list[bytes]) -> None:
        """One commit."""
        first = self._state.boards[1].seq + 1
        told = [Published(1, first + at, "score", body, self._message) for at, body in enumerate(bodies)]
        self._state.boards[1].seq += len(bodies)
        state = self._state
        self._hub.tell(
            state,
            Outcome(state.tip, 0, 0, state.verified, 1, {}, [], {}, [], {}, told, {}, None),
        )

    def last_id(self) -> str:
        """Where a reader that has everything would resume."""
        return f"1-{self._state.boards[1].seq}"

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await self._api(scope, receive, send)


async def _no_tail(_log: int, _limit: int) -> list[stream_ring.Told]:
    return []


class Queues:
    """A queue for each reader, as tutorials show it."""

    def __init__(self, answer: Callable[[Request, "asyncio.Queue[bytes]"], Response]) -> None:
        self._queues: set[asyncio.Queue[bytes]] = set()
        self._answer = answer
        self._app = Starlette(routes=[Route("/", self._open)])

    async def _open(self, request: Request) -> Response:
        queue: asyncio.Queue[bytes] = asyncio.Queue()
        self._queues.add(queue)
        return self._answer(request, queue)

    async def start(self) -> None:
        """Nothing to do."""

    def readers(self) -> int:
        """Open streams."""
        return len(self._queues)

    def publish(self, bodies: list[bytes]) -> None:
        """Into every queue."""
        for body in bodies:
            for queue in self._queues:
                queue.put_nowait(body)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await self._app(scope, receive, send)


def plain(_request: Request, queue: "asyncio.Queue[bytes]") -> Response:
    """Starlette's StreamingResponse over a queue."""

    async def body() -> AsyncIterator[bytes]:
        while True:
            yield b"event: score\ndata: " + await queue.get() + b"\n\n"

    return StreamingResponse(body(), media_type="text/event-stream")


def sse_starlette(_request: Request, queue: "asyncio.Queue[bytes]") -> Response:
    """The package most use for it."""

    async def body() -> AsyncIterator[dict[str, str]]:
        while True:
            yield {"event": "score", "data": (await queue.get()).decode()}

    return EventSourceResponse(body())


CONTESTANTS: dict[str, Callable[[], Any]] = {
    "ours-sse": Ours,
    "ours-ws": Ours,
    "queues": lambda: Queues(plain),
    "sse-starlette": lambda: Queues(sse_starlette),
}


def rss_kb() -> int:
    """Resident memory of this process."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() // 1024


def peak_kb() -> int:
    """The most resident memory since this was asked last."""
    status = Path("/proc/self/status").read_text()
    Path("/proc/self/clear_refs").write_text("5")  # proc(5): the highest mark begins anew
    return int(status.partition("VmHWM:")[2].split()[0])


class Commands:
    """What the benchmark asks of a server process."""

    def __init__(self, app: Any, server: Any) -> None:
        self._app, self._server, self._seq = app, server, 0

    def _events(self, count: int) -> list[bytes]:
        self._seq += count
        return [event(self._seq - count + 1 + at) for at in range(count)]

    async def burst(self, count: int) -> dict[str, Any]:
        """Publish as fast as possible, in groups."""
        began = time.process_time()
        for _ in range(count // GROUP):
            self._app.publish(self._events(GROUP))
            await asyncio.sleep(0)
        return {"cpu": began}

    async def steady(self, count: int) -> dict[str, Any]:
        """Ten events a second."""
        began = time.process_time()
        for _ in range(count):
            self._app.publish(self._events(1))
            await asyncio.sleep(0.1)
        return {"cpu": began}

    async def look(self, _: int) -> dict[str, Any]:
        """Memory, CPU seconds so far and readers."""
        return {"rss": rss_kb(), "cpu": time.process_time(), "readers": self._app.readers()}

    async def peak(self, _: int) -> dict[str, Any]:
        """The most memory since this was asked last."""
        return {"kb": peak_kb()}

    async def held(self, _: int) -> dict[str, Any]:
        """The most that one connection holds of what it was sent: in this process and in the kernel."""
        most = 0
        for connection in self._server.server_state.connections:
            transport = connection.transport
            queued = fcntl.ioctl(transport.get_extra_info("socket").fileno(), termios.TIOCOUTQ, bytes(4))
            most = max(most, transport.get_write_buffer_size() + int.from_bytes(queued, sys.byteorder))
        return {"kb": most / 1024}

    async def spare(self, _: int) -> dict[str, Any]:
        """From now on who is too slow is spared what it missed, as `fairscore` does."""
        stream_ring.COALESCE_BYTES, stream_ring.RING = LIMITS
        return {}

    async def place(self, _: int) -> dict[str, Any]:
        """Where readers resume who have everything."""
        return {"last_id": self._app.last_id()}

    async def stop(self, _: int) -> dict[str, Any]:
        """End as at SIGTERM; seconds until the server let go of everything."""
        began = time.monotonic()
        self._server.stop()
        while self._server.server_state.connections or self._server.server_state.tasks:  # noqa: ASYNC110 - uvicorn's
            await asyncio.sleep(0.005)
        return {"seconds": time.monotonic() - began}


async def serve(name: str, port: int) -> None:
    """Serve until standard input ends."""
    app = CONTESTANTS[name]()
    await app.start()
    if name.startswith("ours"):
        server: uvicorn.Server = Server(app, app.close_streams)
        listener = listen("127.0.0.1", port)
        serving = server.serve(sockets=[listener])
    else:
        config = uvicorn.Config(app, "127.0.0.1", port, log_level="error", access_log=False, backlog=4096, ws="none")
        server = uvicorn.Server(config)
        serving = server.serve()
    running = asyncio.ensure_future(serving)
    commands, loop = Commands(app, server), asyncio.get_running_loop()

    def obey() -> None:
        for line in sys.stdin:
            asked = json.loads(line)
            work: Coroutine[Any, Any, dict[str, Any]] = getattr(commands, asked["do"])(asked.get("count", 0))
            answer = asyncio.run_coroutine_threadsafe(work, loop).result()
            sys.stdout.write(json.dumps(answer) + "\n")
            sys.stdout.flush()
        os._exit(0)  # the measurement is over: readers need no goodbye

    threading.Thread(target=obey, daemon=True).start()
    await running
    await asyncio.Event().wait()  # until standard input ends


if __name__ == "__main__":
    uvloop.run(serve(sys.argv[1], int(sys.argv[2])))
