"""The relay as one service: intake, outbox and jobs over one database and one chain.

Touches nothing itself; wires the parts together and starts and stops them in order.
"""

import os
import secrets
import socket
import time
from collections.abc import Awaitable, Callable

from relay import continuity
from relay.api.revocations import Revocations
from relay.chain_types import ChainError
from relay.config import Settings
from relay.games import Games
from relay.group import Attestor
from relay.health import Check
from relay.intake import Intake
from relay.outbox.batches import BatchLimits
from relay.outbox.desk import Desk, OutboxSettings
from relay.outbox.loop import Outbox
from relay.progress import Progress
from relay.schedule import Jobs
from relay.startup import Footing
from relay.store import intake as submissions
from relay.store import queries
from relay.store.engine import Database, StoreUnavailableError
from relay.store.outbox import OutboxStore
from relay.store.writer import Writer

DAY_S = 86_400


class RelayService:
    """Everything of the relay that runs. `start` and `stop` belong to one event loop."""

    def __init__(
        self,
        settings: Settings,
        database: Database,
        writer: Writer,
        footing: Footing,
        games: Games,
        inactive_rules: list[str],
        flush_keys: Callable[[], Awaitable[int]],
    ) -> None:
        """`inactive_rules` are the games whose rules the contract does not accept (yet); `flush_keys` is a job."""
        self.games = games
        self._database, self._footing, self._inactive = database, footing, inactive_rules
        self.progress = Progress(lambda submission_id: submissions.standing(database, submission_id))
        self.outbox = _outbox(settings, database, writer, footing, self.progress)
        attestation = footing.keys.attestation
        attestor = Attestor(attestation, footing.domain, settings.receipt_days * DAY_S) if attestation else None
        wake = self.outbox.wake if self.outbox else _nobody_to_wake
        self.intake = Intake(writer, database, attestor, games, self.progress, wake)
        self.revocations = Revocations(database, writer, self.progress, wake)
        self._jobs = Jobs(self.intake, flush_keys)

    async def start(self) -> None:
        """Store the rules, resume what was on its way, start the clock.

        Raises:
            StartupError: the contract holds rounds that this database would give again.
            ChainMismatchError: the database belongs to another chain or contract; nothing was touched.
        """
        footing = self._footing
        await continuity.check(footing.chain, footing.contract, self.games.by_id, self._next_round)
        await self.intake.start()
        if self.outbox is not None:
            await self.outbox.start()
        self._jobs.start()

    async def stop(self) -> None:
        """Answer what was taken, stop sending after the step under way, let go of the chain."""
        self._jobs.stop()
        await self.intake.stop()
        if self.outbox is not None:
            await self.outbox.stop()
        await self._footing.chain.close()

    async def _next_round(self, game_id: str) -> int:
        return await self._database.read(lambda connection: queries.next_round(connection, game_id))

    def head(self) -> int | None:
        """Return the number of the newest block this process has seen, None before the first."""
        return self.outbox.head_number if self.outbox is not None else None

    async def ready(self) -> dict[str, Check]:
        """Return every check that is really made, by name."""
        found = {"database": await self._database_check(), "chain": await self._chain_check()}
        if self.outbox is not None:
            found |= {name: Check(*line) for name, line in self.outbox.ready().items() if name != "chain"}
        else:
            found["outbox"] = Check(True, "this process sends nothing: it has no gas key")
        signing = self.intake.attestor is not None
        found["attestation"] = Check(signing, "signs" if signing else "no key: FAIRSCORE_ATTESTATION_KEY_FILE")
        inactive = ", ".join(self._inactive)
        detail = f"not active for {inactive}: let the admin publish them" if inactive else "active on the contract"
        found["rules"] = Check(not inactive, detail)
        return found

    async def _database_check(self) -> Check:
        try:
            await self._database.read(lambda connection: connection.exec_driver_sql("SELECT 1").scalar())
        except StoreUnavailableError as error:
            return Check(False, f"does not answer ({error})")
        return Check(True, self._database.dialect)

    async def _chain_check(self) -> Check:
        expected = self._footing.chain_id
        try:
            found = await self._footing.chain.chain_id()
            code = await self._footing.chain.code(self._footing.contract)
        except ChainError as error:
            return Check(False, f"the endpoint does not answer ({error})")
        if found != expected:
            return Check(False, f"the endpoint is on chain {found}, not {expected}")
        return Check(bool(code), f"chain {found}" if code else "there is no code at the contract's address")


def _outbox(
    settings: Settings, database: Database, writer: Writer, footing: Footing, progress: Progress
) -> Outbox | None:
    """Return the outbox of this process's gas key; a process without one accepts, and others send."""
    gas, attestation = footing.keys.gas, footing.keys.attestation
    if gas is None or attestation is None:
        return None
    # Random, because two containers can share a host name and a process id, and must not share a lease.
    holder = f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(4)}"
    sending = OutboxSettings(
        limits=BatchLimits(settings.batch_size, settings.batch_wait_ms),
        confirmations=settings.finality,
        poll_ms=settings.poll_ms,
        start_block=footing.start_block,
        estimate_gas=not settings.embedded,  # py-evm's estimates cost more than its blocks, and its prices are known
        steal_lease=settings.embedded,  # its chain can only have one process: whoever held the lease is dead
    )
    store = OutboxStore(writer, database, footing.chain_id, gas.address, holder)
    return Outbox(Desk(footing.chain, store, gas, attestation, footing.domain, progress, time.monotonic, sending))


def _nobody_to_wake() -> None:
    """Another process sends; it looks for work by itself."""
