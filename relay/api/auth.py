"""Who calls: a presented key becomes a credential, looked up at most once a second per key and process.

Touches the key table through the database it is handed, and the clocks.
"""

import asyncio
import time
from collections.abc import Callable
from typing import NamedTuple

from relay.api.operations import PLAYER, Credential
from relay.errors import WorldError
from relay.store import keys, sessions
from relay.store.engine import Database, StoreUnavailableError
from relay.store.intake_rows import Connection
from relay.store.writer import Writer

PLAYER_TOKEN = "fs_live_pt_"  # noqa: S105 - what tokens of players' sessions begin with
REMEMBER_S = 1.0  # how late a revocation can be noticed
REMEMBER_MAX = 4_096  # unknown keys are remembered too, or a wrong key would cost a query per request


class _Known(NamedTuple):
    until_s: float
    credential: Credential | None
    expires_at_ms: int | None


class _Look(NamedTuple):
    """A look-up under way. Whoever comes after `until_s`, or after a key was forgotten, has to look again."""

    task: "asyncio.Task[_Known]"
    until_s: float
    forgotten: int


class KeyRing:
    """Authenticates presented keys. `flush` is for the scheduler: last use is written for many requests at once."""

    def __init__(
        self,
        database: Database,
        writer: Writer,
        clock_s: Callable[[], float] = time.monotonic,
        now_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
    ) -> None:
        self._database = database
        self._writer = writer
        self._clock_s = clock_s
        self._now_ms = now_ms
        self._known: dict[bytes, _Known] = {}
        self._looks: dict[bytes, _Look] = {}
        self._forgotten = 0
        self._used: dict[str, int] = {}

    async def __call__(self, token: str) -> Credential | None:
        """Return the credential of a key, None if it is unknown, expired or revoked.

        Raises:
            WorldError: STORE_UNAVAILABLE.
        """
        hashed = keys.digest(token)
        known = self._known.get(hashed)
        if known is None or known.until_s <= self._clock_s():
            known = await self._ask(hashed, player=token.startswith(PLAYER_TOKEN))
        credential, now_ms = known.credential, self._now_ms()
        if credential is None or (known.expires_at_ms is not None and known.expires_at_ms <= now_ms):
            return None
        if credential.player is None:
            self._used[credential.key_id] = now_ms
        return credential

    def forget(self, hashed: bytes) -> None:
        """Look this key or token up again when it is presented next: it was revoked here."""
        self._known.pop(hashed, None)
        self._forgotten += 1  # a look-up under way may have read what was before

    async def _ask(self, hashed: bytes, *, player: bool) -> _Known:
        """Look a key up once for all who present it meanwhile: a busy server's requests come by the thousand."""
        look, now_s = self._looks.get(hashed), self._clock_s()
        if look is None or look.until_s <= now_s or look.forgotten != self._forgotten:
            task = asyncio.create_task(self._look_up(hashed, player=player))
            look = self._looks[hashed] = _Look(task, now_s + REMEMBER_S, self._forgotten)
            task.add_done_callback(lambda done: self._looked(hashed, done))
        return await asyncio.shield(look.task)  # one who leaves does not take the others' answer along

    def _looked(self, hashed: bytes, done: "asyncio.Task[_Known]") -> None:
        look = self._looks.get(hashed)
        if look is not None and look.task is done:
            del self._looks[hashed]
        if not done.cancelled():
            done.exception()  # everybody who waited may have left

    async def _look_up(self, hashed: bytes, *, player: bool) -> _Known:
        now_ms, asked_s, forgotten = self._now_ms(), self._clock_s(), self._forgotten

        def of_player(connection: Connection) -> tuple[Credential, int | None] | None:
            session = sessions.find(connection, hashed, now_ms)
            return (
                None
                if session is None
                else (Credential(session.id, PLAYER, None, session.player), session.expires_at_ms)
            )

        def of_key(connection: Connection) -> tuple[Credential, int | None] | None:
            found = keys.find(connection, hashed, now_ms)
            return None if found is None else (Credential(found.id, found.role, found.game_id), found.expires_at_ms)

        try:
            found = await self._database.read(of_player if player else of_key)
        except StoreUnavailableError:
            raise WorldError("STORE_UNAVAILABLE", "Keys cannot be looked up now; try again.") from None
        # Counted from before the question: however long the answer took, a revocation is noticed within a second.
        known = _Known(asked_s + REMEMBER_S, *(found or (None, None)))
        if forgotten == self._forgotten:
            if len(self._known) >= REMEMBER_MAX:
                self._known.clear()
            self._known[hashed] = known
        return known

    async def flush(self) -> int:
        """Write down when keys were last used; returns how many."""
        used, self._used = self._used, {}
        if used:
            await self._writer.run(lambda connection: keys.mark_used(connection, used))
        return len(used)
