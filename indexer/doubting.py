"""Doubts every score of the chain, a stretch at a time and behind the follower, from a place of its own.

Touches nothing by itself: evidence, rules and store are handed in. What is wrong with a score is decided by
`indexer.doubt`; this loop obeys. It rests while the follower reads history, so that it never slows following, and goes
on where it was after a restart. A score that was answered for with a receipt but never reached the chain is not seen
from here: receipts are the relay's, and `fairscore audit` compares those it is given.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from typing import NamedTuple, Protocol

from indexer.doubt import (
    SILENT_PATIENCE_S,
    Change,
    Doubt,
    Event,
    FlagNews,
    Known,
    Missing,
    Standing,
    Stretch,
    decide,
    judge,
)
from indexer.doubt_rules import Rules
from indexer.evidence import Bodies
from indexer.health import Check
from indexer.state import Game, Outcome, State
from relay.rules.ruleset import BoundRuleset
from relay.store.engine import StoreUnavailableError

STRETCH = 500  # scores at a time: judged off the loop, committed at once
AGAIN = 500  # doubts on record looked at again at a time
AGAIN_EVERY_S = 1.0

log = logging.getLogger(__name__)


class Published(Protocol):
    """Where evidence is published."""

    async def bodies(self, hashes: Sequence[bytes]) -> Bodies:
        """Return what is published under some hashes."""


class DoubtStore(Protocol):
    """What doubting needs of the database."""

    async def attestors(self) -> frozenset[bytes]:
        """Return the keys that relays of this database sign with."""

    async def stretch(self, games: Mapping[int, Game], limit: int) -> Stretch:
        """Return the next scores that were not looked at."""

    async def on_record(
        self, games: Mapping[int, Game], limit: int, every_ms: int
    ) -> tuple[int, list[tuple[Event, Standing]]]:
        """Return the database's clock, and the doubts that were not looked at for so long."""

    async def counts(self) -> tuple[int, int]:
        """Return how many scores wait for their evidence, and how many are disputed."""

    async def advance(self, looked: Stretch) -> None:
        """Note that a stretch was looked at, and is sound."""

    async def settle(
        self, state: State, looked: Stretch | None, changes: Sequence[Change], names: dict[bytes, str]
    ) -> tuple[Outcome, list[FlagNews]]:
        """Write what a look changed."""


class Subject(Protocol):
    """Whose scores are doubted: the follower."""

    @property
    def state(self) -> State | None:
        """What is committed."""

    async def amend(self, change: Callable[[State], Awaitable[Outcome]]) -> bool:
        """Commit a change to scores that are there."""


class DoubtPlan(NamedTuple):
    """Whom to believe, and for how long missing evidence is the world's slowness."""

    attestors: frozenset[bytes] = frozenset()  # beside those that relays of this database sign with
    grace_s: float = 10.0


class Doubting:
    """The loop. An audience of the follower: news wake it."""

    def __init__(
        self,
        subject: Subject,
        store: DoubtStore,
        published: Published,
        rules: Rules,
        plan: DoubtPlan,
        *,
        rests: Callable[[], bool],
        tell_flag: Callable[[int, int, bytes], None],
    ) -> None:
        """`rests` says whether the follower reads history; `tell_flag` passes a flag on: game, its number, JSON."""
        self._subject, self._store, self._published, self._rules = subject, store, published, rules
        self._plan, self._rests, self._tell_flag = plan, rests, tell_flag
        self._news = asyncio.Event()
        self._known: frozenset[bytes] | None = None
        self._waiting = self._disputed = 0
        self.judged = 0

    async def run(self) -> None:
        """Doubt until cancelled. Trouble with the database is waited out, never fatal."""
        while True:
            try:
                busy = await self.step()
            except StoreUnavailableError as error:
                log.info("doubting paused: %s", error)
                busy = False
            except Exception:
                log.exception("doubting failed")
                busy = False
            if not busy:
                with suppress(TimeoutError):
                    async with asyncio.timeout(AGAIN_EVERY_S):
                        await self._news.wait()
                self._news.clear()

    async def reset(self, state: State) -> None:  # noqa: ARG002 - every audience hears the state
        """Look: the database was read anew."""
        self._news.set()

    def tell(self, state: State, outcome: Outcome) -> None:  # noqa: ARG002
        """Look: something was committed."""
        self._news.set()

    def check(self) -> Check:
        """Return the line of readiness; doubts make nothing unready, they are an auditor's business."""
        signers = "" if self._known else "; signers are not compared: FAIRSCORE_ATTESTORS names none"
        return Check(True, f"{self._waiting} scores wait for their evidence, {self._disputed} are disputed{signers}")

    async def step(self) -> bool:
        """Look at the next scores, and again at those in doubt; returns whether there may be more at once."""
        state = self._subject.state
        if state is None or self._rests():
            return False
        games = {game.number: game for game in state.games.values()}
        self._known = self._plan.attestors | await self._store.attestors()
        looked = await self._store.stretch(games, STRETCH)
        if looked.to != looked.after:
            await self._first(looked)
            self.judged += len(looked.events) + len(looked.oversized)
        again = await self._again(games) if len(looked.events) < STRETCH else 0
        return len(looked.events) == STRETCH or again == AGAIN

    async def _first(self, looked: Stretch) -> None:
        doubts = await self._judge(looked.events)
        changes = [
            Change(event, None, decide(None, doubt, looked.now_ms), doubt)
            for event, doubt in zip(looked.events, doubts, strict=True)
            if doubt is not None
        ]
        if changes or looked.oversized:
            await self._settle(looked, changes)
        else:
            await self._store.advance(looked)

    async def _again(self, games: Mapping[int, Game]) -> int:
        """Look again at doubts on record: evidence may have turned up, or the patience may be over."""
        now_ms, found = await self._store.on_record(games, AGAIN, int(AGAIN_EVERY_S * 1000))
        if found:
            doubts = await self._judge([event for event, _ in found])
            changes = [
                Change(event, was, decide(was, doubt, now_ms), doubt)
                for (event, was), doubt in zip(found, doubts, strict=True)
            ]
            await self._settle(None, changes)
        return len(found)

    async def _judge(self, events: Sequence[Event]) -> list[Doubt | None]:
        """Return what is wrong with some scores, in their order."""
        bodies = await self._published.bodies([event.evidence_hash for event in events])
        named = {(event.key, event.rules_hash) for event in events}
        rules = {key: await self._rules.find(*key) for key in named}
        return await asyncio.to_thread(self._compared, events, bodies, rules)

    def _compared(
        self,
        events: Sequence[Event],
        bodies: Bodies,
        rules: Mapping[tuple[bytes, bytes], BoundRuleset | Missing],
    ) -> list[Doubt | None]:
        attestors = self._known or frozenset()
        absent = Missing("No evidence with the score's hash is published", self._plan.grace_s)
        silent = Missing("Whoever publishes evidence does not answer", SILENT_PATIENCE_S)
        found: list[Doubt | None] = []
        for event in events:
            nothing = silent if event.evidence_hash in bodies.unanswered else absent
            body = bodies.found.get(event.evidence_hash, nothing)
            found.append(judge(event, Known(attestors, body, rules[event.key, event.rules_hash])))
        return found

    async def _settle(self, looked: Stretch | None, changes: Sequence[Change]) -> None:
        news: list[FlagNews] = []

        async def change(state: State) -> Outcome:
            names = {game.key: game.game_id for game in state.games.values()}
            outcome, flags = await self._store.settle(state, looked, changes, names)
            news.extend(flags)
            return outcome

        if await self._subject.amend(change):
            for flag in news:
                log.warning("audit flag", extra={"flag": flag.body.decode()})
                self._tell_flag(*flag)
        self._waiting, self._disputed = await self._store.counts()
