"""uvicorn, embedded: a socket of our own, signals that end streams first, nothing of ours killed half-way.

Touches sockets and signals. An open event stream would keep uvicorn waiting for as long as its reader likes, so a
signal first ends the streams and then asks uvicorn to stop.
"""

import asyncio
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import uvicorn

from relay.connection import SWEEP_S, Connection, refuse_overdue
from relay.socket import MESSAGE_MAX, Socket

BACKLOG = 4096
SEND_BUFFER = 64 * 1024  # bytes; Linux doubles it for its own book-keeping
SWEEP_TICKS = int(SWEEP_S * 10)  # uvicorn ticks ten times a second
GRACE_S = 1  # for answers under way; streams are ended before it starts


class PortInUseError(Exception):
    """Somebody else listens there."""


def listen(host: str, port: int) -> socket.socket:
    """Bind before anything is started, so that a taken port costs nothing.

    Raises:
        PortInUseError: the message says what to set.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    # Accepted connections inherit it. Left to itself the kernel lets each slow client pile up megabytes: fifty that
    # never read held 190 MB, with this 7 MB.
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER)
    try:
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        raise PortInUseError(
            f"cannot listen on {host}:{port} ({error.strerror}): choose another with --port or FAIRSCORE_PORT"
        ) from error
    listener.setblocking(False)
    return listener


class Server(uvicorn.Server):
    """A uvicorn that leaves signals to us and returns when asked to, instead of raising them again."""

    def __init__(self, app: Any, before_stop: Callable[[], None]) -> None:
        config = uvicorn.Config(
            app,
            http=Connection,
            ws=Socket,
            ws_max_size=MESSAGE_MAX,
            ws_ping_interval=None,  # streams have a heartbeat of their own, and cut off who takes nothing
            ws_per_message_deflate=False,  # a compressor per reader costs more than all the rest of a reader
            lifespan="off",
            log_config=None,
            access_log=False,
            proxy_headers=False,  # nothing here depends on the client's address, and it costs every request
            server_header=False,
            backlog=BACKLOG,
            timeout_graceful_shutdown=GRACE_S,
        )
        super().__init__(config)
        self._before_stop = before_stop

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Do nothing: `stop_on_signals` does it."""
        yield

    async def on_tick(self, counter: int) -> bool:
        """Let go of clients that never finish their request."""
        if counter % SWEEP_TICKS == 0:
            refuse_overdue(self.server_state.connections, asyncio.get_running_loop().time())
        return await super().on_tick(counter)

    def stop(self) -> None:
        """End the streams, then stop; a second call stops without waiting for answers under way."""
        self._before_stop()
        self.force_exit = self.should_exit
        self.should_exit = True

    def stop_on_signals(self) -> None:
        """Stop at Ctrl-C and at SIGTERM."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self.stop)
