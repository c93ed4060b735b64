"""Streams over a real uvicorn socket: resume without gap or repeat, readers that do not read, an end that ends."""

import asyncio
import json
import random
import socket
import time
from collections.abc import Iterator
from typing import Any

import pytest

from indexer.stream import HEARTBEAT_S, STUCK_S
from tests.harness.sse import Event, Stream
from tests.indexer.fake_chain import FakeChain
from tests.indexer.serving import BOARD, Serving
from tests.indexer.watching import GAME, Reader, named

PLAYERS = [bytes([1, number]) * 10 for number in range(160)]


@pytest.fixture
def serving(sqlite_url: str) -> Iterator[Serving]:
    running = Serving(sqlite_url, FakeChain())
    yield running
    running.stop()


def mine(serving: Serving, *scores: tuple[bytes, int]) -> None:
    """One block with one batch."""
    serving.chain.submit(GAME, scores)
    serving.chain.mine()
    serving.settle()


class Client(Reader):
    """A reader over HTTP that asks for what it missed, by header or by parameter."""

    def __init__(self, serving: Serving, earlier: "Client | None" = None, *, by_header: bool = True) -> None:
        super().__init__(earlier)
        after = f"?after={self.last_id}" if self.last_id and not by_header else ""
        self.stream = Stream(f"{serving.url}{BOARD}/stream{after}", self.last_id if by_header else None)
        self._taken = 0

    def take(self) -> None:
        """Apply what has come so far."""
        events: list[Event] = self.stream.events[self._taken :]
        self._taken += len(events)
        for event in events:
            self._event(event.id, event.kind, event.data)

    def until(self, last_id: str, timeout_s: float = 60) -> None:
        """Read up to an event."""
        if self.last_id != last_id:
            self.stream.wait(lambda event: event.id == last_id, timeout_s)
        self.take()


def now_id(serving: Serving) -> str:
    """The id of the newest message."""
    state = serving.service.reading.state
    return f"{state.epoch}-{state.boards[1].seq}"


def test_a_client_that_listened_before_hears_snapshot_then_score_then_standing(serving: Serving) -> None:
    client = Client(serving)
    assert client.stream.content_type == "text/event-stream; charset=utf-8"
    mine(serving, (PLAYERS[0], 2652))
    client.until(now_id(serving))
    assert client.kinds == ["snapshot", "score", "standing"]
    assert [row[1:3] for row in client.top()] == [(named(PLAYERS[0]), 2652)]
    serving.chain.mine()
    serving.chain.mine()
    serving.settle()
    client.until(now_id(serving))
    assert client.kinds[3:] == ["final"]
    client.stream.close()


def test_resuming_again_and_again_leaves_no_gap_and_no_repeat(serving: Serving) -> None:
    """The model is Centrifuge's stress runs: seeded, self-checking, connections cut at any moment."""
    dice = random.Random(11)
    client = Client(serving)
    for turn in range(60):
        for _ in range(dice.randint(1, 4)):
            serving.chain.submit(GAME, [(dice.choice(PLAYERS), dice.randint(0, 500)) for _ in range(8)])
        if dice.random() < 0.2:
            serving.chain.fork(dice.randint(1, 3))
            for _ in range(4):
                serving.chain.mine()
        serving.chain.mine()
        if dice.random() < 0.5:
            client.stream.close()
            client.take()
            client = Client(serving, client, by_header=turn % 2 == 0)
    serving.settle()
    client.until(now_id(serving))
    assert client.kinds.count("snapshot") == 0  # it resumed every time
    fresh = Client(serving)
    fresh.until(now_id(serving))
    assert client.top() == fresh.top()
    assert client.total == fresh.total == len(serving.service.reading.first_board().standings)
    client.stream.close()
    fresh.stream.close()


def test_resuming_through_a_restart_of_the_server(sqlite_url: str) -> None:
    first = Serving(sqlite_url, FakeChain())
    mine(first, (PLAYERS[0], 1))
    client = Client(first)
    client.until(now_id(first))
    first.stop()
    client.take()
    client.stream.close()
    first.chain.submit(GAME, [(PLAYERS[1], 2)])
    first.chain.mine()
    second = Serving(sqlite_url, first.chain, first.port)
    second.settle()
    again = Client(second, client)
    again.until(now_id(second))
    assert "snapshot" not in again.kinds
    assert [row[1] for row in again.top()] == [named(PLAYERS[1]), named(PLAYERS[0])]
    again.stream.close()
    second.stop()


@pytest.mark.parametrize("last_id", ["1-1", "nonsense", "9-99999999999999999999", "-", "999999999999999-0"])
def test_an_id_that_is_not_kept_gets_a_snapshot(serving: Serving, last_id: str) -> None:
    mine(serving, (PLAYERS[0], 1))
    stream = Stream(f"{serving.url}{BOARD}/stream", last_id)
    assert stream.wait(lambda _: True).kind == "snapshot"
    stream.close()


def test_heartbeats_and_jittered_retry(serving: Serving) -> None:
    """Comments keep the connection; the pause before reconnecting differs from reader to reader."""
    assert HEARTBEAT_S == 15
    stream = Stream(f"{serving.url}{BOARD}/stream")
    stream.wait(lambda event: event.kind == "snapshot")

    async def beat() -> None:
        serving.service.hub.beat()

    serving.do(beat())
    deadline = time.monotonic() + 60
    while not stream.comments and time.monotonic() < deadline:
        time.sleep(0.01)
    assert stream.comments == 1
    stream.close()
    pauses = set()
    for _ in range(5):
        with socket.create_connection(("127.0.0.1", serving.port)) as raw:
            raw.sendall(f"GET {BOARD}/stream HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            received = b""
            while b"retry: " not in received or b"\n\n" not in received.partition(b"retry: ")[2]:
                received += raw.recv(65536)
            pauses.add(int(received.partition(b"retry: ")[2].partition(b"\n")[0]))
    assert len(pauses) == 5
    assert all(500 <= pause < 1500 for pause in pauses)


def test_a_reader_that_never_reads_is_bounded_and_cut_off(serving: Serving) -> None:
    """It holds one chunk of ours and a place in the ring; the others get everything; then it is gone."""
    with socket.socket() as stuck:
        stuck.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        stuck.connect(("127.0.0.1", serving.port))
        stuck.sendall(f"GET {BOARD}/stream HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        healthy = Client(serving)
        for turn in range(30):
            mine(serving, *[(player, turn + number) for number, player in enumerate(PLAYERS)])
        healthy.until(now_id(serving))
        channel = serving.service.hub._channels[1]
        blocked = [reader for reader in channel.readers if reader.task is not None]
        assert len(blocked) == 1
        assert len(channel.readers) == 2
        healthy.kinds.clear()

        async def later() -> int:
            hub = serving.service.hub
            clock, hub._clock = hub._clock, lambda: time.monotonic() + STUCK_S + 1
            hub.cut()
            hub._clock = clock
            for _ in range(6_000):
                await asyncio.sleep(0.01)
                if hub.readers == 1:
                    break
            return hub.readers

        assert serving.do(later()) == 1
        assert len(serving._server.server_state.connections) == 1  # with all that was written to it
        mine(serving, (PLAYERS[0], 10**6))
        healthy.until(now_id(serving))
        assert healthy.kinds == ["score", "standing", "final"]
        healthy.stream.close()


def test_who_only_asks_for_the_head_is_no_reader(serving: Serving) -> None:
    status, headers, body = serving.ask("HEAD", f"{BOARD}/stream")
    assert (status, headers["content-type"], body) == (200, "text/event-stream; charset=utf-8", b"")
    deadline = time.monotonic() + 60
    while serving.service.hub.readers and time.monotonic() < deadline:
        time.sleep(0.005)
    assert serving.service.hub.readers == 0


def test_a_slow_reader_gets_a_snapshot_instead_of_what_it_missed(serving: Serving, monkeypatch: Any) -> None:
    """Behind the ring the sum of the missed messages is sent, not the messages."""
    monkeypatch.setattr("indexer.stream_ring.RING", 50)
    with socket.socket() as slow:
        slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        slow.connect(("127.0.0.1", serving.port))
        slow.sendall(f"GET {BOARD}/stream HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        for turn in range(40):
            mine(serving, *[(player, turn + number) for number, player in enumerate(PLAYERS)])
        last = now_id(serving).encode()
        received, reader = b"", Reader()
        slow.settimeout(60)
        while b"\n\n" not in received.partition(b"id: " + last)[2]:
            received += slow.recv(1 << 20)
    text = received.partition(b"\r\n\r\n")[2].decode()
    kinds: list[str] = []
    for frame in undo_chunks(text).split("\n\n"):
        fields = dict(line.split(": ", 1) for line in frame.split("\n") if ": " in line and not line.startswith(":"))
        if "data" in fields:
            reader._event(fields["id"], fields["event"], json.loads(fields["data"]))
            kinds.append(fields["event"])
    assert kinds.count("snapshot") >= 2
    fresh = Client(serving)
    fresh.until(now_id(serving))
    assert reader.top() == fresh.top()
    fresh.stream.close()


def undo_chunks(text: str) -> str:
    """The body of a chunked answer (RFC 9112, section 7.1), without what is not complete."""
    body = ""
    while "\r\n" in text:
        size, _, text = text.partition("\r\n")
        length = int(size, 16)
        if len(text) < length or length == 0:
            body += text[:length]
            break
        body, text = body + text[:length], text[length + 2 :]
    return body


def test_shutdown_ends_open_streams(sqlite_url: str) -> None:
    serving = Serving(sqlite_url, FakeChain())
    request = f"GET {BOARD}/stream HTTP/1.1\r\nHost: x\r\n\r\n".encode()
    readers = [socket.create_connection(("127.0.0.1", serving.port)) for _ in range(300)]
    for reader in readers:
        reader.sendall(request)
    deadline = time.monotonic() + 60
    while serving.service.hub.readers < 300 and time.monotonic() < deadline:
        time.sleep(0.01)
    assert serving.service.hub.readers == 300
    serving.stop()
    for reader in readers:
        reader.settimeout(60)
        while reader.recv(65536):
            pass
        reader.close()


def test_shutdown_does_not_wait_for_a_reader_that_never_reads(sqlite_url: str) -> None:
    """Who waits for it waits for ever."""
    serving = Serving(sqlite_url, FakeChain())
    with socket.socket() as stuck:
        stuck.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        stuck.connect(("127.0.0.1", serving.port))
        stuck.sendall(f"GET {BOARD}/stream HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        for turn in range(30):
            mine(serving, *[(player, turn + number) for number, player in enumerate(PLAYERS)])
        serving.stop()
        assert serving.service.hub.readers == 0
