"""A database in memory with exact crashes: what was committed is there, what was not never was. No thread, no file.

Touches an in-memory SQLite. It is the product's own schema, store and SQL; triggers note what a step changed, so that
the oracle looks at that only.
"""

import sqlite3
from collections.abc import Awaitable, Callable
from functools import cache
from typing import Any, TypeVar

from sqlalchemy import Connection, Engine, StaticPool, create_engine, event

from relay.store.engine import Database, StoreUnavailableError, unavailable
from relay.store.schema import metadata
from relay.store.writer import Job, Writer
from tests.simulator.virtual_time import EPOCH_S

T = TypeVar("T")

SLOT_MOVES = "('reserved>live', 'live>mined', 'mined>live', 'mined>final', 'live>foreign')"
TRIGGERS = f"""
CREATE TABLE sim_broken (rule TEXT NOT NULL);
CREATE TABLE sim_attempts (tx_hash BLOB NOT NULL);
CREATE TABLE sim_slots (signer BLOB NOT NULL, nonce INTEGER NOT NULL);
CREATE TABLE sim_batches (id INTEGER NOT NULL);
CREATE TABLE sim_submissions (id TEXT PRIMARY KEY);

CREATE TRIGGER sim_a1 BEFORE DELETE ON attempts WHEN (SELECT state FROM slots s WHERE s.chain_id = OLD.chain_id
  AND s.signer = OLD.signer AND s.nonce = OLD.nonce) NOT IN ('final', 'foreign')
  BEGIN INSERT INTO sim_broken VALUES ('5: an attempt was deleted before its nonce was final'); END;
CREATE TRIGGER sim_a2 BEFORE UPDATE OF tx_hash, raw, nonce, signer, chain_id, gas_limit ON attempts
  BEGIN INSERT INTO sim_broken VALUES ('4: an attempt changed'); END;
CREATE TRIGGER sim_a3 AFTER INSERT ON attempts BEGIN INSERT INTO sim_attempts VALUES (NEW.tx_hash); END;

CREATE TRIGGER sim_b1 BEFORE UPDATE OF calldata, rules_hash, game_id, size ON batches
  WHEN OLD.calldata IS NOT NEW.calldata OR OLD.rules_hash IS NOT NEW.rules_hash OR OLD.size IS NOT NEW.size
  BEGIN INSERT INTO sim_broken VALUES ('4: a sealed batch changed'); END;
CREATE TRIGGER sim_b2 BEFORE DELETE ON batches BEGIN INSERT INTO sim_broken VALUES ('2: a batch was deleted'); END;
CREATE TRIGGER sim_b3 AFTER INSERT ON batches BEGIN INSERT INTO sim_batches VALUES (NEW.id); END;

CREATE TRIGGER sim_m1 BEFORE DELETE ON batch_scores
  BEGIN INSERT INTO sim_broken VALUES ('3: a score left its batch'); END;
CREATE TRIGGER sim_m2 BEFORE UPDATE ON batch_scores WHEN NEW.unresolved > OLD.unresolved
  OR NEW.submission_id IS NOT OLD.submission_id OR NEW.position IS NOT OLD.position
  BEGIN INSERT INTO sim_broken VALUES ('3: a resolved score was taken back'); END;

CREATE TRIGGER sim_s1 AFTER INSERT ON slots BEGIN INSERT INTO sim_slots VALUES (NEW.signer, NEW.nonce); END;
CREATE TRIGGER sim_s2 BEFORE DELETE ON slots BEGIN INSERT INTO sim_broken VALUES ('2: a nonce was deleted'); END;
CREATE TRIGGER sim_s3 BEFORE UPDATE OF nonce, signer, chain_id, batch_id ON slots
  WHEN NEW.nonce IS NOT OLD.nonce OR NEW.signer IS NOT OLD.signer OR NEW.batch_id IS NOT OLD.batch_id
  BEGIN INSERT INTO sim_broken VALUES ('2: a nonce was given to something else'); END;
CREATE TRIGGER sim_s4 AFTER UPDATE OF state ON slots WHEN NEW.state <> OLD.state
  BEGIN INSERT INTO sim_slots VALUES (NEW.signer, NEW.nonce); END;
CREATE TRIGGER sim_s5 AFTER UPDATE OF state ON slots WHEN NEW.state <> OLD.state
  AND (OLD.state || '>' || NEW.state) NOT IN {SLOT_MOVES}
  BEGIN INSERT INTO sim_broken VALUES ('states: a nonce went ' || OLD.state || '>' || NEW.state); END;

CREATE TRIGGER sim_h1 BEFORE UPDATE ON history
  BEGIN INSERT INTO sim_broken VALUES ('10: history was changed'); END;
CREATE TRIGGER sim_h2 BEFORE DELETE ON history BEGIN INSERT INTO sim_broken VALUES ('10: history was deleted'); END;
CREATE TRIGGER sim_h3 AFTER INSERT ON history
  BEGIN INSERT OR IGNORE INTO sim_submissions VALUES (NEW.submission_id); END;
CREATE TRIGGER sim_u1 AFTER UPDATE OF status ON submissions
  BEGIN INSERT OR IGNORE INTO sim_submissions VALUES (NEW.id); END;
CREATE TRIGGER sim_u2 BEFORE UPDATE OF round_id, score, player, evidence_hash ON submissions
  WHEN NEW.round_id IS NOT OLD.round_id OR NEW.score IS NOT OLD.score
  BEGIN INSERT INTO sim_broken VALUES ('1: an accepted score changed'); END;
"""


@cache
def _engine() -> tuple[Engine, bytes]:
    """One engine per process (its cache of compiled statements is worth half of the run time) and the empty schema."""
    engine = create_engine("sqlite://", poolclass=StaticPool, connect_args={"check_same_thread": False})

    def connected(dbapi_connection: Any, _record: object) -> None:
        dbapi_connection.isolation_level = None

    event.listen(engine, "connect", connected)
    event.listen(engine, "begin", lambda connection: connection.exec_driver_sql("BEGIN"))
    metadata.create_all(engine)
    raw = _raw(engine)
    raw.executescript(TRIGGERS)
    return engine, raw.serialize()


def _raw(engine: Engine) -> sqlite3.Connection:
    with engine.connect() as connection:
        found: object = connection.connection.dbapi_connection
    assert isinstance(found, sqlite3.Connection)
    return found


class Disk:
    """What survives every crash of a life."""

    def __init__(self) -> None:
        self.engine, empty = _engine()
        self.raw = _raw(self.engine)
        self.raw.deserialize(empty)
        self.raw.execute("PRAGMA foreign_keys=ON")
        self.full = False  # refuses every change
        self.blind = 0  # so many commits succeed without anybody being told

    def rows(self, query: str, *values: object) -> list[Any]:
        """Ask the committed state, past the product's own code."""
        return self.raw.execute(query, values).fetchall()

    def run(self, query: str, *values: object) -> None:
        """Change it, as a person or another program would."""
        self.raw.execute(query, values)

    def save(self) -> bytes:
        """A backup."""
        return self.raw.serialize()

    def restore(self, backup: bytes) -> None:
        """The disk is lost, the backup comes back."""
        self.raw.deserialize(backup)
        self.raw.execute("PRAGMA foreign_keys=ON")


Pause = Callable[[str, float], Awaitable[None]]


class SimDatabase(Database):
    """The disk as one process reads it."""

    def __init__(self, disk: Disk, pause: Pause, now_s: Callable[[], float]) -> None:
        super().__init__(disk.engine)
        self._pause = pause
        self._now_s = now_s

    async def read(self, job: Callable[[Connection], T]) -> T:
        await self._pause("read", 0.0)
        with self.engine.connect() as connection, connection.begin():
            return job(connection)

    def now_ms(self, connection: Connection) -> int:  # noqa: ARG002 - the port's
        return int((EPOCH_S + self._now_s()) * 1000)


class SimWriter(Writer):
    """The disk as one process writes it. `committed` looks at what each commit left, before anybody is answered."""

    def __init__(self, database: SimDatabase, disk: Disk, pause: Pause, committed: Callable[[], None]) -> None:
        super().__init__(database)
        self._disk = disk
        self._pause = pause
        self._told = committed

    async def run(self, job: Job[T]) -> T:
        await self._pause("commit", 0.0)
        if self._disk.full:
            raise StoreUnavailableError("disk full")
        before = self._disk.raw.total_changes
        try:
            with self.database.engine.connect() as connection, connection.begin():
                result = job(connection)
        except Exception as error:
            if unavailable(error):
                raise StoreUnavailableError(type(error).__name__) from error
            raise
        if self._disk.raw.total_changes != before:
            self._told()
        await self._pause("committed", 0.0)
        if self._disk.blind:
            self._disk.blind -= 1
            raise StoreUnavailableError("the connection was lost during the commit")
        return result
