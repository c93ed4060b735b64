"""The embedded chain's journal: every transaction it answered for and every block it made, one checksummed line each.

Touches one file: appends with fsync, truncates a torn last line, holds an exclusive lock while open.
"""

import fcntl
import json
import os
import time
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

VERSION = 1
LOCK_POLL_S = 0.05


class JournalError(Exception):
    """The journal cannot be used; the message says what is wrong and what to do about it."""


@dataclass(frozen=True)
class GenesisLine:
    """First line: what block 0 is made of. Balances in wei by lower-case 0x address; `timestamp` in unix seconds."""

    version: int
    chain_id: int
    timestamp: int
    gas_limit: int
    base_fee: int
    alloc: dict[str, int]


@dataclass(frozen=True)
class TransactionLine:
    """A signed raw transaction that was accepted (and answered) but is not in a block yet."""

    raw: bytes


@dataclass(frozen=True)
class BlockLine:
    """A sealed block: number, unix time in seconds, block hash and its transactions' hashes in order."""

    number: int
    timestamp: int
    hash: bytes
    transactions: tuple[bytes, ...]


Line: TypeAlias = GenesisLine | TransactionLine | BlockLine


def encode_line(line: Line) -> bytes:
    """Write `<crc32 of the JSON, 8 hex digits> <JSON>` and a newline, which is the commit mark."""
    if isinstance(line, GenesisLine):
        document: dict[str, object] = {"genesis": {**vars(line), "alloc": {k: str(v) for k, v in line.alloc.items()}}}
    elif isinstance(line, TransactionLine):
        document = {"tx": "0x" + line.raw.hex()}
    else:
        hashes = ["0x" + item.hex() for item in line.transactions]
        document = {"block": [line.number, line.timestamp, "0x" + line.hash.hex(), hashes]}
    text = json.dumps(document, separators=(",", ":")).encode()
    return b"%08x %s\n" % (zlib.crc32(text), text)


def decode_line(data: bytes) -> Line | None:
    """The line without its newline, or None when it is damaged (checksum, JSON or shape)."""
    try:
        if int(data[:8], 16) != zlib.crc32(data[9:]):
            return None
        document = json.loads(data[9:])
        if "tx" in document:
            return TransactionLine(_unhex(document["tx"]))
        if "block" in document:
            number, timestamp, block_hash, hashes = document["block"]
            return BlockLine(number, timestamp, _unhex(block_hash), tuple(_unhex(item) for item in hashes))
        fields = document["genesis"]
        return GenesisLine(**{**fields, "alloc": {k: int(v) for k, v in fields["alloc"].items()}})
    except (ValueError, KeyError, TypeError):
        return None


def parse(data: bytes, name: str) -> tuple[list[Line], int, str | None]:
    """All whole lines, how many bytes they take, and a message when a torn last line was left out.

    Raises JournalError for damage anywhere but in the last line: that is not what a killed process leaves behind.
    """
    lines: list[Line] = []
    position = 0
    while position < len(data):
        end = data.find(b"\n", position)
        line = decode_line(data[position:end]) if end >= 0 else None
        if line is None:
            if end >= 0 and end + 1 < len(data):
                raise JournalError(
                    f"{name}: line {len(lines) + 1} is damaged (its checksum does not match) and later lines exist. "
                    f"Restore the file from a backup, or move the whole state folder away to start a new chain."
                )
            torn = f"{name}: dropped a torn last line of {len(data) - position} bytes (the process died while writing)"
            return lines, position, torn
        lines.append(line)
        position = end + 1
    return lines, position, None


class Journal:
    """The open, locked file. `append` returns only after the bytes are on disk."""

    def __init__(self, path: Path, lock_wait_s: float = 10.0) -> None:
        """Open (create) and lock; raises JournalError when another process keeps the lock for `lock_wait_s`."""
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            self._lock(lock_wait_s)
            data = path.read_bytes()
            self.lines, length, self.torn = parse(data, path.name)
            if length < len(data):
                os.ftruncate(self._fd, length)
                os.fsync(self._fd)
            os.lseek(self._fd, 0, os.SEEK_END)
            self._sync_folder()
        except BaseException:
            os.close(self._fd)
            raise

    def _lock(self, wait_s: float) -> None:
        # A predecessor that was just killed may still be dying: wait for it instead of refusing at once.
        deadline = time.monotonic() + wait_s
        while True:
            try:
                fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() >= deadline:
                    raise JournalError(
                        f"{self.path.name} is in use by another running fairscore: "
                        "stop that one, or use another FAIRSCORE_HOME"
                    ) from None
                time.sleep(LOCK_POLL_S)
            else:
                return

    def _sync_folder(self) -> None:
        # A new file is durable only when its folder entry is.
        folder = os.open(self.path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    def append(self, lines: Sequence[Line]) -> None:
        """Write and fsync. A failed write (disk full) is undone before the OSError goes on: no torn middle is left."""
        data = b"".join(encode_line(line) for line in lines)
        start = os.lseek(self._fd, 0, os.SEEK_END)
        try:
            view = memoryview(data)
            while view:
                view = view[os.write(self._fd, view) :]
            os.fsync(self._fd)
        except OSError:
            os.ftruncate(self._fd, start)
            raise

    def close(self) -> None:
        """Release the lock."""
        os.close(self._fd)


def _unhex(text: str) -> bytes:
    if not text.startswith("0x"):
        raise ValueError("hex data without 0x")
    return bytes.fromhex(text[2:])
