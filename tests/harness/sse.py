"""A Server-Sent Events client on its own thread, after the WHATWG parsing rules for id, event, data and comments.

Touches loopback HTTP.
"""

import contextlib
import http.client
import json
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit


@dataclass(frozen=True)
class Event:
    """One dispatched message."""

    kind: str
    id: str
    data: dict[str, Any]


class Stream:
    """Collects the events of one stream until it is closed; usable as a context manager."""

    def __init__(self, url: str, last_event_id: str | None = None) -> None:
        headers = {"Accept": "text/event-stream"}
        if last_event_id is not None:
            headers["Last-Event-ID"] = last_event_id
        parts = urlsplit(url)
        self._connection = http.client.HTTPConnection(parts.netloc, timeout=60)
        self._connection.request("GET", f"{parts.path}?{parts.query}", headers=headers)
        if self._connection.sock is None:
            raise ConnectionError("no connection")
        self._socket: socket.socket = (
            self._connection.sock
        )  # http.client forgets it when the answer ends the connection
        self._answer = self._connection.getresponse()
        if self._answer.status != 200:
            raise ConnectionError(f"{self._answer.status}: {self._answer.read().decode(errors='replace')}")
        self.content_type = self._answer.headers["Content-Type"]
        self.events: list[Event] = []
        self.comments = 0
        self.ended = False
        self._arrived = threading.Condition()
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        kind, identifier = "message", ""
        data: list[str] = []
        try:
            for raw in self._answer:
                line = raw.decode().rstrip("\r\n")
                field, _, value = line.partition(":")
                value = value.removeprefix(" ")
                if line == "":
                    if data:
                        self._dispatch(Event(kind, identifier, json.loads("\n".join(data))))
                    kind, data = "message", []
                elif field == "":
                    self.comments += 1
                elif field == "event":
                    kind = value
                elif field == "id":
                    identifier = value
                elif field == "data":
                    data.append(value)
        except (OSError, http.client.HTTPException):  # closed under our hands, by either side
            pass
        with self._arrived:
            self.ended = True
            self._arrived.notify_all()

    def _dispatch(self, event: Event) -> None:
        with self._arrived:
            self.events.append(event)
            self._arrived.notify_all()

    def wait(self, wanted: Callable[[Event], bool], timeout_s: float = 60) -> Event:
        """The first event, past ones included, for which ``wanted`` holds."""
        deadline = time.monotonic() + timeout_s
        seen = 0
        with self._arrived:
            while True:
                for event in self.events[seen:]:
                    if wanted(event):
                        return event
                seen = len(self.events)
                left = deadline - time.monotonic()
                if left <= 0 or self.ended:
                    kinds = [event.kind for event in self.events]
                    raise AssertionError(f"no such event; ended={self.ended}; got {kinds}")
                self._arrived.wait(left)

    def close(self) -> None:
        """End the stream from this side."""
        # The reading thread holds the buffered reader's lock, so closing would wait for it: a shutdown wakes it first.
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._thread.join(10)
        self._answer.close()
        self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
