"""New blocks announced by WebSocket: who hears, who is not heard any more, and what is asked for meanwhile."""

import asyncio
import json
import re
from collections.abc import Awaitable, Callable

import pytest
from aiohttp import WSMsgType, web

from indexer import heads
from indexer.events import Header
from indexer.heads import NewHeads
from indexer.pace import NO_BLOCK, Pace

Serve = Callable[[web.WebSocketResponse], Awaitable[None]]


class Announcer:
    """A WebSocket endpoint that serves each connection by a script; the last script serves all further ones."""

    def __init__(self, *scripts: Serve) -> None:
        self._scripts = list(scripts)
        self.connections = 0

    async def serve(self, request: web.Request) -> web.WebSocketResponse:
        """One connection."""
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        script = self._scripts[min(self.connections, len(self._scripts) - 1)]
        self.connections += 1
        await script(socket)
        return socket


async def subscribe(socket: web.WebSocketResponse) -> None:
    """Take the subscription."""
    asked = json.loads((await socket.receive()).data)
    assert asked["method"] == "eth_subscribe"
    assert asked["params"] == ["newHeads"]
    await socket.send_json({"jsonrpc": "2.0", "id": asked["id"], "result": "0xabc"})


async def announce(socket: web.WebSocketResponse, number: object, subscription: str = "0xabc") -> None:
    """Announce a block."""
    head = {"subscription": subscription, "result": {"number": number}}
    await socket.send_json({"jsonrpc": "2.0", "method": "eth_subscription", "params": head})


async def stay(socket: web.WebSocketResponse) -> None:
    """Keep the connection until the client goes."""
    while (await socket.receive()).type is not WSMsgType.CLOSE:
        pass


async def until(condition: Callable[[], bool]) -> None:
    """Wait for something to become true."""
    async with asyncio.timeout(60):
        while not condition():  # noqa: ASYNC110 - whatever is waited for
            await asyncio.sleep(0.005)


def with_endpoint(announcer: Announcer, work: Callable[[str], Awaitable[None]]) -> None:
    """Run `work` beside a real endpoint."""

    async def play() -> None:
        app = web.Application()
        app.router.add_get("/{path:.*}", announcer.serve)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        try:
            await work(f"ws://127.0.0.1:{runner.addresses[0][1]}/s3cret-token")
        finally:
            await runner.cleanup()

    asyncio.run(play())


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Silences and rests are short here."""
    monkeypatch.setattr(heads, "SILENCE_S", 0.05)
    monkeypatch.setattr(heads, "AGAIN_S", (0.01,))


async def good(socket: web.WebSocketResponse) -> None:
    """Announce three blocks, and what is none of ours."""
    await socket.send_json({"jsonrpc": "2.0", "method": "something", "params": []})
    await subscribe(socket)
    await announce(socket, "0x5")
    await announce(socket, "0x99", subscription="0xother")
    await announce(socket, "0x6")
    await socket.send_json({"jsonrpc": "2.0", "id": 9, "result": None})
    await announce(socket, "0x7")
    await stay(socket)


def test_announced_blocks_are_told_in_order_and_the_token_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(heads, "SILENCE_S", 0.5)  # a pause of the machine is none

    async def work(url: str) -> None:
        told: list[int] = []
        subscription = NewHeads([url], told.append, lambda: 7)
        assert list(subscription.trouble.values()) == ["not connected yet"]
        running = asyncio.create_task(subscription.run())
        await until(lambda: told == [5, 6, 7])
        await asyncio.sleep(1.2)  # two silences, in which there was nothing to announce
        assert subscription.live
        assert list(subscription.trouble.values()) == [""]
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        assert [subscription.live] == [False]
        assert "s3cret" not in repr(subscription.trouble)

    announcer = Announcer(good)
    with_endpoint(announcer, work)
    assert announcer.connections == 1


async def refuses(socket: web.WebSocketResponse) -> None:
    """Know no subscriptions."""
    await socket.receive()
    fault = {"code": -32601, "message": "the method eth_subscribe does not exist"}
    await socket.send_json({"jsonrpc": "2.0", "id": 1, "error": fault})
    await stay(socket)


async def closes(socket: web.WebSocketResponse) -> None:
    """Go away after the subscription."""
    await subscribe(socket)
    await socket.close()


async def babbles(socket: web.WebSocketResponse) -> None:
    """Say what is not JSON."""
    await subscribe(socket)
    await socket.send_str("<html>")
    await stay(socket)


async def nonsense(socket: web.WebSocketResponse) -> None:
    """Announce something that is no block."""
    await subscribe(socket)
    await announce(socket, {"not": "a number"})
    await stay(socket)


async def silent(socket: web.WebSocketResponse) -> None:
    """Take the subscription and say nothing, ever."""
    await subscribe(socket)
    await stay(socket)


@pytest.mark.parametrize(
    ("script", "why"),
    [
        (refuses, "refuses the subscription.*does not exist"),
        (closes, "closed the connection"),
        (babbles, "not JSON-RPC"),
        (nonsense, "no block"),
        (silent, "announced nothing, although block"),
    ],
)
def test_whoever_fails_is_named_and_connected_to_again(
    script: Serve, why: str, caplog: pytest.LogCaptureFixture
) -> None:
    async def work(url: str) -> None:
        told: list[int] = []
        newest = 1

        def moving() -> int:
            nonlocal newest
            newest += 1
            return newest

        subscription = NewHeads([url], told.append, moving)
        running = asyncio.create_task(subscription.run())
        await until(lambda: told == [5, 6, 7])
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)

    with_endpoint(Announcer(script, good), work)
    assert re.search(why, caplog.text)
    assert "s3cret" not in caplog.text


def test_an_endpoint_that_is_not_there_does_not_keep_another_from_being_heard() -> None:
    async def work(url: str) -> None:
        told: list[int] = []
        subscription = NewHeads(["ws://127.0.0.1:1/x", url], told.append, lambda: 7)
        running = asyncio.create_task(subscription.run())
        await until(lambda: told == [5, 6, 7])
        assert subscription.live
        await until(lambda: "the connection failed" in subscription.trouble["127.0.0.1:1"])
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)

    with_endpoint(Announcer(good), work)


def test_the_pace_is_the_chains_and_slow_while_somebody_announces() -> None:
    pace = Pace()
    assert pace.pause_s(None, subscribed=False) == 0.1
    for first in range(0, 400, 10):
        pace.took([Header(number, b"", b"", number * 12) for number in range(first, first + 10)])
    assert pace.pause_s(5, subscribed=False) == 1.0
    assert pace.pause_s(5, subscribed=True) == 5.0
    assert pace.pause_s(None, subscribed=True) == 1.0  # before anything was seen it is asked as ever
    pace.announced(6)
    assert pace.pause_s(5, subscribed=True) == 1.0  # the provider that is asked has not heard of it yet
    assert pace.pause_s(6, subscribed=True) == 5.0
    pace.announced(NO_BLOCK)
    assert pace.pause_s(6, subscribed=True) == 5.0
    for first in range(0, 400, 10):
        pace.took([Header(number, b"", b"", 0) for number in range(first, first + 10)])
    assert pace.pause_s(6, subscribed=False) == 0.05
    assert pace.pause_s(6, subscribed=True) == 1.0
    assert Pace(0.3).pause_s(6, subscribed=True) == 0.3
