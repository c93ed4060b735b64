"""Answers that go on after their application has returned, over real sockets: what is held, told and let go of."""

import asyncio
import logging
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from relay import outlet
from relay.api.operations import LINE, Pipe
from relay.connection import Connection
from relay.server import Server, listen
from relay.socket import Socket

REQUEST = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
START = {"type": "http.response.start", "status": 200, "headers": [(b"transfer-encoding", b"chunked")]}
FRAME = b"\x81\x02hi"


class House:
    """A server whose one application hands every connection over."""

    def __init__(self) -> None:
        listener = listen("127.0.0.1", 0)
        self.port = listener.getsockname()[1]
        self.listener = listener
        self.server = Server(self, lambda: None)
        self.pipes: list[Pipe] = []
        self.gone = 0
        self.wait: asyncio.Event | None = None  # before it hands over

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Begin the answer, hand over, return."""
        if scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.accept"})
        else:
            await send(START)
        if self.wait is not None:
            await self.wait.wait()
        self.pipes.append(scope["extensions"][LINE].take_over(self._gone))

    def _gone(self) -> None:
        self.gone += 1

    async def pipe(self) -> Pipe:
        """The next connection that is handed over."""
        await self.until(lambda: bool(self.pipes))
        return self.pipes.pop()

    async def until(self, reached: Callable[[], bool]) -> None:
        """Wait for something that happens by itself."""
        async with asyncio.timeout(60):
            while not reached():  # noqa: ASYNC110 - of the server's own doing
                await asyncio.sleep(0.002)

    @property
    def open(self) -> int:
        """Connections that the server counts."""
        return len(self.server.server_state.connections)


@asynccontextmanager
async def running() -> AsyncIterator[House]:
    """A server, and its end."""
    house = House()
    task = asyncio.create_task(house.server.serve(sockets=[house.listener]))
    await house.until(lambda: house.server.started)
    try:
        yield house
    finally:
        house.server.stop()
        await task


def run(scenario: Callable[[House], Awaitable[None]]) -> None:
    """Run a scenario against a server of its own."""

    async def whole() -> None:
        async with asyncio.timeout(60), running() as house:
            await scenario(house)

    asyncio.run(whole())


def deaf(house: House) -> socket.socket:
    """A client that asks and never reads."""
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    client.connect(("127.0.0.1", house.port))
    client.sendall(REQUEST)
    return client


async def fill(pipe: Pipe) -> None:
    """Write until the connection takes no more."""
    while pipe.write(bytes(4096)):  # noqa: ASYNC110 - it is full when it says so
        await asyncio.sleep(0)


def test_an_answer_goes_on_after_its_application_and_ends(caplog: pytest.LogCaptureFixture) -> None:
    """Nothing is held but the outlet, and nobody logs that the application forgot something."""

    async def scenario(house: House) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", house.port)
        writer.write(REQUEST + REQUEST)  # the second is never answered: the first answer goes on
        pipe = await house.pipe()
        await house.until(lambda: not house.server.server_state.tasks)
        assert pipe in set[object](house.server.server_state.connections)
        assert pipe.write(b"2\r\nhi\r\n")
        pipe.finish()
        assert not pipe.write(b"2\r\nno\r\n")
        answer = await reader.read()
        assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
        assert answer.endswith(b"\r\n\r\n2\r\nhi\r\n0\r\n\r\n")
        await house.until(lambda: house.gone == 1)
        assert house.open == 0
        writer.close()

    with caplog.at_level(logging.WARNING):
        run(scenario)
    assert not caplog.records


def test_a_client_that_leaves_is_told_of_once() -> None:
    async def scenario(house: House) -> None:
        _, writer = await asyncio.open_connection("127.0.0.1", house.port)
        writer.write(REQUEST)
        pipe = await house.pipe()
        writer.close()
        await house.until(lambda: house.gone == 1)
        assert not pipe.write(b"2\r\nhi\r\n")
        with pytest.raises(ConnectionError):
            await pipe.room()
        pipe.finish()
        pipe.abort()
        await asyncio.sleep(0.01)
        assert (house.gone, house.open) == (1, 0)

    run(scenario)


@pytest.mark.parametrize("by_socket", [False, True])
def test_a_client_that_left_before_is_told_of_too(by_socket: bool) -> None:
    async def scenario(house: House) -> None:
        house.wait = asyncio.Event()
        if by_socket:
            await (await opened(house)).close()
        else:
            _, writer = await asyncio.open_connection("127.0.0.1", house.port)
            writer.write(REQUEST)
            await house.until(lambda: bool(house.server.server_state.tasks))
            writer.close()
        await house.until(lambda: house.open == 0)
        house.wait.set()
        assert not (await house.pipe()).write(FRAME)
        await house.until(lambda: house.gone == 1)

    run(scenario)


def test_one_that_never_reads_is_full_and_let_go_of_at_once() -> None:
    async def scenario(house: House) -> None:
        with deaf(house):
            pipe = await house.pipe()
            await fill(pipe)
            waiting = asyncio.ensure_future(pipe.room())
            await asyncio.sleep(0.01)
            assert not waiting.done()
            pipe.abort()
            with pytest.raises(ConnectionError):
                await waiting
            assert (house.gone, house.open) == (1, 0)

    run(scenario)


def test_one_that_never_reads_does_not_put_off_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outlet, "END_S", 0.05)

    async def scenario(house: House) -> None:
        with deaf(house):
            pipe = await house.pipe()
            await fill(pipe)
            pipe.finish()
            assert house.open == 1
            await house.until(lambda: house.gone == 1)
            assert house.open == 0

    run(scenario)


async def opened(house: House) -> ClientConnection:
    """A WebSocket."""
    return await connect(f"ws://127.0.0.1:{house.port}/", compression=None)


def test_a_websocket_goes_on_too_and_hears_only_pings_and_the_end() -> None:
    async def scenario(house: House) -> None:
        async with await opened(house) as client:
            pipe = await house.pipe()
            await house.until(lambda: not house.server.server_state.tasks)
            assert isinstance(pipe, Socket)
            assert pipe._parser is None  # it has not heard anything yet
            assert pipe.write(FRAME)
            assert await client.recv() == "hi"
            for _ in range(50):
                await client.send("anything")
            await client.send([b"in ", b"parts"])
            await (await client.ping(b"there?"))
            assert pipe.write(FRAME)
            assert await client.recv() == "hi"
        await house.until(lambda: house.gone == 1)
        assert client.close_code == 1000
        assert not pipe.write(FRAME)

    run(scenario)


def test_a_websocket_is_ended_from_this_side() -> None:
    async def scenario(house: House) -> None:
        async with await opened(house) as client:
            (await house.pipe()).finish()
            with pytest.raises(ConnectionClosed):
                await client.recv()
            assert client.close_code == 1012
        await house.until(lambda: (house.gone, house.open) == (1, 0))

    run(scenario)


@pytest.mark.parametrize("sent", [b"\x81\x01x", b"\xff\xff\xff\xff"])
def test_what_is_no_websocket_ends_it(sent: bytes) -> None:
    """A frame that is not masked, an opcode that does not exist."""

    async def scenario(house: House) -> None:
        async with await opened(house) as client:
            client.transport.write(sent)
            with pytest.raises(ConnectionClosed):
                await client.recv()
        await house.until(lambda: house.open == 0)

    run(scenario)


def test_a_handshake_with_more_headers_than_can_be_taken_is_answered() -> None:
    async def scenario(house: House) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", house.port)
        many = b"".join(b"x-%d: y\r\n" % number for number in range(200))
        writer.write(
            b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
            b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n" + many + b"\r\n"
        )
        async with asyncio.timeout(60):
            assert (await reader.read()).startswith(b"HTTP/1.1 400 ")
        assert house.open == 0
        writer.close()

    run(scenario)


def test_nothing_of_the_request_is_kept() -> None:
    """Its parser, scope and connection are gone without a collection."""
    import gc

    async def scenario(house: House) -> None:
        gc.collect()
        gc.disable()
        try:
            clients = [await asyncio.open_connection("127.0.0.1", house.port) for _ in range(3)]
            for _, writer in clients:
                writer.write(REQUEST)
            await house.until(lambda: len(house.pipes) == 3)
            await house.until(lambda: not house.server.server_state.tasks)
            async with await opened(house), asyncio.timeout(60):
                await asyncio.sleep(0.01)
                assert sum(isinstance(one, Connection) for one in gc.get_objects()) == 0
            for _, writer in clients:
                writer.close()
        finally:
            gc.enable()

    run(scenario)
