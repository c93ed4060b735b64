"""Players in ranking order: a blocked sorted array of packed keys with the players beside them.

Pure. Why this and not another: a database counts 1,000,000 rows in tens of milliseconds, however they are indexed; a
tree of Python objects costs ten times the memory; a list in blocks is searched by `bisect` and changed by a short
memmove, both in C. Blocks are counted in groups, so that a rank adds up about 50 numbers and not 1,000 (a third of its
time at 1,000,000 players), and an insertion still changes only two counters. `tests/benchmarks/rank` has the numbers,
beside SQL and sortedcontainers.
"""

from bisect import bisect_left
from collections.abc import Iterable, Iterator
from itertools import chain

BLOCK = 1024  # 512 to 4,096 measure alike: shorter blocks have shorter moves and more of them to count
GROUP = 32  # blocks: about the square root of how many there are at 1,000,000


class Ranking:
    """A sorted sequence of (key, player); keys are unique, smaller is better."""

    def __init__(self, entries: Iterable[tuple[int, bytes]] = ()) -> None:
        """Build from `entries`, which are in ascending order of key."""
        ordered = list(entries)
        self._keys = [[key for key, _ in ordered[i : i + BLOCK]] for i in range(0, len(ordered), BLOCK)]
        self._players = [[player for _, player in ordered[i : i + BLOCK]] for i in range(0, len(ordered), BLOCK)]
        self._last = [keys[-1] for keys in self._keys]
        self._sizes = [len(keys) for keys in self._keys]
        self._groups: list[int] = []  # entries in each GROUP of blocks
        self._total = len(ordered)
        self._regroup()

    def __len__(self) -> int:
        return self._total

    def add(self, key: int, player: bytes) -> None:
        """Insert one entry."""
        self._total += 1
        if not self._keys:
            self._keys, self._players, self._last, self._sizes = [[key]], [[player]], [key], [1]
            self._regroup()
            return
        block = min(bisect_left(self._last, key), len(self._keys) - 1)
        keys = self._keys[block]
        at = bisect_left(keys, key)
        keys.insert(at, key)
        self._players[block].insert(at, player)
        self._last[block] = keys[-1]
        self._sizes[block] += 1
        self._groups[block // GROUP] += 1
        if len(keys) > 2 * BLOCK:
            self._split(block)

    def remove(self, key: int) -> None:
        """Take one entry out.

        Raises:
            KeyError: no entry has this key.
        """
        block, at = self._find(key)
        keys = self._keys[block]
        del keys[at], self._players[block][at]
        self._total -= 1
        if keys:
            self._last[block] = keys[-1]
            self._sizes[block] -= 1
            self._groups[block // GROUP] -= 1
        else:
            del self._keys[block], self._players[block], self._last[block], self._sizes[block]
            self._regroup()

    def below(self, key: int) -> int:
        """Return how many entries have a smaller key: the rank of `key`, counted from 0, if it is here or comes."""
        block = bisect_left(self._last, key)
        if block == len(self._keys):
            return self._total
        group = block // GROUP
        ahead = sum(self._groups[:group]) + sum(self._sizes[group * GROUP : block])
        return ahead + bisect_left(self._keys[block], key)

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
        return self._keys[block][index], self._players[block][index]

    def entries_after(self, key: int, limit: int) -> list[tuple[int, bytes]]:
        """Return up to `limit` entries whose key is `key` or larger and nearest to it, in order."""
        block = bisect_left(self._last, key)
        at = bisect_left(self._keys[block], key) if block < len(self._keys) else 0
        found: list[tuple[int, bytes]] = []
        while len(found) < limit and block < len(self._keys):
            end = at + limit - len(found)
            found += zip(self._keys[block][at:end], self._players[block][at:end], strict=True)
            block, at = block + 1, 0
        return found

    def entries_before(self, key: int, limit: int) -> list[tuple[int, bytes]]:
        """Return up to `limit` entries with a smaller key that are nearest to it, in order."""
        block = bisect_left(self._last, key)
        at = bisect_left(self._keys[block], key) if block < len(self._keys) else 0
        found: list[tuple[int, bytes]] = []
        while len(found) < limit and (at or block):
            if not at:
                block -= 1
                at = len(self._keys[block])
            start = max(0, at - (limit - len(found)))
            found[:0] = zip(self._keys[block][start:at], self._players[block][start:at], strict=True)
            at = start
        return found

    def __iter__(self) -> Iterator[tuple[int, bytes]]:
        return chain.from_iterable(map(zip, self._keys, self._players))

    def _find(self, key: int) -> tuple[int, int]:
        block = bisect_left(self._last, key)
        if block < len(self._keys):
            at = bisect_left(self._keys[block], key)
            if self._keys[block][at] == key:
                return block, at
        raise KeyError(key)

    def _split(self, block: int) -> None:
        keys, players = self._keys[block], self._players[block]
        self._keys[block : block + 1] = [keys[:BLOCK], keys[BLOCK:]]
        self._players[block : block + 1] = [players[:BLOCK], players[BLOCK:]]
        self._last[block : block + 1] = [keys[BLOCK - 1], keys[-1]]
        self._sizes[block : block + 1] = [BLOCK, len(keys) - BLOCK]
        self._regroup()

    def _regroup(self) -> None:
        """Count anew: blocks have moved, which happens once in BLOCK insertions."""
        self._groups = [sum(self._sizes[i : i + GROUP]) for i in range(0, len(self._sizes), GROUP)]
