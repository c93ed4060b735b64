"""One simulated life: the real outbox over a simulated chain and disk, under the troubles of a script.

Touches only what it makes. The same script gives the same life, event for event.
"""

import asyncio
import hashlib
import heapq
import logging
import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from relay.attestation import Domain
from relay.chain_pool import ChainPool
from relay.contract_records import Record
from relay.outbox.batches import BatchLimits
from relay.outbox.desk import OutboxSettings
from relay.outbox.providers import REST_S_MAX
from relay.outbox.slots import Policy
from relay.signer import LocalSigner
from relay.store.outbox import ChainMismatchError
from relay.store.tables import submissions
from tests.simulator.endpoint import Endpoint, Mood
from tests.simulator.oracle import BrokenError, Oracle
from tests.simulator.process import Process, Signer
from tests.simulator.script import Script
from tests.simulator.storage import Disk
from tests.simulator.troubles import begin, resume
from tests.simulator.virtual_time import EPOCH_S, DeadlockError, VirtualLoop, run_virtually
from tests.simulator.world import World

CHAIN_ID = 31337
CONTRACT = b"\xcc" * 20
RULES = b"\x77" * 32
ATTESTER = LocalSigner(b"\x02" * 32)
GAS_KEYS = tuple(LocalSigner(bytes([number]) * 32) for number in (1, 3, 4, 5))
LEASE_BLOCKS = {1: 30, 2: 5}  # by the number of processes: short where another waits for it
REPLAY_BLOCKS = 2
STOP_BLOCKS = 12  # longer than the lease of a process that others wait for


@dataclass
class Outcome:
    """What came of a life. `broken` is empty when every promise was kept."""

    script: Script
    broken: str = ""
    scores: int = 0
    blocks_to_end: int = 0  # from the end of all trouble
    effects: int = 0  # commits and sends
    deaths: int = 0  # processes killed
    log: list[tuple[float, str, str]] = field(default_factory=list)

    def digest(self) -> str:
        """Hash of everything that happened, in order."""
        return hashlib.sha256(repr(self.log).encode()).hexdigest()


class Life:
    """The stage: world, disk, processes, agenda, oracle."""

    def __init__(self, script: Script, loop: VirtualLoop) -> None:
        self.script = script
        self.loop = loop
        self.chance = random.Random(script.seed * 7919 + 1)
        self.domain = Domain(CHAIN_ID, CONTRACT)
        self.attester = ATTESTER
        self.senders: dict[bytes, bytes] = {}
        self.keys = [Signer(key, self.senders) for key in GAS_KEYS[: script.keys]]
        self.settings = settings_of(script)
        self.disk = Disk()
        self.world = World(
            CHAIN_ID, CONTRACT, dedupe=script.dedupe, confirmations=script.confirmations, legacy=script.legacy
        )
        self.world.delegated = script.delegated
        self.world.poison = set(script.poison)
        self.oracle = Oracle(self.disk, self.world, (key.address for key in self.keys))
        self.outcome = Outcome(script)
        self.processes: list[Process] = []
        self.moods = [Mood() for _ in range(script.providers)]
        self.liar = self.moods[script.seed % script.providers]  # the others may be late or silent, but do not lie
        self.calm = False
        self._agenda: list[tuple[float, int, Callable[[], None]]] = []
        self._order = 0
        self._named = 0
        self._rounds: dict[str, int] = {}
        self._tasks: list[asyncio.Future[None]] = []

    # -------------------------------------------------------- what processes ask for

    def now(self) -> float:
        """Virtual time (s)."""
        return self.loop.now_s

    def delay(self) -> float:
        """Latency of one read or write."""
        return self.chance.random() * self.script.latency_s * self.script.block_s if self.script.latency_s else 0.0

    def effect(self, process: Process, what: str) -> bool:
        """Count a commit or send; False where the script has the process die."""
        self.outcome.effects += 1
        self.log(process.name, what)
        if self.outcome.effects in self.script.stops:
            self.log(process.name, "is stopped")
            process.frozen_until = self.now() + STOP_BLOCKS * self.script.block_s
        dies = self.outcome.effects in self.script.kills
        if process.doomed:
            process.doomed -= 1
            dies = dies or not process.doomed
        if not dies:
            return True
        self.log(process.name, "dies")
        self.outcome.deaths += 1
        self.at(self.now() + self.chance.uniform(0, 3) * self.script.block_s, self.keep_running)
        return False

    def committed(self, process: Process) -> None:
        """Check what the last commit left."""
        self._judge(lambda: self.oracle.committed(process.name))

    def announced(self, ids: Iterable[str], status: str) -> None:
        """Check an announcement."""
        self._judge(lambda: self.oracle.announced(ids, status))

    def chain(self, process: Process) -> ChainPool:
        """The providers as this process sees them: each behaves the same for all processes."""
        made = [Endpoint(self.world, mood, self.chance, self.senders, process.pause, self._sent) for mood in self.moods]
        return ChainPool([(f"rpc{index}:80", one) for index, one in enumerate(made)], clock=self.now)

    def _sent(self, tx_hash: bytes) -> None:
        self._judge(lambda: self.oracle.sent(tx_hash))

    def _judge(self, check: Callable[[], None]) -> None:
        try:
            check()
        except BrokenError as error:
            self.break_off(str(error))
            raise

    def break_off(self, why: str) -> None:
        """Note the first promise broken."""
        if not self.outcome.broken:
            self.outcome.broken = why
            self.log("oracle", why)

    # ------------------------------------------------------------------------ agenda

    def log(self, who: str, what: str) -> None:
        """Remember an event."""
        self.outcome.log.append((round(self.loop.now_s, 6), who, what))

    def at(self, when_s: float, what: Callable[[], None]) -> None:
        """Do something at a time."""
        self._order += 1
        heapq.heappush(self._agenda, (when_s, self._order, what))

    def later(self, blocks: float, what: Callable[[], None]) -> None:
        """Do something some block times from now."""
        self.at(self.now() + blocks * self.script.block_s, what)

    def hold(self, task: "asyncio.Future[None]") -> None:
        """Keep a task from being forgotten."""
        self._tasks.append(task)

    def keep_running(self) -> None:
        """Replace dead processes."""
        self.processes = [one for one in self.processes if one.alive]
        while len(self.processes) < self.script.processes:
            self._named += 1
            process = Process(self, f"p{self._named}")
            self.processes.append(process)
            self.log(process.name, "starts")
            process.start(0.5 * self.script.block_s, self._refused)

    def _refused(self, error: Exception) -> bool:
        """Whether a process is right not to start: where another chain is served."""
        if isinstance(error, ChainMismatchError) and any("stranger" in mood.lies for mood in self.moods):
            return True
        self.break_off(f"start: {error!r}")
        return False

    def accept(self, count: int) -> None:
        """Scores are accepted: committed by the intake, which is not what is simulated."""
        rows = []
        for _ in range(count):
            number = sum(self._rounds.values()) + 1
            game = f"game{number % self.script.games}"
            self._rounds[game] = self._rounds.get(game, 0) + 1
            record = Record((number % 7 + 1).to_bytes(20, "big"), 1000 + number, number, number.to_bytes(32, "big"))
            row = submission(game, record, int((EPOCH_S + self.now()) * 1000))
            self.oracle.accepted(str(row["id"]), game, RULES, record)
            rows.append(row)
        with self.disk.engine.connect() as connection, connection.begin():
            connection.execute(submissions.insert(), rows)
        self.log("world", f"accepts {count}")
        self.chance.choice(self.processes).wake()  # whoever took them in

    def _block(self) -> None:
        block = self.world.mine(EPOCH_S + self.now())
        self.log("world", f"block {block.number} with {len(block.txs)}")
        self.later(1.0, self._block)

    # -------------------------------------------------------------------------- life

    async def live(self) -> None:
        """Run to the end: trouble, calm, and then whatever was ever sent comes back."""
        script = self.script
        self.keep_running()
        self.later(1.0, self._block)
        for at, count in script.work:
            self.later(at, lambda count=count: self.accept(count))  # type: ignore[misc]
        for trouble in script.troubles:
            self.later(trouble.at, lambda trouble=trouble: begin(self, trouble))  # type: ignore[misc]
        await self._until(script.calm_at * script.block_s, lambda: False)
        self._calm_down()
        calm = len(self.world.chain)
        await self._until(self.now() + self._patience() * script.block_s, self.oracle.over)
        self.outcome.blocks_to_end = len(self.world.chain) - calm
        if not self.outcome.broken and not self.oracle.over():
            self.break_off(self.oracle.unfinished())
        await self._replay()

    async def _until(self, end_s: float, over: Callable[[], bool]) -> None:
        while not self._stopped() and self._agenda[0][0] <= end_s:
            if over():
                return
            when, _, what = heapq.heappop(self._agenda)
            await _sleep_until(self.loop, when)
            if not self._stopped():
                what()
        if not self._stopped():
            await _sleep_until(self.loop, end_s)

    def _stopped(self) -> bool:
        """Whether a promise was broken: nothing after that is worth seeing."""
        return bool(self.outcome.broken)

    def _calm_down(self) -> None:
        self.calm = True
        self.log("world", "calm")
        for mood in self.moods:
            mood.clear()
        for process in self.processes:
            process.frozen_until = 0.0
            process.doomed = 0
        self.world.base_fee = min(self.world.base_fee, 5 * 10**9)
        self.world.poor = self.world.paused = False
        self.world.failing = 0
        self.disk.full, self.disk.blind = False, 0
        for key in self.keys:
            resume(self, key.address)
        self.keep_running()

    def _patience(self) -> int:
        """Blocks within which everything must be over: what is left goes out `in_flight` batches at a time."""
        script = self.script
        batches = -(-script.scores // script.batch_size) + script.games + len(script.poison) * 6
        in_flight = 1 if script.delegated else script.in_flight
        rounds = -(-batches // in_flight) * (2 + script.bump_blocks + script.resend_blocks)
        rest = int(REST_S_MAX / script.block_s)  # of a provider that was silent for long
        return rest + 30 + 4 * script.confirmations + 2 * LEASE_BLOCKS[script.processes] + 2 * rounds

    async def _replay(self) -> None:
        """Every transaction ever seen is offered to the pool once more by somebody else."""
        if self.outcome.broken:
            return
        for tx in self.world.ever.values():
            if tx.nonce >= self.world.next_nonce(tx.sender):
                self.world.pools.setdefault(tx.sender, {})[tx.nonce] = tx
        await self._until(self.now() + REPLAY_BLOCKS * self.script.block_s, lambda: False)
        self._judge_quietly(self.oracle.ended)

    def _judge_quietly(self, check: Callable[[], None]) -> None:
        try:
            check()
        except BrokenError as error:
            self.break_off(str(error))


async def _sleep_until(loop: VirtualLoop, when_s: float) -> None:
    future = loop.create_future()
    loop.call_at(when_s, future.set_result, None)
    await future


def settings_of(script: Script) -> OutboxSettings:
    """The outbox's settings for a script: what a person would set for such a chain."""
    return OutboxSettings(
        limits=BatchLimits(size=script.batch_size, wait_ms=0),
        confirmations=0 if script.tag else script.confirmations,
        poll_ms=int(900 * script.block_s),
        step_gap_ms=int(20 * script.block_s),
        in_flight_max=script.in_flight,
        policy=Policy(resend_blocks=script.resend_blocks, resend_s=5 * script.block_s, bump_blocks=script.bump_blocks),
        fee_wei_cap=500 * 10**9,
        estimate_gas=script.estimate,
        lease_ttl_ms=int(LEASE_BLOCKS[script.processes] * 1000 * script.block_s),
        steal_lease=script.steal,
    )


def submission(game: str, record: Record, now_ms: int) -> dict[str, object]:
    """A row as the intake commits it."""
    return {
        "id": f"sub_{record.round_id:08d}",
        "game_id": game,
        "player": record.player,
        "status": "accepted",
        "score": record.score,
        "round_id": record.round_id,
        "evidence_hash": record.evidence_hash,
        "evidence_level": 1,
        "rules_hash": RULES,
        "claim_hash": record.evidence_hash,
        "received_at_ms": now_ms,
        "accepted_at_ms": now_ms,
        "receipt_deadline": 2**40,
        "receipt_signer": ATTESTER.address,
        "receipt_signature": bytes(65),
        "request_id": "req",
    }


class _Faults(logging.Handler):
    """A step that failed by a mistake of ours is a broken promise, although the loop survives it."""

    def __init__(self, life: Life) -> None:
        super().__init__(logging.ERROR)
        self._life = life

    def emit(self, record: logging.LogRecord) -> None:
        """Take the error out of the log line."""
        if record.exc_info and record.exc_info[1] is not None:
            self._life.break_off(f"a step failed: {record.exc_info[1]!r}")


def run(script: Script) -> Outcome:
    """Live a script."""
    made: list[Life] = []

    async def main(loop: VirtualLoop) -> None:
        made.append(Life(script, loop))
        handler = _Faults(made[0])
        logger = logging.getLogger("relay")
        before = (logger.level, logger.propagate)
        logger.addHandler(handler)
        logger.setLevel(logging.ERROR)
        logger.propagate = False
        try:
            await made[0].live()
        finally:
            logger.removeHandler(handler)
            logger.setLevel(before[0])
            logger.propagate = before[1]
            for process in made[0].processes:
                process.kill()

    try:
        run_virtually(main)
    except DeadlockError as error:
        made[0].break_off(f"deadlock: {error}")
    outcome = made[0].outcome
    outcome.scores = script.scores
    return outcome
