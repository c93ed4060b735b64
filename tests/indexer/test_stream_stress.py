"""Seeded, self-checking runs in the manner of Centrifuge's: readers that come, go, stall and resume at any moment.

Every reader checks each message's number against the last, applies it, and in the end agrees with a fresh snapshot.
"""

import asyncio
import fcntl
import gc
import json
import random
import socket
import struct
import termios
import time
import tracemalloc
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from indexer.frames import SSE, WIRES, Wire, parse_event_id
from indexer.stream import Wish
from indexer.stream_ring import CHUNK_BYTES
from relay.server import SEND_BUFFER
from relay.store.engine import Database, open_database
from tests.indexer.fake_chain import FakeChain
from tests.indexer.serving import BOARD, Serving
from tests.indexer.test_stream_http import Client, mine, now_id, undo_chunks
from tests.indexer.watching import GAME, Reader, Watching, wipe

PLAYERS = [bytes([5, number]) * 10 for number in range(160)]
SHOWN = PLAYERS[:90]  # fewer than a snapshot has rows: then it is all there is, and readers can check every message
HANDSHAKE = (
    f"GET {BOARD}/ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
).encode()
PLAIN = f"GET {BOARD}/stream HTTP/1.1\r\nHost: x\r\n\r\n".encode()


class Stalling(Reader):
    """A client of either transport whose connection is full whenever its script says so; a link of the hub."""

    def __init__(self, wire: Wire, earlier: "Stalling | None" = None) -> None:
        super().__init__(earlier)
        self.wire = wire
        self.epoch = int(self.last_id.split("-")[0]) if self.last_id else 0
        self.free = asyncio.Event()
        self.free.set()
        self.beats = 0
        self.wrong: list[Exception] = []

    def write(self, data: bytes) -> bool:
        """Take frames where the connection has room."""
        if not self.free.is_set():
            return False
        try:
            self._receive(data)
        except (AssertionError, KeyError) as error:  # a server cannot be expected to raise what a client finds
            self.wrong.append(error)
        return True

    async def room(self) -> None:
        """Wait for the script."""
        await self.free.wait()

    def _receive(self, block: bytes) -> None:
        if self.wire is SSE:
            self.beats += block.count(b"\r\n: ")
            super().write(block)
            return
        while block:
            size, start = block[1], 2
            if size > 125:
                start = 4 if size == 126 else 10
                size = int.from_bytes(block[2:start], "big")
            self._message(json.loads(block[start : start + size]))
            block = block[start + size :]

    def _message(self, data: dict[str, Any]) -> None:
        if data["type"] == "heartbeat":
            assert self.last_id == f"{data['epoch']}-{data['seq']}"
            self.beats += 1
            return
        self.epoch = data.get("epoch", self.epoch)
        self._event(f"{self.epoch}-{data['seq']}", data["type"], data)


@pytest.fixture
def database(sqlite_url: str) -> Iterator[Database]:
    opened = open_database(sqlite_url)
    wipe(opened)
    yield opened
    opened.close()


async def join(watching: Watching, wire: Wire, earlier: Stalling | None = None) -> Stalling:
    """Open a stream, where the earlier one left off."""
    reader = Stalling(wire, earlier)
    wish = Wish(parse_event_id(reader.last_id))
    assert await watching.hub.serve(1, reader, wish)
    return reader


@pytest.mark.parametrize("seed", range(6))
def test_readers_that_come_go_stall_and_resume(database: Database, seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """With limits so small that chunks, coalescing and lost places happen all the time."""
    monkeypatch.setattr("indexer.stream_ring.CHUNK_BYTES", 3_000)
    monkeypatch.setattr("indexer.stream_ring.COALESCE_BYTES", 20_000)
    monkeypatch.setattr("indexer.stream_ring.RING", 200)

    asyncio.run(check_scenario(database, random.Random(seed)))


async def check_scenario(database: Database, dice: random.Random) -> None:
    """Sixty turns, then everybody catches up and is compared."""
    chain = FakeChain()
    watching = Watching(chain, database)
    await watching.catch_up()
    readers = [await join(watching, dice.choice(WIRES)) for _ in range(12)]
    for _ in range(60):
        play(chain, dice)
        await watching.catch_up()
        for at, reader in enumerate(readers):
            await disturb(watching, readers, at, reader, dice)
        if dice.random() < 0.1:
            watching.hub.beat()
        await asyncio.sleep(0)
    for reader in readers:
        reader.free.set()
    last = f"{watching.state.epoch}-{watching.state.boards[1].seq}"
    async with asyncio.timeout(60):
        while any(reader.last_id != last and not reader.wrong for reader in readers):  # noqa: ASYNC110 - by the hub's tasks
            await asyncio.sleep(0.01)
    fresh = await join(watching, SSE)
    await asyncio.sleep(0.01)
    for reader in readers:
        assert not reader.wrong
        assert (reader.top(), reader.total) == (fresh.top(), fresh.total)
    assert watching.hub.readers == 13
    for reader in [*readers, fresh]:
        await reader.leave()
    assert watching.hub.readers == 0
    await watching.stop()


def play(chain: FakeChain, dice: random.Random) -> None:
    """Some blocks, and a fork now and then."""
    for _ in range(dice.randint(1, 2)):
        chain.submit(GAME, [(dice.choice(SHOWN), dice.randint(0, 900)) for _ in range(dice.randint(1, 8))])
        chain.mine()
    if dice.random() < 0.15:
        depth = dice.randint(1, 3)
        chain.fork(depth)
        for _ in range(depth + 1):
            chain.mine()


async def disturb(watching: Watching, readers: list[Stalling], at: int, reader: Stalling, dice: random.Random) -> None:
    """Let something happen to a reader, or nothing."""
    chance = dice.random()
    if chance < 0.15:
        reader.free.clear()
    elif chance < 0.35:
        reader.free.set()
    elif chance < 0.45:
        reader.free.set()
        await reader.leave()
        readers[at] = await join(watching, dice.choice(WIRES), reader if dice.random() < 0.8 else None)


def unsent(serving: Serving) -> list[tuple[int, int]]:
    """Of every connection: bytes the kernel did not take yet, and bytes it holds that were not acknowledged."""

    async def look() -> list[tuple[int, int]]:
        found = []
        for connection in serving._server.server_state.connections:
            transport = connection.transport
            queued = fcntl.ioctl(transport.get_extra_info("socket").fileno(), termios.TIOCOUTQ, b"\0\0\0\0")
            found.append((transport.get_write_buffer_size(), struct.unpack("i", queued)[0]))
        return found

    return serving.do(look())


def stuck_readers(stack: ExitStack, serving: Serving, count: int) -> list[socket.socket]:
    """Clients of both kinds that ask for the stream and never read."""
    found = []
    for number in range(count):
        one = stack.enter_context(socket.socket())
        one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        one.connect(("127.0.0.1", serving.port))
        one.sendall(PLAIN if number % 2 else HANDSHAKE)
        found.append(one)
    deadline = time.monotonic() + 60
    while serving.service.hub.readers < count and time.monotonic() < deadline:
        time.sleep(0.01)
    return found


@pytest.fixture
def serving(sqlite_url: str) -> Iterator[Serving]:
    running = Serving(sqlite_url, FakeChain())
    yield running
    running.stop()


def test_readers_that_never_read_hold_little_memory(serving: Serving) -> None:
    """Counted where it hides: in the transport's buffer and in the kernel's. The healthy reader misses nothing."""
    with ExitStack() as stack:
        stuck_readers(stack, serving, 50)
        healthy = Client(serving)
        for turn in range(20):
            mine(serving, *[(player, turn + number) for number, player in enumerate(PLAYERS)])
        healthy.until(now_id(serving))
        assert healthy.kinds.count("snapshot") == 1
        held = unsent(serving)
        assert len(held) == 51
        assert max(user for user, _ in held) <= 64 * 1024 + CHUNK_BYTES + 64 * 1024  # high water, a chunk, a snapshot
        assert max(kernel for _, kernel in held) <= 2 * SEND_BUFFER
        print(f"50 stuck: {sum(map(sum, held)) / 50 / 1024:.0f} KiB each")
        healthy.stream.close()


@pytest.mark.parametrize("request_", [PLAIN, HANDSHAKE], ids=["sse", "ws"])
def test_an_open_stream_holds_little_memory(serving: Serving, request_: bytes) -> None:
    """Counted by Python's own books, with what the server allocates in C beside; the benchmark measures all of it."""
    with ExitStack() as stack:
        first = [stack.enter_context(socket.create_connection(("127.0.0.1", serving.port))) for _ in range(10)]
        others = [stack.enter_context(socket.create_connection(("127.0.0.1", serving.port))) for _ in range(100)]
        ask_all(serving, first, request_, 10)
        gc.collect()
        tracemalloc.start()
        try:
            before = tracemalloc.get_traced_memory()[0]
            ask_all(serving, others, request_, 110)
            each = (tracemalloc.get_traced_memory()[0] - before) / 100
        finally:
            tracemalloc.stop()
    print(f"an open stream: {each / 1024:.1f} KiB")
    assert each < 5 * 1024  # 16 KiB where the request and the calls that led here are kept


def ask_all(serving: Serving, clients: list[socket.socket], request: bytes, open_then: int) -> None:
    """Ask for a stream on each connection and wait until all are open and have what there is."""
    for client in clients:
        client.sendall(request)
    deadline = time.monotonic() + 60
    while serving.service.hub.readers < open_then and time.monotonic() < deadline:
        time.sleep(0.01)
    for client in clients:
        received = b""
        while b'"rows":' not in received:
            received += client.recv(1 << 16)

    async def settled() -> int:
        await asyncio.sleep(0.05)  # calls that led to the streams return
        return len(serving._server.server_state.tasks)

    assert serving.do(settled()) == 0


def test_where_too_many_are_full_the_longest_goes_first(serving: Serving, monkeypatch: pytest.MonkeyPatch) -> None:
    """A thousand full connections hold 200 MB; more are not kept, however many come. The healthy one stays."""
    monkeypatch.setattr("indexer.stream.BUSY_MAX", 5)
    monkeypatch.setattr("indexer.stream.HURRY_S", 0.5)
    with ExitStack() as stack:
        stuck_readers(stack, serving, 12)
        healthy = Client(serving)
        for turn in range(12):
            mine(serving, *[(player, turn + number) for number, player in enumerate(PLAYERS)])
        deadline = time.monotonic() + 60
        while serving.service.hub.readers > 6 and time.monotonic() < deadline:
            time.sleep(0.01)
        assert serving.service.hub.readers == 6
        mine(serving, (PLAYERS[0], 10**6))
        healthy.until(now_id(serving))
        healthy.stream.close()


def test_a_reader_far_behind_gets_the_sum_though_its_place_is_kept(serving: Serving) -> None:
    with ExitStack() as stack:
        slow = stuck_readers(stack, serving, 2)[1]
        for turn in range(12):
            mine(serving, *[(player, turn + number) for number, player in enumerate(PLAYERS)])
        ring = serving.service.hub._channels[1].ring
        assert ring._first == 1  # every message is still there
        last = now_id(serving).encode()
        received = b""
        slow.settimeout(60)
        while b"\n\n" not in received.partition(b"id: " + last)[2]:
            received += slow.recv(1 << 20)
    reader = Reader()
    for frame in undo_chunks(received.partition(b"\r\n\r\n")[2].decode()).split("\n\n"):
        fields = dict(line.split(": ", 1) for line in frame.split("\n") if ": " in line and not line.startswith(":"))
        if "data" in fields:
            reader._event(fields["id"], fields["event"], json.loads(fields["data"]))
    assert reader.kinds.count("snapshot") == 2
    fresh = Client(serving)
    fresh.until(now_id(serving))
    assert reader.top() == fresh.top()
    fresh.stream.close()


def test_a_thousand_readers_reconnect_at_once(serving: Serving) -> None:
    """Each gets exactly what it missed; one that stayed is told of the next score before all of them are served."""
    mine(serving, (PLAYERS[0], 1))
    last = now_id(serving)
    epoch, seq = map(int, last.split("-"))
    stays = Client(serving)
    stays.until(last)
    mine(serving, *[(player, 5 + number) for number, player in enumerate(PLAYERS)])
    missed = int(now_id(serving).split("-")[1]) - seq
    stays.until(now_id(serving))
    began = time.monotonic()
    with ExitStack() as stack:
        readers = [stack.enter_context(socket.create_connection(("127.0.0.1", serving.port))) for _ in range(1000)]
        for number, reader in enumerate(readers):
            request = HANDSHAKE if number % 2 else PLAIN
            reader.sendall(request.replace(b" HTTP/1.1", b"?after=" + last.encode() + b" HTTP/1.1"))
        asked = time.monotonic()
        mine(serving, (PLAYERS[1], 10**6))
        stays.until(now_id(serving))
        noticed_s = time.monotonic() - asked
        expected = list(range(seq + 1, seq + missed + 4))  # with the score, its standing, what became final
        for number, reader in enumerate(readers):
            reader.settimeout(60)
            assert heard(reader, len(expected), number % 2 == 1) == expected, number
    print(f"1,000 reconnected in {time.monotonic() - began:.1f} s; the next score reached one that stayed after "
          f"{noticed_s * 1000:.0f} ms")  # fmt: skip
    assert epoch == serving.service.reading.state.epoch
    assert noticed_s < 10  # loose: client and server share one process here
    stays.stream.close()


def heard(reader: socket.socket, count: int, is_socket: bool) -> list[int]:
    """The numbers of the first messages that arrive."""
    mark = b'"seq":'
    parts, arrived = [b""], 0
    while arrived < count or b"," not in parts[-1].rpartition(mark)[2]:
        more = reader.recv(1 << 20)
        assert more, parts[-1][-200:]
        before = len(parts[-1][-len(mark) + 1 :])
        more, parts[-1] = parts[-1][len(parts[-1]) - before :] + more, parts[-1][: len(parts[-1]) - before]
        arrived += more.count(mark)
        parts.append(more)
    received = b"".join(parts)
    return [int(part.partition(b",")[0].partition(b"}")[0]) for part in received.split(mark)[1 : count + 1]]
