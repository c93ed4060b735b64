"""A connection that outlives the application's part in it: bytes made for many go out, until either side ends it.

Touches the connection's transport. A stream is open for hours: by then its request, parser, ASGI scope and the calls
that lead to its endpoint (12 KB of 16) would be held for nothing.
"""

import asyncio
from collections.abc import Callable

from uvicorn.server import ServerState

END_S = 10.0  # for a client to take what was written before the end


class Outlet(asyncio.Protocol):
    """The protocol of such a connection; a `Pipe`. uvicorn counts it among its connections."""

    __slots__ = ("_closing", "_deadline", "_gone", "_lost", "_room", "_server", "transport")

    transport: asyncio.Transport

    def __init__(self, server_state: ServerState) -> None:
        self._server = server_state
        self._gone: Callable[[], None] | None = None  # whom to tell that the connection is lost
        self._room: asyncio.Future[None] | None = None  # while the connection is full
        self._closing = False  # the end was sent, or the connection is lost
        self._lost = False
        self._deadline: asyncio.TimerHandle | None = None

    # ------------------------------------------------------------------ what the transport says

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take over the connection."""
        self.transport = transport  # type: ignore[assignment]
        self._server.connections.add(self)  # type: ignore[arg-type]

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        """Wake whoever waits for this connection."""
        self._server.connections.discard(self)
        self._closing = self._lost = True
        if self._deadline is not None:
            self._deadline.cancel()
        self.resume_writing()
        if self._gone is not None:
            self._gone()

    def pause_writing(self) -> None:
        """Note that the connection is full."""
        self._room = asyncio.get_running_loop().create_future()

    def resume_writing(self) -> None:
        """Note that it is not."""
        if self._room is not None and not self._room.done():
            self._room.set_result(None)
        self._room = None

    def data_received(self, data: bytes) -> None:
        """Hear nothing: a request after one that is being answered for hours has no answer."""

    def shutdown(self) -> None:
        """End: the server stops."""
        self.finish()

    # --------------------------------------------------------------------------------- the pipe

    def keep(self, gone: Callable[[], None]) -> None:
        """Stay open without an application; `gone` is called once, when the connection is lost."""
        self._gone = gone
        if self._lost:
            asyncio.get_running_loop().call_soon(gone)

    def write(self, data: bytes) -> bool:
        """Send these bytes; False, and nothing is sent, where the connection is full or gone."""
        if self._room is not None or self._closing or self.transport.is_closing():
            return False
        self.transport.write(data)
        return True

    async def room(self) -> None:
        """Wait until the connection takes more.

        Raises:
            ConnectionError: it is gone.
        """
        if self._room is not None:
            await asyncio.shield(self._room)
        if self._closing or self.transport.is_closing():
            raise ConnectionError

    def finish(self) -> None:
        """End the answer."""
        if not self._closing:
            self.write(b"0\r\n\r\n")  # of a chunked body (RFC 9112, section 7.1)
            self._close()

    def abort(self) -> None:
        """Let go of the connection and of all that it did not send yet."""
        self.transport.abort()

    def _close(self) -> None:
        """Close once what was written is sent, or is not taken in time."""
        self._closing = True
        self._abort_later()
        self.transport.close()

    def _abort_later(self) -> None:
        if self._deadline is None:
            self._deadline = asyncio.get_running_loop().call_later(END_S, self.transport.abort)
