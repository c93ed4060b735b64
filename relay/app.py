"""The relay as one service: intake, outbox and jobs over one database and one chain.

Touches nothing itself; wires the parts together and starts and stops them in order.
"""

from collections.abc import Awaitable, Callable
from dataclasses import replace

from relay import continuity, round_desk
from relay.api.economy import economy_parts
from relay.api.outbox_parts import OutboxParts
from relay.api.revocations import Revocations
from relay.config import Settings
from relay.economy.checkpoints import Cadence
from relay.economy_jobs import EconomyJobs, Pace
from relay.fleet import Edges, Fleet
from relay.game_watch import GameWatch, Opening
from relay.games import Games
from relay.group import Attestor
from relay.health import Check
from relay.intake import Intake
from relay.keyring import DEV_CHAIN_ID, Signer
from relay.outbox.batches import BatchLimits
from relay.outbox.desk import OutboxSettings
from relay.players import Players
from relay.progress import Progress
from relay.readiness import Readiness
from relay.rotation import EVERY_S, Rotation
from relay.round_desk import RoundDesk
from relay.schedule import Jobs
from relay.startup import Footing
from relay.store import intake as submissions
from relay.store import queries
from relay.store.checkpoints import Where
from relay.store.engine import Database
from relay.store.writer import Writer

DAY_S = 86_400
DEV_WAIT_MS = 250
ANCHOR_S, DEV_ANCHOR_S = 600, 5
OPENED_S = 5.0  # how long a start waits for games that were configured over HTTP


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
        self._database, self._footing = database, footing
        self.progress = Progress(lambda submission_id: submissions.standing(database, submission_id))
        sending = _sending(settings, footing)
        self.fleet = Fleet(Edges(footing.chain, database, writer, footing.domain, self.progress, sending))
        attestation = footing.keys.attestation
        attestor = Attestor(attestation, footing.domain, settings.receipt_days * DAY_S) if attestation else None
        self.intake = Intake(writer, database, attestor, games, self.progress, self.fleet.wake)
        chain, chain_id = footing.chain, footing.chain_id
        self.readiness = Readiness(database, chain, chain_id, footing.contract, self.fleet, inactive_rules)
        self.outbox = OutboxParts(database, writer, chain, chain_id, lambda: self.fleet.outboxes, chain.providers)
        self.players = Players(database, chain, footing.domain)
        self.revocations = Revocations(database, writer, self.progress, self.fleet.wake)
        self.rotation = Rotation(
            footing.read_keys, footing.keys, footing.chain, footing.contract, self.fleet, self._attest_with
        )
        self._economy_writer = Writer(database, group_max=1)  # its own; the intake makes the groups
        where = Where(chain_id, footing.contract)
        open_to_all = settings.open_registration
        self.economy = economy_parts(database, self._economy_writer, games, where, open_registration=open_to_all)
        self._economy_jobs = EconomyJobs(database, _pace(settings, footing), self.fleet.wake)
        opening = Opening(chain, footing.contract, footing.keys.admin, database, writer, self._next_round)
        self.game_watch = GameWatch(games, database, opening)
        self.desk = RoundDesk(database, writer, games, footing.domain)
        looks = [(self.rotation.look, EVERY_S)]
        rounds = [(self.desk.expire, round_desk.EVERY_S), (self.desk.commit_seeds, round_desk.SEEDS_EVERY_S)]
        self._jobs = Jobs(self.intake, flush_keys, [*looks, *rounds, *self._economy_jobs.jobs()])

    async def start(self) -> None:
        """Store the rules, resume what was on its way, start the clock.

        Raises:
            StartupError: the contract holds rounds that this database would give again.
            ChainMismatchError: the database belongs to another chain or contract; nothing was touched.
        """
        footing = self._footing
        await continuity.check(footing.chain, footing.contract, self.games.by_id, self._next_round)
        await self.game_watch.settle(OPENED_S)
        self.game_watch.start()
        await self.intake.start()
        self._economy_writer.start()
        await self.desk.commit_seeds()
        await self._economy_jobs.start()
        await self.rotation.start()
        self._jobs.start()

    async def stop(self) -> None:
        """Answer what was taken, stop sending after the step under way, let go of the chain."""
        self._jobs.stop()
        await self.game_watch.stop()
        await self.intake.stop()
        await self.economy.intake.stop()
        await self._economy_writer.stop()
        await self._economy_jobs.stop()
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
        no_key = {"attestation": Check(False, "no key: FAIRSCORE_ATTESTATION_KEY_FILE")}
        why = self.intake.unsigned()
        unsigned = {"attestation": Check(False, f"nothing is signed: {why}")} if why else {}
        waiting = "; ".join(f"{game_id} waits: {reason}" for game_id, reason in self.game_watch.waiting.items())
        games = {"games": Check(True, waiting)} if waiting else {}
        return {**await self.readiness.look(), **no_key, **self.rotation.ready(), **unsigned, **games}


def _pace(settings: Settings, footing: Footing) -> Pace:
    """Return how often what comes by the clock is done to economies."""
    anchor_s = settings.anchor_s or (DEV_ANCHOR_S if footing.chain_id == DEV_CHAIN_ID else ANCHOR_S)
    cadence = Cadence(anchor_s * 1_000, settings.anchor_transactions)
    return Pace(cadence, settings.anchor_open_games, settings.reconcile_s)


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
