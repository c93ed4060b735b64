"""The standings of one season of one board: each player's ordering key, and all players in order.

Pure. A `Standings` is what is committed; a `Draft` is what a transaction is about to make of it. Ranks can be asked of
the draft before the commit (the stream's messages carry them), and a failed commit leaves nothing to undo.

A player's *ordinal* is their place in the list, from 1, no two alike. Their *rank* is what is shown: the same, or where
equal values share a rank, the ordinal of the first of them. A board of limited capacity shows the first so many.
"""

from array import array
from bisect import bisect_left, insort
from collections.abc import Iterable, Iterator, Sequence
from heapq import merge
from itertools import islice
from typing import NamedTuple

from indexer.boards import BoardConfig
from indexer.ordering import POSITION_BITS, VALUE_MAX
from indexer.ranking import Ranking

REBUILD_FROM = 1_000  # changes at once, if they are many beside what there is, are sorted in together


class Placed(NamedTuple):
    """A player as the board shows them."""

    rank: int
    key: int  # see `BoardConfig.key`
    player: bytes


class Column(NamedTuple):
    """Everybody of one season in ranking order: players, the values they are ranked by, the positions these are of."""

    players: list[bytes]
    values: "array[int]"
    places: "array[int]"


class Standings:
    """Committed standings of one season."""

    def __init__(self, config: BoardConfig, entries: Iterable[tuple[int, bytes]] = ()) -> None:
        """Build from (key, player) pairs in any order, one per player."""
        self.config = config
        self.keys: dict[bytes, int] = {}
        self.ranking = Ranking()
        self._fill(entries)

    @classmethod
    def of_column(cls, config: BoardConfig, column: Column) -> "Standings":
        """Build from everybody in ranking order: the quick way for a million players, who need not be sorted again."""
        players, values, places = column
        levels = array("q", [VALUE_MAX - value for value in values]) if config.descending else values
        made = cls(config)
        pairs = zip(players, levels, places, strict=True)
        made.keys = {player: level << POSITION_BITS | place for player, level, place in pairs}
        made.ranking = Ranking.of_columns(levels, places, players)
        return made

    def _fill(self, entries: Iterable[tuple[int, bytes]]) -> None:
        ordered = sorted(entries)
        self.keys = {player: key for key, player in ordered}
        self.ranking = Ranking(ordered)

    def __len__(self) -> int:
        """Return how many players are shown."""
        return shown(self.config, len(self.ranking))

    def rank(self, player: bytes) -> int | None:
        """Return the rank of `player`, the best being 1, or None if the board does not show the player."""
        key = self.keys.get(player)
        if key is None:
            return None
        ahead = self.ranking.below(key)
        if ahead >= len(self):
            return None
        return (self.ranking.below(_tied(self.config, key)) if self.config.shared else ahead) + 1

    def page(self, after: int | None, limit: int) -> list[Placed]:
        """Return up to `limit` players behind the key `after` (None: the start)."""
        start = 0 if after is None else after + 1
        ordinal = self.ranking.below(start) + 1
        return self._placed(ordinal, self.ranking.entries_after(start, min(limit, len(self) - ordinal + 1)))

    def around(self, player: bytes, limit: int) -> list[Placed]:
        """Return up to `limit` players with `player` in their middle.

        Near an end of the board the window moves so that it stays full.

        Raises:
            KeyError: the board does not show the player.
        """
        key = self.keys[player]
        ordinal = self.ranking.below(key) + 1
        if ordinal > len(self):
            raise KeyError(player)
        behind = self.ranking.entries_after(key, min(limit, len(self) - ordinal + 1))
        ahead = self.ranking.entries_before(key, max((limit - 1) // 2, limit - len(behind)))
        return self._placed(ordinal - len(ahead), (ahead + behind)[:limit])

    def _placed(self, ordinal: int, entries: Sequence[tuple[int, bytes]]) -> list[Placed]:
        """Put ranks beside entries that follow one another from `ordinal` on."""
        if not entries or not self.config.shared:
            return [Placed(rank, key, player) for rank, (key, player) in enumerate(entries, ordinal)]
        rank, value = self.ranking.below(_tied(self.config, entries[0][0])) + 1, entries[0][0] >> POSITION_BITS
        placed: list[Placed] = []
        for here, (key, player) in enumerate(entries, ordinal):
            if key >> POSITION_BITS != value:
                rank, value = here, key >> POSITION_BITS
            placed.append(Placed(rank, key, player))
        return placed

    def adopt(self, changes: dict[bytes, int | None]) -> None:
        """Make a committed draft's changes one's own."""
        if len(changes) >= REBUILD_FROM and len(changes) * 4 >= len(self.keys):
            merged: dict[bytes, int | None] = {**self.keys, **changes}
            self._fill((key, player) for player, key in merged.items() if key is not None)
            return
        # All that leave first: after a reorganisation a key may be another player's than it was.
        for player in changes:
            before = self.keys.get(player)
            if before is not None:
                self.ranking.remove(before)
        for player, key in changes.items():
            if key is not None:
                self.keys[player] = key
                self.ranking.add(key, player)
            else:
                self.keys.pop(player, None)


class Draft:
    """Changes on top of standings that are not committed yet; the base must not change while a draft of it lives.

    A `quiet` draft is for history that nobody waits for: it only collects, and cannot say ranks.
    """

    def __init__(self, base: Standings, *, quiet: bool = False) -> None:
        self.base = base
        self.changes: dict[bytes, int | None] = {}
        self._quiet = quiet
        self._gone: list[int] = []  # keys of the base that no longer count, sorted
        self._new: list[tuple[int, bytes]] = []  # entries the base does not have, sorted

    def __len__(self) -> int:
        """Return how many players are shown."""
        return shown(self.base.config, self.players)

    def key(self, player: bytes) -> int | None:
        """Return the player's ordering key, None if not on the board."""
        return self.changes[player] if player in self.changes else self.base.keys.get(player)

    def ordinal(self, key: int) -> int:
        """Return the place in the list that `key` has, or would have; the first is 1."""
        gone, new = bisect_left(self._gone, key), bisect_left(self._new, (key, b""))
        return self.base.ranking.below(key) - gone + new + 1

    def rank(self, key: int) -> int:
        """Return the rank that `key` has, or would have."""
        return self.ordinal(_tied(self.base.config, key))

    def put(self, player: bytes, key: int | None) -> None:
        """Give `player` a new key, or take the player off the board with None."""
        if not self._quiet:
            self._move(player, key)
        self.changes[player] = key

    def _move(self, player: bytes, key: int | None) -> None:
        committed = self.base.keys.get(player)
        before = self.changes.get(player, committed)
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

    @property
    def players(self) -> int:
        """How many players there are, shown or not."""
        if not self._quiet:
            return len(self.base.ranking) - len(self._gone) + len(self._new)
        keys = self.base.keys
        return len(keys) + sum((key is not None) - (player in keys) for player, key in self.changes.items())

    def at(self, ordinal: int) -> tuple[int, bytes]:
        """Return the entry at a place in the list.

        Raises:
            IndexError: the board is shorter.
        """
        base, new = self.base.ranking, self._new
        # Among what was added: the first that stands there or behind. Ordinals rise with the key, so both are searched.
        near = bisect_left(new, ordinal, key=lambda entry: self.ordinal(entry[0]))
        if near < len(new) and self.ordinal(new[near][0]) == ordinal:
            return new[near]
        # Among what stays, it moved by as much as was added and taken out before it.
        low, high = max(0, ordinal - 1 - len(new)), min(len(base), ordinal + len(self._gone))
        while low < high:
            middle = (low + high) // 2
            key = base.at(middle)[0]
            # One that is gone has the ordinal of the next that stays: it counts as before that.
            if self.ordinal(key) - self._is_gone(key) < ordinal:
                low = middle + 1
            else:
                high = middle
        return base.at(low)

    def _is_gone(self, key: int) -> bool:
        at = bisect_left(self._gone, key)
        return at < len(self._gone) and self._gone[at] == key

    def __iter__(self) -> Iterator[tuple[int, bytes]]:
        """Iterate over all entries in order, whether shown or not."""
        changed = self.changes
        new = sorted((key, player) for player, key in changed.items() if key is not None) if self._quiet else self._new
        # A player whose key came back to the committed one is in `changes` and neither gone nor new.
        gone = None if self._quiet else set(self._gone)
        kept = (e for e in self.base.ranking if (e[1] not in changed if gone is None else e[0] not in gone))
        return merge(kept, new)

    def top(self, limit: int) -> list[Placed]:
        """Return the first players that are shown, at most `limit`."""
        first = list(islice(self, shown(self.base.config, limit)))
        return Standings(self.base.config, first).page(None, limit)


def shown(config: BoardConfig, players: int) -> int:
    """Return how many of so many players a board shows."""
    return players if config.capacity is None else min(players, config.capacity)


def _tied(config: BoardConfig, key: int) -> int:
    """Return the key before which everybody is ahead of `key` by rank."""
    return key >> POSITION_BITS << POSITION_BITS if config.shared else key
