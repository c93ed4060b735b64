"""Path and query parameters that several operations share, and how they are read.

Pure.
"""

from typing import Annotated, Literal

import msgspec

from relay.api.operations import Query
from relay.errors import CallerError, PayloadError
from relay.submission import read_address

LIMIT = 50
LIMIT_MAX = 200
PATHS = {"gameId": "id of the game", "board": "name of the board; every game has `default`"}
ADDRESS = {"address": "address of the player, EIP-55 or lower case"}
LIST_ERRORS = ("QUERY_INVALID", "GAME_UNKNOWN", "BOARD_UNKNOWN", "SEASON_UNKNOWN", "NOT_READY", "STORE_UNAVAILABLE")

Limit = Annotated[int, msgspec.Meta(ge=1, le=LIMIT_MAX, description="rows at most")]
SeasonName = Annotated[
    str,
    msgspec.Meta(max_length=32, description="name of a season, as `…/seasons` lists them; without: the current one"),
]
Cursor = Annotated[str, msgspec.Meta(max_length=64, description="`nextCursor` of the answer before")]


class TopQuery(Query, frozen=True):
    """How many rows."""

    limit: Limit = LIMIT


class SeasonQuery(Query, frozen=True):
    """Which season."""

    season: SeasonName | None = None


class AroundQuery(Query, frozen=True):
    """Which season, and how many rows."""

    season: SeasonName | None = None
    limit: Limit = LIMIT


class PageQuery(Query, frozen=True):
    """Which season, how many rows, and from where."""

    season: SeasonName | None = None
    limit: Limit = LIMIT
    cursor: Cursor | None = None


class HistoryQuery(Query, frozen=True):
    """Which game's scores, how many, and from where."""

    game_id: Annotated[str, msgspec.Meta(min_length=1, max_length=66)] | None = None
    limit: Limit = LIMIT
    cursor: Cursor | None = None


After = Annotated[str, msgspec.Meta(max_length=64, description="id of the last event seen")]
Player = Annotated[
    str, msgspec.Meta(max_length=42, description="only what concerns this player, whose row the snapshot then holds")
]


class StreamQuery(Query, frozen=True):
    """Where a stream goes on, and what it leaves out."""

    after: After | None = None
    player: Player | None = None


class SocketQuery(Query, frozen=True):
    """Where a WebSocket stream goes on, what it leaves out, and whether the client speaks first."""

    after: After | None = None
    player: Player | None = None
    hello: Annotated[
        Literal["wait"],
        msgspec.Meta(description="`wait`: begin after the client's first message, `{after?, key?}`"),
    ] | None = None  # fmt: skip


def address(text: str, pointer: str = "{address}") -> bytes:
    """Return the address in a path (or a parameter); CallerError PLAYER_INVALID."""
    try:
        return read_address(text, pointer)
    except PayloadError as error:
        raise CallerError(error.code, error.detail) from None
