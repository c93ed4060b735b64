"""What clients may ask: ranks from memory, the scores' details from the window or by position from the database.

Touches the database through the store it is handed. Every rank comes from the one ordering of `indexer.standings`, so
that all answers and the stream agree.
"""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from binascii import Error as Base64Error
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple, Protocol

from indexer.messages import Entry, Row, checksummed, row
from indexer.ordering import place_of, score_of
from indexer.state import BoardState, Game, State
from relay.errors import CallerError, FieldError, WorldError

CURSOR_BYTES = 16
TRIES = 3  # a reorganisation between looking at memory and reading rows is rare; two of them are not chance


class ScoreStore(Protocol):
    """What reading needs of the database."""

    async def entries_at(self, places: Iterable[int]) -> dict[int, Entry]:
        """Return scores by position."""

    async def by_round(self, game: int, round_id: int) -> tuple[Entry, bool] | None:
        """Return a score by round, and whether it is withdrawn."""

    async def of_player(
        self, player: bytes, game: int | None, before: int | None, limit: int
    ) -> list[tuple[Entry, bool]]:
        """Return a player's scores, newest first."""


class Page(NamedTuple):
    """Some rows of a board."""

    rows: list[Row]
    next_cursor: str | None


def make_cursor(key: int) -> str:
    """Return an ordering key or a position as an opaque text."""
    return urlsafe_b64encode(key.to_bytes(CURSOR_BYTES, "big")).decode().rstrip("=")


def read_cursor(text: str | None) -> int | None:
    """Return what `make_cursor` made a text of.

    Raises:
        CallerError: QUERY_INVALID, it made no such text.
    """
    if text is None:
        return None
    try:
        raw = urlsafe_b64decode(text + "==")
    except (Base64Error, ValueError):
        raw = b""
    key = int.from_bytes(raw, "big")
    if len(raw) != CURSOR_BYTES or make_cursor(key) != text:
        detail = "`cursor` is not one that an answer of this list gave as `nextCursor`."
        raise CallerError("QUERY_INVALID", detail, fields=[FieldError("?cursor", "FIELD_INVALID", detail)])
    return key


class Reading:
    """Answers questions about boards, players and scores as of the last commit."""

    def __init__(self, state: Callable[[], State | None], store: ScoreStore) -> None:
        self._state = state
        self._store = store

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
        if board is None:
            raise CallerError("BOARD_UNKNOWN", "The game has no board with this name.")
        return board

    def first_board(self) -> BoardState:
        """Return the default game's default board."""
        boards = self.state.boards
        if not boards:
            raise WorldError("NOT_READY", "No game is indexed yet.")
        return boards[min(boards)]

    # ------------------------------------------------------------------------- lists

    async def page(self, game_id: str, name: str, limit: int, cursor: str | None) -> Page:
        """Return up to `limit` rows behind a cursor (None: from the top)."""
        after = read_cursor(cursor)

        def choose(board: BoardState) -> tuple[int, list[tuple[int, bytes]]]:
            return board.standings.page(after, limit + 1)

        rows, keys = await self._rows(lambda: self.board(game_id, name), choose, limit)
        return Page(rows, make_cursor(keys[limit - 1]) if len(keys) > limit else None)

    async def top(self, limit: int) -> list[Row]:
        """Return the top of the default game's default board."""
        rows, _ = await self._rows(self.first_board, lambda board: board.standings.page(None, limit), limit)
        return rows

    async def around(self, game_id: str, name: str, player: bytes, limit: int) -> list[Row]:
        """Return `player` in the middle of up to `limit` rows; CallerError PLAYER_NOT_RANKED."""

        def choose(board: BoardState) -> tuple[int, list[tuple[int, bytes]]]:
            if player not in board.standings.keys:
                raise not_ranked(player)
            return board.standings.around(player, limit)

        rows, _ = await self._rows(lambda: self.board(game_id, name), choose, limit)
        return rows

    async def player(self, game_id: str, name: str, player: bytes) -> Row:
        """Return the row of one player; CallerError PLAYER_NOT_RANKED."""
        return (await self.around(game_id, name, player, 1))[0]

    async def _rows(
        self,
        find: Callable[[], BoardState],
        choose: Callable[[BoardState], tuple[int, Sequence[tuple[int, bytes]]]],
        limit: int,
    ) -> tuple[list[Row], list[int]]:
        """Return the rows of the entries chosen, and the keys of all of them (`limit` of them become rows)."""
        for _ in range(TRIES):
            board, final = find(), self.state.final_block
            first, entries = choose(board)
            keys = [key for key, _ in entries]
            shown = board.window.top()
            if first + min(len(keys), limit) - 1 <= len(shown):
                return shown[first - 1 : first - 1 + limit], keys  # the window is kept row by row with the standings
            found = await self._store.entries_at(place_of(key) for key in keys[:limit])
            if len(found) == min(len(keys), limit):
                rows = [row(found[place_of(key)], final, rank) for rank, key in enumerate(keys[:limit], first)]
                return rows, keys
        raise WorldError("NOT_READY", "The chain is being reorganised; ask again.")

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


def best_score(board: BoardState) -> int | None:
    """Return the best score of a board, None while it is empty."""
    top = board.standings.ranking.top(1)
    return score_of(top[0][0]) if top else None


def not_ranked(player: bytes) -> CallerError:
    """Return the 404 of a player without a score on a board."""
    return CallerError("PLAYER_NOT_RANKED", f"{checksummed(player)} has no score on this board.")
