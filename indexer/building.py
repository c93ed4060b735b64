"""Notices boards that are configured otherwise, and has them made anew beside the follower, which goes on meanwhile.

Touches the database through the store it is handed. Until it is made a changed board is shown as it was and a new one
not at all; the follower then takes it over in one commit between two of its steps.
"""

import asyncio
import logging
import secrets
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from typing import Protocol

from indexer.health import Health
from indexer.messages import Board
from indexer.state import Audience, Outcome, State, unchanged
from indexer.store.board_admin import BoardRow
from indexer.store.rebuild import Made, OvertakenError, Progress, Task
from relay.store.engine import StoreUnavailableError

LOOK_S = 1.0  # a board that was configured through another process is noticed after so long

log = logging.getLogger(__name__)


class BuildStore(Protocol):
    """What building needs of the database."""

    revision: int

    async def boards_revision(self) -> int:
        """Return the version of all boards' configuration."""

    async def boards(self) -> Sequence[BoardRow]:
        """Return every board as it is configured."""

    async def pending(self, names: Mapping[bytes, str]) -> Sequence[Task]:
        """Return the boards that are to be made anew."""

    async def make(self, task: Task, builder: str, progress: Progress) -> Made | None:
        """Make a board as far as that goes beside a follower."""

    async def disclaim(self, builder: str) -> None:
        """Let another make what a builder began."""

    async def join(self, state: State, made: Made) -> Outcome:
        """End the making of a board."""


class Following(Protocol):
    """What building needs of the follower."""

    health: Health
    state: State | None

    async def amend(self, change: Callable[[State], Awaitable[Outcome]]) -> bool:
        """Commit a change between two steps; False where nothing is read yet."""


class Building:
    """Makes one board at a time."""

    def __init__(
        self, store: BuildStore, follower: Following, names: Mapping[bytes, str], audiences: Sequence[Audience]
    ) -> None:
        """`names` gives the ids of games by their key; the audiences are the follower's."""
        self._store, self._follower, self._names, self._audiences = store, follower, names, audiences
        self._id = secrets.token_hex(8)
        self._wake = asyncio.Event()

    def wake(self) -> None:
        """Look now: somebody in this process configured a board."""
        self._wake.set()

    async def run(self) -> None:
        """Notice and make until cancelled. Trouble with the database is waited out."""
        while True:
            busy = False
            try:
                busy = await self.step()
            except StoreUnavailableError as error:
                log.warning("making boards paused: %s", error)
            except Exception:
                log.exception("making a board failed")
            if not busy:
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._wake.wait(), LOOK_S)
                self._wake.clear()

    async def step(self) -> bool:
        """Notice what changed, then make the next board that is marked; returns whether there was one.

        Raises:
            StoreUnavailableError: the database is out of reach, or another indexer writes.
        """
        if self._follower.state is None:
            return False
        await self._look()
        tasks = await self._store.pending(self._names)
        if not tasks:
            return False
        joined = False
        try:
            made = await self._store.make(tasks[0], self._id, self._follower.health.progress)
            if made is not None:
                joined = await self._follower.amend(lambda state: self._store.join(state, made))
        except OvertakenError:
            log.info("board %s is made from the beginning: it was overtaken", tasks[0].label)
        finally:
            self._follower.health.rebuilding = ""
            if not joined:  # whoever is next need not wait for us
                with suppress(StoreUnavailableError):
                    await self._store.disclaim(self._id)
        return True

    async def _look(self) -> None:
        """Let boards that are configured otherwise stand still before anybody writes them as they are to be."""
        revision = await self._store.boards_revision()
        if revision != self._store.revision and await self._follower.amend(self._rearrange):
            self._store.revision = revision

    async def _rearrange(self, state: State) -> Outcome:
        rows = await self._store.boards()  # between two steps: a step may have begun a game, whose board must be there
        if rearranged({row.number: row for row in rows}, state):
            for audience in self._audiences:
                await audience.reset(state)
        return unchanged(state)


def rearranged(rows: Mapping[int, BoardRow], state: State) -> bool:
    """Take off boards that are configured no more, hold still those that are to be others; True if any was taken off.

    A board that holds still is not folded into: its rows are whoever makes it anew's.
    """
    gone = state.boards.keys() - rows.keys()
    state.boards = {number: board for number, board in state.boards.items() if number not in gone}
    ids = {game.number: game.game_id for game in state.games.values()}
    state.unmade = {
        number: Board(ids[row.game], row.config.name)
        for number, row in rows.items()
        if number not in state.boards and row.game in ids
    }
    for number, board in state.boards.items():
        board.still = not rows[number].built or rows[number].config != board.config
    return bool(gone)
