"""One board's newest messages in memory, and what a reader at some place in them gets next.

Pure. Readers are cursors into the ring, not queues: those at the same place share one block of bytes, made once.
"""

from collections.abc import Sequence
from typing import NamedTuple

import msgspec

from indexer.frames import WIRES, Resume, Wire
from indexer.messages import Row, Snapshot, encode, season_info
from indexer.state import BoardState

RING = 10_000  # messages per board that a reader may have missed and still resume
CHUNK_BYTES = 32 * 1024  # of one write to one reader: what a slow connection may hold of ours at a time
COALESCE_BYTES = 256 * 1024  # a reader who fell further behind than this gets the sum of what it missed
BLOCKS_KEPT = 64  # for readers at different places; those who have everything need one
FLAGS_KEPT = 100  # of a game, which an authorised reader is sent first


class Told(NamedTuple):
    """One committed message: (seq, kind, body)."""

    seq: int
    kind: str
    body: bytes


class _About(msgspec.Struct):
    player: str | None = None


_about = msgspec.json.Decoder(_About).decode


class Message:
    """A message in the ring; frames are made when the first reader of their transport needs them."""

    __slots__ = ("_frames", "_player", "_read", "body", "end", "kind", "seq")

    def __init__(self, seq: int, kind: str, body: bytes, end: int) -> None:
        self.seq, self.kind, self.body = seq, kind, body
        self.end = end  # bytes of all messages up to and with this one
        self._frames: list[bytes | None] = [None, None]  # by the wire's number
        self._player: str | None = None
        self._read = False

    def frame(self, wire: Wire, epoch: int) -> bytes:
        """Return the message as a transport carries it."""
        framed = self._frames[wire.number]
        if framed is None:
            framed = self._frames[wire.number] = wire.event(epoch, self.seq, self.kind, self.body)
        return framed

    def concerns(self, player: str) -> bool:
        """Say whether a reader who asked for one player's messages gets this one."""
        if not self._read:
            self._player, self._read = _about(self.body).player, True
        return self._player is None or self._player == player


class Place:
    """A reader's place: what it was sent, and what it asked for. Those who have everything share one."""

    __slots__ = ("cursor", "flags", "player", "promised", "wire")

    def __init__(
        self, wire: Wire, player: str | None = None, *, flags: bool = False, cursor: int | None = None
    ) -> None:
        self.wire, self.player = wire, player
        self.cursor = cursor  # the next seq to write; None: a snapshot first
        self.promised = 0  # up to this seq every message is written, however far behind the reader is
        self.flags: int | None = 0 if flags else None  # the next flag to write; None: may not see them


class Block(NamedTuple):
    """What a reader is sent at once, as its connection carries it, and its cursor then."""

    data: bytes
    cursor: int


class FlagRing:
    """The newest flags of one game."""

    def __init__(self) -> None:
        self._kept: list[tuple[int, bytes]] = []

    def append(self, seq: int, body: bytes) -> None:
        """Add a committed flag; one that is known already changes nothing."""
        if not self._kept or seq > self._kept[-1][0]:
            self._kept = [*self._kept[1 - FLAGS_KEPT :], (seq, body)]

    def behind(self, place: Place) -> Block | None:
        """Return the flags a reader was not sent yet."""
        if place.flags is None or not self._kept or self._kept[-1][0] < place.flags:
            return None
        frames = (place.wire.aside("flag", body) for seq, body in self._kept if seq >= place.flags)
        return Block(place.wire.pack(b"".join(frames)), self._kept[-1][0] + 1)


class Ring:
    """The newest messages of one board."""

    def __init__(self, board: BoardState, epoch: int, block_number: int, flags: FlagRing) -> None:
        self.board, self.epoch, self.block_number, self.flags = board, epoch, block_number, flags
        self._messages: list[Message] = []
        self._first = board.seq + 1  # seq of the oldest message
        self._bytes = 0
        self._snapshot: tuple[tuple[int, int, int], dict[Wire, bytes]] | None = None
        self._blocks: dict[tuple[Wire, int], Block] = {}  # made since the last message, by where they begin

    @property
    def next_seq(self) -> int:
        """The number the next message will have."""
        return self._first + len(self._messages)

    def restart(self, board: BoardState, epoch: int, tail: Sequence[Told]) -> bool:
        """Take over what is committed; returns whether readers may go on in it, else they need a snapshot."""
        kept = epoch == self.epoch
        self.board, self.epoch = board, epoch
        unbroken = _unbroken(tail, board.seq) if kept else []
        self._messages = []
        self._blocks.clear()
        self._first = board.seq + 1 - len(unbroken)
        for message in unbroken:
            self.append(message)
        return kept

    def append(self, told: Told) -> None:
        """Put one committed message behind the others."""
        self._blocks.clear()
        self._bytes += len(told.body)
        self._messages.append(Message(*told, self._bytes))
        if len(self._messages) > RING + RING // 4:  # now and then, because cutting a list's front costs its length
            self._first += len(self._messages) - RING
            del self._messages[:-RING]

    def resume(self, place: Place, resume: Resume | None) -> None:
        """Put a reader where it left off, or where it must begin with a snapshot."""
        if resume is None or resume.epoch != self.epoch or not self._first <= resume.seq + 1 <= self.next_seq:
            place.cursor = None
        else:
            place.cursor, place.promised = resume.seq + 1, self.next_seq

    def coalesce(self, place: Place) -> None:
        """Let a reader whose connection was full begin anew where it is too far behind: a snapshot is the sum."""
        at = place.cursor
        if at is None or not max(self._first, place.promised) <= at < self.next_seq:
            return
        missed = self._bytes - self._messages[at - self._first].end
        if missed > COALESCE_BYTES:
            place.cursor = None

    def begins(self, place: Place) -> bool:
        """Say whether a reader is to be given a snapshot next."""
        return place.cursor is None or place.cursor < self._first

    def snapshot(self, wire: Wire) -> bytes:
        """Return the packed snapshot of now; encoded once however many ask."""
        version = (self.epoch, self.board.seq, self.block_number)
        if self._snapshot is None or self._snapshot[0] != version:
            body = self.snapshot_of(self.board.window.top(), self.board.seq)
            packed = {one: one.pack(one.event(self.epoch, self.board.seq, "snapshot", body)) for one in WIRES}
            self._snapshot = (version, packed)
        return self._snapshot[1][wire]

    def snapshot_of(self, rows: list[Row], seq: int) -> bytes:
        """Return the body of a snapshot with some rows, which the messages after `seq` build on."""
        board = self.board
        body = Snapshot(
            seq=seq, game_id=board.names.game_id, board=board.names.name, epoch=self.epoch, rows=rows,
            total=board.window.total, block_number=self.block_number, season=season_info(board.season),
            order=board.config.order, ties=board.config.ties,
        )  # fmt: skip
        return encode(body)

    def next_block(self, place: Place) -> Block | None:
        """Return what a reader at some place gets next, None where it has everything.

        Empty where nothing up to the block's cursor concerns the one player it asked for.
        """
        if self.begins(place):
            return Block(self.snapshot(place.wire), self.next_seq)
        at = place.cursor or 0
        if at == self.next_seq:
            return None
        if place.player is not None:
            return self._block(place.wire, at, place.player)
        found = self._blocks.get((place.wire, at))
        if found is None:
            if len(self._blocks) >= BLOCKS_KEPT:
                self._blocks.clear()
            found = self._blocks[place.wire, at] = self._block(place.wire, at, None)
        return found

    def _block(self, wire: Wire, at: int, player: str | None) -> Block:
        """Return the frames of the next messages from `at` on, one chunk of them."""
        frames: list[bytes] = []
        size, cursor = 0, self.next_seq
        for index in range(at - self._first, len(self._messages)):
            message = self._messages[index]
            if player is None or message.concerns(player):
                framed = message.frame(wire, self.epoch)
                frames.append(framed)
                size += len(framed)
            if size >= CHUNK_BYTES:
                cursor = self._first + index + 1
                break
        return Block(wire.pack(b"".join(frames)), cursor)


def _unbroken(tail: Sequence[Told], seq: int) -> list[Told]:
    """Return the newest messages that lead up to `seq` without a gap."""
    kept: list[Told] = []
    for message in reversed(tail):
        if message.seq != seq - len(kept):
            break
        kept.append(message)
    return kept[::-1]
