"""What ranks players in memory or by SQL, each behind the same three questions."""

import sqlite3
from collections.abc import Iterable
from typing import Protocol

from sortedcontainers import SortedList

from indexer.boards import BoardConfig, Standing
from indexer.standings import Draft, Standings

CONFIG = BoardConfig()
Entry = tuple[bytes, int, int]  # player, score, position


class Structure(Protocol):
    """A board that can be asked."""

    def update(self, player: bytes, score: int, place: int) -> int:
        """Take in a player's new score; returns the rank."""

    def put(self, player: bytes, score: int, place: int) -> None:
        """Take in a player's new score."""

    def rank(self, player: bytes) -> int:
        """Return a player's rank."""

    def around(self, player: bytes, limit: int) -> list[bytes]:
        """Return up to `limit` players, this one in their middle."""

    def top(self, limit: int) -> list[bytes]:
        """Return the first players."""


class Ours:
    """What a commit does: a draft, its rank for the stream's message, and the draft made one's own."""

    name = "ours"

    def __init__(self, entries: Iterable[Entry]) -> None:
        self.board = Standings(CONFIG, [(CONFIG.key(Standing(score, place)), who) for who, score, place in entries])

    def update(self, player: bytes, score: int, place: int) -> int:
        """Draft, rank, adopt."""
        draft, key = Draft(self.board), CONFIG.key(Standing(score, place))
        draft.put(player, key)
        rank = draft.rank(key)
        self.board.adopt(draft.changes)
        return rank

    def put(self, player: bytes, score: int, place: int) -> None:
        """The same."""
        self.update(player, score, place)

    def rank(self, player: bytes) -> int:
        """The rank that the API gives."""
        return self.board.rank(player) or 0

    def around(self, player: bytes, limit: int) -> list[bytes]:
        """The rows that the API gives."""
        return [placed.player for placed in self.board.around(player, limit)]

    def top(self, limit: int) -> list[bytes]:
        """The rows that the API gives."""
        return [placed.player for placed in self.board.page(None, limit)]


class Sorted:
    """sortedcontainers: a list of packed keys, and who has which."""

    name = "sortedcontainers"

    def __init__(self, entries: Iterable[Entry]) -> None:
        pairs = [(CONFIG.key(Standing(score, place)), who) for who, score, place in entries]
        self.keys = {who: key for key, who in pairs}
        self.players = dict(pairs)
        self.order = SortedList(self.players)

    def update(self, player: bytes, score: int, place: int) -> int:
        """Take the old key out, put the new one in."""
        before = self.keys[player]
        self.order.remove(before)
        del self.players[before]
        key = self.keys[player] = CONFIG.key(Standing(score, place))
        self.players[key] = player
        self.order.add(key)
        return int(self.order.bisect_left(key)) + 1

    def put(self, player: bytes, score: int, place: int) -> None:
        """The same."""
        self.update(player, score, place)

    def rank(self, player: bytes) -> int:
        """Its index."""
        return int(self.order.bisect_left(self.keys[player])) + 1

    def around(self, player: bytes, limit: int) -> list[bytes]:
        """A slice."""
        at = self.rank(player) - 1
        first = max(0, min(at - (limit - 1) // 2, len(self.order) - limit))
        return [self.players[key] for key in self.order[first : first + limit]]

    def top(self, limit: int) -> list[bytes]:
        """A slice."""
        return [self.players[key] for key in self.order[:limit]]


class Sql:
    """COUNT(*) over an index on (score, position) in SQLite, in memory: nothing is faster to ask by SQL."""

    name = "SQL COUNT(*)"

    def __init__(self, entries: Iterable[Entry]) -> None:
        self.database = sqlite3.connect(":memory:")
        self.database.execute("CREATE TABLE s (player BLOB PRIMARY KEY, score INTEGER, place INTEGER) WITHOUT ROWID")
        self.database.executemany("INSERT INTO s VALUES (?, ?, ?)", sorted(entries))
        self.database.execute("CREATE INDEX by_rank ON s (score DESC, place)")

    def update(self, player: bytes, score: int, place: int) -> int:
        """An update, and a count."""
        self.put(player, score, place)
        return self.rank(player)

    def put(self, player: bytes, score: int, place: int) -> None:
        """An update."""
        self.database.execute("UPDATE s SET score = ?, place = ? WHERE player = ?", (score, place, player))

    def rank(self, player: bytes) -> int:
        """Everybody ahead is counted."""
        score, place = self._of(player)
        # Two ranges of the index: with OR between them SQLite reads the table.
        better, earlier = (
            "SELECT count(*) FROM s WHERE score > ?",
            "SELECT count(*) FROM s WHERE score = ? AND place < ?",
        )
        ahead = f"SELECT ({better}) + ({earlier})"
        return int(self.database.execute(ahead, (score, score, place)).fetchone()[0]) + 1

    def around(self, player: bytes, limit: int) -> list[bytes]:
        """Two walks along the index, which need no rank; at the ends they do not fill up."""
        score, place = self._of(player)
        behind = "SELECT player FROM s WHERE (score, -place) <= (?, ?) ORDER BY score DESC, place LIMIT ?"
        ahead = "SELECT player FROM s WHERE (score, -place) > (?, ?) ORDER BY score, place DESC LIMIT ?"
        before = (limit - 1) // 2
        first = [row[0] for row in self.database.execute(ahead, (score, -place, before))][::-1]
        return first + [row[0] for row in self.database.execute(behind, (score, -place, limit - len(first)))]

    def top(self, limit: int) -> list[bytes]:
        """A walk along the index."""
        rows = self.database.execute("SELECT player FROM s ORDER BY score DESC, place LIMIT ?", (limit,))
        return [row[0] for row in rows]

    def _of(self, player: bytes) -> tuple[int, int]:
        found: tuple[int, int] = self.database.execute(
            "SELECT score, place FROM s WHERE player = ?", (player,)
        ).fetchone()
        return found
