"""The top of a board as a reader of its stream sees it: a snapshot plus every message since.

Pure. The server keeps its own snapshots by applying its own messages here, so what a new reader is given is exactly
what an old one has; `fairscore.js` does the same.
"""

from collections.abc import Iterable

import msgspec

from indexer.boards import BoardConfig
from indexer.messages import (
    AbsentMessage,
    FinalMessage,
    Message,
    RetractMessage,
    Row,
    ScoreMessage,
    SeasonMessage,
    StandingMessage,
    score_id,
)

ROWS = 100


class Window:
    """Rows by player. Holds every row of the top `ROWS`, and may hold some below it."""

    def __init__(self, config: BoardConfig, rows: Iterable[Row] = (), total: int = 0) -> None:
        self._config = config
        self._rows = {row.player: row for row in rows}
        self.total = total
        self._top: list[Row] | None = None  # in order; made anew when asked for after a change

    def apply(self, message: Message) -> None:
        """Take in one message; `score` and `retract` change nothing, because a `standing` follows where it matters."""
        if not isinstance(message, ScoreMessage | RetractMessage):
            self._top = None
        if isinstance(message, StandingMessage):
            fields = {name: getattr(message, name) for name in Row.__struct_fields__}
            self._rows[message.player] = Row(**fields)
            self.total = message.total
            if len(self._rows) > 2 * ROWS:
                self._rows = {row.player: row for row in self.top()}
        elif isinstance(message, AbsentMessage):
            self._rows.pop(message.player, None)
            self.total = message.total
        elif isinstance(message, SeasonMessage):
            self._rows = {row.player: row for row in message.rows}
            self.total = message.total
        elif isinstance(message, FinalMessage):
            final = set(message.score_ids)
            for player, row in self._rows.items():
                if row.status != "final" and score_id(message.game_id, int(row.round_id)) in final:
                    self._rows[player] = msgspec.structs.replace(row, status="final")

    def top(self) -> list[Row]:
        """Return the top rows in order, with their ranks."""
        if self._top is not None:
            return self._top
        ahead = -1 if self._config.descending else 1
        ordered = sorted(self._rows.values(), key=lambda row: (ahead * int(row.score), row.position))[:ROWS]
        rank, before = 0, None
        self._top = []
        for ordinal, row in enumerate(ordered, 1):
            if not self._config.shared or row.score != before:
                rank, before = ordinal, row.score
            self._top.append(row if row.rank == rank else msgspec.structs.replace(row, rank=rank))
        return self._top
