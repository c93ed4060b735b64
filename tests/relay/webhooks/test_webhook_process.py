"""The delivering process as it really runs: killed at any moment, two at once, orphaned, stopped and woken."""

import asyncio
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from standardwebhooks.webhooks import Webhook

from relay.store.engine import Database
from relay.store.webhooks import Standing, standings
from relay.store.writer import Writer
from relay.webhooks.child import WebhookProcess
from tests.harness.histories import add_history, opened, tell, tell_many
from tests.harness.receiver import Receiver, new_secret, receiving, secret_file

STORY = ("accepted", "queued", "sent", "included", "final")


class Delivering:
    """A process that delivers, started as the relay starts it."""

    def __init__(self, url: str, tables: dict[str, dict[str, str]], log: Path) -> None:
        with log.open("ab") as errors:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "relay.webhooks.process"],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=errors,
            )
        given = {"database_url": url, "webhooks": tables, "log_level": "INFO"}
        if self.process.stdin is None:
            raise RuntimeError("no pipe")
        self.process.stdin.write(json.dumps(given).encode() + b"\n")
        self.process.stdin.flush()

    def signal(self, number: signal.Signals) -> None:
        """Send a signal."""
        os.kill(self.process.pid, number)

    def stop(self, timeout_s: float = 60) -> int:
        """Close the pipe, as a relay that ends does; returns the exit code."""
        if self.process.stdin is not None:
            self.process.stdin.close()
        return self.process.wait(timeout_s)

    def kill(self) -> None:
        """SIGKILL."""
        self.process.kill()
        self.process.wait(60)
        if self.process.stdin is not None:
            self.process.stdin.close()


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    with closing(opened(database_url)) as found:
        yield found


def standing(database: Database) -> Standing | None:
    """What the database knows of the one hook."""
    return next(iter(database.read_now(standings)), None)


def began(database: Database) -> bool:
    """Whether the hook is known: what happens from then on is told."""
    return standing(database) is not None


def expire(database: Database) -> None:
    """Let the lease of a killed process run out now: tests do not wait fifteen seconds each time."""
    with database.write() as c:
        c.exec_driver_sql("UPDATE webhooks SET expires_at_ms = 0")


async def more_than(receiver: Receiver, count: int) -> None:
    """Wait until more than `count` different events came."""
    await receiver.wait(lambda: len(receiver.sequences()) > count)


def check_stories(receiver: Receiver, told: list[int]) -> None:
    """Every event came, and those of each submission first came in their order."""
    assert set(receiver.sequences()) == set(told)
    assert all(story == sorted(story) for story in receiver.stories().values())


def test_kill_9_again_and_again(database: Database, database_url: str, tmp_path: Path) -> None:
    """Six SIGKILLs at random moments while events flow: none is lost, and repeats have the same id."""
    secret = new_secret()
    chance = random.Random(7)

    async def scenario() -> None:
        async with receiving() as receiver:
            hook = {"url": receiver.url, "secret_file": str(secret_file(tmp_path, secret))}
            process = Delivering(database_url, {"board": hook}, tmp_path / "log")
            await receiver.wait(lambda: began(database))
            told: list[int] = []
            for round_ in range(6):
                told += await asyncio.to_thread(tell_many, database, 60, STORY, f"sub_{round_}_")
                await more_than(receiver, len(told) - 290)
                await asyncio.sleep(chance.random() * 0.2)
                process.kill()
                expire(database)
                process = Delivering(database_url, {"board": hook}, tmp_path / "log")
            await receiver.wait(lambda: len(receiver.sequences()) == len(told))
            assert await asyncio.to_thread(process.stop) == 0
            check_stories(receiver, told)
            ids = {(message.id, message.data["sequence"]) for message in receiver.messages}
            assert len(ids) == len(told)
            for message in receiver.messages:
                Webhook(secret).verify(message.body, message.headers)

    asyncio.run(scenario())


def write(database: Database, number: int, committed: list[int], stop: threading.Event) -> None:
    """Tell stories in transactions of all lengths, some undone, until told to stop; `committed` collects them."""
    chance = random.Random(number)
    for count in range(10_000):
        if stop.is_set():
            return
        name = f"sub_{number}_{count // 5}"
        if count % 5 == 0:
            committed.extend(tell(database, name, "accepted"))
        with database.engine.connect() as connection, connection.begin() as transaction:
            seq = add_history(connection, name, STORY[count % 5])
            time.sleep(chance.random() * 0.02)
            if chance.random() < 0.1:
                transaction.rollback()
                continue
            transaction.commit()
        committed.append(seq)


def test_two_processes_and_interleaved_transactions(postgres_url: str, tmp_path: Path) -> None:
    """Two deliverers, four writers whose transactions overlap, kills in between: each change arrives, in order."""

    async def scenario(database: Database) -> None:
        committed, stop = list[int](), threading.Event()
        async with receiving() as receiver:
            hook = {"url": receiver.url, "secret_file": str(secret_file(tmp_path, new_secret()))}
            processes = [Delivering(postgres_url, {"board": hook}, tmp_path / "log") for _ in range(2)]
            await receiver.wait(lambda: began(database))
            threads = [threading.Thread(target=write, args=(database, n, committed, stop)) for n in range(4)]
            for thread in threads:
                thread.start()
            for victim in (0, 1, 0):
                await more_than(receiver, len(receiver.sequences()) + 40)
                processes[victim].kill()
                expire(database)
                processes[victim] = Delivering(postgres_url, {"board": hook}, tmp_path / "log")
            stop.set()
            for thread in threads:
                await asyncio.to_thread(thread.join)
            await more_than(receiver, len(committed) - 1)
            for process in processes:
                assert await asyncio.to_thread(process.stop) == 0
            check_stories(receiver, committed)

    with closing(opened(postgres_url)) as database:
        asyncio.run(scenario(database))


def test_a_process_that_was_stopped_and_woken_lets_the_other_go_on(postgres_url: str, tmp_path: Path) -> None:
    """SIGSTOP, another takes over, SIGCONT: what the woken one still had in hand is not sent."""

    async def scenario(database: Database) -> None:
        async with receiving() as receiver:
            hook = {"url": receiver.url, "secret_file": str(secret_file(tmp_path, new_secret()))}
            first = Delivering(postgres_url, {"board": hook}, tmp_path / "log")
            await receiver.wait(lambda: began(database))
            told = tell_many(database, 20, STORY)
            await receiver.wait(lambda: len(receiver.sequences()) == len(told))
            first.signal(signal.SIGSTOP)
            second = Delivering(postgres_url, {"board": hook}, tmp_path / "log")
            more = tell_many(database, 20, STORY, "sub_more_")
            await receiver.wait(lambda: len(receiver.sequences()) == len(told + more))  # after the lease ran out
            seen = len(receiver.messages)
            first.signal(signal.SIGCONT)
            await asyncio.sleep(2)
            assert len(receiver.messages) == seen
            assert await asyncio.to_thread(first.stop) == 0
            assert await asyncio.to_thread(second.stop) == 0
            check_stories(receiver, told + more)

    with closing(opened(postgres_url)) as database:
        asyncio.run(scenario(database))


def gone(pid: int) -> bool:
    """Whether no process has this number, apart from one that only waits to be reaped."""
    try:
        return "\nState:\tZ" in Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return True


def test_the_relay_starts_it_again_and_takes_it_along(sqlite_url: str, tmp_path: Path) -> None:
    async def until(condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(60):
            while not condition():  # noqa: ASYNC110 - processes tell nobody
                await asyncio.sleep(0.02)

    async def scenario(database: Database) -> None:
        async with receiving() as receiver:
            hook = {"url": receiver.url, "secret_file": str(secret_file(tmp_path, new_secret()))}
            parent = WebhookProcess({"board": hook}, sqlite_url, "INFO")
            assert "not running" in parent.detail()
            writer = Writer(database)
            writer.start()
            await parent.start(writer)
            await until(lambda: began(database))
            (seq,) = tell(database, "sub_a", "accepted")
            await receiver.wait(lambda: receiver.sequences() == [seq])
            await until(lambda: parent.numbers()["board"]["delivered_total"] == 1)
            assert parent.detail() == "1 configured, 0 events to be tried again, 0 given up"
            first = parent.pid
            assert first is not None
            os.kill(first, signal.SIGKILL)
            expire(database)
            await until(lambda: parent.pid not in {None, first})
            (more,) = tell(database, "sub_a", "sent")
            await receiver.wait(lambda: more in receiver.sequences())
            second = parent.pid
            assert second is not None
            await parent.stop()
            await writer.stop()
            assert gone(second)

    with closing(opened(sqlite_url)) as database:
        asyncio.run(scenario(database))


def test_it_ends_with_the_relay_however_that_ends(sqlite_url: str, tmp_path: Path) -> None:
    """The pipe closes when the relay is killed: no orphan goes on delivering."""
    hook = {"url": "http://127.0.0.1:9/", "secret_file": str(secret_file(tmp_path, new_secret()))}
    with closing(opened(sqlite_url)) as database:
        process = Delivering(sqlite_url, {"board": hook}, tmp_path / "log")
        deadline = time.monotonic() + 60
        while not began(database):
            assert time.monotonic() < deadline
            time.sleep(0.02)
        process.signal(signal.SIGTERM)  # what a terminal sends to all of a group: the relay decides when
        time.sleep(0.3)
        assert process.process.poll() is None
        assert process.stop() == 0
        found = standing(database)
        assert found is not None
        assert found.expires_at_ms == 0
