"""The relay as one service: intake, outbox and jobs over one database and one chain.

Touches nothing itself; wires the parts together and starts and stops them in order.
"""

from collections.abc import Awaitable, Callable
from dataclasses import replace

from relay import continuity
from relay.api.outbox_parts import OutboxParts
from relay.api.revocations import Revocations
from relay.chain_types import ChainError
from relay.config import Settings
from relay.fleet import Edges, Fleet
from relay.games import Games
from relay.group import Attestor
from relay.health import Check
from relay.intake import Intake
from relay.keyring import DEV_CHAIN_ID, Signer
from relay.outbox.batches import BatchLimits
from relay.outbox.desk import OutboxSettings
from relay.progress import Progress
from relay.rotation import EVERY_S, Rotation
from relay.schedule import Jobs
from relay.startup import Footing
from relay.store import intake as submissions
from relay.store import queries, revocations
from relay.store.engine import Database, StoreUnavailableError
from relay.store.writer import Writer

DAY_S = 86_400
DEV_WAIT_MS = 250


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
        sending = _sending(settings, footing)
        self.fleet = Fleet(Edges(footing.chain, database, writer, footing.domain, self.progress, sending))
        attestation = footing.keys.attestation
        attestor = Attestor(attestation, footing.domain, settings.receipt_days * DAY_S) if attestation else None
        self.intake = Intake(writer, database, attestor, games, self.progress, self.fleet.wake)
        self.outbox = OutboxParts(
            database, writer, footing.chain, footing.chain_id, lambda: self.fleet.outboxes, footing.chain.providers
        )
        self.revocations = Revocations(database, writer, self.progress, self.fleet.wake)
        self.rotation = Rotation(
            footing.read_keys, footing.keys, footing.chain, footing.contract, self.fleet, self._attest_with
        )
        self._jobs = Jobs(self.intake, flush_keys, [(self.rotation.look, EVERY_S)])

    async def start(self) -> None:
        """Store the rules, resume what was on its way, start the clock.

        Raises:
            StartupError: the contract holds rounds that this database would give again.
            ChainMismatchError: the database belongs to another chain or contract; nothing was touched.
        """
        footing = self._footing
        await continuity.check(footing.chain, footing.contract, self.games.by_id, self._next_round)
        await self.intake.start()
        await self.rotation.start()
        self._jobs.start()

    async def stop(self) -> None:
        """Answer what was taken, stop sending after the step under way, let go of the chain."""
        self._jobs.stop()
        await self.intake.stop()
        await self.fleet.stop()
        await self._footing.chain.close()

    def _attest_with(self, signer: Signer | None) -> None:
        """From the next group on, sign with this key; None: sign nothing, for the contract would not take it."""
        self.intake.suspended = signer is None
        if signer is not None and self.intake.attestor is not None:
            self.intake.attestor = replace(self.intake.attestor, signer=signer)

    async def _next_round(self, game_id: str) -> int:
        return await self._database.read(lambda connection: queries.next_round(connection, game_id))

    def head(self) -> int | None:
        """Return the number of the newest block this process has seen, None before the first."""
        return self.fleet.head_number

    async def ready(self) -> dict[str, Check]:
        """Return every check that is really made, by name."""
        found = {"database": await self._database_check(), "chain": await self._chain_check()}
        found["outbox"] = Check(True, "this process sends nothing: it has no gas key")
        found["attestation"] = Check(False, "no key: FAIRSCORE_ATTESTATION_KEY_FILE")
        found |= {name: Check(*line) for name, line in self.fleet.ready().items() if name != "chain"}
        found |= self.rotation.ready()
        inactive = ", ".join(self._inactive)
        detail = f"not active for {inactive}: let the admin publish them" if inactive else "active on the contract"
        found["rules"] = Check(not inactive, detail)
        found |= await self._revocations_check()
        return found

    async def _revocations_check(self) -> dict[str, Check]:
        """Say what revocations wait for; it keeps nothing else from working, so it is no failure."""
        try:
            orders = {one.state: one for one in await self._database.read(revocations.backlog)}
        except StoreUnavailableError:
            return {}
        waiting = orders.get("waiting")
        if waiting is None:
            return {}
        why = waiting.detail
        if not any("invalidate" in outbox.desk.cargoes for outbox in self.fleet.outboxes.values()):
            why = "this process holds no auditor's key (FAIRSCORE_AUDITOR_KEY_FILE), so another one has to send them"
        return {"revocations": Check(True, f"{waiting.orders} wait: {why or 'about to be sent'}")}

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
        if not code:
            return Check(False, "there is no code at the contract's address")
        out = [f"; {one.name}: {one.reason}" for one in self._footing.chain.providers() if not one.healthy]
        return Check(True, f"chain {found}{''.join(out)}")


def _sending(settings: Settings, footing: Footing) -> OutboxSettings:
    """Return how this process's keys send on its chain."""
    # Test chains make blocks on demand: what they show of their pace says nothing about how long a score should wait.
    wait_ms = settings.batch_wait_ms or (DEV_WAIT_MS if footing.chain_id == DEV_CHAIN_ID else None)
    return OutboxSettings(
        limits=BatchLimits(settings.batch_size, wait_ms),
        confirmations=settings.finality,
        poll_ms=settings.poll_ms or None,
        in_flight_max=settings.in_flight,
        fees=settings.fees,
        start_block=footing.start_block,
        fee_wei_cap=settings.fee_cap_gwei * 10**9,
        estimate_gas=not settings.embedded,  # py-evm's estimates cost more than its blocks, and its prices are known
        steal_lease=settings.embedded,  # its chain can only have one process: whoever held the lease is dead
    )
