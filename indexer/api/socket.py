"""A board's stream over WebSocket (RFC 6455): the messages of the event stream, one text frame each.

Touches HTTP through ASGI only; the writing is done by `indexer.stream`. No origin is refused: nothing here depends on
cookies, so a foreign page learns no more than its visitor could without it.
"""

import asyncio
from contextlib import suppress
from typing import Annotated

import msgspec

from indexer.api.params import PATHS, SocketQuery
from indexer.api.stream import MESSAGES, STREAM_ERRORS, Presented, Wishes, full, presented
from indexer.frames import WEBSOCKET
from indexer.reading import Reading
from indexer.stream import Hub, Wish
from relay import strict_json
from relay.api.operations import LINE, Call, Operation, Receive, Response, Send
from relay.errors import CallerError, FairscoreError

HELLO_S = 10.0
REASON_MAX = 120  # a close frame's reason has at most 123 bytes (RFC 6455, section 5.5)
CLOSE_REFUSED = 1008  # RFC 6455, section 7.4.1: policy violation
CLOSE_RESTART = 1012  # "service restart": come again

DESCRIPTION = f"""\
A WebSocket handshake; then the JSON that the event stream has in `data:`, one text message each. The id to resume from
is `<epoch>-<seq>`, the epoch being the last snapshot's; give it as `?after=`. With `?hello=wait` the stream begins
after the client's first message, `{{"after": "…", "key": "…"}}`, both optional: a browser's page can set no header.
What a client sends otherwise is ignored. {MESSAGES} A message of type `heartbeat` with `epoch` and `seq` comes every
15 s. Close code 1012: come again."""


class Hello(strict_json.Request, frozen=True):
    """A client's first message."""

    after: Annotated[str, msgspec.Meta(max_length=64)] = ""
    key: Annotated[str, msgspec.Meta(max_length=512)] | None = None


_hello = msgspec.json.Decoder(Hello)


class SocketLine:
    """One WebSocket connection, already accepted or not."""

    wire = WEBSOCKET

    def __init__(self, call: Call, receive: Receive, send: Send) -> None:
        self._receive, self._send = receive, send
        self.take_over = call.scope["extensions"][LINE].take_over
        self.accepted = False

    async def accept(self) -> None:
        """Answer the handshake."""
        if not self.accepted:
            self.accepted = True
            await self._send({"type": "websocket.accept"})

    async def hello(self) -> Hello:
        """Return the client's first message.

        Raises:
            CallerError: it said nothing in time (REQUEST_TIMEOUT), or not that (PAYLOAD_MALFORMED).
        """
        try:
            message = await asyncio.wait_for(self._receive(), HELLO_S)
        except TimeoutError:
            raise CallerError("REQUEST_TIMEOUT", f"With hello=wait a message is sent within {HELLO_S:.0f} s.") from None
        return strict_json.decode(_hello, (message.get("text") or "").encode())

    async def refuse(self, code: int, reason: str) -> None:
        """Close before the stream began."""
        with suppress(OSError):  # the client was quicker
            await self._send({"type": "websocket.close", "code": code, "reason": reason})


class Sockets:
    """The operation."""

    def __init__(self, reading: Reading, hub: Hub) -> None:
        self._wishes = Wishes(reading)
        self._hub = hub

    async def socket(self, call: Call, receive: Receive, send: Send) -> None:
        """Begin the stream."""
        board = self._wishes.board(call)
        line = SocketLine(call, receive, send)
        wish = self._wishes.of(call, call.query.after or "", call.query.player, presented(call))
        await receive()  # `websocket.connect`
        if call.query.hello is not None:
            try:
                wish = await self._told(call, line)
            except FairscoreError as error:
                await line.refuse(CLOSE_REFUSED, f"{error.code}: {error.detail}"[:REASON_MAX])
                return
        if await self._hub.serve(board, line, wish):
            return
        if not line.accepted:
            raise full()
        await line.refuse(CLOSE_RESTART, "")

    async def _told(self, call: Call, line: SocketLine) -> Wish:
        """Return what the client says it wishes; an error where it does not say so as it should."""
        await line.accept()
        hello = await line.hello()
        by = presented(call) if hello.key is None else Presented(hello.key, await call.identify(hello.key))
        return self._wishes.of(call, hello.after or call.query.after or "", call.query.player, by)

    def operations(self) -> list[Operation]:
        """Return the declaration."""
        return [
            Operation(
                "GET", "/api/leaderboards/{gameId}/{board}/ws", "A board as it changes, over WebSocket", self.socket,
                {101: Response(description="the handshake; then messages as the event stream has them")},
                (*STREAM_ERRORS, "UPGRADE_REQUIRED"), query=SocketQuery, parameters=PATHS, socket=True,
                tag="Leaderboards", description=DESCRIPTION,
            )
        ]  # fmt: skip
