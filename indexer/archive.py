"""Standings of seasons that are over: read from the database when somebody asks, kept while they are asked for.

Touches the database through the store it is handed. What a commit changes in an old season (a score of it was revoked,
or the chain went back) is forgotten here and read anew.
"""

import asyncio
from collections import OrderedDict
from typing import Protocol

from indexer.boards import BoardConfig
from indexer.seasons import Season
from indexer.standings import Column, Standings
from indexer.state import BoardState, Outcome, State

KEPT = 16  # seasons at once; a large one is tens of megabytes


class SeasonStore(Protocol):
    """What the archive needs of the database."""

    async def season(self, board: int, config: BoardConfig, season_s: int) -> Column:
        """Return everybody of a season in ranking order."""


class Archive:
    """Past seasons by board and start; an audience of the follower."""

    def __init__(self, store: SeasonStore) -> None:
        self._store = store
        self._kept: OrderedDict[tuple[int, int], asyncio.Task[Standings]] = OrderedDict()

    async def season(self, board: BoardState, season: Season) -> Standings:
        """Return the standings of a season that is not the current one."""
        key = (board.number, season.start_s)
        task = self._kept.get(key)
        if task is None or (task.done() and (task.cancelled() or task.exception() is not None)):
            task = self._kept[key] = asyncio.create_task(self._read(board, season))
            while len(self._kept) > KEPT:
                self._kept.popitem(last=False)
        self._kept.move_to_end(key)
        return await asyncio.shield(task)  # others may wait for the same

    async def _read(self, board: BoardState, season: Season) -> Standings:
        column = await self._store.season(board.number, board.config, season.start_s)
        return await asyncio.to_thread(Standings.of_column, board.config, column)

    async def reset(self, state: State) -> None:  # noqa: ARG002 - every audience hears the state
        """Forget everything: the database was read anew."""
        self._kept.clear()

    def tell(self, state: State, outcome: Outcome) -> None:  # noqa: ARG002
        """Forget what a commit changed."""
        made = {board.number for board in outcome.new_boards}
        for key in [key for key in self._kept if key[0] in made]:
            del self._kept[key]
        for row in outcome.standings:
            self._kept.pop((row.board, row.season_s), None)
        for number in outcome.turns:  # what was the current season may be asked for now, and was never read
            self._kept.pop((number, outcome.turns[number].season.start_s), None)
