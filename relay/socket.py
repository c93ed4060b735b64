"""One WebSocket connection (RFC 6455) as an ASGI server's protocol, which holds little while only frames go out.

Touches the connection's transport. A stream's frames are the same for all its readers: they are made once, and written
as they are through the connection as a `Pipe`. Clients hardly speak, so what listening needs is made when they do;
uvicorn's own protocol keeps that, the request, its answer and three queues for as long as the connection is open.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from http import HTTPStatus
from typing import Any
from urllib.parse import unquote

from uvicorn.config import Config
from uvicorn.protocols.utils import ClientDisconnected, get_local_addr, get_remote_addr, is_ssl
from uvicorn.server import ServerState
from websockets.datastructures import Headers
from websockets.frames import Frame, Opcode
from websockets.http11 import Request, Response
from websockets.protocol import SERVER, Protocol
from websockets.server import ServerProtocol

from relay.api.operations import LINE, Pipe, Scope
from relay.outlet import Outlet

MESSAGE_MAX = 4096  # bytes of what a client sends: where to resume, and a key
RESTART = 1012  # RFC 6455, section 7.4.1: "service restart"
NOT_TEXT = 1007

_log = logging.getLogger("fairscore.websocket")
_log.setLevel(logging.WARNING)


class Socket(Outlet):
    """A WebSocket connection: uvicorn makes it and feeds it the request of the handshake."""

    __slots__ = ("_answer", "_config", "_events", "_handshake", "_opcode", "_parser", "_parts", "_state", "_waiter")

    def __init__(self, config: Config, server_state: ServerState, app_state: dict[str, Any]) -> None:
        super().__init__(server_state)
        self._config, self._state = config, app_state
        self._handshake: ServerProtocol | None = ServerProtocol(logger=_log)  # until it is answered
        self._answer: Response | None = None  # to the handshake, while the application decides about it
        self._parser: Protocol | None = None  # once the client has said something
        self._events: deque[dict[str, Any]] | None = None  # that the application did not take yet
        self._waiter: asyncio.Future[None] | None = None  # the application's, for an event
        self._opcode, self._parts = Opcode.TEXT, b""  # of a message that is not complete yet

    # ------------------------------------------------------------------ what the transport says

    def connection_lost(self, exc: Exception | None) -> None:
        """Wake whoever waits for this connection."""
        super().connection_lost(exc)
        self._parser = None
        self._tell({"type": "websocket.disconnect", "code": 1006})

    def pause_writing(self) -> None:
        """Hear no more, either: who asks for pongs and takes none would fill the memory with them."""
        super().pause_writing()
        self.transport.pause_reading()

    def resume_writing(self) -> None:
        """Hear again."""
        super().resume_writing()
        self._hear()

    def data_received(self, data: bytes) -> None:
        """Take the handshake, or frames; pings and close frames are answered here."""
        if self._handshake is not None:
            self._shake_hands(self._handshake, data)
            return
        parser = self._listening()
        parser.receive_data(data)
        for event in parser.events_received():
            if isinstance(event, Frame):
                self._heard(parser, event)
        self._flush(parser)
        if parser.parser_exc is not None:
            self._hang_up()

    def shutdown(self) -> None:
        """Close: the server stops."""
        if self._answer is not None:
            self._refuse(HTTPStatus.SERVICE_UNAVAILABLE)
        else:
            self.finish()
            self._hang_up()

    # --------------------------------------------------------------------------------- the pipe

    def take_over(self, gone: Callable[[], None]) -> Pipe:
        """Go on without the application, which says no more; what the client says is ignored from now on."""
        self.keep(gone)
        self._events = None
        self._hear()
        return self

    def finish(self) -> None:
        """Say that the server goes; the client closes, or is closed."""
        if not self._closing:
            self._send_close(RESTART, "")

    # ------------------------------------------------------------------------------------ ASGI

    async def receive(self) -> dict[str, Any]:
        """Return the next event: `websocket.connect`, messages, `websocket.disconnect` for ever."""
        while not self._events:
            if self._closing:
                return {"type": "websocket.disconnect", "code": 1006}
            self._waiter = asyncio.get_running_loop().create_future()
            await self._waiter
        event = self._events.popleft()
        if not self._events:
            self._events = None
            self._hear()
        return event

    async def send(self, message: Any) -> None:
        """Take an ASGI message; waits while the connection is full.

        Raises:
            ClientDisconnected: the client is gone.
        """
        if self._room is not None and message["type"] == "websocket.send":  # an end waits for nobody
            await asyncio.shield(self._room)
        if self._closing:
            raise ClientDisconnected
        match message["type"]:
            case "websocket.accept" if self._answer is not None and self._handshake is not None:
                self._accept(self._handshake, self._answer, message.get("headers", ()))
            case "websocket.http.response.start" if self._answer is not None:
                headers = Headers(
                    [(name.decode("latin-1"), value.decode("latin-1")) for name, value in message["headers"]]
                )
                self._answer = Response(message["status"], HTTPStatus(message["status"]).phrase, headers, b"")
            case "websocket.http.response.body" if self._answer is not None:
                self._answer.body = (self._answer.body or b"") + message["body"]
                if not message.get("more_body", False):
                    self._refused(self._answer)
            case "websocket.close" if self._answer is not None:
                self._refuse(HTTPStatus.FORBIDDEN)
            case "websocket.close":
                self._send_close(message.get("code", 1000), message.get("reason") or "")
            case "websocket.send" if self._answer is None:
                text, raw = message.get("text"), message.get("bytes")
                frame = Frame(Opcode.BINARY, raw) if text is None else Frame(Opcode.TEXT, text.encode())
                self.transport.write(frame.serialize(mask=False))
            case other:
                raise RuntimeError(f"unexpected ASGI message {other!r}")

    # ----------------------------------------------------------------------------- the handshake

    def _shake_hands(self, handshake: ServerProtocol, data: bytes) -> None:
        """Let the application decide about a handshake that is well made; uvicorn hands over a whole request."""
        handshake.receive_data(data)
        request = next(iter(handshake.events_received()), None)
        if not isinstance(request, Request):  # a line or the number of lines is too much for the parser
            self._refuse(HTTPStatus.BAD_REQUEST)
            return
        answer = handshake.accept(request)
        if answer.status_code != HTTPStatus.SWITCHING_PROTOCOLS:
            self._refused(answer)
            return
        self._answer = answer
        self._events = deque([{"type": "websocket.connect"}])
        self.transport.pause_reading()  # a client has nothing to say before it is answered
        task = asyncio.get_running_loop().create_task(self._run(self._scope(request)))
        self._server.tasks.add(task)
        task.add_done_callback(self._server.tasks.discard)

    def _scope(self, request: Request) -> Scope:
        path, _, query = request.path.partition("?")
        root = self._config.root_path
        return {
            "type": "websocket",
            "asgi": {"version": self._config.asgi_version, "spec_version": "2.4"},
            "http_version": "1.1",
            "scheme": "wss" if is_ssl(self.transport) else "ws",
            "server": get_local_addr(self.transport),
            "client": get_remote_addr(self.transport),
            "root_path": root,
            "path": root + unquote(path),
            "raw_path": (root + path).encode("ascii"),
            "query_string": query.encode("ascii"),
            "headers": [
                (name.encode("ascii").lower(), value.encode("ascii", "surrogateescape"))
                for name, value in request.headers.raw_items()
            ],
            "subprotocols": [],
            "state": self._state.copy(),
            "extensions": {"websocket.http.response": {}, LINE: self},
        }

    async def _run(self, scope: Scope) -> None:
        try:
            await self._config.loaded_app(scope, self.receive, self.send)
        except ClientDisconnected:
            pass
        except Exception:  # noqa: BLE001 - an application's mistake ends its connection only
            _log.exception("a WebSocket's application failed")
        if self._answer is not None:
            self._refuse(HTTPStatus.INTERNAL_SERVER_ERROR)
        if self._gone is None and not self._closing:
            self._hang_up()

    def _accept(self, handshake: ServerProtocol, answer: Response, headers: Any) -> None:
        del answer.headers["Date"]  # the server's own headers have it
        for name, value in (*self._server.default_headers, *headers):
            answer.headers[name.decode("latin-1")] = value.decode("latin-1")
        self.transport.write(answer.serialize())
        handshake.parser.close()  # it knows the handshake, which would wait for a collection
        self._handshake = self._answer = None
        self._hear()

    def _refuse(self, status: HTTPStatus) -> None:
        self._refused(Response(status, status.phrase, Headers(), b""))

    def _refused(self, answer: Response) -> None:
        """Answer the handshake with something else, and close."""
        self._answer = None
        if not self.transport.is_closing():
            answer.headers.setdefault("Connection", "close")
            answer.headers.setdefault("Content-Length", str(len(answer.body or b"")))
            self.transport.write(answer.serialize())
        self._hang_up()

    # ------------------------------------------------------------------------------------ frames

    def _listening(self) -> Protocol:
        """Return the state that listening needs, from now on kept."""
        if self._parser is None:
            self._parser = Protocol(SERVER, max_size=MESSAGE_MAX, logger=_log)
        return self._parser

    def _hear(self) -> None:
        """Let the client speak, if what it said is taken and it takes what it is told."""
        if self._room is None and not self._events and self._answer is None:
            self.transport.resume_reading()

    def _flush(self, parser: Protocol) -> None:
        if data := b"".join(parser.data_to_send()):
            self.transport.write(data)

    def _heard(self, parser: Protocol, frame: Frame) -> None:
        if frame.opcode is Opcode.CLOSE:
            self._flush(parser)
            self._hang_up()
        elif frame.opcode in {Opcode.TEXT, Opcode.BINARY, Opcode.CONT} and not self._closing:
            if frame.opcode is not Opcode.CONT:
                self._opcode = frame.opcode
            self._parts += frame.data
            if frame.fin:
                data, self._parts = self._parts, b""
                self._message(parser, data)

    def _message(self, parser: Protocol, data: bytes) -> None:
        if self._gone is not None:
            return
        event: dict[str, Any] = {"type": "websocket.receive", "bytes": data}
        if self._opcode is Opcode.TEXT:
            try:
                event = {"type": "websocket.receive", "text": data.decode()}
            except UnicodeDecodeError:
                parser.fail(NOT_TEXT)
                self._flush(parser)
                self._hang_up()
                return
        self.transport.pause_reading()  # one at a time: what a client says waits in its own buffers
        self._tell(event)

    def _tell(self, event: dict[str, Any]) -> None:
        if self._gone is not None:
            return
        if self._events is None:
            self._events = deque()
        self._events.append(event)
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
        self._waiter = None

    def _send_close(self, code: int, reason: str) -> None:
        parser = self._listening()
        parser.send_close(code, reason)
        self._flush(parser)
        self._closing = True
        self._abort_later()
        self._hear()  # the client's answer
        self._tell({"type": "websocket.disconnect", "code": code})

    def _hang_up(self) -> None:
        """Close the connection once what was written is sent, and let the application know."""
        self._close()
        self._tell({"type": "websocket.disconnect", "code": 1005})
