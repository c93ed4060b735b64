"""Players in ranking order: blocks of sorted keys, in machine words, with the players beside them.

Pure. Why this and not another: a database counts 1,000,000 rows in tens of milliseconds, however they are indexed; a
tree of Python objects costs ten times the memory; a list in blocks is searched by `bisect` and changed by a short
memmove, both in C. Blocks are counted in groups, so that a rank adds up about 50 numbers and not 1,000 (a third of its
time at 1,000,000 players), and an insertion still changes only two counters. A key is kept as its two halves in arrays:
a search in a block touches two or three lines of memory there, and a dozen integers all over the heap in a list of
them (a quarter of an update's time). `tests/benchmarks/rank` has the numbers, beside SQL and sortedcontainers.
"""

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator
from itertools import chain
from typing import TypeVar

from indexer.ordering import POSITION_BITS, POSITION_MAX

BLOCK = 1024  # 512 to 4,096 measure alike: shorter blocks have shorter moves and more of them to count
GROUP = 32  # blocks: about the square root of how many there are at 1,000,000

Column = TypeVar("Column", "array[int]", list[bytes])


class Ranking:
    """A sorted sequence of (key, player); keys are unique, smaller is better, and below 2^126."""

    def __init__(self, entries: Iterable[tuple[int, bytes]] = ()) -> None:
        """Build from `entries`, which are in ascending order of key."""
        ordered = list(entries)
        self._fill(
            array("q", [key >> POSITION_BITS for key, _ in ordered]),
            array("q", [key & POSITION_MAX for key, _ in ordered]),
            [player for _, player in ordered],
        )

    @classmethod
    def of_columns(cls, levels: "array[int]", places: "array[int]", players: list[bytes]) -> "Ranking":
        """Build from the upper and the lower halves of the keys, in ascending order, and the players beside them."""
        made = cls.__new__(cls)
        made._fill(levels, places, players)
        return made

    def _fill(self, levels: "array[int]", places: "array[int]", players: list[bytes]) -> None:
        starts = range(0, len(players), BLOCK)
        self._levels = [_roomy(levels[i : i + BLOCK]) for i in starts]
        self._places = [_roomy(places[i : i + BLOCK]) for i in starts]
        self._players = [_roomy(players[i : i + BLOCK]) for i in starts]
        self._last = [self._key(block, -1) for block in range(len(self._levels))]
        self._sizes = [len(block) for block in self._players]
        self._groups: list[int] = []  # entries in each GROUP of blocks
        self._total = len(players)
        self._regroup()

    def __len__(self) -> int:
        return self._total

    def add(self, key: int, player: bytes) -> None:
        """Insert one entry."""
        level, place = key >> POSITION_BITS, key & POSITION_MAX
        if not self._total:
            self._fill(array("q", [level]), array("q", [place]), [player])
            return
        block = min(bisect_left(self._last, key), len(self._last) - 1)
        at = self._within(block, key)
        if at == self._sizes[block]:
            self._last[block] = key
        self._levels[block].insert(at, level)
        self._places[block].insert(at, place)
        self._players[block].insert(at, player)
        self._total += 1
        self._sizes[block] += 1
        self._groups[block // GROUP] += 1
        if self._sizes[block] > 2 * BLOCK:
            self._split(block)

    def remove(self, key: int) -> None:
        """Take one entry out.

        Raises:
            KeyError: no entry has this key.
        """
        block = bisect_left(self._last, key)
        at = self._within(block, key) if block < len(self._last) else 0
        if block == len(self._last) or self._key(block, at) != key:
            raise KeyError(key)
        del self._levels[block][at], self._places[block][at], self._players[block][at]
        self._total -= 1
        self._sizes[block] -= 1
        self._groups[block // GROUP] -= 1
        if not self._sizes[block]:
            del self._levels[block], self._places[block], self._players[block], self._last[block], self._sizes[block]
            self._regroup()
        elif at == self._sizes[block]:
            self._last[block] = self._key(block, -1)

    def below(self, key: int) -> int:
        """Return how many entries have a smaller key: the rank of `key`, counted from 0, if it is here or comes."""
        block = bisect_left(self._last, key)
        if block == len(self._last):
            return self._total
        group = block // GROUP
        ahead = sum(self._groups[:group]) + sum(self._sizes[group * GROUP : block])
        return ahead + self._within(block, key)

    def at(self, index: int) -> tuple[int, bytes]:
        """Return the entry at an index counted from 0.

        Raises:
            IndexError: there are not so many.
        """
        if index >= self._total:
            raise IndexError(index)
        group = 0
        while index >= self._groups[group]:
            index -= self._groups[group]
            group += 1
        block = group * GROUP
        while index >= self._sizes[block]:
            index -= self._sizes[block]
            block += 1
        return self._key(block, index), self._players[block][index]

    def entries_after(self, key: int, limit: int) -> list[tuple[int, bytes]]:
        """Return up to `limit` entries whose key is `key` or larger and nearest to it, in order."""
        block = bisect_left(self._last, key)
        at = self._within(block, key) if block < len(self._last) else 0
        found: list[tuple[int, bytes]] = []
        while len(found) < limit and block < len(self._last):
            found += self._entries(block, at, at + limit - len(found))
            block, at = block + 1, 0
        return found

    def entries_before(self, key: int, limit: int) -> list[tuple[int, bytes]]:
        """Return up to `limit` entries with a smaller key that are nearest to it, in order."""
        block = bisect_left(self._last, key)
        at = self._within(block, key) if block < len(self._last) else 0
        found: list[tuple[int, bytes]] = []
        while len(found) < limit and (at or block):
            if not at:
                block -= 1
                at = self._sizes[block]
            start = max(0, at - (limit - len(found)))
            found[:0] = self._entries(block, start, at)
            at = start
        return found

    def __iter__(self) -> Iterator[tuple[int, bytes]]:
        return chain.from_iterable(self._entries(block, 0, size) for block, size in enumerate(self._sizes))

    def _key(self, block: int, at: int) -> int:
        return self._levels[block][at] << POSITION_BITS | self._places[block][at]

    def _entries(self, block: int, start: int, end: int) -> list[tuple[int, bytes]]:
        halves = zip(self._levels[block][start:end], self._places[block][start:end], strict=True)
        keys = [level << POSITION_BITS | place for level, place in halves]
        return list(zip(keys, self._players[block][start:end], strict=True))

    def _within(self, block: int, key: int) -> int:
        """Return how many entries of a block have a smaller key."""
        levels, level = self._levels[block], key >> POSITION_BITS
        at = bisect_left(levels, level)
        if at == len(levels) or levels[at] != level:
            return at
        # Among equal values the earlier place is ahead; nearly always there is but one.
        places, place = self._places[block], key & POSITION_MAX
        return at if places[at] >= place else bisect_left(places, place, at, bisect_right(levels, level, at))

    def _split(self, block: int) -> None:
        for column in (self._levels, self._places, self._players):
            whole = column[block]
            column[block : block + 1] = [whole[:BLOCK], whole[BLOCK:]]  # type: ignore[list-item]
        self._last[block : block + 1] = [self._key(block, -1), self._key(block + 1, -1)]
        self._sizes[block : block + 1] = [BLOCK, len(self._players[block + 1])]
        self._regroup()

    def _regroup(self) -> None:
        """Count anew: blocks have moved, which happens once in BLOCK insertions."""
        self._groups = [sum(self._sizes[i : i + GROUP]) for i in range(0, len(self._sizes), GROUP)]


def _roomy(column: Column) -> Column:
    """Let a block have room: cut to size, its first insertion would move all of it, which half of a second's do."""
    column.append(column[-1])
    column.pop()
    return column
