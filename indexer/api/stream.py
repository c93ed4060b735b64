"""A board's stream over HTTP: Server-Sent Events (WHATWG HTML, section 9.2).

Touches HTTP through ASGI only; the writing is done by `indexer.stream`.
"""

from functools import partial
from typing import NamedTuple

from indexer.api.params import LIST_ERRORS, PATHS, Player, StreamQuery, address
from indexer.frames import SSE, parse_event_id
from indexer.messages import (
    AbsentMessage,
    FinalMessage,
    RetractMessage,
    Row,
    ScoreMessage,
    SeasonMessage,
    Snapshot,
    StandingMessage,
    checksummed,
)
from indexer.reading import Reading
from indexer.stream import Hub, Wish
from relay.api.operations import LINE, Call, Credential, Operation, Receive, Response, Send
from relay.errors import CallerError, WorldError

Events = Snapshot | ScoreMessage | StandingMessage | AbsentMessage | FinalMessage | RetractMessage | SeasonMessage

FLAG_READERS = frozenset({"auditor", "admin"})
STREAM_ERRORS = (*LIST_ERRORS, "PLAYER_INVALID")
HEADERS = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-store, no-transform"),
    (b"transfer-encoding", b"chunked"),  # as the frames come already: the same chunk for every reader
    (b"x-accel-buffering", b"no"),  # nginx would hold events back
]

MESSAGES = """\
The first event is a `snapshot` of the top 100, unless the id of an event that is still kept is given: then the stream
goes on behind it, without gap or repeat. `seq` is consecutive per board; a new `snapshot` replaces everything known, \
also for a reader that was too slow. A `standing` gives one player's new row (`rank` null: off the board); the ranks
of others follow from sorting by `score` (in the snapshot's `order`), then `position` (ascending); with `ties` shared,
equal scores share a rank. A `season` begins another one: its `rows` replace all known. With `?player=` the snapshot
holds only that player's row and the messages about others are left out (`seq` then rises with gaps). Who has an auditor
or admin key also gets `flag`: the state of an audit flag of the game, without a number of its own; after a reconnect
the newest come again, and a later one with the same `id` replaces the earlier."""

DESCRIPTION = f"""\
`id: <epoch>-<seq>`, `event:` one of `snapshot`, `score`, `standing`, `final`, `retract`, `season`, `flag`; `data:` is
JSON with the same `type`. `Last-Event-ID` (or `?after=`) resumes. {MESSAGES} A comment with the last `seq` every 15 s
keeps the connection."""


class SseLine:
    """The connection of one who asks for events."""

    wire = SSE

    def __init__(self, call: Call, send: Send) -> None:
        self._send = send
        self.take_over = call.scope["extensions"][LINE].take_over

    async def accept(self) -> None:
        """Answer 200 and leave the body open."""
        await self._send({"type": "http.response.start", "status": 200, "headers": HEADERS})


class Presented(NamedTuple):
    """A key that a reader brought, and whose it is."""

    key: str
    credential: Credential


def presented(call: Call) -> Presented | None:
    """Return the key in the headers, if there is one."""
    if call.credential is None:
        return None
    return Presented(call.headers[b"authorization"].decode("latin-1").partition(" ")[2].strip(), call.credential)


def _sees_flags(credential: Credential, game_id: str) -> bool:
    return credential.role in FLAG_READERS and credential.game_id in {None, game_id}


async def _entitled(call: Call, key: str) -> bool:
    """Return whether a key lets its owner see flags still; while nobody can tell, it does."""
    try:
        return _sees_flags(await call.identify(key), call.path["gameId"])
    except CallerError as error:
        return error.code != "NOT_AUTHENTICATED"
    except WorldError:
        return True


class Wishes:
    """Reads what a stream's reader asks for, the same on every transport."""

    def __init__(self, reading: Reading) -> None:
        self._reading = reading

    def board(self, call: Call) -> int:
        """Return the number of the board in the path; CallerError GAME_UNKNOWN or BOARD_UNKNOWN."""
        return self._reading.board(call.path["gameId"], call.path["board"]).number

    def of(self, call: Call, after: str, player: Player | None, by: Presented | None) -> Wish:
        """Return the wish; CallerError PLAYER_INVALID."""
        game_id = call.path["gameId"]
        flags = by is not None and _sees_flags(by.credential, game_id)
        entitled = partial(_entitled, call, by.key) if by is not None and flags else None
        if player is None:
            return Wish(parse_event_id(after), flags=flags, entitled=entitled)
        raw = address(player, "?player")
        own_row = partial(self._row, game_id, call.path["board"], raw)
        return Wish(parse_event_id(after), checksummed(raw), own_row, flags, entitled)

    async def _row(self, game_id: str, board: str, player: bytes) -> Row | None:
        try:
            return (await self._reading.around(game_id, board, None, player, 1)).rows[0]
        except CallerError:  # not on the board
            return None


def full() -> WorldError:
    """Return the 503 of a stream that cannot begin."""
    return WorldError("NOT_READY", "No further stream can be opened now.", headers={"Retry-After": "2"})


class Streams:
    """The operation."""

    def __init__(self, reading: Reading, hub: Hub) -> None:
        self._wishes = Wishes(reading)
        self._hub = hub

    async def stream(self, call: Call, receive: Receive, send: Send) -> None:  # noqa: ARG002 - a reader says nothing
        """Begin the stream."""
        board = self._wishes.board(call)
        last = call.headers.get(b"last-event-id", b"").decode("latin-1") or call.query.after or ""
        wish = self._wishes.of(call, last, call.query.player, presented(call))
        if not await self._hub.serve(board, SseLine(call, send), wish):
            raise full()

    def operations(self) -> list[Operation]:
        """Return the declaration."""
        return [
            Operation(
                "GET", "/api/leaderboards/{gameId}/{board}/stream", "A board as it changes", self.stream,
                {200: Response(Events, "events, one JSON document each", "text/event-stream")}, STREAM_ERRORS,
                query=StreamQuery, parameters=PATHS, stream=True, tag="Leaderboards", description=DESCRIPTION,
                request_headers={"Last-Event-ID": "id of the last event seen"},
            )
        ]  # fmt: skip
