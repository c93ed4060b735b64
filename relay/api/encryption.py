"""The payload keys of a game over HTTP: listed without their secrets, rotated, retired.

Touches the database through `relay.store.encryption`. A key's secret is in no answer: clients are told the key of
their own round when it starts, derived from it.
"""

from collections.abc import Callable
from typing import Literal, TypeVar

import msgspec

from relay.api.operations import Answer, Call, Credential, Operation, answer
from relay.api.pages import rfc3339, storable
from relay.errors import CallerError, WorldError
from relay.games import Games
from relay.store import encryption as store
from relay.store.engine import Database, StoreUnavailableError
from relay.store.intake_rows import Connection
from relay.store.writer import Writer

T = TypeVar("T")

OPERATORS = frozenset({"server", "admin"})
ERRORS = ("NOT_AUTHENTICATED", "FORBIDDEN_ROLE", "FORBIDDEN_GAME", "GAME_UNKNOWN", "STORE_UNAVAILABLE")
GAME_PATH = "/api/games/{gameId}/encryption-keys"
PATHS = {"gameId": "The game."}


class EncryptionKey(msgspec.Struct, frozen=True, rename="camel"):
    """A payload key. `current`: new rounds get it; `accepted`: rounds started with it end; `retired`: no longer."""

    key_id: str
    game_id: str
    state: Literal["current", "accepted", "retired"]
    created_at: str
    created_by: str
    retired_at: str | None
    retired_by: str | None


class EncryptionKeysAnswer(msgspec.Struct, frozen=True, rename="camel"):
    """All payload keys of a game, newest first."""

    success: bool
    keys: list[EncryptionKey]


class EncryptionKeyAnswer(msgspec.Struct, frozen=True, rename="camel"):
    """One payload key, as it is now."""

    success: bool
    key: EncryptionKey


class EncryptionKeys:
    """The operations."""

    def __init__(self, games: Games, database: Database, writer: Writer) -> None:
        self._games, self._database, self._writer = games, database, writer

    async def page(self, call: Call) -> Answer:
        """List a game's keys."""
        game_id, _ = self._admitted(call)
        try:
            found = await self._database.read(lambda c: store.listed(c, game_id))
        except StoreUnavailableError:
            raise _unavailable() from None
        return answer(EncryptionKeysAnswer(True, _shown(found)))

    async def rotate(self, call: Call) -> Answer:
        """Make a new current key; rounds that were started go on with theirs."""
        game_id, by = self._admitted(call)

        def job(c: Connection, now_ms: int) -> list[store.KeyInfo]:
            store.create(c, game_id, by.key_id, now_ms)
            return store.listed(c, game_id)

        return answer(EncryptionKeyAnswer(True, _shown(await self._write(job))[0]), 201)

    async def retire(self, call: Call) -> Answer:
        """Let a key decrypt nothing any more: for one that leaked."""
        game_id, by = self._admitted(call)
        key_id = storable(call.path["keyId"])

        def job(c: Connection, now_ms: int) -> list[store.KeyInfo]:
            store.retire(c, game_id, key_id, by.key_id, now_ms)
            return store.listed(c, game_id)

        for key in _shown(await self._write(job)):
            if key.key_id == key_id:
                return answer(EncryptionKeyAnswer(True, key))
        raise CallerError("ENCRYPTION_KEY_UNKNOWN", "The game has no payload key with this id; list them to see which.")

    def operations(self) -> list[Operation]:
        """Return the declarations."""
        one, parameters = f"{GAME_PATH}/{{keyId}}", {**PATHS, "keyId": "As listed."}
        return [
            Operation(
                "GET", GAME_PATH, "The payload keys of a game, without their secrets", self.page,
                {200: EncryptionKeysAnswer}, ERRORS, OPERATORS, parameters=PATHS, tag="Encryption",
            ),
            Operation(
                "POST", GAME_PATH, "Make a new payload key, which new rounds get from now on", self.rotate,
                {201: EncryptionKeyAnswer}, ERRORS, OPERATORS, parameters=PATHS, tag="Encryption",
            ),
            Operation(
                "DELETE", one, "Retire a payload key: reports under it are refused from now on", self.retire,
                {200: EncryptionKeyAnswer}, (*ERRORS, "ENCRYPTION_KEY_UNKNOWN"), OPERATORS, parameters=parameters,
                tag="Encryption",
            ),
        ]  # fmt: skip

    def _admitted(self, call: Call) -> tuple[str, Credential]:
        credential, game_id = call.credential, call.path["gameId"]
        if credential is None:
            raise CallerError("NOT_AUTHENTICATED", "This operation needs a key.")
        if credential.game_id not in (None, game_id):
            raise CallerError("FORBIDDEN_GAME", "The key belongs to another game.")
        if game_id not in self._games.by_id:
            raise CallerError("GAME_UNKNOWN", "This relay does not serve the game.")
        return game_id, credential

    async def _write(self, job: Callable[[Connection, int], T]) -> T:
        try:
            return await self._writer.run(lambda c: job(c, self._database.now_ms(c)))
        except StoreUnavailableError:
            raise _unavailable() from None


def _shown(found: list[store.KeyInfo]) -> list[EncryptionKey]:
    """Return keys, newest first, as they are answered: the newest that is not retired is the current one."""
    current = next((info.id for info in found if info.retired_at_ms is None), None)
    return [_key(info, info.id == current) for info in found]


def _key(info: store.KeyInfo, is_current: bool) -> EncryptionKey:
    retired = info.retired_at_ms is not None
    state: Literal["current", "accepted", "retired"] = "retired" if retired else "current" if is_current else "accepted"
    gone = None if info.retired_at_ms is None else rfc3339(info.retired_at_ms)
    return EncryptionKey(
        info.id, info.game_id, state, rfc3339(info.created_at_ms), info.created_by, gone, info.retired_by
    )


def _unavailable() -> WorldError:
    return WorldError("STORE_UNAVAILABLE", "The database does not answer; try again.")
