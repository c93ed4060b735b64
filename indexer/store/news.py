"""What another indexer committed since we last looked, as one consistent picture.

Touches the database on the connection it is given.
"""

import asyncio
from collections.abc import Mapping

from sqlalchemy import Connection, select

from indexer.events import Mark
from indexer.state import State
from indexer.store import load
from indexer.store import stream as log_of
from indexer.store.ledger import BUILT
from indexer.store.tables import boards, chain, games
from indexer.stream_ring import Told
from indexer.tail import News
from relay.store.engine import Database, one_picture


def view(connection: Connection, names: Mapping[bytes, str]) -> load.Loaded | None:
    """Return everything committed, None for a new database."""
    one_picture(connection)
    return load.load(connection, names)


def news(connection: Connection, state: State, flags: Mapping[int, int]) -> News | None:
    """Return what follows `state`, and each game's flags after a number; None where all must be read anew."""
    one_picture(connection)
    at = connection.execute(select(chain)).first()
    query = select(boards.c.number, boards.c.name, boards.c.config, boards.c.seq, boards.c.built)
    there = {row.number: row for row in connection.execute(query)}
    rows = {number: row for number, row in there.items() if row.built == BUILT}
    # A board that is being made anew is shown as it was until it is made, which begins a new epoch.
    if at is None or at.epoch != state.epoch or not rows.keys() <= state.boards.keys() <= there.keys():
        return None
    told: dict[int, list[Told]] = {}
    for number, row in rows.items():
        board = state.boards[number]
        if load.read_config(row.name, row.config) != board.config:
            return None
        if row.seq != board.seq:
            told[number] = log_of.behind(connection, number, board.seq)
            if [one.seq for one in told[number]] != list(range(board.seq + 1, row.seq + 1)):
                return None  # pruned meanwhile, or begun anew
    return News(
        Mark(at.tip_number, at.tip_hash), at.tip_time_s, at.final_number, Mark(at.verified_number, at.verified_hash),
        {key: (head, recorded) for key, head, recorded in connection.execute(
            select(games.c.key, games.c.head, games.c.recorded))},
        told,
        {game: log_of.behind(connection, -game, seq) for game, seq in flags.items()},
    )  # fmt: skip


class Log:
    """What another indexer writes, for reading only."""

    def __init__(self, database: Database, names: Mapping[bytes, str]) -> None:
        self._database, self.names = database, names

    async def view(self) -> State | None:
        """Return everything committed, None for a new database."""
        loaded = await self._database.read(lambda connection: view(connection, self.names))
        return None if loaded is None else await asyncio.to_thread(loaded.whole)

    async def news(self, state: State, flags: Mapping[int, int]) -> News | None:
        """Return what follows `state`; None where all must be read anew."""
        return await self._database.read(lambda connection: news(connection, state, flags))
