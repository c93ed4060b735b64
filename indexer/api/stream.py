"""A board's stream over HTTP: Server-Sent Events (WHATWG HTML, section 9.2).

Touches HTTP through ASGI only; the writing is done by `indexer.stream`.
"""

from indexer.api.params import LIST_ERRORS, PATHS, StreamQuery
from indexer.messages import (
    AbsentMessage,
    FinalMessage,
    RetractMessage,
    ScoreMessage,
    SeasonMessage,
    Snapshot,
    StandingMessage,
)
from indexer.reading import Reading
from indexer.stream import Hub, parse_event_id
from relay.api.operations import Call, Operation, Receive, Response, Send
from relay.errors import WorldError

Events = Snapshot | ScoreMessage | StandingMessage | AbsentMessage | FinalMessage | RetractMessage | SeasonMessage

DESCRIPTION = """\
`id: <epoch>-<seq>`, `event:` one of `snapshot`, `score`, `standing`, `final`, `retract`, `season`; `data:` is JSON with
the same `type`. The first event is a `snapshot` of the top 100, unless `Last-Event-ID` (or `?after=`) names an event
that is still kept: then the stream goes on behind it, without gap or repeat. `seq` is consecutive per board; a new
`snapshot` replaces everything known. A `standing` gives one player's new row (`rank` null: off the board); the ranks
of others follow from sorting by `score` (in the snapshot's `order`), then `position` (ascending); with `ties` shared,
equal scores share a rank. A `season` begins another one: its `rows` replace all known. A comment every 15 s keeps the
connection."""


class Streams:
    """The operation."""

    def __init__(self, reading: Reading, hub: Hub) -> None:
        self._reading = reading
        self._hub = hub

    async def stream(self, call: Call, receive: Receive, send: Send) -> None:
        """Write the stream until either side ends it."""
        board = self._reading.board(call.path["gameId"], call.path["board"])
        last = call.headers.get(b"last-event-id", b"").decode("latin-1") or call.query.after or ""
        if not await self._hub.serve(board.number, parse_event_id(last), receive, send):
            raise WorldError("NOT_READY", "No further stream can be opened now.", headers={"Retry-After": "2"})

    def operations(self) -> list[Operation]:
        """Return the declaration."""
        return [
            Operation(
                "GET", "/api/leaderboards/{gameId}/{board}/stream", "A board as it changes", self.stream,
                {200: Response(Events, "events, one JSON document each", "text/event-stream")}, LIST_ERRORS,
                query=StreamQuery, parameters=PATHS, stream=True, tag="Leaderboards", description=DESCRIPTION,
                request_headers={"Last-Event-ID": "id of the last event seen"},
            )
        ]  # fmt: skip
