"""What doubting asks of the database, as functions that wait.

Touches the database through `Database.read` and the one `Writer`.
"""

from collections.abc import Iterable, Mapping, Sequence

from sqlalchemy import Connection

from indexer.doubt import Change, Event, FlagNews, Standing, Stretch
from indexer.state import Game, Outcome, State
from indexer.store import doubt as sql
from relay.store.engine import Database
from relay.store.writer import Writer


class DoubtTables:
    """The tables of doubt behind one database and one writer."""

    def __init__(self, database: Database, writer: Writer) -> None:
        self._database, self._writer = database, writer

    async def attestors(self) -> frozenset[bytes]:
        """Return the keys that relays of this database sign, or signed, with."""
        return await self._database.read(sql.known_attestors)

    async def remember(self, addresses: Iterable[bytes]) -> None:
        """Note keys that relays of this database sign with."""
        wanted = list(addresses)
        await self._writer.run(lambda c: sql.remember_attestors(c, wanted, self._database.now_ms(c)))

    async def stretch(self, games: Mapping[int, Game], limit: int) -> Stretch:
        """Return the next scores that were not looked at."""
        return await self._database.read(lambda c: sql.stretch(c, games, limit, self._database.now_ms(c)))

    async def on_record(
        self, games: Mapping[int, Game], limit: int, every_ms: int
    ) -> tuple[int, list[tuple[Event, Standing]]]:
        """Return the database's clock, and the doubts on record that were not looked at for so long."""

        def read(connection: Connection) -> tuple[int, list[tuple[Event, Standing]]]:
            now_ms = self._database.now_ms(connection)
            return now_ms, sql.on_record(connection, games, limit, now_ms - every_ms)

        return await self._database.read(read)

    async def counts(self) -> tuple[int, int]:
        """Return how many scores wait for their evidence, and how many are disputed."""
        return await self._database.read(sql.counts)

    async def advance(self, looked: Stretch) -> None:
        """Note that a stretch was looked at, and is sound; SupersededError where the chain went back meanwhile."""
        await self._writer.run(lambda connection: sql.advance(connection, looked))

    async def settle(
        self, state: State, looked: Stretch | None, changes: Sequence[Change], names: dict[bytes, str]
    ) -> tuple[Outcome, list[FlagNews]]:
        """Write what a look changed; durable when this returns. SupersededError: look again."""

        def job(connection: Connection) -> tuple[Outcome, list[FlagNews]]:
            now_ms = self._database.now_ms(connection)
            return sql.settle(connection, state, looked, changes, names=names, now_ms=now_ms)

        return await self._writer.run(job)
