"""The intake: submissions wait here for their group, and nothing is answered before the group is durable.

Touches the event loop and the writer. The journey itself is `relay.group`; this decides when it starts, who is told,
and what happens to a group that fails.
"""

import asyncio
import contextlib
import logging
import threading
from collections import Counter
from collections.abc import Callable
from typing import NamedTuple, Protocol, TypeVar

from relay.errors import FairscoreError, OurError, SignerError, WorldError
from relay.games import Games
from relay.group import Attestor, process
from relay.group_entries import Kind, Outcome, Pending
from relay.group_rounds import Confirmation
from relay.group_steps import round_of
from relay.progress import Progress, Standing
from relay.store import intake as store
from relay.store import kept_answers, sessions, used_signatures
from relay.store.engine import Database, StoreUnavailableError
from relay.store.intake_rows import Connection, FirstAnswer, IntakeStore
from relay.store.writer import Job

T = TypeVar("T")

GROUP_MAX = 256
KEY_LIFE_MS = 24 * 3_600_000
WINDOW_LIFE_MS = 3_600_000
UNSIGNED_S = 10.0  # so long nothing is asked of a process whose signer failed, if who asks heeds its readiness
# A replay hears "in flight" while the process that will answer says every two seconds that it lives, and two more.
ANSWERING_S = 2.0
ANSWER_MARGIN_MS = 2_000

log = logging.getLogger(__name__)


class RunsJobs(Protocol):
    """The writer, as far as the intake needs it."""

    async def run(self, job: Job[T]) -> T:
        """Run `job` in the next transaction; returns after the commit."""


class _Waiting(NamedTuple):
    pending: Pending | Confirmation
    future: "asyncio.Future[Outcome]"


class Intake:
    """Takes submissions, one group per commit. All methods run on the event loop."""

    def __init__(
        self,
        writer: RunsJobs,
        database: Database,
        attestor: Attestor | None,
        games: Games,
        progress: Progress,
        on_accepted: Callable[[], None] = lambda: None,
    ) -> None:
        self.attestor = attestor
        self.suspended = False  # the contract takes nothing that the attestation key signs
        self._unsigned: tuple[float, str] | None = None  # when the signer failed last, by the loop's clock, and why
        self.games = games
        self.progress = progress
        self.outcomes: Counter[str] = Counter()
        self.groups = 0
        self._writer = writer
        self._database = database
        self._store: IntakeStore = store.intake_store(database)
        self._on_accepted = on_accepted
        self._waiting: list[_Waiting] = []
        self._lock = threading.Lock()  # the loop appends while the writer's thread takes
        self._scheduled = False
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Store the ruleset documents, so that every rulesHash in an attestation can be looked up as evidence is."""

        def keep(connection: Connection) -> None:
            for game in sorted(self.games.by_id.values(), key=lambda game: game.rules.hash):
                store.keep_document(connection, self._database.dialect, game.rules.hash, game.rules.body)

        await self._writer.run(keep)

    async def submit(self, pending: Pending | Confirmation) -> Outcome:
        """Return what became of a submission, or of a game server's word on a round, once that is durable.

        Raises:
            WorldError: SIGNER_UNAVAILABLE, STORE_UNAVAILABLE; nothing was changed.
            OurError: this submission alone cannot be processed.
        """
        if _may_sign(pending):
            self._check_signer()
        future: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        with self._lock:
            self._waiting.append(_Waiting(pending, future))
            schedule, self._scheduled = not self._scheduled, True
        if schedule:
            self._start_group()
        return await future

    def _check_signer(self) -> None:
        if self.attestor is None:
            raise SignerError("The relay has no attestation key and signs nothing.")
        if self.suspended:
            raise SignerError(
                "The contract does not accept this relay's attestation key now; nothing is signed with it."
            )

    def unsigned(self) -> str | None:
        """Why nothing can be signed, as of a moment ago; None where nothing is known to be in the way."""
        if self._unsigned is None or asyncio.get_running_loop().time() - self._unsigned[0] > UNSIGNED_S:
            return None
        return self._unsigned[1]

    async def still_answering(self, submission_id: str) -> None:
        """Say that the answer of an accepted submission is still to come: should this process die, it soon counts."""

        def job(connection: Connection) -> None:
            until_ms = self._store.now_ms(connection) + answering_ms(ANSWERING_S)
            store.extend_answering(connection, submission_id, until_ms)

        with contextlib.suppress(StoreUnavailableError):  # then a replay hears what was committed
            await self._writer.run(job)

    async def settle(self, first: FirstAnswer, said: Standing) -> FirstAnswer:
        """Write down that the answer of an accepted submission is `said`; returns what now is its first answer.

        Another process may have answered meanwhile; what is written first is what everybody says.
        """

        def job(connection: Connection) -> FirstAnswer:
            self._store.settle_answers(connection, [(first.id, said.status, said.tx_hash)])
            return self._store.first_answers(connection, [first.id])[first.id]

        try:
            return await self._writer.run(job)
        except StoreUnavailableError:
            return first  # it is accepted all the same; a replay will hear just that, too

    async def sweep(self) -> int:
        """Forget idempotency keys older than 24 h, windows not used for an hour, sessions and signatures that ended.

        Returns how many keys.
        """

        def job(connection: Connection) -> tuple[int, bool]:
            now_ms = self._store.now_ms(connection)
            store.sweep_windows(connection, now_ms - WINDOW_LIFE_MS)
            keys = store.sweep_keys(connection, now_ms - KEY_LIFE_MS)
            others = (
                kept_answers.sweep(connection, now_ms - KEY_LIFE_MS),
                sessions.sweep(connection, now_ms),
                used_signatures.sweep(connection, now_ms),
            )
            return keys, max(keys, *others) >= store.SWEEP_ROWS

        total, more = 0, True
        while more:  # of every kind: what comes in faster than one step takes away would stay for ever
            keys, more = await self._writer.run(job)
            total += keys
        return total

    async def stop(self) -> None:
        """Wait until every submission taken is answered."""
        while self._tasks:
            await asyncio.gather(*self._tasks, return_exceptions=True)

    def _start_group(self) -> None:
        task = asyncio.get_running_loop().create_task(self._commit())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _take(self) -> list[_Waiting]:
        with self._lock:
            self._scheduled = False
            taken, self._waiting = _apart(self._waiting)
            return taken

    async def _commit(self) -> None:
        taken: list[_Waiting] = []

        def job(connection: Connection) -> list[Outcome]:
            if not taken:  # a job may run again: for the same submissions
                taken.extend(self._take())
            return self._process(connection, taken)

        try:
            outcomes = await self._writer.run(job)
        except StoreUnavailableError:
            self._fail(taken or self._take())
        except SignerError as error:
            await self._without_signer(taken, error)
        except Exception as error:  # noqa: BLE001 - one of the group is poison: find out which
            if len(taken) == 1:
                self._refuse(taken[0], error)
            else:
                for waiting in taken:
                    await self._commit_alone(waiting)
        else:
            self.groups += 1
            self._resolve(taken, outcomes)
        with self._lock:
            again = bool(self._waiting) and not self._scheduled
            self._scheduled |= again
        if again:
            self._start_group()

    async def _without_signer(self, taken: list[_Waiting], error: SignerError) -> None:
        """Refuse what takes a signature, and do the rest."""
        self._unsigned = (asyncio.get_running_loop().time(), str(error))
        self._fail([waiting for waiting in taken if _may_sign(waiting.pending)], error)
        for waiting in taken:
            if not _may_sign(waiting.pending):
                await self._commit_alone(waiting)

    def _process(self, connection: Connection, taken: list[_Waiting]) -> list[Outcome]:
        if not taken:
            return []
        return process(connection, self._store, self.attestor, [waiting.pending for waiting in taken])

    async def _commit_alone(self, waiting: _Waiting) -> None:
        try:
            outcomes = await self._writer.run(lambda connection: self._process(connection, [waiting]))
        except StoreUnavailableError:
            self._fail([waiting])
        except Exception as error:  # noqa: BLE001 - it is this submission's own
            self._refuse(waiting, error)
        else:
            self._resolve([waiting], outcomes)

    def _resolve(self, taken: list[_Waiting], outcomes: list[Outcome]) -> None:
        signed = ruled = False
        for waiting, outcome in zip(taken, outcomes, strict=True):
            self.outcomes[outcome.kind] += 1
            signed |= outcome.kind is Kind.ACCEPTED
            ruled |= outcome.kind is Kind.RULED
            if not waiting.future.done():  # the client may be gone; what is committed stays committed
                waiting.future.set_result(outcome)
        if signed:
            self._unsigned = None  # each of them has a signed receipt
        if signed or ruled:  # a confirmation may have accepted what was held
            self._on_accepted()

    def _fail(self, taken: list[_Waiting], error: WorldError | None = None) -> None:
        for waiting in taken:
            self.outcomes["unavailable"] += 1
            stored = WorldError("STORE_UNAVAILABLE", "The submission could not be stored; try again.")
            _raise_in(waiting, error or stored)

    def _refuse(self, waiting: _Waiting, error: Exception) -> None:
        self.outcomes["failed"] += 1
        log.error("a submission could not be processed", exc_info=error)
        _raise_in(waiting, error if isinstance(error, FairscoreError) else OurError())


def _apart(waiting: list[_Waiting]) -> tuple[list[_Waiting], list[_Waiting]]:
    """Return the next group, and what is left to later ones: one group has at most one word on any round."""
    taken: list[_Waiting] = []
    later: list[_Waiting] = []
    rounds: set[str] = set()
    for at, one in enumerate(waiting):
        if len(taken) == GROUP_MAX:
            later += waiting[at:]
            break
        named = round_of(one.pending)
        if named in rounds:
            later.append(one)
            continue
        taken.append(one)
        if named is not None:
            rounds.add(named)
    return taken, later


def _may_sign(pending: Pending | Confirmation) -> bool:
    """Whether a signature may be needed: to invalidate a score takes none, and waits for no signer."""
    return isinstance(pending, Pending) or pending.said.valid


def answering_ms(wait_s: float) -> int:
    """Return for how long an answer that waits `wait_s` seconds counts as coming, unless that is said again."""
    return int(min(wait_s, ANSWERING_S) * 1000) + ANSWER_MARGIN_MS if wait_s else 0


def _raise_in(waiting: _Waiting, error: FairscoreError) -> None:
    if not waiting.future.done():
        waiting.future.set_exception(error)
