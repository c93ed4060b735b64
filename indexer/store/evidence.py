"""Evidence from the relay's table of it, where both live in one database.

Touches that table, by hash and read-only: the one thing of the relay's that the indexer reads, and it checks the hash.
"""

from collections.abc import Sequence

from sqlalchemy import Connection, LargeBinary, column, inspect, select, table

from indexer.evidence import Bodies, read_all
from indexer.fold import Evidence
from relay.keccak import keccak
from relay.store.engine import Database, StoreUnavailableError

AT_ONCE = 500  # bound parameters per query: SQLite's limit is 32,766, a plan per size is wasteful

evidence = table("evidence", column("hash", LargeBinary), column("body", LargeBinary))


class DatabaseEvidence:
    """The relay's evidence table; knows of none where the relay keeps its tables elsewhere."""

    quick = True

    def __init__(self, database: Database) -> None:
        self._database = database
        self._there = self._written = False

    async def find(self, hashes: Sequence[bytes]) -> dict[bytes, Evidence]:
        """Return what the table has."""
        return read_all((await self.bodies(hashes)).found.items())

    async def bodies(self, hashes: Sequence[bytes]) -> Bodies:
        """Return the documents that the table has; a table without any answers nothing: the relay writes elsewhere."""
        try:
            found = await self._database.read(lambda connection: self._find(connection, hashes))
        except StoreUnavailableError:
            found = {}
        return Bodies(found, frozenset() if self._written else frozenset(hashes))

    def _find(self, connection: Connection, hashes: Sequence[bytes]) -> dict[bytes, bytes]:
        self._there = self._there or inspect(connection).has_table("evidence")
        if not self._there:
            return {}
        found: dict[bytes, bytes] = {}
        for start in range(0, len(hashes), AT_ONCE):
            query = select(evidence.c.hash, evidence.c.body).where(evidence.c.hash.in_(hashes[start : start + AT_ONCE]))
            rows = ((bytes(known), bytes(body)) for known, body in connection.execute(query))
            found |= {known: body for known, body in rows if keccak(body) == known}
        self._written = (
            self._written or bool(found) or connection.execute(select(evidence.c.hash).limit(1)).first() is not None
        )
        return found

    async def close(self) -> None:
        """Nothing is held: the database belongs to whoever opened it."""
