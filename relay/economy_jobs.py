"""What happens to economies by the clock: listings expire, detectors look again, balances and anchors are looked after.

Touches the database through a writer of its own and reads. Any number of processes may run all of it: what is decided
is decided with the game's book open, what is looked at is shared, and whatever a crash interrupts is found again.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import NamedTuple

from relay.anchoring import Anchoring
from relay.economy.checkpoints import Cadence, contradiction
from relay.economy.drafts import By
from relay.economy.ledger import Refusal
from relay.economy.retelling import Retelling
from relay.economy.series import KEPT_MS as COUNTS_KEPT_MS
from relay.economy.trades import Expire
from relay.store import (
    catalog,
    desks,
    gate,
    ledger,
    ledger_audit,
    ledger_reconcile,
    ledger_view,
    market,
    rolls,
    suspicions,
    tallies,
    transfers_seen,
)
from relay.store.engine import Database, StoreUnavailableError
from relay.store.flags import raise_flags
from relay.store.intake_rows import Connection
from relay.store.writer import Writer

EVERY_S = 1.0  # how late a listing expires, and how long a cycle of transfers goes unnoticed
CHORES_EVERY_S = 600.0
AUDIT_EVERY_S = 6 * 3_600.0
ANCHOR_LOOK_S = 5.0  # how often it is looked whether a checkpoint is due
EXPIRED_MAX = 200  # in one transaction, so that no operation waits long behind it
COMMITTED_MAX = 200
WINDOW_KEPT_MS = 60_000
EXPIRY = By("system", "system:expiry", 0)
REST = 9  # the reconciler rests this many times as long as it looked: a tenth of one core at most

log = logging.getLogger(__name__)


class Pace(NamedTuple):
    """How often it is done, as the operator decides. With `strangers`, games that anybody registered are anchored."""

    cadence: Cadence = Cadence()
    strangers: bool = False
    reconcile_s: float = 600.0


class EconomyJobs:
    """The periodic work of one process on all economies. All methods belong to one event loop.

    Each job raises StoreUnavailableError when the database is away; as `jobs` returns them they come again instead.
    """

    def __init__(self, database: Database, pace: Pace, wake: Callable[[], None]) -> None:
        """`wake` tells the senders that a checkpoint waits."""
        self._database, self._pace, self._wake = database, pace, wake
        self._writer = Writer(database, group_max=1)  # locks that one job takes never wait for another's
        self._anchoring = Anchoring(database, self._writer, pace.cadence, strangers=pace.strangers)

    async def start(self) -> None:
        """Let jobs change the database, and commit to seeds before the first roll."""
        self._writer.start()
        await _through_outages(self.commit_seeds)

    async def stop(self) -> None:
        """Finish the change under way."""
        await self._writer.stop()

    def jobs(self) -> list[tuple[Callable[[], Awaitable[None]], float]]:
        """Return every job with how often it comes (s)."""
        anchor_s = min(ANCHOR_LOOK_S, max(EVERY_S, self._pace.cadence.every_ms / 1_000))
        found: list[tuple[Callable[[], Awaitable[None]], float]] = [
            (self.expire, EVERY_S),
            (self.examine, EVERY_S),
            (self.anchor, anchor_s),
            (self.sweep, CHORES_EVERY_S),
            (self.commit_seeds, CHORES_EVERY_S),
            (self.reconcile, self._pace.reconcile_s),
            (self.audit, AUDIT_EVERY_S),
        ]
        return [(partial(_through_outages, job), every_s) for job, every_s in found]

    async def expire(self) -> None:
        """Give back what listings offered whose time is over; what cannot be given back now is tried again."""
        stuck: set[str] = set()
        while True:
            due = await self._due(EXPIRED_MAX + len(stuck))
            wanted = [(game_id, listing_id) for game_id, listing_id in due if listing_id not in stuck]
            if not wanted:
                return
            stuck |= await self._expired(wanted[:EXPIRED_MAX])

    async def _due(self, limit: int) -> list[tuple[str, str]]:
        return await self._database.read(lambda c: market.due(c, self._database.now_ms(c), limit))

    async def _expired(self, wanted: Sequence[tuple[str, str]]) -> set[str]:
        """Let listings expire; returns those that did not."""
        try:
            return await self._writer.run(partial(self._expire, wanted=wanted))
        except StoreUnavailableError:
            raise
        except Exception:
            if len(wanted) > 1:  # one of them is poison: find out which
                found = [await self._expired([one]) for one in wanted]
                return set().union(*found)
            log.exception("a listing does not expire", extra={"game": wanted[0][0], "listing": wanted[0][1]})
            return {wanted[0][1]}

    def _expire(self, c: Connection, wanted: Sequence[tuple[str, str]]) -> set[str]:
        stuck: set[str] = set()
        books = ledger.open_books(c, {game_id for game_id, _ in wanted})
        now_ms = self._database.now_ms(c)
        for of_game, book in books.items():
            steps = [Expire(listing_id, EXPIRY) for game_id, listing_id in wanted if game_id == of_game]
            outcomes = desks.decide_all(c, book, steps, now_ms)
            ledger.write(c, book)
            stuck |= {step.listing_id for step, one in zip(steps, outcomes, strict=True) if isinstance(one, Refusal)}
        return stuck

    async def examine(self) -> None:
        """Let the detectors that run after the commit look at everything that waits for them."""
        if await self._database.read(transfers_seen.any_waiting):
            while await self._writer.run(lambda c: suspicions.examine(c, self._database.now_ms(c))):
                pass  # one commit each: operations go between

    async def anchor(self) -> None:
        """Let the trees grow, and make the checkpoints that are due."""
        if await self._anchoring.advance():
            self._wake()

    async def audit(self) -> None:
        """Tell every ledger again, against what is anchored and what balances are made of; flag what differs."""
        for wrong in await self._anchoring.audit():
            why = f"The ledger's first {wrong.size} transactions are not those of checkpoint {wrong.checkpoint_id}"
            await self._contradicted(wrong.game_id, why)
        for game_id in await self._database.read(ledger_view.sizes):
            why_not = await self._retold(game_id)
            if why_not is not None:
                log.error("a ledger does not say what its rows say", extra={"game": game_id, "cause": why_not})
                await self._contradicted(game_id, f"The ledger was changed by hand: {why_not}")

    async def _retold(self, game_id: str) -> str | None:
        told, more, problem = Retelling(game_id), True, None
        while more:
            began = time.monotonic()
            problem, more = await self._database.read(partial(ledger_audit.retell, told=told))
            await asyncio.sleep(REST * (time.monotonic() - began))
        return problem

    async def _contradicted(self, game_id: str, why: str) -> None:
        flag = contradiction(game_id, why)
        await self._writer.run(lambda c: raise_flags(c, [flag], self._database.now_ms(c)))

    async def sweep(self) -> None:
        """Forget what detectors and limits no longer look at, and counts of minutes that no chart shows."""
        while await self._writer.run(lambda c: gate.sweep_amounts(c, self._database.now_ms(c) - WINDOW_KEPT_MS)):
            pass
        for game_id in await self._database.read(ledger_view.sizes):
            while await self._writer.run(partial(self._sweep, game_id=game_id)):
                pass

    def _sweep(self, c: Connection, game_id: str) -> int:
        now_ms = self._database.now_ms(c)
        tallies.sweep(c, game_id, now_ms - COUNTS_KEPT_MS)
        return transfers_seen.sweep(c, game_id, now_ms - transfers_seen.KEPT_MS)

    async def commit_seeds(self) -> None:
        """Commit to today's and tomorrow's secrets of every game that leaves something to chance."""
        games = await self._database.read(catalog.games_of_chance)
        for first in range(0, len(games), COMMITTED_MAX):
            await self._writer.run(partial(self._commit_seeds, game_ids=games[first : first + COMMITTED_MAX]))

    def _commit_seeds(self, c: Connection, game_ids: Sequence[str]) -> None:
        now_ms = self._database.now_ms(c)
        for game_id in game_ids:
            rolls.commitments(c, game_id, now_ms)

    async def reconcile(self) -> None:
        """Hold every balance against the moves it comes from; freeze and flag what differs."""
        for game_id in await self._database.read(ledger_view.sizes):
            after: str | None = None
            while True:
                began = time.monotonic()
                found, after = await self._database.read(
                    partial(ledger_view.mismatches_of, game_id=game_id, after=after)
                )
                if found:
                    seize = partial(ledger_reconcile.seize, game_id=game_id, found=found)
                    seized = await self._writer.run(lambda c, seize=seize: seize(c, now_ms=self._database.now_ms(c)))  # type: ignore[misc]
                    log.error("balances differ from their moves", extra={"game": game_id, "balances": len(seized)})
                if after is None:
                    break
                await asyncio.sleep(REST * (time.monotonic() - began))


async def _through_outages(job: Callable[[], Awaitable[None]]) -> None:
    """Run a job; what an outage keeps it from is done when it comes again."""
    try:
        await job()
    except StoreUnavailableError as error:
        log.debug("a job did not reach the database", extra={"cause": error})
