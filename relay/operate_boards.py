"""What the `fairscore boards` commands do: the same as the API's operations, straight on the database.

Touches the database. The command line has both packages: boards are the indexer's. Whoever follows the chain makes a
board anew within seconds.
"""

import getpass
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeVar

from indexer.boards import BOARD_NAME, BoardConfig, BoardError, board_from_mapping
from indexer.store import board_admin
from relay.config import Settings
from relay.contract import game_key
from relay.errors import CallerError, StartupError
from relay.opening import opened
from relay.operate_games import assigned, listed
from relay.store import migrate

T = TypeVar("T")


class ShownBoard(NamedTuple):
    """A board as `list` shows it."""

    game_id: str
    config: BoardConfig
    origin: str
    state: str


def boards(settings: Settings) -> list[ShownBoard]:
    """Return every board of every game that is indexed."""
    names = {game_key(game.game_id): game.game_id for game in listed(settings)}

    def job(c: Any) -> list[ShownBoard]:
        games = {number: names.get(key, "0x" + key.hex()) for key, number in board_admin.game_numbers(c).items()}
        return [
            ShownBoard(games[row.game], row.config, row.origin, "ready" if row.built else "being made")
            for row in board_admin.listed(c)
        ]

    with opened(settings) as database:
        migrate.upgrade(database, "indexer")
        return database.read_now(job)


def change(settings: Settings, game_id: str, board: str, assignments: Sequence[str], reason: str) -> str:
    """Make a board, or make it another one: what is not named is as on `default`; returns what to print."""
    if BOARD_NAME.fullmatch(board) is None:
        raise StartupError("a board's name is 1 to 64 letters, digits, dots, dashes or underscores")
    try:
        config = board_from_mapping(board, assigned(assignments))
    except BoardError as wrong:
        raise StartupError(str(wrong)) from None
    done = _change(settings, game_id, reason, lambda c, game, by: board_admin.put(c, game, config, by))
    return f"{game_id}/{board}: {done}"


def delete(settings: Settings, game_id: str, board: str, reason: str) -> str:
    """Remove a board with its standings; the scores stay. Returns what to print."""
    _change(settings, game_id, reason, lambda c, game, by: board_admin.take_out(c, game, board, by))
    return f"{game_id}/{board}: deleted"


def _change(settings: Settings, game_id: str, reason: str, job: Callable[[Any, int, board_admin.By], T]) -> T:
    with opened(settings) as database:
        migrate.upgrade(database, "indexer")
        with database.write() as c:
            game = board_admin.game_numbers(c).get(game_key(game_id))
            if game is None:
                raise StartupError(f"no game {game_id!r} is indexed: see `fairscore boards list`")
            by = board_admin.By(f"cli:{getpass.getuser()}", database.now_ms(c), reason)
            try:
                return job(c, game, by)
            except CallerError as refused:
                raise StartupError(refused.detail) from None
