"""The standings of one board: the best score of each player, the earlier first on a tie.

Pure. A `Standings` is what is committed; a `Draft` is what a transaction is about to make of it. Ranks can be asked of
the draft before the commit (the stream's messages carry them), and a failed commit leaves nothing to undo.
"""

from bisect import bisect_left, insort
from collections.abc import Iterable, Iterator
from heapq import merge
from itertools import islice

from indexer.ranking import Ranking


class Standings:
    """Committed standings: each player's ordering key, and all players in order."""

    def __init__(self, entries: Iterable[tuple[int, bytes]] = ()) -> None:
        """Build from (key, player) pairs in any order, one per player."""
        ordered = sorted(entries)
        self.keys: dict[bytes, int] = {player: key for key, player in ordered}
        self.ranking = Ranking(ordered)

    def __len__(self) -> int:
        return len(self.ranking)

    def rank(self, player: bytes) -> int | None:
        """Return the rank of `player`, the best being 1, or None if the player is not on the board."""
        key = self.keys.get(player)
        return None if key is None else self.ranking.below(key) + 1

    def page(self, after: int | None, limit: int) -> tuple[int, list[tuple[int, bytes]]]:
        """Return the rank of the first entry behind the key `after` (None: the start) and up to `limit` entries."""
        start = 0 if after is None else after + 1
        return self.ranking.below(start) + 1, list(islice(self.ranking.entries_from(start), limit))

    def around(self, player: bytes, limit: int) -> tuple[int, list[tuple[int, bytes]]]:
        """Return up to `limit` entries with `player` in their middle, and the rank of the first.

        Near an end of the board the window moves so that it stays full.

        Raises:
            KeyError: the player is not on the board.
        """
        key = self.keys[player]
        behind = list(islice(self.ranking.entries_from(key), limit))
        ahead = self.ranking.entries_before(key, max((limit - 1) // 2, limit - len(behind)))
        entries = (ahead + behind)[:limit]
        return self.ranking.below(entries[0][0]) + 1, entries

    def adopt(self, draft: "Draft") -> None:
        """Make a committed draft's changes one's own."""
        for player, key in draft.changes.items():
            before = self.keys.pop(player, None)
            if before is not None:
                self.ranking.remove(before)
            if key is not None:
                self.keys[player] = key
                self.ranking.add(key, player)


class Draft:
    """Changes on top of standings that are not committed yet; the base must not change while a draft of it lives."""

    def __init__(self, base: Standings) -> None:
        self.base = base
        self.changes: dict[bytes, int | None] = {}
        self._gone: list[int] = []  # keys of the base that no longer count, sorted
        self._new: list[tuple[int, bytes]] = []  # entries the base does not have, sorted

    def __len__(self) -> int:
        return len(self.base) - len(self._gone) + len(self._new)

    def key(self, player: bytes) -> int | None:
        """Return the player's ordering key, None if not on the board."""
        return self.changes[player] if player in self.changes else self.base.keys.get(player)

    def rank(self, key: int) -> int:
        """Return the rank that `key` has, or would have; the best is 1."""
        gone, new = bisect_left(self._gone, key), bisect_left(self._new, (key, b""))
        return self.base.ranking.below(key) - gone + new + 1

    def put(self, player: bytes, key: int | None) -> None:
        """Give `player` a new key, or take the player off the board with None."""
        before = self.key(player)
        committed = self.base.keys.get(player)
        if before is not None:
            if before == committed:
                insort(self._gone, before)
            else:
                del self._new[bisect_left(self._new, (before, b""))]
        if key is not None:
            if key == committed:
                del self._gone[bisect_left(self._gone, key)]
            else:
                insort(self._new, (key, player))
        self.changes[player] = key

    def at(self, rank: int) -> tuple[int, bytes]:
        """Return the entry at `rank`, by walking there: for ranks near the top.

        Raises:
            IndexError: the board is shorter.
        """
        found = next(islice(self, rank - 1, rank), None)
        if found is None:
            raise IndexError(rank)
        return found

    def __iter__(self) -> Iterator[tuple[int, bytes]]:
        gone = set(self._gone)
        return merge((entry for entry in self.base.ranking if entry[0] not in gone), self._new)
