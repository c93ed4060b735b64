"""What a start reads: the checkpoint, the games, the standings, the tail of the stream; or creates, for a new database.

Touches the database on the connection it is given.
"""

import json
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from sqlalchemy import Connection, delete, insert, select, text, update

from indexer.board_draft import top_rows
from indexer.boards import BoardConfig, board_from_mapping
from indexer.events import Header, Mark
from indexer.messages import Board
from indexer.standings import Column, Standings, shown
from indexer.state import BoardState, Game, Identity, State
from indexer.store import bulk
from indexer.store.board_tables import builds
from indexer.store.ledger import BUILT, UNBUILT, SqlLedger, add_board
from indexer.store.tables import FROM_FILE, blocks, boards, chain, games, standings, stream
from indexer.window import ROWS, Window

# From each season to the one before by the primary key: DISTINCT would read every standing of the board.
SEASONS = text("""
WITH RECURSIVE found (season_s) AS (
  SELECT max(season_s) FROM ix_standings WHERE board = :board
  UNION ALL
  SELECT (SELECT max(season_s) FROM ix_standings WHERE board = :board AND season_s < found.season_s)
  FROM found WHERE season_s IS NOT NULL
)
SELECT season_s FROM found WHERE season_s IS NOT NULL LIMIT :limit
""")


def create(connection: Connection, identity: Identity, start: Header, epoch: int) -> None:
    """Write the checkpoint of an indexer that has seen nothing yet; `start` is the block before its first."""
    connection.execute(
        insert(chain).values(
            id=1, chain_id=identity.chain_id, genesis_hash=identity.genesis_hash, contract=identity.contract,
            code_hash=identity.code_hash, start_block=start.number + 1, tip_number=start.number, tip_hash=start.hash,
            tip_time_s=start.time_s, final_number=start.number, verified_number=start.number,
            verified_hash=start.hash, epoch=epoch,
        )
    )  # fmt: skip


def begun(connection: Connection) -> bool:
    """Return whether there is a checkpoint."""
    return connection.scalar(select(chain.c.id)) is not None


class Loaded(NamedTuple):
    """Everything committed, its boards without their standings; and these as the database has them, by board."""

    state: State
    columns: dict[int, Column]

    def whole(self) -> State:
        """Return everything. Takes a second for a million players: for a thread, and no transaction to wait for."""
        for number, column in self.columns.items():
            board = self.state.boards[number]
            board.standings = Standings.of_column(board.config, column)
        return self.state


def load(connection: Connection, names: Mapping[bytes, str]) -> Loaded | None:
    """Read everything committed, None for a new database. `names` gives the ids of games by their key."""
    found = connection.execute(select(chain)).first()
    if found is None:
        return None
    state = State(
        Identity(found.chain_id, found.genesis_hash, found.contract, found.code_hash),
        found.start_block,
        Mark(found.tip_number, found.tip_hash),
        found.tip_time_s,
        found.final_number,
        Mark(found.verified_number, found.verified_hash),
        found.epoch,
    )
    for number, key, head, recorded in connection.execute(select(games)):
        state.games[key] = Game(number, key, names.get(key, "0x" + key.hex()), head, recorded)
    ids = {game.number: game.game_id for game in state.games.values()}
    loaded = Loaded(state, {})
    fields = (boards.c.number, boards.c.game, boards.c.name, boards.c.config, boards.c.seq, boards.c.built)
    for number, game, name, document, seq, built in connection.execute(select(*fields).order_by(boards.c.number)):
        if built != BUILT:  # in nobody's memory until it is made
            state.unmade[number] = Board(ids[game], name)
            continue
        config = read_config(name, document)
        season = config.calendar.at(state.tip_time_s)
        column = bulk.season_column(connection, number, season.start_s, descending=config.descending)
        loaded.columns[number] = column
        window = _window(connection, config, column, state.final_block)
        names_of = Board(ids[game], name)
        state.boards[number] = BoardState(number, game, names_of, config, season, Standings(config), window, seq)
    for number, known in connection.execute(select(blocks.c.number, blocks.c.hash).order_by(blocks.c.number)):
        state.recent[number] = known
    return loaded


def read_config(name: str, document: str) -> BoardConfig:
    """Return a board's stored configuration; one stored before there was any is the default."""
    table = json.loads(document) if document else {}
    return board_from_mapping(name, {key: value for key, value in table.items() if key != "name"})


def arrange(connection: Connection, configured: Mapping[bytes, Sequence[BoardConfig]]) -> None:
    """Create the games and boards that are configured and not there yet, so that they can be followed while empty.

    A board whose configuration changed is marked to be made anew; one that is configured no more is removed.
    """
    numbers = {key: number for number, key in connection.execute(select(games.c.number, games.c.key))}
    ledger = SqlLedger(connection)
    for key, wanted in configured.items():
        if key not in numbers:
            numbers[key], _ = ledger.add_game(key, wanted[0])
        _arrange_game(connection, numbers[key], wanted)


def _arrange_game(connection: Connection, game: int, wanted: Sequence[BoardConfig]) -> None:
    there = {row.name: row for row in connection.execute(select(boards).where(boards.c.game == game))}
    for config in wanted:
        row = there.pop(config.name, None)
        if row is None:
            add_board(connection, game, config, UNBUILT)
        elif row.config != config.document().decode():
            reconfigure(connection, row.number, config, FROM_FILE)
        elif row.origin != FROM_FILE:  # the settings name it now, as it was made over HTTP
            connection.execute(update(boards).where(boards.c.number == row.number).values(origin=FROM_FILE))
    for row in there.values():
        if row.origin == FROM_FILE:
            remove(connection, row.number)


def reconfigure(connection: Connection, number: int, config: BoardConfig, origin: str) -> None:
    """Give a board another configuration; its standings are to be made anew."""
    values = {"config": config.document().decode(), "origin": origin, "built": UNBUILT}
    connection.execute(update(boards).where(boards.c.number == number).values(**values))
    connection.execute(delete(builds).where(builds.c.board == number))  # whoever makes it as it was finds out


def remove(connection: Connection, number: int) -> None:
    """Remove a board with its standings and stream; the scores stay."""
    for column in (standings.c.board, stream.c.board, builds.c.board, boards.c.number):
        connection.execute(delete(column.table).where(column == number))


def seasons(connection: Connection, board: int, limit: int) -> list[int]:
    """Return the starts of the newest seasons in which somebody stands, newest first."""
    return list(connection.scalars(SEASONS, {"board": board, "limit": limit}))


def _window(connection: Connection, config: BoardConfig, column: Column, final_block: int) -> Window:
    first = Column(column.players[:ROWS], column.values[:ROWS], column.places[:ROWS])
    top = window_of(connection, Standings.of_column(config, first), final_block)
    top.total = shown(config, len(column.players))
    return top


def window_of(connection: Connection, standings_: Standings, final_block: int) -> Window:
    """Return what a stream's reader sees of standings."""
    config = standings_.config
    rows = top_rows(SqlLedger(connection), config, standings_.page(None, ROWS), final_block)
    return Window(config, rows, total=len(standings_))
