"""A board that was made anew becomes one of those that are followed.

Touches the database on the connection it is given.
"""

from dataclasses import replace

from sqlalchemy import Connection, select

from indexer.messages import Board
from indexer.standings import Standings
from indexer.state import BoardState, Outcome, State, unchanged
from indexer.store import bulk
from indexer.store.commit import guard
from indexer.store.load import window_of
from indexer.store.rebuild import Made, settle
from indexer.store.tables import boards


def join(connection: Connection, state: State, made: Made, *, now_ms: int) -> Outcome:
    """Take in what came since, and return the board as new; the caller commits, and adopts only after that.

    Raises:
        OvertakenError: the board is not to be so any more.
        SupersededError: the database is not where `state` is.
    """
    guard(connection, state)
    settled = settle(connection, made, now_ms)
    task, config = made.build.task, made.build.task.config
    season, ranked = config.calendar.at(state.tip_time_s), made.standings
    if season.start_s == made.season.start_s:
        ranked.adopt({player: key for (start_s, player), key in settled.keys.items() if start_s == season.start_s})
    else:
        column = bulk.season_column(connection, task.number, season.start_s, descending=config.descending)
        ranked = Standings.of_column(config, column)
    game_id = next(game.game_id for game in state.games.values() if game.number == task.game)
    seq = connection.scalar(select(boards.c.seq).where(boards.c.number == task.number)) or 0
    window = window_of(connection, ranked, state.final_block)
    board = BoardState(task.number, task.game, Board(game_id, config.name), config, season, ranked, window, seq)
    return replace(unchanged(state), epoch=settled.epoch, new_boards=[board])
