"""What clients may ask: ranks from memory, the scores' details from the window or by position from the database.

Touches the database through the store it is handed. Every rank comes from the one ordering of `indexer.standings`, so
that all answers and the stream agree.
"""

import struct
from base64 import urlsafe_b64decode, urlsafe_b64encode
from binascii import Error as Base64Error
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from typing import NamedTuple, Protocol

from indexer.boards import BoardConfig
from indexer.messages import Entry, Row, checksummed, row
from indexer.ordering import POSITION_MAX
from indexer.seasons import Season
from indexer.standings import Placed, Standings
from indexer.state import BoardState, Game, State
from indexer.window import ROWS
from relay.errors import CallerError, FieldError, WorldError
from relay.keccak import keccak

CURSOR_BYTES = 16
CURSOR = struct.Struct(">4sq16s")  # of a board's page: its configuration, the season's start, the ordering key
TRIES = 3  # a reorganisation between looking at memory and reading rows is rare; two of them are not chance


class ScoreStore(Protocol):
    """What reading needs of the database."""

    async def entries_at(self, places: Iterable[int]) -> dict[int, Entry]:
        """Return scores by position."""

    async def by_round(self, game: int, round_id: int) -> tuple[Entry, bool] | None:
        """Return a score by round, and whether it is withdrawn."""

    async def seasons(self, board: int) -> list[int]:
        """Return the starts of the seasons in which somebody stands."""

    async def of_player(
        self, player: bytes, game: int | None, before: int | None, limit: int
    ) -> list[tuple[Entry, bool]]:
        """Return a player's scores, newest first."""


class Shelf(Protocol):
    """Where seasons that are over can be had (`indexer.archive.Archive`)."""

    async def season(self, board: BoardState, season: Season) -> Standings:
        """Return the standings of a season that is not the current one."""


class Seat(NamedTuple):
    """A board in one season, and its standings."""

    board: BoardState
    season: Season
    standings: Standings

    @property
    def current(self) -> bool:
        """Whether the stream's window is of this season."""
        return self.standings is self.board.standings


class Page(NamedTuple):
    """Some rows of a board."""

    seat: Seat
    rows: list[Row]
    next_cursor: str | None


def make_page_cursor(seat: Seat, key: int) -> str:
    """Return a place on a board as an opaque text, good for this season and this configuration only."""
    packed = CURSOR.pack(_print(seat.board.config), seat.season.start_s, key.to_bytes(CURSOR_BYTES, "big"))
    return urlsafe_b64encode(packed).decode().rstrip("=")


@lru_cache(maxsize=1024)
def _print(config: BoardConfig) -> bytes:
    return keccak(config.document())[:4]


def make_cursor(place: int) -> str:
    """Return a position as an opaque text."""
    return urlsafe_b64encode(place.to_bytes(CURSOR_BYTES, "big")).decode().rstrip("=")


def read_cursor(text: str | None) -> int | None:
    """Return what `make_cursor` made a text of.

    Raises:
        CallerError: QUERY_INVALID, it made no such text.
    """
    if text is None:
        return None
    place = int.from_bytes(_decoded(text), "big")
    if place > POSITION_MAX or make_cursor(place) != text:
        raise bad_cursor()
    return place


def _unpacked(text: str) -> tuple[bytes, int, bytes]:
    raw = _decoded(text)
    if len(raw) != CURSOR.size or urlsafe_b64encode(raw).decode().rstrip("=") != text:
        raise bad_cursor()
    config, start_s, key = CURSOR.unpack(raw)
    return config, start_s, key


def _decoded(text: str) -> bytes:
    try:
        return urlsafe_b64decode(text + "==")
    except (Base64Error, ValueError):
        return b""


def bad_cursor() -> CallerError:
    """Return the 400 of a cursor that no answer of the list gave."""
    detail = "`cursor` is not one that an answer of this list gave as `nextCursor`."
    return CallerError("QUERY_INVALID", detail, fields=[FieldError("?cursor", "FIELD_INVALID", detail)])


class Reading:
    """Answers questions about boards, players and scores as of the last commit."""

    def __init__(self, state: Callable[[], State | None], store: ScoreStore, shelf: Shelf) -> None:
        self._state = state
        self._store = store
        self._shelf = shelf

    @property
    def state(self) -> State:
        """The committed state; WorldError NOT_READY before the first one is read."""
        state = self._state()
        if state is None:
            raise WorldError("NOT_READY", "The indexer has not read its database and chain yet.")
        return state

    def game(self, game_id: str) -> Game:
        """Return a game by its id; CallerError GAME_UNKNOWN."""
        game = self.state.game_named(game_id)
        if game is None:
            raise CallerError("GAME_UNKNOWN", "No game with this id is indexed here.")
        return game

    def board(self, game_id: str, name: str) -> BoardState:
        """Return a board by its names; CallerError GAME_UNKNOWN or BOARD_UNKNOWN."""
        board = self.state.find(self.game(game_id).game_id, name)
        if board is None and (game_id, name) in self.state.unmade.values():
            raise unmade()
        if board is None:
            raise CallerError("BOARD_UNKNOWN", "The game has no board with this name.")
        return board

    def first_board(self) -> BoardState:
        """Return the default game's default board."""
        boards, unmade_ = self.state.boards, self.state.unmade
        first = min([*boards, *unmade_], default=None)
        if first is None:
            raise WorldError("NOT_READY", "No game is indexed yet.")
        if first not in boards:
            raise unmade()
        return boards[first]

    # ------------------------------------------------------------------------- lists

    async def seat(self, game_id: str, name: str, season: str | None) -> Seat:
        """Return a board in a season, None being the current one; CallerError SEASON_UNKNOWN."""
        board = self.board(game_id, name)
        if season is None or season == board.season.name:
            return Seat(board, board.season, board.standings)
        found = board.config.calendar.named(season)
        if found is None or found.start_s > board.season.start_s:
            raise CallerError("SEASON_UNKNOWN", f"The board has no season named {season[:32]!r} yet.")
        return Seat(board, found, await self._shelf.season(board, found))

    async def page(self, game_id: str, name: str, season: str | None, limit: int, cursor: str | None) -> Page:
        """Return up to `limit` rows behind a cursor (None: from the top)."""
        for _ in range(TRIES):
            seat = await (
                self._continued(game_id, name, season, cursor) if cursor else self.seat(game_id, name, season)
            )
            after = int.from_bytes(_unpacked(cursor)[2], "big") if cursor else None
            placed = seat.standings.page(after, limit + 1)
            rows = await self._rows(seat, placed[:limit])
            if rows is not None:
                return Page(seat, rows, make_page_cursor(seat, placed[limit - 1].key) if len(placed) > limit else None)
        raise moving()

    async def _continued(self, game_id: str, name: str, season: str | None, cursor: str) -> Seat:
        """Return the season a cursor was made in, which goes on after the season is over."""
        config, start_s, _ = _unpacked(cursor)
        board = self.board(game_id, name)
        known = board.config.calendar.at(start_s)
        if config != _print(board.config) or known.start_s != start_s or season not in {None, known.name}:
            raise bad_cursor()
        return await self.seat(game_id, name, known.name)

    async def top(self, limit: int) -> list[Row]:
        """Return the top of the default game's default board."""
        names = self.first_board().names
        return (await self.page(names.game_id, names.name, None, limit, None)).rows

    async def around(self, game_id: str, name: str, season: str | None, player: bytes, limit: int) -> Page:
        """Return `player` in the middle of up to `limit` rows; CallerError PLAYER_NOT_RANKED."""
        for _ in range(TRIES):
            seat = await self.seat(game_id, name, season)
            try:
                placed = seat.standings.around(player, limit)
            except KeyError:
                raise not_ranked(player) from None
            rows = await self._rows(seat, placed)
            if rows is not None:
                return Page(seat, rows, None)
        raise moving()

    async def _rows(self, seat: Seat, placed: Sequence[Placed]) -> list[Row] | None:
        """Return the rows of some players; None where the chain took a score back since they were looked up."""
        final, config = self.state.final_block, seat.board.config
        if seat.current and placed and placed[-1].rank <= ROWS:
            window = {row.player: row for row in seat.board.window.top()}  # kept row by row with the standings
            shown = [window.get(checksummed(one.player)) for one in placed]
            if None not in shown:
                return [row for row in shown if row is not None]
        standings = [config.standing(one.key) for one in placed]
        found = await self._store.entries_at(standing.place for standing in standings)
        if any(standing.place not in found for standing in standings):
            return None
        pairs = zip(placed, standings, strict=True)
        return [row(found[standing.place], final, one.rank, standing.value) for one, standing in pairs]

    async def seasons(self, game_id: str, name: str) -> list[Season]:
        """Return the seasons of a board in which somebody stands, and the current one, newest first."""
        board = self.board(game_id, name)
        starts = {board.season.start_s, *await self._store.seasons(board.number)}
        return [board.config.calendar.at(start_s) for start_s in sorted(starts, reverse=True)]

    # ------------------------------------------------------------------------ scores

    async def score(self, game_id: str, round_id: int) -> tuple[Entry, bool]:
        """Return one score, and whether it is withdrawn; CallerError SCORE_UNKNOWN."""
        found = await self._store.by_round(self.game(game_id).number, round_id)
        if found is None:
            raise CallerError("SCORE_UNKNOWN", "No score of this round is on the chain.")
        return found

    async def scores_of(
        self, player: bytes, game_id: str | None, limit: int, cursor: str | None
    ) -> tuple[list[tuple[Entry, bool]], str | None]:
        """Return a player's scores, newest first, and the cursor to go on from."""
        game = None if game_id is None else self.game(game_id).number
        found = await self._store.of_player(player, game, read_cursor(cursor), limit + 1)
        return found[:limit], make_cursor(found[limit - 1][0].place) if len(found) > limit else None

    def game_id(self, number: int) -> str:
        """Return a game's public id by its number."""
        return next(game.game_id for game in self.state.games.values() if game.number == number)


def best_value(seat: Seat) -> int | None:
    """Return the value of whoever is first on a board, None while it is empty."""
    first = seat.standings.page(None, 1)
    return seat.board.config.standing(first[0].key).value if first else None


def unmade() -> WorldError:
    """Return the 503 of a board that is being made from the scores."""
    return WorldError("NOT_READY", "The board is being made from the scores; ask again.")


def moving() -> WorldError:
    """Return the 503 of a list that changed under every attempt to read it."""
    return WorldError("NOT_READY", "The chain is being reorganised; ask again.")


def not_ranked(player: bytes) -> CallerError:
    """Return the 404 of a player without a score on a board."""
    return CallerError("PLAYER_NOT_RANKED", f"{checksummed(player)} has no score on this board.")
