"""How history is read: ranges that adapt to the provider, several in flight, handed on in order.

Touches the chain through `Source`. What size comes next is decided by `RangeSize`, which is pure.
"""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Sequence
from typing import NamedTuple, Protocol

from indexer.chain import MalformedError, TooMuchError, UnreachableError
from indexer.decoding import RpcLog, decode
from indexer.events import Fact, Header, Mark, Recorded
from indexer.reorg import continues

IN_FLIGHT = 3
SIZE_FIRST = 64  # several are asked for before the first tells how full blocks are: what they hold is all in memory
SIZE_MAX = 100_000
PATIENCE, PATIENCE_MAX = 16, 64  # ranges in a row that were taken, before one wider than the last refused is tried
NOT_EVEN_ONE = "the provider refuses the logs of a single block as too many"
LOGS_WANTED = 4_000  # per range: enough for bulk inserts to pay, few enough for memory and for the commit's length


class Source(Protocol):
    """What reading history needs of the chain."""

    contract: str

    async def headers(self, numbers: Sequence[int]) -> list[Header | None]:
        """Return blocks by number."""

    async def logs(self, first: int, last: int) -> list[RpcLog]:
        """Return the contract's logs of a range."""


class Chunk(NamedTuple):
    """A range of blocks, read."""

    first: Header
    last: Header
    facts: list[Fact]


class RangeSize:
    """How many blocks to ask for next: halved when refused, doubled while ranges come back small.

    Below what was refused it closes in on the limit instead of running into it again; that the limit is past (many are
    about results, not blocks) is tried ever more seldom.
    """

    def __init__(self, size: int = SIZE_FIRST) -> None:
        self.size = size
        self._fine = 0  # the widest that was taken since one this wide was refused
        self._ceiling = SIZE_MAX
        self._good, self._patience = 0, PATIENCE
        self._tried = 0  # the refused width beyond which is looked, 0: not now

    def refused(self, size: int) -> int:
        """Take note that a range of `size` blocks was too much; returns what to try instead."""
        if self._fine >= size:
            self._fine = 0
        self.size = max(1, min(self.size, self._fine or size // 2))
        self._ceiling = max(1, size - 1)
        if self._tried:
            self._patience = min(self._patience * 2, PATIENCE_MAX)
        self._good = self._tried = 0
        return self.size

    def took(self, size: int, logs: int) -> None:
        """Take note that a range of `size` blocks gave that many logs."""
        self._fine = max(self._fine, size)
        self._good += 1
        if self._tried and size > self._tried:
            self._ceiling, self._patience, self._tried = SIZE_MAX, PATIENCE, 0
        if self._good >= self._patience and self._ceiling < SIZE_MAX:
            self._good, self._tried = 0, self._ceiling
            self._ceiling = min(SIZE_MAX, self._ceiling * 2)
        if logs > 2 * LOGS_WANTED:
            self.size = max(1, size // 2)
        elif logs < LOGS_WANTED // 2:
            between = (size + self._ceiling + 1) // 2
            self.size = max(self.size, min(size * 2, between) if between > size * 17 // 16 else size)


async def chunks(source: Source, at: Mark, last: int, sizes: RangeSize) -> AsyncGenerator[Chunk]:
    """Read the blocks after `at` up to `last`, in order, a few ranges ahead of whoever takes them.

    Raises:
        ChainError: the provider does not answer, or not even for one block.
    """
    flying: deque[asyncio.Task[list[Chunk]]] = deque()
    start = at.number + 1
    try:
        while start <= last or flying:
            while start <= last and len(flying) < IN_FLIGHT:
                end = min(last, start + sizes.size - 1)
                flying.append(asyncio.create_task(read(source, start, end, sizes)))
                start = end + 1
            for chunk in await flying.popleft():
                if not continues(at, [chunk.first]):
                    return  # the chain moved below us: the follower looks again
                at = chunk.last.mark
                yield chunk
    finally:
        for task in flying:
            task.cancel()
        await asyncio.gather(*flying, return_exceptions=True)


async def read(source: Source, first: int, last: int, sizes: RangeSize) -> list[Chunk]:
    """Read one range, in smaller pieces if the provider wants that."""
    try:
        logs, ends = await asyncio.gather(source.logs(first, last), source.headers(sorted({first, last})))
    except UnreachableError:  # perhaps it was too much for the time given: who is asked next is asked for less
        sizes.refused(last - first + 1)
        raise
    except TooMuchError as error:
        if first == last:
            raise MalformedError(NOT_EVEN_ONE) from error
        size = sizes.refused(last - first + 1)
        pieces: list[Chunk] = []
        for start in range(first, last + 1, size):
            pieces += await read(source, start, min(last, start + size - 1), sizes)
        return pieces
    sizes.took(last - first + 1, len(logs))
    if ends[0] is None or ends[-1] is None:
        raise MalformedError(f"the provider has no block {first} or {last}, though its head is beyond")
    times = await _times(source, logs) | {end.number: end.time_s for end in ends if end is not None}
    # Parsing thousands of logs takes a while: not on the loop that serves clients.
    facts = await asyncio.to_thread(decode, logs, source.contract, times)
    if any(int(log.block_number, 16) == last and bytes.fromhex(log.block_hash[2:]) != ends[-1].hash for log in logs):
        raise MalformedError(f"the logs of block {last} are of another fork than the block")
    first_s, last_s = ends[0].time_s, ends[-1].time_s
    if not all(first_s <= fact.time_s <= last_s for fact in facts if isinstance(fact, Recorded)):
        raise MalformedError(f"logs between block {first} and {last} are dated before the one or after the other")
    return [Chunk(ends[0], ends[-1], facts)]


async def all_logs(source: Source, first: int, last: int) -> list[RpcLog]:
    """Read the logs of a few blocks, in halves if the provider wants that.

    Raises:
        ChainError: the provider does not answer, or not even for one block.
    """
    try:
        return await source.logs(first, last)
    except TooMuchError as error:
        if first == last:
            raise MalformedError(NOT_EVEN_ONE) from error
    half = (first + last) // 2
    return await all_logs(source, first, half) + await all_logs(source, half + 1, last)


async def _times(source: Source, logs: Sequence[RpcLog]) -> dict[int, int]:
    """Return the timestamps of the blocks whose logs do not carry them."""
    numbers = sorted({int(log.block_number, 16) for log in logs if log.block_timestamp is None})
    headers = await source.headers(numbers) if numbers else []
    return {header.number: header.time_s for header in headers if header is not None}
