"""Boards that are configured over HTTP: listed, put, deleted, each change recorded in the same commit.

Touches the database on the connection it is given. Who may is decided by the caller; what the settings name is theirs.
"""

from typing import Any, Literal, NamedTuple

from sqlalchemy import Connection, Row, Select, func, select

from indexer.boards import BoardConfig
from indexer.store.board_tables import board_changes, builds
from indexer.store.ledger import BUILT, UNBUILT, add_board
from indexer.store.load import read_config, reconfigure, remove
from indexer.store.tables import FROM_API, FROM_FILE, boards, chain, games
from relay.errors import CallerError

Put = Literal["created", "changed", "unchanged"]


class By(NamedTuple):
    """Who changes a board, when (epoch ms) and why."""

    actor: str
    at_ms: int
    reason: str


class BoardRow(NamedTuple):
    """A board as it is configured. `done` of `total` scores are taken in while it is made anew; None: it is not."""

    number: int
    game: int
    config: BoardConfig
    origin: str
    built: bool
    done: int | None
    total: int | None


class Change(NamedTuple):
    """One recorded change. Time in epoch ms."""

    seq: int
    at_ms: int
    actor: str
    action: str
    config: BoardConfig
    reason: str


def game_numbers(connection: Connection) -> dict[bytes, int]:
    """Return the number of each game that is indexed, by its key on the contract."""
    return {row.key: row.number for row in connection.execute(select(games.c.key, games.c.number))}


def listed(connection: Connection) -> list[BoardRow]:
    """Return every board, in the order they were made."""
    return [_board(row) for row in connection.execute(_query().order_by(boards.c.number))]


def found(connection: Connection, game: int, name: str) -> BoardRow:
    """Return one board; CallerError BOARD_UNKNOWN."""
    row = connection.execute(_query().where(boards.c.game == game, boards.c.name == name)).first()
    if row is None:
        raise CallerError("BOARD_UNKNOWN", "The game has no board with this name.")
    return _board(row)


def put(connection: Connection, game: int, config: BoardConfig, by: By) -> Put:
    """Let a board be configured so; its standings are made anew by whoever follows the chain.

    Raises:
        CallerError: BOARD_CONFIGURED.
    """
    _alone(connection)
    row = connection.execute(_query().where(boards.c.game == game, boards.c.name == config.name)).first()
    if row is None:
        number = add_board(connection, game, config, UNBUILT, FROM_API)
        _record(connection, by, "created", number, game, config)
        return "created"
    before = _changeable(row)
    if before.config == config:
        return "unchanged"
    reconfigure(connection, before.number, config, FROM_API)
    _record(connection, by, "changed", before.number, game, config)
    return "changed"


def take_out(connection: Connection, game: int, name: str, by: By) -> None:
    """Remove a board with its standings; the scores stay.

    Raises:
        CallerError: BOARD_UNKNOWN, BOARD_CONFIGURED.
    """
    _alone(connection)
    row = connection.execute(_query().where(boards.c.game == game, boards.c.name == name)).first()
    if row is None:
        raise CallerError("BOARD_UNKNOWN", "The game has no board with this name.")
    before = _changeable(row)
    remove(connection, before.number)
    _record(connection, by, "deleted", before.number, game, before.config)


def changes(connection: Connection, game: int, name: str, limit: int) -> list[Change]:
    """Return the newest changes of a board, newest first; those of earlier boards of this name among them."""
    c = board_changes.c
    query = select(c.seq, c.at_ms, c.actor, c.action, c.config, c.reason).where(c.game == game, c.name == name)
    rows = connection.execute(query.order_by(c.seq.desc()).limit(limit))
    return [Change(*row[:4], read_config(name, row[4]), row[5]) for row in rows]


def revision(connection: Connection) -> int:
    """Return the version of all boards' configuration."""
    return connection.scalar(select(func.max(board_changes.c.seq))) or 0


def _query() -> Select[Any]:
    columns = (boards.c.number, boards.c.game, boards.c.name, boards.c.config, boards.c.origin, boards.c.built)
    joined = boards.outerjoin(builds, builds.c.board == boards.c.number)
    return select(*columns, builds.c.done, builds.c.total).select_from(joined)


def _board(row: Row[Any]) -> BoardRow:
    config = read_config(row.name, row.config)
    return BoardRow(row.number, row.game, config, row.origin, row.built == BUILT, row.done, row.total)


def _changeable(row: Row[Any]) -> BoardRow:
    board = _board(row)
    if board.origin == FROM_FILE:
        detail = f"The board {board.config.name} is configured in the indexer's settings: change it there."
        raise CallerError("BOARD_CONFIGURED", detail)
    return board


def _alone(connection: Connection) -> None:
    """Let no second change, commit or build of a board happen until this one is committed (SQLite: none can)."""
    connection.execute(select(chain.c.id).with_for_update())


def _record(connection: Connection, by: By, action: str, number: int, game: int, config: BoardConfig) -> None:
    row = {"at_ms": by.at_ms, "actor": by.actor, "reason": by.reason, "action": action, "board": number, "game": game}
    document = config.document().decode()
    connection.execute(board_changes.insert().values(**row, name=config.name, config=document))
