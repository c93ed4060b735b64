"""The job behind anchors: trees grow behind their ledgers, and checkpoints are made when they are due.

Touches the database through the writer and reads. What carries a checkpoint to the chain is `relay.outbox.anchors`.
Any number of processes may run it: a game's tree is locked while it grows, and of a game one checkpoint is open.
"""

import logging
from functools import partial

from relay.economy.checkpoints import Cadence, Checkpoint
from relay.intake import RunsJobs
from relay.store.checkpoints import disproved, games_with_checkpoints, propose, unanchored
from relay.store.engine import Database
from relay.store.intake_rows import Connection
from relay.store.ledger_tree import GROW_MAX, behind, extend

log = logging.getLogger(__name__)


class Anchoring:
    """Makes checkpoints of every game's ledger. Methods raise StoreUnavailableError when the database is away."""

    def __init__(self, database: Database, writer: RunsJobs, cadence: Cadence, *, strangers: bool = True) -> None:
        """With `strangers` also the games that were registered where anybody may: an anchor costs us gas."""
        self._database, self._writer, self._cadence, self._strangers = database, writer, cadence, strangers

    async def advance(self) -> list[Checkpoint]:
        """Grow what is behind, make the checkpoints that are due, and return them: senders are to be woken then."""
        for game_id in await self._database.read(behind):
            while await self._writer.run(partial(extend, game_id=game_id)) == GROW_MAX:
                pass  # one commit each: requests go between
        made: list[Checkpoint] = []
        for game_id in await self._database.read(self._due):
            one = await self._writer.run(
                partial(propose, game_id=game_id, cadence=self._cadence, now=self._database.now_ms)
            )
            if one is not None:
                log.info("a checkpoint", extra={"game": game_id, "size": one.size})
                made.append(one)
        return made

    def _due(self, c: Connection) -> list[str]:
        return unanchored(c, self._cadence, self._database.now_ms(c), strangers=self._strangers)

    async def audit(self) -> list[Checkpoint]:
        """Tell every game's ledger again; return the first final checkpoint of each that it does not lead to.

        Empty if all is well. Reads every transaction that was ever anchored; not for the hot path.
        """
        found: list[Checkpoint] = []
        for game_id in await self._database.read(games_with_checkpoints):
            wrong = await self._database.read(partial(disproved, game_id=game_id))
            if wrong is not None:
                log.error("a ledger is not the one that was anchored", extra={"game": game_id, "size": wrong.size})
                found.append(wrong)
        return found
