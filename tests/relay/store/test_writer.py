"""Group commit: everything answered is stored, one job's failure is its own, nothing is half done."""

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

import pytest
from sqlalchemy import Connection, text
from sqlalchemy.exc import IntegrityError, OperationalError

from relay.store.engine import Database, StoreUnavailableError, open_database
from relay.store.writer import Writer


@asynccontextmanager
async def running(url: str) -> AsyncIterator[tuple[Database, Writer]]:
    """A writer over an empty table `t(a primary key)`."""
    database = open_database(url)
    with database.write() as connection:
        connection.execute(text("CREATE TABLE t (a INTEGER PRIMARY KEY)"))
    writer = Writer(database)
    writer.start()
    try:
        yield database, writer
    finally:
        await writer.stop()
        database.close()


def put(connection: Connection, value: int) -> int:
    """Insert one row."""
    connection.execute(text("INSERT INTO t VALUES (:a)"), {"a": value})
    return value


def rows(connection: Connection) -> list[int]:
    """All rows in order."""
    return list(connection.scalars(text("SELECT a FROM t ORDER BY a")))


def test_many_jobs_share_few_commits_and_each_gets_its_own_answer(database_url: str) -> None:
    """500 jobs handed in at once are answered right, in far fewer transactions."""

    async def scenario() -> None:
        async with running(database_url) as (database, writer):
            answers = await asyncio.gather(*(writer.run(lambda c, n=n: put(c, n)) for n in range(500)))  # type: ignore[misc]
            assert answers == list(range(500))
            assert await database.read(rows) == list(range(500))
            assert writer.stats.groups < 100
            assert writer.stats.jobs == 500

    asyncio.run(scenario())


def test_jobs_of_a_writer_of_one_are_a_transaction_each(database_url: str) -> None:
    """Handed in at once, too, and all of them before it stops: no job holds locks while another waits for its own."""

    async def scenario() -> None:
        async with running(database_url) as (database, _):
            writer = Writer(database, group_max=1)
            waiting = [asyncio.ensure_future(writer.run(lambda c, n=n: put(c, n))) for n in range(20)]  # type: ignore[misc]
            await asyncio.sleep(0)
            writer.start()
            await writer.stop()
            assert await asyncio.gather(*waiting) == list(range(20))
            assert (writer.stats.groups, writer.stats.jobs) == (20, 20)

    asyncio.run(scenario())


def test_a_failing_job_hurts_nobody_else(database_url: str) -> None:
    """Jobs that share a group with a failing one are stored; the failing one gets its own error."""

    async def scenario() -> None:
        async with running(database_url) as (database, writer):
            entered, gate = threading.Event(), threading.Event()

            def block(_connection: Connection) -> bool:
                entered.set()
                return gate.wait(60)

            blocked = asyncio.ensure_future(writer.run(block))
            await asyncio.to_thread(entered.wait, 60)  # the writer is busy: what comes now is one group
            jobs = [writer.run(lambda c, n=n: put(c, n)) for n in (1, 2, 2, 3)]  # type: ignore[misc]
            tasks = [asyncio.ensure_future(job) for job in jobs]
            await asyncio.sleep(0)
            gate.set()
            answers = await asyncio.gather(blocked, *tasks, return_exceptions=True)
            assert [type(answer) for answer in answers] == [bool, int, int, IntegrityError, int]
            assert await database.read(rows) == [1, 2, 3]
            assert writer.stats.alone == 4

    asyncio.run(scenario())


def test_a_half_done_job_leaves_nothing(database_url: str) -> None:
    """What a job wrote before it failed is rolled back."""

    def half(connection: Connection) -> None:
        put(connection, 7)
        raise RuntimeError("after the first statement")

    async def scenario() -> None:
        async with running(database_url) as (database, writer):
            with pytest.raises(RuntimeError, match="after the first"):
                await writer.run(half)
            assert await database.read(rows) == []

    asyncio.run(scenario())


def test_a_cancelled_caller_does_not_cancel_the_commit(database_url: str) -> None:
    """A client that goes away after its job was handed in does not undo it."""

    async def scenario() -> None:
        async with running(database_url) as (database, writer):
            gate = threading.Event()
            blocked = asyncio.ensure_future(writer.run(lambda _c: gate.wait(60)))
            gone = asyncio.ensure_future(writer.run(lambda c: put(c, 1)))
            await asyncio.sleep(0.05)
            gone.cancel()
            gate.set()
            await blocked
            await writer.run(lambda c: put(c, 2))
            assert await database.read(rows) == [1, 2]

    asyncio.run(scenario())


class CommitFails(Database):
    """A database whose commit is lost on the way: what happened to the change is unknown."""

    @contextmanager
    def write(self) -> Iterator[Connection]:
        with super().write() as connection:
            yield connection
            raise OperationalError("COMMIT", {}, Exception("connection lost"))


class Outage(Database):
    """A database that takes nothing while told so."""

    out = False

    @contextmanager
    def write(self) -> Iterator[Connection]:
        if self.out:
            raise OperationalError("BEGIN", {}, Exception("disk is full"))
        with super().write() as connection:
            yield connection


def test_an_outage_is_logged_once(sqlite_url: str, caplog: pytest.LogCaptureFixture) -> None:
    """Its begin and its end: a line for every refused change would fill the disk that is full."""

    async def scenario() -> None:
        database = Outage(open_database(sqlite_url).engine)
        writer = Writer(database)
        writer.start()
        for database.out in (False, True, True, True, False, False):
            try:
                await writer.run(lambda connection: connection.exec_driver_sql("SELECT 1"))
            except StoreUnavailableError:
                assert database.out
        await writer.stop()
        database.close()

    asyncio.run(scenario())
    lines = [record.getMessage() for record in caplog.records if record.name == "relay.store.writer"]
    assert lines == ["the database does not take changes", "the database takes changes again"]


def test_a_lost_commit_is_reported_and_never_run_again(sqlite_url: str) -> None:
    """An unknown outcome is 503 to everyone in the group; running the jobs again could double them."""

    async def scenario() -> None:
        database = CommitFails(open_database(sqlite_url).engine)
        writer = Writer(database)
        writer.start()
        ran: list[int] = []
        answers = await asyncio.gather(
            *(writer.run(lambda _c, n=n: ran.append(n)) for n in (1, 2)),  # type: ignore[misc]
            return_exceptions=True,
        )
        assert [type(answer) for answer in answers] == [StoreUnavailableError] * 2
        assert sorted(ran) == [1, 2]
        await writer.stop()
        database.close()

    asyncio.run(scenario())


def test_stop_commits_what_was_handed_in_and_refuses_the_rest(database_url: str) -> None:
    """Shutdown loses nothing that was accepted."""

    async def scenario() -> None:
        async with running(database_url) as (database, writer):
            tasks = [asyncio.ensure_future(writer.run(lambda c, n=n: put(c, n))) for n in range(50)]  # type: ignore[misc]
            await asyncio.sleep(0)
            await writer.stop()
            assert await asyncio.gather(*tasks) == list(range(50))
            with pytest.raises(StoreUnavailableError):
                await writer.run(lambda c: put(c, 99))
            assert await database.read(rows) == list(range(50))

    asyncio.run(scenario())


@pytest.mark.parametrize("url", ["sqlite://", "sqlite:///:memory:", "mysql://x/y", "oracle://x"])
def test_only_durable_databases_are_opened(url: str) -> None:
    """An in-memory database would lose everything at the first restart."""
    with pytest.raises(ValueError, match="unsupported database"):
        open_database(url)
