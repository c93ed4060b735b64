"""Operations: one declaration per path and method, which routes, authenticates, validates and documents it.

Pure declarations and the small values an endpoint gets and returns. Relay and indexer both list theirs, so that the
OpenAPI document (`relay.api.openapi`) is made from what really decides.
"""

from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

import msgspec

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Headers = tuple[tuple[bytes, bytes], ...]

JSON = b"application/json"
BODY_MAX = 256 * 1024
LINE = "fairscore.line"  # ASGI extension of our own server: the connection as a `Line`
PUBLIC = None  # `roles` of an operation that anybody may call
PLAYER = "player"  # the role that a session's token has

_encoder = msgspec.json.Encoder()


class Credential(NamedTuple):
    """Who calls: the key's id, its role, and the game it belongs to (None: every game).

    Role `player` comes with a session's token instead of a key; it may act for `player`, an address, and nobody else.
    """

    key_id: str
    role: str
    game_id: str | None
    player: bytes | None = None


class Authenticate(Protocol):
    """Finds the credential of a presented key; None means unknown, expired or revoked."""

    async def __call__(self, token: str) -> Credential | None:
        """Return the credential of `token`."""


Identify = Callable[[str, "Call"], Awaitable[Credential]]  # of a presented key; CallerError NOT_AUTHENTICATED


class Answer(NamedTuple):
    """What an endpoint returns: status, body, media type, further headers (lower-case names)."""

    status: int
    body: bytes
    media_type: bytes = JSON
    headers: Headers = ()


def answer(value: object, status: int = 200, headers: Headers = ()) -> Answer:
    """Return `value` (a Struct, a mapping …) as a JSON answer."""
    return Answer(status, _encoder.encode(value), JSON, headers)


class Call:
    """One request as an endpoint sees it. `query` and `body` are values of the operation's declared types."""

    __slots__ = (
        "_identify", "body", "client", "credential", "headers", "origin_allowed", "path", "query", "request_id",
        "scope",
    )  # fmt: skip

    def __init__(self, scope: Scope, headers: dict[bytes, bytes], request_id: str, identify: Identify) -> None:
        self.scope = scope
        self._identify = identify
        self.headers = headers
        self.request_id = request_id
        self.path: Mapping[str, str] = {}
        self.query: Any = None
        self.body: Any = None
        self.credential: Credential | None = None
        self.client: str | None = None  # the address, where shields stand before the operation
        self.origin_allowed = True  # an endpoint that learns the game decides: else it is of path, key, or any game

    async def identify(self, key: str) -> Credential:
        """Return whose key it is; for one that comes after the headers, as a WebSocket's first message may bring it.

        Raises:
            CallerError: NOT_AUTHENTICATED, TOO_MANY_REQUESTS.
        """
        return await self._identify(key, self)


class Query(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """Base of an operation's query parameters: every field has a default; texts are converted to the field's type."""


class Response(NamedTuple):
    """One documented answer: the type of its JSON (None: no body or another media type), and what it means."""

    type: Any = None
    description: str = ""
    media_type: str = "application/json"


class Pipe(Protocol):
    """A connection that is open for long, for bytes that many are sent: coded once, without a message for each."""

    def write(self, data: bytes, /) -> bool:
        """Send these bytes; False, and nothing is sent, where the connection is full or gone."""

    async def room(self) -> None:
        """Wait until the connection takes more.

        Raises:
            ConnectionError: it is gone.
        """

    def finish(self) -> None:
        """End the answer from this side, once what was written is sent."""

    def abort(self) -> None:
        """Let go of the connection and of all that it did not send yet."""


class Line(Protocol):
    """The connection of a request, whose answer has begun."""

    def take_over(self, gone: Callable[[], None]) -> Pipe:
        """Go on with the answer though its endpoint returns; `gone` is called once, when the connection is lost."""


Endpoint = Callable[[Call], Awaitable[Answer]]
StreamEndpoint = Callable[[Call, Receive, Send], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Operation:
    """One path and method.

    `request` is the type of the body; it is decoded strictly before the endpoint runs, unless `raw_body`, where the
    endpoint gets bytes and decodes them to that type itself. With `stream` the endpoint is plain ASGI:
    `endpoint(call, receive, send)`, request id and CORS headers are added to what it sends. With `socket` it is plain
    ASGI of a WebSocket, not accepted yet; what it raises before accepting is answered as to any other request.
    `roles` None means open; a key that is presented is checked all the same. With `guests` there may be no key at all:
    the endpoint asks the game whether it takes anonymous callers. A key in the operation's `secret_header`
    is as good as a bearer key, if it is a server's. With `spanning` the path's parameter is an id that may hold
    slashes.
    """

    method: str
    path: str  # /api/things/{thingId}: a parameter is one segment
    summary: str
    endpoint: Endpoint | StreamEndpoint
    responses: Mapping[int, Any] = field(default_factory=dict)  # a type or a Response
    errors: tuple[str, ...] = ()
    roles: frozenset[str] | None = PUBLIC
    request: Any = None
    raw_body: bool = False
    query: type[Query] | None = None
    parameters: Mapping[str, str] = field(default_factory=dict)  # path parameter: description
    request_headers: Mapping[str, str] = field(default_factory=dict)  # documented header: description
    description: str = ""
    tag: str = ""
    aliases: tuple[str, ...] = ()
    body_max: int = BODY_MAX
    stream: bool = False
    socket: bool = False
    hidden: bool = False  # served, but no part of the documented interface (pages)
    guests: bool = False
    secret_header: bytes | None = None  # lower-case name of a header that may bring a server key instead
    operation_id: str = ""
    spanning: bool = False
