"""API keys over HTTP: made, listed, rotated, revoked by an admin.

Touches the database through `relay.store.keys`. A key's secret is in one answer, and nowhere else.
"""

from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Annotated, Any, Literal, TypeVar

import msgspec
from msgspec import Meta

from relay.api.auth import KeyRing
from relay.api.operations import Answer, Call, Credential, Operation, Query, Response, answer
from relay.api.pages import Cursor, Limit, cursor_of, read_cursor, rfc3339, storable
from relay.errors import CallerError, FieldError, PayloadError, WorldError
from relay.games import GAME_ID
from relay.store import keys as store
from relay.store.controls import By
from relay.store.engine import Database, StoreUnavailableError
from relay.store.writer import Writer
from relay.strict_json import Request

T = TypeVar("T")

TAG = "Operations"
ADMIN = frozenset({"admin"})
DAY_S = 86_400
OVERLAP_S_MAX = 90 * DAY_S
LIFE_MS_MAX = 36_525 * DAY_S * 1000
REFUSED = ("NOT_AUTHENTICATED", "FORBIDDEN_ROLE", "STORE_UNAVAILABLE")
UNREADABLE = ("PAYLOAD_MALFORMED", "BODY_TOO_LARGE", "MEDIA_TYPE_UNSUPPORTED")
NO_STORE: tuple[tuple[bytes, bytes], ...] = ((b"cache-control", b"no-store"),)

Role = Literal["server", "client", "auditor", "admin"]
Name = Annotated[str, Meta(max_length=200, description="what it is for; shown in the list")]


class KeyRequest(Request, frozen=True):
    """What a key is to be. Without `gameId` it is good for every game, without `expiresAt` for ever."""

    role: Role
    game_id: str | None = None
    name: Name = ""
    expires_at: Annotated[datetime, Meta(tz=True, description="RFC 3339")] | None = None


class RotationRequest(Request, frozen=True):
    """How long the key stays valid beside its successor: long enough to hand that out, by default a day."""

    overlap_seconds: Annotated[int, Meta(ge=0, le=OVERLAP_S_MAX)] = DAY_S


class KeyDocument(msgspec.Struct, frozen=True, rename="camel"):
    """What is known of a key; of its secret only `prefix`. `gameId` null: it is good for every game."""

    key_id: str
    prefix: str
    role: Role
    game_id: str | None
    name: str
    state: Literal["active", "expired", "revoked"]
    created_at: str
    expires_at: str | None
    revoked_at: str | None
    last_used_at: str | None


class KeyMade(msgspec.Struct, frozen=True, rename="camel"):
    """A new key. `secret` is shown this once; `replaces` is the key it is the successor of, as that is now."""

    secret: str
    key: KeyDocument
    replaces: KeyDocument | None


class KeyPage(msgspec.Struct, frozen=True, rename="camel"):
    """A page of keys, newest first."""

    keys: list[KeyDocument]
    next_cursor: str | None


class KeyQuery(Query, frozen=True):
    """Filters of the list."""

    role: Role | None = None
    game_id: str | None = None
    state: Literal["active", "inactive"] | None = None
    limit: Limit = 50
    cursor: Cursor | None = None


class KeyEndpoints:
    """The endpoints. An admin whose key is of one game administers the keys of that game."""

    def __init__(self, database: Database, writer: Writer, ring: KeyRing) -> None:
        self._database, self._writer, self._ring = database, writer, ring

    async def create(self, call: Call) -> Answer:
        """Make a key."""
        body: KeyRequest = call.body
        wanted = self._wanted(call, body)

        def job(c: Any, by: By) -> store.NewKey:
            life_ms = 1 if wanted.expires_at_ms is None else wanted.expires_at_ms - by.at_ms
            if not 0 < life_ms <= LIFE_MS_MAX:
                raise _wrong("/expiresAt", "`expiresAt` is in the past, or more than a hundred years ahead.")
            return store.create(c, wanted, by)

        made = await self._change(call, job)
        return answer(KeyMade(made.secret, _document(made.info, made.info.created_at_ms), None), 201, NO_STORE)

    async def page(self, call: Call) -> Answer:
        """Return a page of keys."""
        query: KeyQuery = call.query
        before = read_cursor(query.cursor, "key_")
        own = _credential(call).game_id
        if own is not None and query.game_id not in (None, own):
            raise CallerError("FORBIDDEN_GAME", "The key belongs to another game.")
        game_id = own if query.game_id is None else storable(query.game_id)
        wanted = store.KeyFilter(query.role, game_id, None if query.state is None else query.state == "active")

        def job(c: Any) -> tuple[list[store.KeyInfo], int]:
            now_ms = self._database.now_ms(c)
            return store.page(c, wanted, now_ms, query.limit + 1, before), now_ms

        rows, now_ms = await self._read(job)
        shown = [_document(row, now_ms) for row in rows[: query.limit]]
        following = cursor_of(shown[-1].key_id) if len(rows) > query.limit else None
        return answer(KeyPage(shown, following), 200, NO_STORE)

    async def one(self, call: Call) -> Answer:
        """Return one key."""
        key_id, own = storable(call.path["keyId"]), _credential(call).game_id
        info, now_ms = await self._read(lambda c: (store.look(c, key_id, own), self._database.now_ms(c)))
        return answer(_document(info, now_ms), 200, NO_STORE)

    async def rotate(self, call: Call) -> Answer:
        """Make a key's successor."""
        key_id, own = storable(call.path["keyId"]), _credential(call).game_id
        overlap_ms = call.body.overlap_seconds * 1000
        made = await self._change(call, lambda c, by: store.rotate(c, key_id, overlap_ms, own, by))
        self._ring.forget(made.hash)
        now_ms = made.new.info.created_at_ms
        shown = KeyMade(made.new.secret, _document(made.new.info, now_ms), _document(made.old, now_ms))
        return answer(shown, 201, NO_STORE)

    async def revoke(self, call: Call) -> Answer:
        """Let a key be good for nothing from now on."""
        key_id, own = storable(call.path["keyId"]), _credential(call).game_id
        info, hashed = await self._change(call, lambda c, by: store.revoke(c, key_id, own, by))
        self._ring.forget(hashed)
        return answer(_document(info, info.revoked_at_ms or 0), 200, NO_STORE)

    def _wanted(self, call: Call, body: KeyRequest) -> store.Wanted:
        own = _credential(call).game_id
        game_id = body.game_id if body.game_id is not None else own
        if game_id is not None and GAME_ID.fullmatch(game_id) is None:
            raise _wrong("/gameId", "A game's id is 1 to 64 letters, digits, dots, dashes or underscores.")
        if own is not None and game_id != own:
            raise CallerError("FORBIDDEN_GAME", "A key of one game makes keys of that game only.")
        expires_at_ms = None if body.expires_at is None else int(body.expires_at.timestamp() * 1000)
        return store.Wanted(body.role, game_id, storable(body.name), expires_at_ms)

    async def _change(self, call: Call, job: Callable[[Any, By], T]) -> T:
        actor = _credential(call).key_id
        return await _stored(self._writer.run(lambda c: job(c, By(actor, "", self._database.now_ms(c)))))

    async def _read(self, job: Callable[[Any], T]) -> T:
        return await _stored(self._database.read(job))


async def _stored(work: Awaitable[T]) -> T:
    try:
        return await work
    except StoreUnavailableError:
        raise WorldError("STORE_UNAVAILABLE", "The keys cannot be read or changed now; try again.") from None


def _credential(call: Call) -> Credential:
    if call.credential is None:
        raise CallerError("NOT_AUTHENTICATED", "This operation needs a key.")
    return call.credential


def _wrong(pointer: str, detail: str) -> PayloadError:
    return PayloadError(detail, [FieldError(pointer, "FIELD_INVALID", detail)])


def _document(info: store.KeyInfo, now_ms: int) -> KeyDocument:
    def time(at_ms: int | None) -> str | None:
        return None if at_ms is None else rfc3339(at_ms)

    role: Any = info.role
    state: Any = info.state(now_ms)
    made = rfc3339(info.created_at_ms)
    times = (time(info.expires_at_ms), time(info.revoked_at_ms), time(info.last_used_at_ms))
    return KeyDocument(info.id, info.prefix, role, info.game_id, info.name, state, made, *times)


def key_operations(database: Database, writer: Writer, ring: KeyRing) -> list[Operation]:
    """Return the declarations."""
    endpoints = KeyEndpoints(database, writer, ring)
    one, parameters = "/api/keys/{keyId}", {"keyId": "As listed: key_…"}
    return [
        Operation(
            "POST", "/api/keys", "Make an API key", endpoints.create, {201: Response(KeyMade, "Shown this once.")},
            (*REFUSED, *UNREADABLE, "FORBIDDEN_GAME"), ADMIN, request=KeyRequest, tag=TAG,
            description="Only a hash is stored: a key whose answer was lost is revoked, and another one made. An "
            "admin's key of one game makes keys of that game only.",
        ),
        Operation(
            "GET", "/api/keys", "API keys, newest first", endpoints.page, {200: KeyPage},
            (*REFUSED, "QUERY_INVALID", "FORBIDDEN_GAME"), ADMIN, query=KeyQuery, tag=TAG,
        ),
        Operation(
            "GET", one, "One API key", endpoints.one, {200: KeyDocument}, (*REFUSED, "API_KEY_UNKNOWN"), ADMIN,
            parameters=parameters, tag=TAG,
        ),
        Operation(
            "POST", f"{one}/rotate", "Make an API key's successor", endpoints.rotate,
            {201: Response(KeyMade, "Shown this once.")},
            (*REFUSED, *UNREADABLE, "API_KEY_UNKNOWN", "API_KEY_NOT_ACTIVE"), ADMIN, request=RotationRequest,
            parameters=parameters, tag=TAG,
            description="The successor has the same role, game, name and length of life. Both are valid until the "
            "overlap ends.",
        ),
        Operation(
            "POST", f"{one}/revoke", "Revoke an API key", endpoints.revoke, {200: KeyDocument},
            (*REFUSED, "API_KEY_UNKNOWN"), ADMIN, parameters=parameters, tag=TAG,
            description="Refused by this process from the answer on, by others within a second. It cannot be undone.",
        ),
    ]  # fmt: skip
