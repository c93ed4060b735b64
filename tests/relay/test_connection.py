"""Limits of a connection, over real sockets: heads, slowness, and refusals below the application."""

import asyncio
import json
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import pytest

from relay import connection
from relay.connection import HEAD_MAX, REQUEST_S, Connection
from relay.server import Server, listen

HEAD = b"HTTP/1.1 %d "


async def app(scope: Any, receive: Any, send: Any) -> None:
    """Read the body, then answer with its size; `/wait` answers a second later."""
    size, more = 0, True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            return
        size, more = size + len(message.get("body", b"")), message.get("more_body", False)
    if scope["path"] == "/wait":
        await asyncio.sleep(1)
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(str(size)))]})
    await send({"type": "http.response.body", "body": str(size).encode()})


Ask = Callable[..., Coroutine[Any, Any, bytes]]


@asynccontextmanager
async def serving() -> AsyncIterator[tuple[Server, Ask]]:
    """A running server, and how to send it raw bytes: returns what it says until it closes."""
    listener: socket.socket = listen("127.0.0.1", 0)
    port = listener.getsockname()[1]
    server = Server(app, lambda: None)
    task = asyncio.create_task(server.serve(sockets=[listener]))
    while not server.started:  # noqa: ASYNC110 - uvicorn tells it no other way
        await asyncio.sleep(0.01)

    async def ask(*parts: bytes) -> bytes:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        try:
            for part in parts:
                writer.write(part)
                await writer.drain()
        except ConnectionError:
            pass  # it may have heard enough; its answer is there all the same
        answer = b""
        try:
            async with asyncio.timeout(60):
                while found := await reader.read(65_536):
                    answer += found
        except ConnectionError:
            pass
        writer.close()
        return answer

    try:
        yield server, ask
    finally:
        server.stop()
        await task


def run(scenario: Callable[[Server, Ask], Awaitable[None]]) -> None:
    """Run a scenario against a server of its own."""

    async def whole() -> None:
        async with serving() as (server, ask):
            await scenario(server, ask)

    asyncio.run(whole())


def refusal(answer: bytes) -> dict[str, Any]:
    """The problem in an answer, whose head names the request it belongs to."""
    head, _, body = answer.partition(b"\r\n\r\n")
    document: dict[str, Any] = json.loads(body)
    assert head.startswith(HEAD % document["status"])
    assert b"content-type: application/problem+json" in head
    assert f"x-request-id: {document['requestId']}".encode() in head
    assert b"connection: close" in head
    return document


ENDLESS = {
    "one header": (b"GET / HTTP/1.1\r\nHost: x\r\nX-A: ", b"a" * 65_536),
    "many headers": (b"GET / HTTP/1.1\r\nHost: x\r\n", b"X-A: 1\r\n" * 8192),
    "address": (b"GET /", b"a" * 65_536),
    "chunk extension": (b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5;", b"a" * 65_536),
    "trailer": (b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX-A: ", b"a" * 65_536),
    "empty lines": (b"", b"\r\n" * 32_768),
}


@pytest.mark.parametrize("parts", ENDLESS.values(), ids=ENDLESS.keys())
def test_what_never_ends_is_cut_off(parts: tuple[bytes, bytes]) -> None:
    """50 MB that complete nothing cost neither memory nor time: uvicorn alone spent a minute joining one header."""

    async def scenario(server: Server, ask: Ask) -> None:
        started = time.thread_time()  # of the loop that both sides share
        answer = await ask(parts[0], *[parts[1]] * 800)
        assert time.thread_time() - started < 20
        assert not answer.startswith(HEAD % 200)
        assert not server.server_state.connections

    run(scenario)


def test_a_long_head_is_431() -> None:
    """A head above the limit is told so; one below it, in many packets, and a body of any size are taken."""

    async def scenario(_: Server, ask: Ask) -> None:
        long = b"X-A: " + b"a" * HEAD_MAX
        assert refusal(await ask(b"GET / HTTP/1.1\r\nHost: x\r\n", long))["code"] == "HEAD_TOO_LARGE"
        short = [b"X-%d: %s\r\n" % (index, b"a" * 1000) for index in range(60)]
        fine = await ask(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n", *short, b"\r\n")
        assert fine.startswith(HEAD % 200)
        head = b"POST / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 3000000\r\n\r\n"
        assert (await ask(head, *[b"x" * 100_000] * 30)).endswith(b"3000000")
        chunked = b"POST / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n"
        assert (await ask(chunked, *[b"1\r\nx\r\n"] * 50_000, b"0\r\n\r\n")).endswith(b"50000")

    run(scenario)


def test_bytes_that_are_not_http_are_a_problem() -> None:
    """Even what no application sees is answered as everything else is."""

    async def scenario(_: Server, ask: Ask) -> None:
        for bytes_sent in (
            b"FOO / HTTP/1.1\r\n\r\n",
            b"\x16\x03\x01\x02\x00\x01",
            b"GET / HTTP/1.1\r\nA: \x00\r\n\r\n",
        ):
            assert refusal(await ask(bytes_sent))["code"] == "REQUEST_MALFORMED"

    run(scenario)


def test_an_answer_under_way_is_not_mixed_with_a_refusal() -> None:
    """Garbage behind a request that is still being answered ends the connection; nothing else is written into it."""

    async def scenario(_: Server, ask: Ask) -> None:
        answer = await ask(b"GET /wait HTTP/1.1\r\nHost: x\r\n\r\n", b"\x00\x01garbage\r\n\r\n")
        assert b"REQUEST_MALFORMED" not in answer

    run(scenario)


def test_an_unfinished_request_is_timed_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing sent, half a head, half a body: let go of; a slow answer of ours is not."""
    monkeypatch.setattr(connection, "REQUEST_S", 0.2)
    monkeypatch.setattr("relay.server.SWEEP_TICKS", 1)

    async def scenario(server: Server, ask: Ask) -> None:
        half_body = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nhalf"
        quiet, half_head, body, slow = await asyncio.gather(
            ask(b""), ask(b"GET / HT"), ask(half_body), ask(b"GET /wait HTTP/1.1\r\nConnection: close\r\n\r\n")
        )
        assert {refusal(one)["code"] for one in (quiet, half_head, body)} == {"REQUEST_TIMEOUT"}
        assert slow.startswith(HEAD % 200)
        assert not server.server_state.connections

    run(scenario)
    assert REQUEST_S == 60.0


def test_a_connection_kept_alive_starts_its_clock_with_each_request() -> None:
    """Between requests uvicorn's own keep-alive counts, and a new request has its whole time."""

    async def scenario(server: Server, ask: Ask) -> None:
        asking = asyncio.create_task(ask(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"))
        while not server.server_state.total_requests:  # noqa: ASYNC110 - uvicorn tells it no other way
            await asyncio.sleep(0.01)
        (one,) = server.server_state.connections
        assert isinstance(one, Connection)
        assert not one.overdue(asyncio.get_running_loop().time() + 1000)
        one.data_received(b"GET / HT")
        now = asyncio.get_running_loop().time()
        assert not one.overdue(now + 59)
        assert one.overdue(now + 61)
        one.transport.close()
        await asking

    run(scenario)
