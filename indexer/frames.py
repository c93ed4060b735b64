"""How one encoded message looks on each transport: Server-Sent Events and WebSocket.

Pure. A message is encoded once and framed once per transport; what differs between transports is here and nowhere else.
"""

import re
from typing import NamedTuple, Protocol

EVENT_ID = re.compile(r"([0-9]{1,18})-([0-9]{1,18})")


class Resume(NamedTuple):
    """Where a reader left off: the two halves of an event id."""

    epoch: int
    seq: int


def parse_event_id(text: str) -> Resume | None:
    """Return the parts of `<epoch>-<seq>`, None for anything else: a reader with a strange id gets a snapshot."""
    found = EVENT_ID.fullmatch(text)
    return None if found is None else Resume(int(found[1]), int(found[2]))


class Wire(Protocol):
    """The frames of one transport."""

    @property
    def number(self) -> int:
        """Which transport, from 0."""

    def event(self, epoch: int, seq: int, kind: str, body: bytes) -> bytes:
        """Return one numbered message."""

    def aside(self, kind: str, body: bytes) -> bytes:
        """Return a message that has no number on this stream and moves no reader's place."""

    def beat(self, epoch: int, seq: int) -> bytes:
        """Return a sign of life that says which message was the last."""

    def opening(self, retry_ms: int) -> bytes:
        """Return what comes before everything else."""

    def pack(self, frames: bytes) -> bytes:
        """Return some frames as the connection carries them: the same bytes for every reader, made once."""


class ServerSentEvents:
    """WHATWG HTML, section 9.2, in the chunked coding of HTTP/1.1 (RFC 9112, section 7.1)."""

    number = 0

    def event(self, epoch: int, seq: int, kind: str, body: bytes) -> bytes:
        """Return an event whose id is `<epoch>-<seq>`."""
        return b"id: %d-%d\nevent: %s\ndata: %s\n\n" % (epoch, seq, kind.encode(), body)

    def aside(self, kind: str, body: bytes) -> bytes:
        """Return an event without id: the client's last event id stays what it was."""
        return b"event: %s\ndata: %s\n\n" % (kind.encode(), body)

    def beat(self, epoch: int, seq: int) -> bytes:
        """Return a comment, and an id without data: a reader who is not sent everything resumes from here."""
        return b": %d\nid: %d-%d\n\n" % (seq, epoch, seq)

    def opening(self, retry_ms: int) -> bytes:
        """Return how long a client waits before it connects again."""
        return b"retry: %d\n\n" % retry_ms

    def pack(self, frames: bytes) -> bytes:
        """Return one chunk; nothing for nothing, because an empty chunk would end the body."""
        return b"%x\r\n%b\r\n" % (len(frames), frames) if frames else b""


class WebSocketText:
    """RFC 6455, section 5.2: unmasked text frames, each one message's JSON."""

    number = 1

    def event(self, epoch: int, seq: int, kind: str, body: bytes) -> bytes:  # noqa: ARG002 - its body says both
        """Return the message itself: `type` and `seq` are in it, the epoch was in the last snapshot."""
        return text_frame(body)

    def aside(self, kind: str, body: bytes) -> bytes:  # noqa: ARG002
        """Return the message itself."""
        return text_frame(body)

    def beat(self, epoch: int, seq: int) -> bytes:
        """Return a message of type `heartbeat`: browsers do not show pings to a page."""
        return text_frame(b'{"type":"heartbeat","epoch":%d,"seq":%d}' % (epoch, seq))

    def opening(self, retry_ms: int) -> bytes:  # noqa: ARG002 - a WebSocket client decides by itself
        """Return nothing."""
        return b""

    def pack(self, frames: bytes) -> bytes:
        """Return them as they are: each says how long it is."""
        return frames


def text_frame(body: bytes) -> bytes:
    """Return `body` as one final, unmasked text frame."""
    size = len(body)
    if size < 126:
        return b"\x81" + size.to_bytes(1, "big") + body
    if size < 65_536:
        return b"\x81\x7e" + size.to_bytes(2, "big") + body
    return b"\x81\x7f" + size.to_bytes(8, "big") + body


SSE, WEBSOCKET = ServerSentEvents(), WebSocketText()
WIRES: tuple[Wire, ...] = (SSE, WEBSOCKET)
