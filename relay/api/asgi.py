"""The application of a list of operations: request ids, keys, bodies, CORS, errors as problem+json.

Touches HTTP through Starlette's router and the ASGI interface. Requests never become Request and Response objects: on
the hot route those cost more than judging the score.
"""

import itertools
import logging
import re
import secrets
from collections.abc import Iterable, Sequence
from functools import lru_cache
from time import perf_counter
from typing import Any, Protocol
from urllib.parse import parse_qsl

import msgspec
from starlette.routing import BaseRoute, Route, Router, WebSocketRoute

from relay import strict_json
from relay.api import cors
from relay.api.admission import Admission, Nowhere, Origins
from relay.api.bodies import ClientGoneError, read_body
from relay.api.operations import Answer, Authenticate, Call, Headers, Operation, Receive, Scope, Send
from relay.api.problems import problem
from relay.api.security import secured
from relay.api.shields import Shields
from relay.errors import CallerError, FairscoreError, FieldError, OurError, WorldError
from relay.store.engine import StoreUnavailableError

REQUEST_ID = re.compile(rb"[A-Za-z0-9._~:@/+=-]{1,128}")
WHOLE = re.compile(r"-?[0-9]{1,18}")

log = logging.getLogger(__name__)


class Observe(Protocol):
    """Is told of every answered request."""

    def __call__(self, method: str, route: str, status: int, seconds: float) -> None:
        """Record one answer; `route` is the declared path, or empty where none matched."""


class Api:
    """Serves `operations` by Starlette's router; what is at no declared path goes to `routes` of others."""

    def __init__(
        self,
        operations: Iterable[Operation],
        authenticate: Authenticate | None = None,
        origins: Origins | None = None,
        observe: Observe | None = None,
        routes: Sequence[BaseRoute] = (),
        shields: Shields | None = None,
    ) -> None:
        self._origins = origins or Nowhere()
        self._admission = Admission(authenticate, shields, self._origins)
        self._observe = observe
        self._id_prefix = f"req_{secrets.token_hex(6)}"
        self._id_count = itertools.count(1)
        places: dict[str, _Place] = {}
        self.operations = tuple(operations)
        for operation in self.operations:
            for path in (operation.path, *operation.aliases):
                places.setdefault(path, _Place(self, path)).add(operation)
        self._static = {path: place for path, place in places.items() if "{" not in path}
        # Routes are tried in order: what has no parameter first, so that none is taken for another's parameter.
        ordered = sorted(places.values(), key=lambda place: "{" in place.path)
        self._router = Router(
            [
                *(Route(place.route, place) for place in ordered),
                *(WebSocketRoute(place.route, place) for place in ordered if place.has_socket),
                *routes,
            ],
            redirect_slashes=False,
            default=_Place(self, ""),
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request. A path without parameters needs no matching: the hot route is one of them."""
        place = self._static.get(scope["path"]) if scope["type"] == "http" else None
        if place is not None:
            await self.serve(place, scope, receive, send)
        else:
            await self._router(scope, receive, send)

    async def serve(self, place: "_Place", scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request that was routed to `place`."""
        started = perf_counter()
        call = self._call(scope)
        method = scope["method"]
        if method == "HEAD" and "HEAD" not in place.methods:
            method = "GET"
        wanted = method  # a preflight asks for another method's rules
        if method == "OPTIONS":
            wanted = call.headers.get(b"access-control-request-method", b"").decode("latin-1")
        operation = place.methods.get(wanted)
        if operation is not None and operation.stream and method == wanted:
            answered = await self._stream(operation, call, receive, send)
        else:
            answered = await self._answer(place, method, call, receive)
        if answered is not None:
            await self._send(answered, operation, call, send)
            if self._observe is not None:
                self._observe(method, place.path, answered.status, perf_counter() - started)

    def _call(self, scope: Scope) -> Call:
        headers: dict[bytes, bytes] = dict(scope["headers"])
        given = headers.get(b"x-request-id")
        if given is not None and REQUEST_ID.fullmatch(given):
            request_id = given.decode()
        else:
            request_id = f"{self._id_prefix}{next(self._id_count):x}"
        call = Call(scope, headers, request_id, self._admission.identify)
        call.path = scope.get("path_params", {})
        return call

    async def serve_socket(self, place: "_Place", scope: Scope, receive: Receive, send: Send) -> None:
        """Run a WebSocket's endpoint; an error before it accepts is answered instead of the handshake."""
        call = self._call(scope)
        operation = place.methods.get("GET")
        accepted = False

        async def send_noting(message: Any) -> None:
            nonlocal accepted
            accepted = accepted or message["type"] == "websocket.accept"
            await send(message)

        try:
            if operation is None or not operation.socket:
                raise CallerError("NOT_FOUND", "There is no WebSocket at this address.")  # noqa: TRY301 - answered below
            await self._admission.admit(operation, call)
            if operation.query is not None:
                call.query = read_query(operation.query, scope["query_string"])
            await operation.endpoint(call, receive, send_noting)  # type: ignore[call-arg]
        except Exception as error:
            if accepted:
                raise
            await _refuse_socket(_problem_of(error, call), call, send)

    async def _answer(self, place: "_Place", method: str, call: Call, receive: Receive) -> Answer | None:
        """Return the answer, None if the client is gone."""
        try:
            if not place.methods:
                raise CallerError("NOT_FOUND", "There is nothing at this address.")  # noqa: TRY301 - one place answers
            operation = place.methods.get(method)
            if operation is None:
                self._admission.judge_origin(call)
                return _other_method(place, method, call)
            await self._admission.admit(operation, call)
            if operation.socket:
                raise _upgrade_required()  # noqa: TRY301 - one place answers
            if operation.query is not None:
                call.query = read_query(operation.query, call.scope["query_string"])
            if operation.request is not None:
                body = await read_body(call.headers, receive, operation.body_max)
                decoder = place.decoders.get(method)
                call.body = body if decoder is None else strict_json.decode(decoder, body)
            return await operation.endpoint(call)  # type: ignore[call-arg]
        except ClientGoneError:
            return None
        except Exception as error:  # noqa: BLE001 - each becomes an answer, and what nobody expected is logged there
            return _problem_of(error, call)

    async def _send(self, answered: Answer, operation: Operation | None, call: Call, send: Send) -> None:
        status, body, media_type, extra = answered
        headers = [(b"x-request-id", call.request_id.encode())]
        if status != 204:
            headers.append((b"content-type", media_type))
            headers.append((b"content-length", b"%d" % len(body)))
        headers += self._shared(operation, call)
        headers += secured(extra, private=call.credential is not None)
        await send({"type": "http.response.start", "status": status, "headers": headers})
        silent = call.scope["method"] == "HEAD"
        await send({"type": "http.response.body", "body": b"" if silent else body})

    def _shared(self, operation: Operation | None, call: Call) -> Headers:
        """Return which page may read the answer."""
        return cors.headers(call.headers.get(b"origin"), operation, call.origin_allowed, self._origins.origins())

    async def _stream(self, operation: Operation, call: Call, receive: Receive, send: Send) -> Answer | None:
        """Run a plain ASGI endpoint; an error before its first byte becomes a problem, later ones end the stream."""
        started = False
        added = [(b"x-request-id", call.request_id.encode())]
        added += self._shared(operation, call)

        async def send_with_headers(message: Any) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                own = secured(tuple(message.get("headers", ())), private=call.credential is not None)
                message = {**message, "headers": [*own, *added]}
            await send(message)
            if call.scope["method"] == "HEAD":  # that was all of the answer
                await send({"type": "http.response.body", "body": b""})
                raise ClientGoneError

        try:
            await self._admission.admit(operation, call)
            if operation.query is not None:
                call.query = read_query(operation.query, call.scope["query_string"])
            await operation.endpoint(call, receive, send_with_headers)  # type: ignore[call-arg]
        except ClientGoneError:
            return None
        except Exception as error:
            if started:
                raise
            return _problem_of(error, call)
        return None


class _Place:
    """What is declared at one path, by method: the ASGI application its route leads to. Empty: nothing is there."""

    def __init__(self, api: Api, path: str) -> None:
        self._api = api
        self.path = path
        self.methods: dict[str, Operation] = {}
        self.decoders: dict[str, msgspec.json.Decoder[Any]] = {}

    @property
    def has_socket(self) -> bool:
        """Whether a WebSocket is here."""
        return any(operation.socket for operation in self.methods.values())

    @property
    def route(self) -> str:
        """The path as Starlette's router takes it."""
        spanning = any(operation.spanning for operation in self.methods.values())
        return self.path.replace("}", ":path}") if spanning else self.path

    def add(self, operation: Operation) -> None:
        """Declare one more method here."""
        if operation.method in self.methods:
            raise ValueError(f"{operation.method} {self.path} is declared twice")
        self.methods[operation.method] = operation
        if operation.request is not None and not operation.raw_body:
            self.decoders[operation.method] = msgspec.json.Decoder(operation.request)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            await self._api.serve(self, scope, receive, send)
        elif scope["type"] == "websocket":
            await self._api.serve_socket(self, scope, receive, send)


def _problem_of(error: Exception, call: Call) -> Answer:
    """Return the answer to what an endpoint raised; for an error that nobody expected the log says where it was."""
    if isinstance(error, StoreUnavailableError):
        error = WorldError("STORE_UNAVAILABLE", "The database does not answer; try again.")
    if not isinstance(error, FairscoreError):
        log.error("unhandled error", exc_info=error, extra={"request_id": call.request_id})
        error = OurError()
    return problem(error, call.request_id)


async def _refuse_socket(answered: Answer, call: Call, send: Send) -> None:
    """Answer a handshake with an error (ASGI's `websocket.http.response` extension)."""
    headers = [
        (b"x-request-id", call.request_id.encode()),
        (b"content-type", answered.media_type),
        *secured(answered.headers, private=False),
    ]
    await send({"type": "websocket.http.response.start", "status": answered.status, "headers": headers})
    await send({"type": "websocket.http.response.body", "body": answered.body})


def _upgrade_required() -> CallerError:
    """Return the 426 (RFC 9110, section 15.5.22) of a plain request where a WebSocket is."""
    headers = {"Upgrade": "websocket", "Connection": "upgrade"}
    return CallerError("UPGRADE_REQUIRED", "This address takes a WebSocket handshake (RFC 6455).", headers=headers)


def read_query(kind: type[msgspec.Struct], query_string: bytes) -> msgspec.Struct:
    """Return the query string as a `kind`.

    Raises:
        CallerError: QUERY_INVALID, with `?name` as the field's pointer.
    """
    try:
        pairs = parse_qsl(query_string.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=64)
    except ValueError:
        raise CallerError("QUERY_INVALID", "The query string cannot be read.") from None
    known = _parameters(kind)
    values: dict[str, str] = {}
    wrong: list[FieldError] = []
    for name, value in pairs:
        shown = name[:64].encode("ascii", "backslashreplace").decode()
        if name not in known:
            wrong.append(FieldError(f"?{shown}", "FIELD_UNKNOWN", f"`{shown}` is not a parameter here"))
        elif name in values:
            wrong.append(FieldError(f"?{shown}", "FIELD_REPEATED", f"`{shown}` is given twice"))
        values[name] = value
    wrong += [
        FieldError(f"?{name}", "FIELD_INVALID", "Expected a whole number")
        for name in _whole_numbers(kind)
        if name in values and WHOLE.fullmatch(values[name]) is None  # the conversion below would take 1e2
    ]
    if not wrong:
        try:
            return msgspec.convert(values, kind, strict=False)
        except msgspec.ValidationError as error:
            text, _, where = str(error).partition(" - at `$.")
            wrong.append(FieldError("?" + where.rstrip("`"), "FIELD_INVALID", text))
    detail = f"Query parameter {wrong[0].pointer[1:]!r}: {wrong[0].detail}"
    raise CallerError("QUERY_INVALID", detail, fields=wrong[:20])


@lru_cache
def _parameters(kind: type[msgspec.Struct]) -> frozenset[str]:
    """Return the names of all parameters."""
    return frozenset(field.encode_name for field in msgspec.structs.fields(kind))


@lru_cache
def _whole_numbers(kind: type[msgspec.Struct]) -> frozenset[str]:
    """Return the names of the parameters that are integers."""
    types = {field.encode_name: msgspec.inspect.type_info(field.type) for field in msgspec.structs.fields(kind)}
    bare = {name: of.type if isinstance(of, msgspec.inspect.Metadata) else of for name, of in types.items()}
    return frozenset(name for name, of in bare.items() if isinstance(of, msgspec.inspect.IntType))


def _other_method(place: _Place, method: str, call: Call) -> Answer:
    allowed = sorted({*place.methods, "OPTIONS"} | ({"HEAD"} if "GET" in place.methods else set()))
    allow = ", ".join(allowed)
    if method != "OPTIONS":
        raise CallerError("METHOD_NOT_ALLOWED", f"This address takes {allow}.", headers={"Allow": allow})
    headers = ((b"allow", allow.encode()), *cors.preflight(call.headers, allow))
    return Answer(204, b"", b"", headers)
