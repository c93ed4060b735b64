"""One HTTP connection: uvicorn's, which by itself takes a request's head of any size, however slowly it comes.

Touches the connection's transport. Without these limits one client could hold memory, file descriptors and (for a
single long header is joined again with every packet) the event loop for as long as it likes.
"""

import asyncio
import secrets
from collections.abc import Callable
from typing import Any

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

from relay.api.operations import LINE, Pipe
from relay.api.problems import problem
from relay.api.security import secured
from relay.errors import CallerError
from relay.outlet import Outlet

HEAD_MAX = 64 * 1024  # of bytes that complete neither a head nor a part of a body
REQUEST_S = 60.0  # to send a whole request, head and body
SWEEP_S = 5.0


class Connection(HttpToolsProtocol):
    """An HTTP/1.1 connection whose refusals below the application are problem+json with a request id, too.

    It is the `Line` of an answer whose body the application codes itself (`transfer-encoding: chunked`).
    """

    _unused = 0  # bytes received since the parser last delivered something
    _current: RequestResponseCycle | None = None  # being answered
    _since: float | None = None  # when the request being received began, None between requests

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Start the clock: a connection is made to send a request."""
        super().connection_made(transport)
        self._since = self.loop.time()

    def connection_lost(self, exc: Exception | None) -> None:
        """Be forgotten."""
        super().connection_lost(exc)
        self._forget()

    def handle_websocket_upgrade(self) -> None:
        """Hand the transport over and be forgotten."""
        super().handle_websocket_upgrade()
        self._forget()

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        """Note whose answer comes next: `cycle` is the newest request's, which may have to wait."""
        self._current = cycle
        super()._start_asgi_task(cycle, app)

    def on_message_begin(self) -> None:
        """Offer the application the connection itself."""
        super().on_message_begin()
        self.scope["extensions"] = {LINE: self}  # type: ignore[dict-item]

    def take_over(self, gone: Callable[[], None]) -> Pipe:
        """Hand the transport to an outlet and be forgotten, with the request and all that led to its answer."""
        outlet = Outlet(self.server_state)
        outlet.connection_made(self.transport)
        if self._current is None:  # the client was quicker
            outlet.connection_lost(None)
        else:
            self._current.disconnected = True  # its application says no more
            self.connections.discard(self)
            if self.flow.write_paused:
                outlet.pause_writing()
            self.flow.resume_reading()
            self.transport.set_protocol(outlet)
            self._forget()
        outlet.keep(gone)
        return outlet

    def _forget(self) -> None:
        """Let go of what knows this connection: together they would wait for a collection."""
        self.scope = self.parser = self.cycle = None  # type: ignore[assignment]
        self._current = None

    def data_received(self, data: bytes) -> None:
        """Feed the parser; refuse when it only swallows."""
        self._unused += len(data)
        if self._since is None:
            self._since = self.loop.time()
        super().data_received(data)
        if self._unused > HEAD_MAX:
            self.refuse(CallerError("HEAD_TOO_LARGE", f"The head of a request is limited to {HEAD_MAX} bytes."))

    def on_headers_complete(self) -> None:
        """Note that the head is complete."""
        self._unused = 0
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Note that a part of the body came: how much of it is taken is the application's decision."""
        self._unused = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        """Stop the clock."""
        self._unused = 0
        self._since = None
        super().on_message_complete()

    def send_400_response(self, msg: str) -> None:
        """Answer bytes that are not HTTP."""
        self.refuse(CallerError("REQUEST_MALFORMED", msg))

    def overdue(self, now_s: float) -> bool:
        """Say whether the client has been sending one request for too long; a client that waits for us never is."""
        cycle = self._answering()
        waiting = cycle is not None and not cycle.more_body
        return self._since is not None and not waiting and now_s - self._since > REQUEST_S

    def refuse(self, error: CallerError) -> None:
        """Answer with `error` if an answer can still be told from another, and close."""
        if self.transport.is_closing():
            return
        cycle = self._answering()
        if cycle is None or (cycle.more_body and not cycle.response_started and not self.pipeline):
            request_id = f"req_{secrets.token_hex(12)}"
            status, body, media_type, headers = problem(error, request_id)
            named = (*self.server_state.default_headers, *secured(headers, private=False))
            lines = [
                STATUS_LINE[status],
                *(b"%b: %b\r\n" % line for line in named),
                b"x-request-id: %b\r\ncontent-type: %b\r\n" % (request_id.encode(), media_type),
                b"content-length: %d\r\nconnection: close\r\n\r\n" % len(body),
                body,
            ]
            self.transport.write(b"".join(lines))
            if cycle is not None:
                cycle.disconnected = True  # its application hears that the client is gone, and says no more
        self.transport.close()

    def _answering(self) -> RequestResponseCycle | None:
        cycle: RequestResponseCycle | None = self.cycle  # uvicorn's declaration hides that it starts as None
        return None if cycle is None or cycle.response_complete else cycle

    def _unsupported_upgrade_warning(self) -> None:
        """Say nothing: the request is answered as if it had not asked (RFC 9110 section 7.8)."""


def refuse_overdue(connections: set[Any], now_s: float) -> int:
    """Refuse every connection that is overdue at `now_s` (the event loop's time); returns how many."""
    overdue = [one for one in connections if isinstance(one, Connection) and one.overdue(now_s)]
    for connection in overdue:
        connection.refuse(CallerError("REQUEST_TIMEOUT", f"A request is sent within {REQUEST_S:.0f} s."))
    return len(overdue)
