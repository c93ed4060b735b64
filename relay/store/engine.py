"""One database behind one URL: SQLite (WAL, FULL) by default, PostgreSQL when it grows.

Touches the database only. Work modules never see an engine: they hand functions to `Database.read` or to the `Writer`.
"""

import asyncio
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, TypeVar

from sqlalchemy import Connection, Engine, create_engine, event, text
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, InterfaceError, OperationalError

T = TypeVar("T")

READ_THREADS = 4
SQLITE_BUSY_MS = 10_000
SQLITE_RETRY_S = 0.02
POSTGRESQL_IDLE_MS = 5_000  # amid a transaction; below the life of a lease, so that a hand-over does not wait for it
WRITE_OPTION = "fairscore_write"


class StoreUnavailableError(Exception):
    """The database did not take the change; nothing of it is stored, or the caller must ask again to know.

    Raised for a full disk, a lost connection, a failover: the world's fault, answered 503 and safe to retry.
    """


def unavailable(error: BaseException) -> bool:
    """Say whether `error` means the database itself is out of reach rather than a statement of ours being wrong."""
    return isinstance(error, OperationalError | InterfaceError) or (
        isinstance(error, DBAPIError) and error.connection_invalidated
    )


class Database:
    """An engine, its dialect, a pool of reading threads and, on SQLite, the turn to write.

    SQLite has one writer at a time and lets others poll for their turn, up to 25 ms late; writers of one process
    therefore queue on `write_lock` instead.
    """

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.dialect: Literal["sqlite", "postgresql"] = "sqlite" if engine.dialect.name == "sqlite" else "postgresql"
        self.write_lock = threading.Lock()
        self._readers = ThreadPoolExecutor(READ_THREADS, thread_name_prefix="fairscore-read")

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """Open one write transaction (`BEGIN IMMEDIATE` on SQLite); commits at the end, rolls back on any error."""
        if self.dialect == "postgresql":
            with self.engine.begin() as connection:
                yield connection
            return
        options = {WRITE_OPTION: True}
        with self.write_lock, self.engine.connect().execution_options(**options) as connection, connection.begin():
            yield connection

    def read_now(self, job: Callable[[Connection], T]) -> T:
        """Run `job` in this thread in one read transaction (one snapshot on SQLite, one statement's on PostgreSQL)."""
        try:
            with self.engine.connect() as connection, connection.begin():
                return job(connection)
        except DBAPIError as error:
            if unavailable(error):
                raise StoreUnavailableError(type(error.orig).__name__) from error
            raise

    async def read(self, job: Callable[[Connection], T]) -> T:
        """Run `job` on a reading thread and return its result.

        Raises:
            StoreUnavailableError: the database is out of reach.
        """
        return await asyncio.get_running_loop().run_in_executor(self._readers, self.read_now, job)

    def now_ms(self, connection: Connection) -> int:
        """Return the database's clock in epoch milliseconds: one clock for all replicas."""
        if self.dialect == "sqlite":
            return time.time_ns() // 1_000_000
        return int(connection.scalar(text("SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint")) or 0)

    def close(self) -> None:
        """Close the pool; waits for reads under way."""
        self._readers.shutdown(wait=True)
        self.engine.dispose()


def one_picture(connection: Connection) -> None:
    """Let every query of this transaction see the same commits; must be its first statement."""
    if connection.dialect.name == "postgresql":
        connection.execute(text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ"))


def open_database(url: str) -> Database:
    """Open `url` (`sqlite:///path` or `postgresql://…`, driver psycopg 3); creates no tables.

    Values of statements stay out of the errors' texts, and so out of logs: some are secrets.

    Raises:
        ValueError: not a URL, or of another database or an in-memory SQLite, which no restart survives.
        OSError: the folder of a SQLite file cannot be made.
    """
    parsed = _parsed(url)
    backend = parsed.get_backend_name()
    if backend == "postgresql":
        engine = create_engine(parsed, pool_size=READ_THREADS + 4, pool_pre_ping=True, hide_parameters=True)
        # Many rows as one statement, not as a pipeline: half the server's work per row, and a pipeline of psycopg ends
        # with a Flush, after which the server no longer counts how long it has been idle (see _postgresql_connect).
        engine.dialect.use_insertmanyvalues_wo_returning = True
        event.listen(engine, "connect", _postgresql_connect)
        return Database(engine)
    if backend != "sqlite" or parsed.database in (None, "", ":memory:"):
        raise ValueError(f"unsupported database {backend!r}: use sqlite:///file or postgresql://…")
    file = Path(str(parsed.database))
    file.parent.mkdir(parents=True, exist_ok=True)
    if not file.exists():  # it will hold payload keys and secrets of seeds; its log gets the same mode
        file.touch(mode=0o600)
    threads = {"check_same_thread": False}
    engine = create_engine(parsed, pool_size=READ_THREADS + 4, connect_args=threads, hide_parameters=True)
    event.listen(engine, "connect", _sqlite_connect)
    event.listen(engine, "begin", _sqlite_begin)
    return Database(engine)


def _parsed(url: str) -> URL:
    try:
        return make_url(url)
    except (ArgumentError, ValueError):  # its text could hold the password
        raise ValueError("the database's URL cannot be read: use sqlite:///file or postgresql://…") from None


def absent_file(url: str) -> Path | None:
    """Return the SQLite file that opening `url` would make; None where it exists, or the database is a server's.

    Raises:
        ValueError: not a URL.
    """
    parsed = _parsed(url)
    path = Path(parsed.database) if parsed.get_backend_name() == "sqlite" and parsed.database else None
    return path if path is not None and not path.exists() else None


def _postgresql_connect(dbapi_connection: Any, _record: object) -> None:
    """Let the server end a transaction whose process says nothing more: stopped, or its host cut off.

    Its row locks (a key's lease, the round counters) would keep every other replica waiting for as long.
    """
    dbapi_connection.autocommit = True
    dbapi_connection.execute(f"SET idle_in_transaction_session_timeout = {POSTGRESQL_IDLE_MS}")
    dbapi_connection.autocommit = False


def _sqlite_connect(dbapi_connection: Any, _record: object) -> None:  # the driver's own type is private to SQLAlchemy
    dbapi_connection.isolation_level = None  # transactions are begun by _sqlite_begin, not guessed by the driver
    cursor = dbapi_connection.cursor()
    cursor.execute(f"PRAGMA busy_timeout={SQLITE_BUSY_MS}")
    _write_ahead(cursor)
    # 32 MB of log before it is copied back: a page changed by many commits is copied once (a quarter less CPU per row).
    cursor.execute("PRAGMA wal_autocheckpoint=8000")
    cursor.execute("PRAGMA synchronous=FULL")  # durable before answered: the log is fsynced at every commit
    cursor.execute("PRAGMA foreign_keys=ON")
    cursor.execute("PRAGMA cache_size=-65536")
    cursor.execute("PRAGMA temp_store=MEMORY")
    cursor.close()


def _write_ahead(cursor: Any) -> None:
    """Switch the file to write-ahead logging, once in its life.

    SQLite does not wait its busy timeout for this switch, so that of two processes that open a new file at the same
    moment one is told at once that it is locked.
    """
    until = time.monotonic() + SQLITE_BUSY_MS / 1000
    while cursor.execute("PRAGMA journal_mode").fetchone()[0] != "wal":
        try:
            cursor.execute("PRAGMA journal_mode=WAL")
        except sqlite3.OperationalError:
            if time.monotonic() > until:
                raise
            time.sleep(SQLITE_RETRY_S)


def _sqlite_begin(connection: Connection) -> None:
    # IMMEDIATE: a transaction that reads and then writes must not find the database changed under it (SQLITE_BUSY).
    write = connection.get_execution_options().get(WRITE_OPTION)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if write else "BEGIN")
