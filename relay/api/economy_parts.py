"""What the economy's operations share: the parts they work with, whose game it is, the envelope, answers kept once.

Touches the database through the reader and the economy's writer it is handed.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

import msgspec

from relay.api.idempotency import answer_of, idempotency_key, scope_of
from relay.api.operations import Answer, Call, Credential, Headers, Query
from relay.api.pages import storable
from relay.api.problems import problem
from relay.economy_intake import EconomyIntake
from relay.errors import CallerError, WorldError
from relay.games import Games
from relay.store import economy_games
from relay.store.checkpoints import Where
from relay.store.engine import Database, StoreUnavailableError
from relay.store.intake_rows import Connection
from relay.store.kept_answers import Claim, Kept, once
from relay.store.writer import Writer

T = TypeVar("T")

TAG = "Economy"
LIMITED = 429  # is not kept: later the same request may pass
WRITERS = frozenset({"server"})  # operations and declarations, each in its own game
READERS = frozenset({"server", "auditor", "admin"})
CHANGERS = frozenset({"server", "admin"})  # of the configuration
GAME_ERRORS = ("GAME_REQUIRED", "GAME_UNKNOWN", "FORBIDDEN_GAME")
ERRORS = ("NOT_AUTHENTICATED", "FORBIDDEN_ROLE", *GAME_ERRORS, "STORE_UNAVAILABLE")
BODY_ERRORS = ("PAYLOAD_MALFORMED", "BODY_TOO_LARGE", "MEDIA_TYPE_UNSUPPORTED")
KEY_ERRORS = ("IDEMPOTENCY_KEY_INVALID", "IDEMPOTENCY_KEY_REUSED")

_encoder = msgspec.json.Encoder()


class GameQuery(Query, frozen=True):
    """Base of the queries: which game, where the key is of none."""

    game_id: str | None = None


class Envelope(msgspec.Struct, Generic[T], frozen=True, rename="camel"):
    """The form of every answer of the economy."""

    success: bool
    data: T
    request_id: str


@dataclass(frozen=True)
class EconomyParts:
    """What the operations work with.

    `writer` is the economy's own; `where`: the contract that anchors its ledgers. With `open_registration` anybody may
    register a game.
    """

    database: Database
    writer: Writer
    games: Games
    intake: EconomyIntake
    where: Where
    open_registration: bool = False

    async def read(self, job: Callable[[Connection], T]) -> T:
        """Read from the database.

        Raises:
            WorldError: STORE_UNAVAILABLE.
        """
        try:
            return await self.database.read(job)
        except StoreUnavailableError:
            raise WorldError("STORE_UNAVAILABLE", "The database cannot be read now; try again.") from None

    async def write(self, job: Callable[[Connection], T]) -> T:
        """Change the database; returns after the commit.

        Raises:
            WorldError: STORE_UNAVAILABLE; nothing was changed.
        """
        try:
            return await self.writer.run(job)
        except StoreUnavailableError:
            raise WorldError("STORE_UNAVAILABLE", "The change could not be stored; try again.") from None

    async def game_of(self, call: Call) -> str:
        """Return the game that a request is about: the key's own, or, where it has none, the one in `?gameId=`.

        Raises:
            CallerError: GAME_REQUIRED, FORBIDDEN_GAME, GAME_UNKNOWN.
        """
        own = None if call.credential is None else call.credential.game_id
        named: str | None = getattr(call.query, "game_id", None)
        if own is not None:
            if named not in (None, own):
                raise CallerError("FORBIDDEN_GAME", "The key belongs to another game.")
            return own
        if named is None:
            raise CallerError("GAME_REQUIRED", "Name the game in `?gameId=`.")
        if named not in self.games.by_id and not await self._has_economy(named):
            raise CallerError("GAME_UNKNOWN", "This relay does not serve the game.")
        return named

    async def _has_economy(self, game_id: str) -> bool:
        return storable(game_id) == game_id and bool(await self.read(lambda c: economy_games.known(c, [game_id])))

    async def once(
        self, call: Call, route: str, game_id: str, make: Callable[[Connection, int], tuple[int, object]]
    ) -> Answer:
        """Answer a declaration: `make(connection, now_ms)` returns status and data, in the writer's transaction.

        With an idempotency key (header, or the body's `idempotency_key`) it is made once and its answer kept, a refusal
        too; what is refused changes nothing. For what is rare: operations go through the intake, many per commit.

        Raises:
            CallerError: without a key what `make` raised; IDEMPOTENCY_KEY_INVALID, IDEMPOTENCY_KEY_REUSED.
        """
        claim = claim_of(call, route, game_id)

        def kept(c: Connection, now_ms: int) -> Kept:
            try:
                with c.begin_nested():
                    status, data = make(c, now_ms)
            except CallerError as refusal:
                if refusal.status == LIMITED:
                    raise
                return Kept(refusal.status, problem(refusal, call.request_id).body)
            return Kept(status, envelope(call, data).body)

        def job(c: Connection) -> Kept:
            now_ms = self.database.now_ms(c)
            return once(c, claim, now_ms, lambda: kept(c, now_ms))

        return answer_of(await self.write(job))


def credential_of(call: Call) -> Credential:
    """Return who calls an operation that declares roles."""
    credential: Credential = call.credential  # type: ignore[assignment]  # the operation declares roles
    return credential


def claim_of(call: Call, route: str, game_id: str) -> Claim | None:
    """Return what the request's idempotency key stands for: the whole body but for the key. None without one.

    Raises:
        CallerError: IDEMPOTENCY_KEY_INVALID.
    """
    body, field = call.body, getattr(call.body, "idempotency_key", None)
    key = idempotency_key(call.headers.get(b"idempotency-key"), field)
    if key is None:
        return None
    if field is not None:  # a retry may bring the key in its header instead
        body = msgspec.structs.replace(body, idempotency_key=None)
    said = _encoder.encode([sorted(call.path.items()), body])
    return Claim(scope_of(game_id, credential_of(call).role, route, key), hashlib.sha256(said).digest())


def envelope(call: Call, data: object, status: int = 200, headers: Headers = ()) -> Answer:
    """Return an answer of the economy."""
    return Answer(status, enveloped(data, call.request_id), headers=headers)


def enveloped(data: object, request_id: str) -> bytes:
    """Return the bytes of an answer."""
    return _encoder.encode({"success": True, "data": data, "requestId": request_id})


def page_of(rows: list[T], limit: int, cursor: Callable[[T], str]) -> tuple[list[T], str | None]:
    """Return a page of `rows`, of which one more than `limit` was read, and the cursor of the next (None: no more)."""
    shown = rows[:limit]
    return shown, cursor(shown[-1]) if len(rows) > limit else None
