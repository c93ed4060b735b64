"""The games a relay serves, over HTTP: for operators to see, for an admin to configure while relays run.

Touches the database through `relay.store.games`. A change is durable and recorded before the answer; every relay of
the database serves it within a second, once the contract takes scores under the game's rules.
"""

import dataclasses
import typing
from collections.abc import Callable
from typing import Annotated, Any, Literal, TypeVar

import msgspec
from msgspec import Meta

from relay.api.operations import Answer, Call, Credential, Operation, Response, answer
from relay.api.pages import rfc3339, storable
from relay.errors import CallerError, FieldError, PayloadError, WorldError
from relay.game_watch import GameWatch
from relay.games import Game, GameConfig, GameError, Games, game_from_mapping
from relay.rules.ruleset import RulesetError
from relay.store import controls
from relay.store import games as store
from relay.store.engine import Database, StoreUnavailableError
from relay.store.writer import Writer
from relay.strict_json import Request

T = TypeVar("T")

TAG = "Operations"
ADMIN = frozenset({"admin"})
WATCHERS = frozenset({"server", "auditor", "admin"})
CHANGES = 100
OPENED_S = 2.0  # how long an answer waits for the contract to know a game's rules
REFUSED = ("NOT_AUTHENTICATED", "FORBIDDEN_ROLE", "FORBIDDEN_GAME", "STORE_UNAVAILABLE")
PARAMETERS = {"gameId": "The game: 1 to 64 letters, digits, dots, dashes or underscores."}


REASON = Annotated[str, Meta(max_length=500, description="why; kept in the record of changes")]


def _struct(name: str, text: str, base: type[msgspec.Struct], *more: tuple[str, Any, Any]) -> Any:
    """Return the fields of `GameConfig` as JSON has them: one declaration for files, HTTP and the document."""
    hints = typing.get_type_hints(GameConfig) | {"parameters": dict[str, int | str | bool | None]}
    fields = [
        (one.name, hints[one.name], one.default)
        if one.default is not dataclasses.MISSING
        else (one.name, hints[one.name], msgspec.field(default_factory=one.default_factory))  # type: ignore[arg-type]
        for one in dataclasses.fields(GameConfig)
        if one.name != "game_id"
    ]
    namespace = {"__doc__": text}
    return msgspec.defstruct(
        name, [*fields, *more], bases=(base,), module=__name__, namespace=namespace, frozen=True, rename="camel"
    )


if typing.TYPE_CHECKING:  # what is made at run time is no type to a checker
    GameSettings = Any
else:
    GameSettings = _struct(
        "GameSettings", "How a game is configured; each setting is as in `[games.<id>]` of the file.", msgspec.Struct
    )
GameRequest = _struct(
    "GameRequest",
    "What a game is to be. What is left out is as by default, not as it was.",
    Request,
    ("reason", REASON, ""),
)


class GameDocument(msgspec.Struct, frozen=True, rename="camel"):
    """A game. `origin` says where it is configured: `file` is the settings, `api` this interface, or the command line.

    `state` is `waiting` while the contract does not take scores under the rules configured last; until then the version
    before is served, and `detail` says what is in the way.
    """

    game_id: str
    origin: Literal["file", "api"]
    state: Literal["active", "waiting"]
    detail: str | None
    version: int | None
    updated_at: str | None
    rules_hash: str | None
    settings: GameSettings
    links: dict[str, str]


class GameList(msgspec.Struct, frozen=True, rename="camel"):
    """Every game that the key is good for."""

    games: list[GameDocument]


class GameChange(msgspec.Struct, frozen=True, rename="camel"):
    """One recorded version of a game."""

    version: int
    at: str
    actor: str
    reason: str
    settings: GameSettings


class GameChanges(msgspec.Struct, frozen=True, rename="camel"):
    """The newest versions of a game, newest first."""

    game_id: str
    changes: list[GameChange]


class GameEndpoints:
    """The endpoints."""

    def __init__(self, games: Games, database: Database, writer: Writer, watch: GameWatch) -> None:
        self._games, self._database, self._writer, self._watch = games, database, writer, watch

    async def everything(self, call: Call) -> Answer:
        """Return the games that the caller's key is good for."""
        rows = {row.game_id: row for row in await self._read(store.read)}
        named = [one for one in self._games.by_id if self._games.named(one)]
        mine = [one for one in (*named, *sorted(rows)) if _good_for(call.credential, one)]
        return answer(GameList([self._document(one, rows.get(one)) for one in dict.fromkeys(mine)]))

    async def one(self, call: Call) -> Answer:
        """Return one game."""
        game_id = storable(call.path["gameId"])
        rows = await self._read(lambda c: store.read(c, [game_id]))
        if not rows and not self._games.named(game_id):
            raise _unknown()
        return answer(self._document(game_id, next(iter(rows), None)))

    async def put(self, call: Call) -> Answer:
        """Make a game, or configure it anew."""
        game_id, body = call.path["gameId"], call.body
        if self._games.named(game_id):
            detail = "The settings of the relay name this game; it is configured there."
            raise CallerError("GAME_CONFIGURED", detail)
        table = {name: value for name, value in msgspec.structs.asdict(body).items() if name != "reason"}
        checked_game(game_id, table)
        actor = call.credential.key_id if call.credential is not None else ""
        plain, reason = msgspec.to_builtins(table), storable(body.reason)

        def job(c: Any) -> tuple[store.GameRow, bool]:
            now_ms = self._database.now_ms(c)
            row, new = store.put(c, game_id, plain, controls.By(actor, reason, now_ms))
            return row, new and row.version == 1

        try:
            row, created = await self._writer.run(job)
        except StoreUnavailableError:
            raise WorldError("STORE_UNAVAILABLE", "The game was not stored; nothing has changed. Try again.") from None
        await self._watch.settle(OPENED_S)
        return answer(self._document(game_id, row), 201 if created else 200)

    async def changes(self, call: Call) -> Answer:
        """Return who configured a game, and how."""
        game_id = storable(call.path["gameId"])
        rows = await self._read(lambda c: store.history(c, game_id, CHANGES))
        if not rows and not self._games.named(game_id):
            raise _unknown()
        shown = [GameChange(r.version, rfc3339(r.at_ms), r.actor, r.reason, _of(r.table)) for r in rows]
        return answer(GameChanges(game_id, shown))

    def _document(self, game_id: str, row: store.GameRow | None) -> GameDocument:
        serving = self._games.by_id.get(game_id)
        rules = None if serving is None else "0x" + serving.rules.hash.hex()
        links = {"self": f"/api/games/{game_id}", "ruleset": f"/api/games/{game_id}/ruleset"}
        if serving is not None and self._games.named(game_id):
            config = {one: value for one, value in dataclasses.asdict(serving.config).items() if one != "game_id"}
            return GameDocument(game_id, "file", "active", None, None, None, rules, _of(config), links)
        if row is None:
            raise _unknown()
        active = self._watch.served_as(game_id, row.version)
        why = None if active else self._watch.waiting.get(game_id, "about to be opened")
        state: Literal["active", "waiting"] = "active" if active else "waiting"
        return GameDocument(
            game_id, "api", state, why, row.version, rfc3339(row.at_ms), rules, _of(row.table), links
        )  # fmt: skip

    async def _read(self, job: Callable[[Any], T]) -> T:
        try:
            return await self._database.read(job)
        except StoreUnavailableError:
            raise WorldError("STORE_UNAVAILABLE", "The games cannot be read now; try again.") from None


def checked_game(game_id: str, table: dict[str, Any]) -> Game:
    """Return the game that these settings make.

    Raises:
        PayloadError: they make none; tells why.
    """
    try:
        return Game(game_from_mapping(game_id, table))
    except (GameError, RulesetError) as wrong:
        raise PayloadError(str(wrong), [FieldError("", "FIELD_INVALID", str(wrong))]) from None


def _of(table: Any) -> Any:
    known = {one.name for one in msgspec.structs.fields(GameSettings)}
    return GameSettings(**{name: value for name, value in table.items() if name in known})


def _good_for(credential: Credential | None, game_id: str) -> bool:
    return credential is not None and credential.game_id in (None, game_id)


def _unknown() -> CallerError:
    return CallerError("GAME_UNKNOWN", "This relay does not serve the game.")


def game_operations(games: Games, database: Database, writer: Writer, watch: GameWatch) -> list[Operation]:
    """Return the declarations."""
    endpoints = GameEndpoints(games, database, writer, watch)
    one = "/api/games/{gameId}"
    return [
        Operation(
            "GET", "/api/games", "The games, as they are configured", endpoints.everything, {200: GameList},
            REFUSED, WATCHERS, tag=TAG,
        ),
        Operation(
            "GET", one, "One game, as it is configured", endpoints.one, {200: GameDocument},
            (*REFUSED, "GAME_UNKNOWN"), WATCHERS, parameters=PARAMETERS, tag=TAG,
        ),
        Operation(
            "PUT", one, "Configure a game", endpoints.put,
            {
                201: Response(GameDocument, "The game is new."),
                200: Response(GameDocument, "The game is configured so from now on, or was already."),
            },
            (*REFUSED, "PAYLOAD_MALFORMED", "GAME_CONFIGURED", "BODY_TOO_LARGE", "MEDIA_TYPE_UNSUPPORTED"),
            ADMIN, request=GameRequest, parameters=PARAMETERS, tag=TAG,
            description="Every relay of the database follows within a second. New rules are published on the contract "
            "by a relay that holds the admin's key, and judge from then on; until then `state` is `waiting`. Games "
            "that the settings name are configured there. A game is never deleted: its scores stand on the chain.",
        ),
        Operation(
            "GET", f"{one}/changes", "Who configured a game, and how", endpoints.changes, {200: GameChanges},
            (*REFUSED, "GAME_UNKNOWN"), WATCHERS, parameters=PARAMETERS, tag=TAG,
        ),
    ]  # fmt: skip
