"""One sending process of a life: it can be killed at any commit or send, stopped and woken, and be replaced.

Touches its outboxes, its view of the disk and its endpoint; nothing it does escapes them.
"""

import asyncio
import contextlib
from collections.abc import Callable, Iterable
from typing import Any, Protocol

from relay.attestation import Domain
from relay.chain_pool import ChainPool
from relay.chain_types import ChainError
from relay.outbox.cargo import Cargo
from relay.outbox.desk import Desk, OutboxSettings
from relay.outbox.loop import Outbox
from relay.outbox.revocations import ModerationCargo
from relay.outbox.scores import ScoreCargo
from relay.revocation import Action
from relay.signer import LocalSigner
from relay.store.engine import StoreUnavailableError
from relay.store.outbox import OutboxStore
from relay.store.outbox_scores import ScoreRows
from relay.store.revocation_moves import OrderRows
from tests.simulator.script import Script
from tests.simulator.storage import Disk, SimDatabase, SimWriter

EFFECTS = frozenset({"commit", "committed", "send", "sent"})


class KilledError(BaseException):
    """The process ends here: no `except Exception` of the product may catch it."""


class Signer:
    """A real key that tells whose transaction it signed, as recovering it from the bytes would."""

    def __init__(self, key: LocalSigner, senders: dict[bytes, bytes]) -> None:
        self._key = key
        self._senders = senders
        self.address = key.address

    def sign_transaction(self, fields: object) -> tuple[bytes, bytes]:
        """Sign, and remember by whom."""
        raw, tx_hash = self._key.sign_transaction(fields)  # type: ignore[arg-type]
        self._senders[tx_hash] = self.address
        return raw, tx_hash


class Surroundings(Protocol):
    """What a process needs of the life it is in."""

    script: Script
    disk: Disk
    domain: Domain
    settings: OutboxSettings
    attester: LocalSigner
    keys: list[Signer]

    def now(self) -> float:
        """Virtual time (s)."""

    def delay(self) -> float:
        """How long the next read or write takes (s)."""

    def effect(self, process: "Process", what: str) -> bool:
        """Count a commit or send; False: the process dies here."""

    def committed(self, process: "Process") -> None:
        """Look at what a commit left."""

    def announced(self, ids: Iterable[str], status: str) -> None:
        """Look at what was announced."""

    def chain(self, process: "Process") -> ChainPool:
        """The chain as this process sees it."""


class Process:
    """A relay as far as the outbox is concerned: one Outbox per gas key."""

    def __init__(self, life: Surroundings, name: str) -> None:
        self.name = name
        self.alive = True
        self.frozen_until = 0.0
        self.doomed = 0  # dies at the n-th commit or send from now
        self.life = life
        self.chain = life.chain(self)
        self.outboxes = [self._outbox(key) for key in life.keys]
        self.started = False
        self._starting: asyncio.Task[None] | None = None

    def _outbox(self, key: Signer) -> Outbox:
        life = self.life
        database = SimDatabase(life.disk, self.pause, life.now)
        writer = SimWriter(database, life.disk, self.pause, lambda: life.committed(self))
        store = OutboxStore(writer, database, life.domain.chain_id, key.address, self.name)
        scores = ScoreCargo(self.chain, ScoreRows(database), life.attester, life.domain, life.settings)
        cargoes: dict[str, Cargo[Any]] = {scores.kind: scores}
        for action in Action if life.script.moderated else ():
            orders = OrderRows(database)
            carries = ModerationCargo(action, self.chain, orders, key.address, life.domain, life.settings)
            cargoes[carries.kind] = carries
        return Outbox(Desk(self.chain, store, key, cargoes, life.domain, self, life.now, life.settings))

    def changed(self, ids: Iterable[str], status: str, tx_hash: bytes | None) -> None:  # noqa: ARG002 - the port's
        """Hear an announcement (the outbox's listener)."""
        self.check()
        self.life.announced(ids, status)

    async def pause(self, what: str, slow_s: float) -> None:
        """Wait at an interaction with the world: be slow, stay frozen, or die."""
        self.check()
        if what in EFFECTS and not self.life.effect(self, what):
            self.alive = False
        self.check()
        await asyncio.sleep(slow_s + self.life.delay())
        while (left := self.frozen_until - self.life.now()) > 0:  # noqa: ASYNC110 - time is virtual
            await asyncio.sleep(left)
        self.check()

    def check(self) -> None:
        """Nothing of a dead process reaches the world."""
        if not self.alive:
            raise KilledError(self.name)

    def start(self, retry_s: float, refused: Callable[[Exception], bool]) -> None:
        """Start as its supervisor would: again and again while the world is away, or `refused` says it is right."""
        self._starting = asyncio.ensure_future(self._start(retry_s, refused))

    async def _start(self, retry_s: float, refused: Callable[[Exception], bool]) -> None:
        for outbox in self.outboxes:
            while True:
                try:
                    await outbox.start()
                    break
                except (ChainError, StoreUnavailableError):
                    await asyncio.sleep(retry_s)
                except Exception as error:  # noqa: BLE001 - the life decides whether that is right
                    if not refused(error):
                        return
                    await asyncio.sleep(retry_s)
        self.started = True

    async def stop(self) -> None:
        """End in good order."""
        if self._starting is not None and not self._starting.done():
            self._starting.cancel()
        with contextlib.suppress(KilledError):
            for outbox in self.outboxes:
                await outbox.stop()
        self.alive = False

    def kill(self) -> None:
        """End at once."""
        self.alive = False

    def wake(self) -> None:
        """Work was accepted."""
        for outbox in self.outboxes:
            outbox.wake()
