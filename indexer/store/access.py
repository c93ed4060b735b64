"""What the follower and the API ask of the database, as functions that wait.

Touches the database through `Database.read` and the one `Writer`.
"""

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any, TypeVar

from sqlalchemy import Connection, Select, bindparam, select, union

from indexer.boards import BoardConfig
from indexer.doubt import FlagNews
from indexer.events import Header, Mark
from indexer.fold import Evidence
from indexer.lease import TTL_MS, Alive, Held, Holder, free
from indexer.messages import Entry
from indexer.ordering import block_of
from indexer.standings import Column
from indexer.state import Identity, Outcome, State, Step
from indexer.store import again, board_admin, bulk, leases, load, rebuild
from indexer.store import stream as log_of
from indexer.store.again import Digest
from indexer.store.alarm import raise_alarm
from indexer.store.board_admin import BoardRow, By, Change, Put
from indexer.store.commit import commit_step
from indexer.store.joining import join
from indexer.store.learn import learn
from indexer.store.ledger import ENTRY, SqlLedger
from indexer.store.rebuild import Made, Progress, Task
from indexer.store.tables import batches, rulings, scores
from indexer.stream_ring import Told
from relay.store.engine import Database, StoreUnavailableError
from relay.store.migrate import upgrade
from relay.store.writer import Writer

T = TypeVar("T")

AT_ONCE = 5_000  # scores of a game: a board of them is made within a tenth of a second
SEASONS_MAX = 1_000  # in one list: of a board by the minute, the last hours; older ones are still found by name


def quietly(board: str, done: int, total: int) -> None:
    """Report no progress."""


class Store:
    """The indexer's tables behind one database and one writer."""

    def __init__(self, database: Database, writer: Writer) -> None:
        self.database = database
        self._writer = writer
        self.epoch: int | None = None  # of the lease under which this process writes; None: nobody else can be there
        self.revision = 0  # of the boards' configuration, when everything was last read

    def migrate(self) -> None:
        """Bring the tables to this program's version; blocks, so it belongs before the loop or in a thread."""
        upgrade(self.database, "indexer")

    async def load(
        self,
        names: Mapping[bytes, str],
        configured: Mapping[bytes, Sequence[BoardConfig]],
        progress: Progress = quietly,
    ) -> State | None:
        """Return everything committed, with every configured board by game, `default` first; None: a new database.

        Boards that are not what they are configured to be are made anew first, with `progress`, where that takes no
        time to speak of; the others are left to `indexer.building`.
        """
        if await self.database.read(load.begun):
            await self._write(lambda connection: load.arrange(connection, configured))
            self.revision = await self.boards_revision()
            await rebuild.rebuild(self.database, self._writer, names, progress, most=AT_ONCE)
        loaded = await self.database.read(lambda connection: load.load(connection, names))
        return None if loaded is None else await asyncio.to_thread(loaded.whole)

    async def boards_revision(self) -> int:
        """Return the version of all boards' configuration."""
        return await self.database.read(board_admin.revision)

    async def pending(self, names: Mapping[bytes, str]) -> list[Task]:
        """Return the boards that are to be made anew."""
        return await self.database.read(lambda connection: rebuild.pending(names, None, connection))

    async def make(self, task: Task, builder: str, progress: Progress) -> Made | None:
        """Make a board as far as that goes beside a follower; None: look again at what is pending."""
        return await rebuild.make(self.database, self._writer, task, builder, progress)

    async def disclaim(self, builder: str) -> None:
        """Let another make what a builder began."""
        await self._writer.run(lambda connection: rebuild.disclaim(builder, connection))

    async def join(self, state: State, made: Made) -> Outcome:
        """End the making of a board, and let it be one of those that are followed.

        Raises:
            OvertakenError: it is not to be so any more.
            SupersededError: the database is not where `state` is.
        """
        return await self._write(lambda c: join(c, state, made, now_ms=self.database.now_ms(c)))

    async def remake(self, names: Mapping[bytes, str], progress: Progress = quietly) -> None:
        """Make every board that is marked, and do nothing else meanwhile."""
        await rebuild.rebuild(self.database, self._writer, names, progress)

    async def create(self, identity: Identity, start: Header) -> None:
        """Write the checkpoint of an indexer that has seen nothing yet."""
        await self._write(lambda connection: load.create(connection, identity, start, self.database.now_ms(connection)))

    async def commit(
        self, state: State, step: Step, names: dict[bytes, str], evidence: dict[bytes, Evidence]
    ) -> Outcome:
        """Do one step of the follower; durable when this returns. See `commit_step` for what it raises."""

        def job(connection: Connection) -> Outcome:
            now_ms = self.database.now_ms(connection)
            return commit_step(connection, state, step, names=names, evidence=evidence, now_ms=now_ms)

        return await self._write(job)

    async def alarm(self, state: State, code: str, reason: str) -> list[FlagNews]:
        """Open a flag about the chain for every game; returns what auditors are shown of them."""
        return await self._write(
            lambda connection: raise_alarm(connection, state, code, reason, self.database.now_ms(connection))
        )

    async def learn(
        self, state: State, found: Mapping[tuple[int, bytes], Evidence], names: dict[bytes, str]
    ) -> Outcome:
        """Fill in what late evidence says; the stream tells who is shown."""

        def job(connection: Connection) -> Outcome:
            return learn(connection, state, found, names=names, now_ms=self.database.now_ms(connection))

        return await self._write(job)

    async def unexplained(self, after: int, limit: int) -> tuple[int | None, list[tuple[int, bytes]]]:
        """Look through `limit` scores after a position for those whose evidence was not found yet.

        Returns the position to go on from, None at the end, and (place, evidence hash) of what was found.
        """
        query = select(scores.c.place, scores.c.evidence_hash, scores.c.evidence_level).where(scores.c.place > after)

        def read(connection: Connection) -> tuple[int | None, list[tuple[int, bytes]]]:
            rows = connection.execute(query.order_by(scores.c.place).limit(limit)).all()
            last = rows[-1].place if len(rows) == limit else None
            return last, [(place, known) for place, known, level in rows if level is None]

        return await self.database.read(read)

    async def event_marks(self, below: int) -> list[Mark]:
        """Return every block under `below` in which the contract logged a batch or a ruling, newest first."""

        def read(connection: Connection) -> list[Mark]:
            rows = connection.execute(
                union(select(batches.c.place, batches.c.block_hash), select(rulings.c.place, rulings.c.block_hash))
            )
            marks = {block_of(place): known for place, known in rows if block_of(place) < below}
            return [Mark(number, marks[number]) for number in sorted(marks, reverse=True)]

        return await self.database.read(read)

    async def season(self, board: int, config: BoardConfig, season_s: int) -> Column:
        """Return everybody of a season in ranking order."""
        return await self.database.read(
            lambda connection: bulk.season_column(connection, board, season_s, descending=config.descending)
        )

    async def seasons(self, board: int) -> list[int]:
        """Return the starts of the newest seasons in which somebody stands, newest first."""
        return await self.database.read(lambda connection: load.seasons(connection, board, SEASONS_MAX))

    async def stream_tail(self, log: int, limit: int) -> list[Told]:
        """Return the newest messages of a board's log (or the flags of minus a game), oldest first."""
        return await self.database.read(lambda connection: log_of.tail(connection, log, limit))

    async def prune_stream(self, keep: int, older_than_ms: int) -> int:
        """Delete messages that are both older than that and not among the newest `keep` of their log."""
        return await self._writer.run(
            lambda connection: log_of.prune(connection, keep, self.database.now_ms(connection) - older_than_ms)
        )

    # ------------------------------------------------------------------------ the lease

    async def take_lease(self, me: Holder, alive: Alive) -> int:
        """Take or renew the right to write; returns its epoch, 0 while another holds it."""

        def look(connection: Connection) -> tuple[Held | None, bool]:
            seen = leases.held(connection)
            return seen, free(seen, me, self.database.now_ms(connection), alive)

        seen, mine = await self.database.read(look)  # who stands by only reads: a write would hold up the holder
        if not mine:
            return 0
        return await self._writer.run(
            lambda connection: leases.take(connection, str(me), seen, self.database.now_ms(connection), TTL_MS)
        )

    async def release_lease(self, epoch: int) -> None:
        """Let another take over at once."""
        await self._writer.run(lambda connection: leases.release(connection, epoch))

    async def _write(self, job: Callable[[Connection], T]) -> T:
        """Do `job` in one transaction under this process's lease.

        Raises:
            StoreUnavailableError: the lease is another's by now, or the database is out of reach.
        """
        epoch = self.epoch

        def fenced(connection: Connection) -> T:
            if epoch is not None:
                leases.fence(connection, epoch)
            return job(connection)

        try:
            return await self._writer.run(fenced)
        except leases.LeaseLostError as lost:
            raise StoreUnavailableError("another indexer took over") from lost

    # ---------------------------------------------------------------- beginning again

    async def digest(self) -> Digest:
        """Return the digest of all standings."""
        return await self.database.read(again.digest)

    async def unmake(self) -> None:
        """Mark every board; the next `load` makes them anew from the scores."""
        await self._write(again.unmake)

    async def wipe(self) -> None:
        """Forget everything that was read from the chain."""
        await self._write(again.wipe)

    # ---------------------------------------------------------- boards' configuration

    async def boards(self) -> list[BoardRow]:
        """Return every board as it is configured."""
        return await self.database.read(board_admin.listed)

    async def board(self, game: int, name: str) -> BoardRow:
        """Return one board as it is configured; CallerError BOARD_UNKNOWN."""
        return await self.database.read(lambda connection: board_admin.found(connection, game, name))

    async def put_board(self, game: int, config: BoardConfig, actor: str, reason: str) -> Put:
        """Let a board be configured so; CallerError BOARD_CONFIGURED."""
        return await self._writer.run(
            lambda c: board_admin.put(c, game, config, By(actor, self.database.now_ms(c), reason))
        )

    async def delete_board(self, game: int, name: str, actor: str, reason: str) -> None:
        """Remove a board; CallerError BOARD_UNKNOWN or BOARD_CONFIGURED."""
        await self._writer.run(
            lambda c: board_admin.take_out(c, game, name, By(actor, self.database.now_ms(c), reason))
        )

    async def board_changes(self, game: int, name: str, limit: int) -> list[Change]:
        """Return the newest changes of a board, newest first."""
        return await self.database.read(lambda connection: board_admin.changes(connection, game, name, limit))

    # -------------------------------------------------------------------- for the API

    async def entries_at(self, places: Iterable[int]) -> dict[int, Entry]:
        """Return the scores at some positions."""
        wanted = list(places)
        return await self.database.read(lambda c: SqlLedger(c).entries_at(wanted)) if wanted else {}

    async def by_round(self, game: int, round_id: int) -> tuple[Entry, bool] | None:
        """Return a score by its game and round, and whether it is withdrawn."""
        query = select(*ENTRY, scores.c.invalid).where(scores.c.game == game, scores.c.round_id == round_id)

        def read(connection: Connection) -> tuple[Entry, bool] | None:
            found = connection.execute(query).first()
            return None if found is None else (Entry(*found[:-1]), bool(found[-1]))

        return await self.database.read(read)

    async def of_player(
        self, player: bytes, game: int | None, before: int | None, limit: int
    ) -> list[tuple[Entry, bool]]:
        """Return a player's scores, newest first, before a position; and whether each is withdrawn."""
        query = _history(one_game=game is not None, older=before is not None)
        asked = {"player": player, "game": game, "before": before, "most": limit}

        def read(connection: Connection) -> list[tuple[Entry, bool]]:
            return [(Entry(*row[:-1]), bool(row[-1])) for row in connection.execute(query, asked)]

        return await self.database.read(read)


@lru_cache
def _history(*, one_game: bool, older: bool) -> Select[Any]:
    """Return the question for a player's scores: making it takes SQLAlchemy as long as answering it the database."""
    query = select(*ENTRY, scores.c.invalid).where(scores.c.player == bindparam("player"))
    if one_game:
        query = query.where(scores.c.game == bindparam("game"))
    if older:
        query = query.where(scores.c.place < bindparam("before"))
    return query.order_by(scores.c.place.desc()).limit(bindparam("most"))
