"""Games with an economy only, over HTTP: registered with their server key, listed.

Touches the database through `relay.store.economy_games`, and the clock of the allowance per address where anybody may
register. No rules are published for such a game, so that it costs no gas. The key's secret is in one answer, and
nowhere else: a retry with the same idempotency key finds the game, without it.
"""

import time
from collections.abc import Callable
from typing import Annotated

import msgspec
from msgspec import Meta

from relay.api.catalog_documents import IdempotencyKey
from relay.api.economy_catalog import BASE
from relay.api.economy_parts import (
    BODY_ERRORS,
    KEY_ERRORS,
    READERS,
    TAG,
    EconomyParts,
    Envelope,
    credential_of,
    envelope,
    enveloped,
    page_of,
)
from relay.api.idempotency import HEADER_TEXT, answer_of, claim_of, idempotency_key
from relay.api.operations import Answer, Call, Credential, Operation, Query, Response
from relay.api.pages import Cursor, Limit, cursor_of, read_cursor, rfc3339, storable
from relay.api.shields import too_many
from relay.client_address import limited_as
from relay.errors import CallerError
from relay.games import ECONOMY_PREFIX
from relay.guard.shield import Shield
from relay.store import economy_games as store
from relay.store.controls import By
from relay.store.intake_rows import Connection
from relay.store.kept_answers import Claim, Kept, once
from relay.strict_json import Request

PATH = f"{BASE}/games"
ADMIN = frozenset({"admin"})
OPEN_PER_MINUTE = 5  # registrations of one address
NO_STORE: tuple[tuple[bytes, bytes], ...] = ((b"cache-control", b"no-store"),)


class GameRegistration(Request, frozen=True):
    """A game to be. `ownerId` is the caller's own name of whose it is."""

    name: Annotated[str, Meta(min_length=1, max_length=200, pattern=r"\S")]
    owner_id: Annotated[str, Meta(max_length=200)] | None = None
    idempotency_key: IdempotencyKey | None = None


class EconomyGameDocument(msgspec.Struct, frozen=True, rename="camel"):
    """A game with an economy only. `createdBy` is the id of a key, or `open` where anybody may register."""

    game_id: str
    name: str
    owner_id: str | None
    created_at: str
    created_by: str


class RegisteredGame(EconomyGameDocument, frozen=True, rename="camel"):
    """A game just registered. `apiKey`, its server key, is shown this once; null where this was answered before."""

    api_key: str | None


class EconomyGamePage(msgspec.Struct, frozen=True, rename="camel"):
    """A page of games, newest first."""

    games: list[EconomyGameDocument]
    next_cursor: str | None


class GamesQuery(Query, frozen=True):
    """A page of games."""

    limit: Limit = 50
    cursor: Cursor | None = None


class EconomyGames:
    """The endpoints."""

    def __init__(self, parts: EconomyParts, clock_s: Callable[[], float] = time.monotonic) -> None:
        self._parts, self._clock_s = parts, clock_s
        self._open = Shield(OPEN_PER_MINUTE)

    async def register(self, call: Call) -> Answer:
        """Register a game."""
        actor, claim = self._admitted(call)
        body: GameRegistration = call.body
        name, owner_id = storable(body.name), None if body.owner_id is None else storable(body.owner_id)

        def job(c: Connection) -> tuple[Kept, RegisteredGame | None]:
            now_ms = self._parts.database.now_ms(c)
            shown: RegisteredGame | None = None

            def make() -> Kept:
                nonlocal shown
                game, key = store.register(c, name, owner_id, By(actor, "", now_ms))
                shown = RegisteredGame(*_fields(game), key.secret)
                return Kept(201, enveloped(msgspec.structs.replace(shown, api_key=None), call.request_id))

            return once(c, claim, now_ms, make), shown

        kept, registered = await self._parts.write(job)
        return answer_of(kept) if registered is None else envelope(call, registered, 201, NO_STORE)

    async def page(self, call: Call) -> Answer:
        """Return a page of the games that the caller's key is good for."""
        query, own = call.query, credential_of(call).game_id
        before = read_cursor(query.cursor, ECONOMY_PREFIX)

        def job(c: Connection) -> list[store.EconomyGame]:
            if own is None:
                return store.page(c, query.limit + 1, before)
            found = store.find(c, own)
            return [] if found is None or before is not None else [found]

        shown, following = page_of(await self._parts.read(job), query.limit, lambda game: cursor_of(game.game_id))
        return envelope(call, EconomyGamePage([_document(game) for game in shown], following))

    async def one(self, call: Call) -> Answer:
        """Return one game."""
        game_id = storable(call.path["gameId"])
        found = await self._parts.read(lambda c: store.find(c, game_id))
        if found is None:
            raise CallerError("GAME_UNKNOWN", "No game with an economy only has this id.")
        return envelope(call, _document(found))

    def _admitted(self, call: Call) -> tuple[str, Claim | None]:
        """Return who registers, and what the idempotency key stands for.

        Raises:
            CallerError: FORBIDDEN_GAME, IDEMPOTENCY_KEY_INVALID, TOO_MANY_REQUESTS.
        """
        key = idempotency_key(call.headers.get(b"idempotency-key"), call.body.idempotency_key)
        said = msgspec.json.encode(msgspec.structs.replace(call.body, idempotency_key=None)).decode()
        if call.credential is None:
            self._take(call.client)
            caller = Credential(store.OPEN, f"{store.OPEN}:{call.client or ''}", None)
        else:
            caller = call.credential
            if caller.game_id is not None:
                raise CallerError("FORBIDDEN_GAME", "An admin's key of one game registers no others.")
        return caller.key_id, claim_of(caller, f"POST {PATH}", key, said)

    def _take(self, address: str | None) -> None:
        """Let an address register within its allowance.

        Raises:
            CallerError: TOO_MANY_REQUESTS.
        """
        subject = None if address is None else limited_as(address)
        if subject is not None:
            taken = self._open.take(subject, self._clock_s())
            if not taken.admit:
                raise too_many("registrations", "address", OPEN_PER_MINUTE, taken)


def _fields(game: store.EconomyGame) -> tuple[str, str, str | None, str, str]:
    return game.game_id, game.name, game.owner_id, rfc3339(game.created_at_ms), game.created_by


def _document(game: store.EconomyGame) -> EconomyGameDocument:
    return EconomyGameDocument(*_fields(game))


def economy_game_operations(parts: EconomyParts) -> list[Operation]:
    """Return the declarations."""
    here = EconomyGames(parts)
    refusals = ("NOT_AUTHENTICATED", "FORBIDDEN_ROLE", "FORBIDDEN_GAME", "STORE_UNAVAILABLE")
    return [
        Operation(
            "POST", PATH, "Register a game with an economy only", here.register,
            {201: Response(Envelope[RegisteredGame], "Registered; the key is shown this once.")},
            (*refusals, *BODY_ERRORS, *KEY_ERRORS, "TOO_MANY_REQUESTS"), ADMIN, guests=parts.open_registration,
            request=GameRegistration, request_headers={"Idempotency-Key": HEADER_TEXT}, tag=TAG,
            description="Nothing is published on the chain for it. Where the operator opened registration, no key is "
            "needed, and few are taken from one address. Only a hash of the new key is stored: where the answer was "
            "lost, an admin makes another one.",
        ),
        Operation(
            "GET", PATH, "Games with an economy only, newest first", here.page, {200: Envelope[EconomyGamePage]},
            (*refusals, "QUERY_INVALID"), READERS, query=GamesQuery, tag=TAG,
        ),
        Operation(
            "GET", f"{PATH}/{{gameId}}", "One game with an economy only", here.one,
            {200: Envelope[EconomyGameDocument]}, (*refusals, "GAME_UNKNOWN"), READERS,
            parameters={"gameId": "As answered when it was registered."}, tag=TAG,
        ),
    ]  # fmt: skip
