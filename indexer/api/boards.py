"""Which boards there are and how they are configured, over HTTP: for everybody to see, for an admin to change.

Touches the database through the store it is handed. A change is durable and recorded before the answer; the standings
are made anew by whoever follows the chain, and until then the board is served as it was.
"""

from collections.abc import Callable, Sequence
from typing import Annotated, Literal, Protocol

import msgspec
from msgspec import Meta

from indexer.api.params import PATHS
from indexer.boards import BOARD_NAME, CAPACITY_MAX, BoardConfig, BoardError, Operator, Order, Ties
from indexer.messages import rfc3339
from indexer.reading import Reading
from indexer.seasons import NEVER
from indexer.store.board_admin import BoardRow, Change, Put
from relay.api.operations import Answer, Call, Operation, Query, Response, answer
from relay.errors import CallerError, FieldError, PayloadError, WorldError
from relay.store.engine import StoreUnavailableError
from relay.strict_json import Request

TAG = "Boards"
ADMIN = frozenset({"admin"})
WATCHERS = frozenset({"auditor", "admin"})
CHANGES = 100
READ = ("GAME_UNKNOWN", "BOARD_UNKNOWN", "NOT_READY", "STORE_UNAVAILABLE")
REFUSED = ("NOT_AUTHENTICATED", "FORBIDDEN_ROLE", "FORBIDDEN_GAME", "NOT_READY", "STORE_UNAVAILABLE")


class BoardStore(Protocol):
    """What these operations need of the database."""

    async def boards(self) -> list[BoardRow]:
        """Return every board as it is configured."""

    async def board(self, game: int, name: str) -> BoardRow:
        """Return one board as it is configured; CallerError BOARD_UNKNOWN."""

    async def put_board(self, game: int, config: BoardConfig, actor: str, reason: str) -> Put:
        """Let a board be configured so; CallerError BOARD_CONFIGURED."""

    async def delete_board(self, game: int, name: str, actor: str, reason: str) -> None:
        """Remove a board; CallerError BOARD_UNKNOWN or BOARD_CONFIGURED."""

    async def board_changes(self, game: int, name: str, limit: int) -> list[Change]:
        """Return the newest changes of a board, newest first."""


Reason = Annotated[str, Meta(max_length=500, description="why; kept in the record of changes")]


class BoardRequest(Request, frozen=True):
    """What a board is to be. What is left out is as on every game's `default`: best, desc, earliest, never."""

    operator: Operator = Operator.BEST
    order: Order = Order.DESC
    ties: Ties = Ties.EARLIEST
    season: Annotated[
        str, Meta(max_length=100, description="never, daily, weekly, monthly, or five cron fields; UTC")
    ] = NEVER
    capacity: Annotated[int, Meta(ge=1, le=CAPACITY_MAX, description="players shown; null: all")] | None = None
    reason: Reason = ""


class ReasonQuery(Query, frozen=True):
    """Why."""

    reason: Reason = ""


class Making(msgspec.Struct, rename="camel", frozen=True):
    """How far a board is made anew, in scores taken in."""

    scores_done: int
    scores_total: int


class BoardSettings(msgspec.Struct, rename="camel", frozen=True):
    """A board as it is configured.

    `origin` says where: `file` is the indexer's settings, `api` this interface. `state`: `ready`, `waiting` to be made
    anew, or `rebuilding` as `making` says; until it is ready a changed board is served as it was, a new one not at all.
    """

    game_id: str
    board: str
    operator: str
    order: str
    ties: str
    season: str
    capacity: int | None
    origin: Literal["file", "api"]
    state: Literal["ready", "waiting", "rebuilding"]
    making: Making | None
    links: dict[str, str]


class AllBoards(msgspec.Struct, rename="camel", frozen=True):
    """Every board of every game."""

    boards: list[BoardSettings]


class BoardChange(msgspec.Struct, rename="camel", frozen=True):
    """One recorded change; the configuration is the one after it, or that of the board that was deleted."""

    at: str
    actor: str
    action: str
    reason: str
    operator: str
    order: str
    ties: str
    season: str
    capacity: int | None


class BoardChanges(msgspec.Struct, rename="camel", frozen=True):
    """The newest changes of a board, newest first."""

    game_id: str
    board: str
    changes: list[BoardChange]


class Boards:
    """The operations. `changed` lets the follower look at what was changed."""

    def __init__(self, reading: Reading, store: BoardStore, changed: Callable[[], None]) -> None:
        self._reading, self._store, self._changed = reading, store, changed

    async def everything(self, call: Call) -> Answer:  # noqa: ARG002 - nothing is asked of the caller
        """Return every board."""
        ids = {game.number: game.game_id for game in self._reading.state.games.values()}
        rows = await self._store.boards()
        return answer(AllBoards([_settings(ids[row.game], row) for row in rows if row.game in ids]))

    async def one(self, call: Call) -> Answer:
        """Return one board."""
        game = self._reading.game(call.path["gameId"])
        return answer(_settings(game.game_id, await self._store.board(game.number, _storable(call.path["board"]))))

    async def put(self, call: Call) -> Answer:
        """Make a board, or make it another one."""
        game, actor = self._reading.game(call.path["gameId"]), _admin(call)
        config, reason = _config(call.path["board"], call.body), _storable(call.body.reason)
        try:
            done = await self._store.put_board(game.number, config, actor, reason)
        except StoreUnavailableError:
            raise _not_stored() from None
        if done != "unchanged":
            self._changed()
        row = await self._store.board(game.number, config.name)
        return answer(_settings(game.game_id, row), 201 if done == "created" else 200)

    async def delete(self, call: Call) -> Answer:
        """Remove a board."""
        game, actor = self._reading.game(call.path["gameId"]), _admin(call)
        reason = _storable(call.query.reason)
        try:
            await self._store.delete_board(game.number, _storable(call.path["board"]), actor, reason)
        except StoreUnavailableError:
            raise _not_stored() from None
        self._changed()
        return Answer(204, b"")

    async def changes(self, call: Call) -> Answer:
        """Return who changed a board."""
        game, name = self._reading.game(call.path["gameId"]), _storable(call.path["board"])
        _admin(call)
        found = await self._store.board_changes(game.number, name, CHANGES)
        return answer(BoardChanges(game.game_id, name, [_change(one) for one in found]))

    def operations(self) -> Sequence[Operation]:
        """Return the declarations."""
        base = "/api/boards/{gameId}/{board}"
        return [
            Operation(
                "GET", "/api/boards", "How every board is configured", self.everything, {200: AllBoards},
                ("NOT_READY", "STORE_UNAVAILABLE"), tag=TAG,
            ),
            Operation(
                "GET", base, "How a board is configured", self.one, {200: BoardSettings}, READ,
                parameters=PATHS, tag=TAG,
                description="While its standings are made anew, `making` says how far that is.",
            ),
            Operation(
                "PUT", base, "Configure a board", self.put,
                {
                    201: Response(BoardSettings, "The board is new; it is served once its standings are made."),
                    200: Response(BoardSettings, "The board is configured so; it is made anew if that is a change."),
                },
                (
                    *REFUSED, "PAYLOAD_MALFORMED", "PATH_INVALID", "GAME_UNKNOWN", "BOARD_CONFIGURED",
                    "BODY_TOO_LARGE", "MEDIA_TYPE_UNSUPPORTED",
                ),
                ADMIN, request=BoardRequest, parameters=PATHS, tag=TAG,
                description="Its standings are made anew from all scores of the game, as if it had always been so; "
                "its stream goes on with a snapshot. The same request again changes nothing.",
            ),
            Operation(
                "DELETE", base, "Remove a board", self.delete, {204: Response(None, "It is removed; the scores stay.")},
                (*REFUSED, "QUERY_INVALID", "GAME_UNKNOWN", "BOARD_UNKNOWN", "BOARD_CONFIGURED"), ADMIN,
                query=ReasonQuery, parameters=PATHS, tag=TAG, description="Its streams end.",
            ),
            Operation(
                "GET", f"{base}/changes", "Who changed a board", self.changes, {200: BoardChanges},
                (*REFUSED, "GAME_UNKNOWN"), WATCHERS, parameters=PATHS, tag=TAG,
            ),
        ]  # fmt: skip


def _admin(call: Call) -> str:
    """Return the key that asks, if it is good for the game of the path; CallerError."""
    credential = call.credential
    if credential is None:
        raise CallerError("NOT_AUTHENTICATED", "This operation needs a key.")
    if credential.game_id not in {None, call.path["gameId"]}:
        raise CallerError("FORBIDDEN_GAME", "The key belongs to another game.")
    return credential.key_id


def _config(name: str, body: BoardRequest) -> BoardConfig:
    if not BOARD_NAME.fullmatch(name):
        detail = "A board's name is 1 to 64 letters, digits, dots, dashes or underscores, the first a letter or digit."
        raise CallerError("PATH_INVALID", detail)
    try:
        return BoardConfig(name, body.operator, body.order, body.ties, body.season, body.capacity)
    except BoardError as wrong:  # of what the type cannot say, only the season is left
        detail = f"The {wrong}."
        raise PayloadError(detail, [FieldError("/season", "FIELD_INVALID", detail)]) from None


def _storable(text: str) -> str:
    return text.replace("\0", "\ufffd")  # PostgreSQL's texts hold every character but this one


def _not_stored() -> WorldError:
    return WorldError("STORE_UNAVAILABLE", "The database did not take the change; nothing happened. Try again.")


def _settings(game_id: str, row: BoardRow) -> BoardSettings:
    config = row.config
    making = None if row.built or row.done is None or row.total is None else Making(row.done, row.total)
    served = f"/api/leaderboards/{game_id}/{config.name}"
    return BoardSettings(
        game_id, config.name, config.operator, config.order, config.ties, config.season, config.capacity,
        "api" if row.origin == "api" else "file",
        "ready" if row.built else "rebuilding" if making else "waiting",
        making, {"self": f"/api/boards/{game_id}/{config.name}", "leaderboard": served},
    )  # fmt: skip


def _change(one: Change) -> BoardChange:
    config = one.config
    return BoardChange(
        rfc3339(one.at_ms // 1000), one.actor, one.action, one.reason,
        config.operator, config.order, config.ties, config.season, config.capacity,
    )  # fmt: skip
