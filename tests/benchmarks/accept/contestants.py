"""The servers the accept benchmark compares, each started fresh for a run and ended after it.

Touches processes, databases and temporary folders.
"""

import shutil
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg

from tests.harness.nodes import NODE, Node, Postgres, anvil, operator
from tests.harness.ports import free_port
from tests.harness.process import Fairscore, cpu_seconds
from tests.harness.rpc import scores_on_chain

STREAMBEAT_LIKE = Path(__file__).with_name("streambeat_like") / "server.mjs"
PLAIN_RELAY = Path(__file__).with_name("plain_relay.py")
Rows = list[tuple[str, int | None]]


@dataclass(frozen=True)
class Contestant:
    """One running server: where to send, whose CPU to count, what it stored (None: it stores nothing)."""

    ports: list[int]
    cpu: dict[str, Callable[[], float]]
    stored: Callable[[], Rows] | None = None
    on_chain: Callable[[str], int] | None = None  # how many scores a contract recorded so far


@dataclass(frozen=True)
class Entry:
    """A line of the table; ``requests`` and ``smoke_requests`` fit its speed so that runs take seconds, not minutes."""

    name: str
    start: Callable[[], AbstractContextManager[Contestant]]
    requests: int
    smoke_requests: int
    tags: frozenset[str] = field(default=frozenset())


@contextmanager
def streambeat_like(*chain_options: str, chain: bool = True) -> Iterator[Contestant]:
    """Express + ethers, with a chain of its own or without any."""
    port = free_port()
    node: AbstractContextManager[Node | None] = anvil(*chain_options) if chain else nullcontext()
    with node as running:
        address = running.url if running else "--no-chain"
        process = subprocess.Popen([NODE, STREAMBEAT_LIKE, str(port), address], stdout=subprocess.PIPE, text=True)
        try:
            if process.stdout is None or "listening" not in process.stdout.readline():
                raise RuntimeError("the baseline server did not start")
            cpu = {"server": lambda: cpu_seconds(process.pid)}
            if running:
                cpu["chain"] = lambda: cpu_seconds(running.pid)
            yield Contestant([port], cpu)
        finally:
            process.kill()
            process.communicate()


@contextmanager
def plain_relay() -> Iterator[Contestant]:
    """Starlette, a session and a commit per request, eth-account's signatures."""
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="fairscore-accept-") as folder:
        process = subprocess.Popen([sys.executable, PLAIN_RELAY, str(port), Path(folder) / "plain.db"])
        try:
            deadline = time.monotonic() + 20
            while not accepts_connections(port):
                if process.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError("the plain relay did not start")
                time.sleep(0.05)
            yield Contestant([port], {"server": lambda: cpu_seconds(process.pid)})
        finally:
            process.kill()
            process.wait()


def accepts_connections(port: int) -> bool:
    """Whether somebody listens."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@contextmanager
def fairscore(replicas: int, postgres: Postgres | None = None) -> Iterator[Contestant]:
    """``replicas`` relay processes on one database (SQLite without ``postgres``), with every check and limit on.

    They send what they accept to an anvil with blocks of 1 s while they are measured, as in production.
    """
    folder = Path(tempfile.mkdtemp(prefix="fairscore-accept-"))
    url = postgres.database() if postgres else f"sqlite:///{folder / 'fairscore.db'}"
    try:
        with anvil("--block-time", "1", "--gas-limit", "30000000") as node:
            settings = operator(folder / "keys", node.url, url)
            relays = [Fairscore(folder / "home", "relay", settings=settings) for _ in range(replicas)]
            try:
                for relay in relays:  # one after another: the first deploys, the others find the address in the home
                    relay.start()
                cpu: dict[str, Callable[[], float]] = {
                    "server": lambda: sum(relay.cpu_seconds() for relay in relays),
                    "chain": lambda: cpu_seconds(node.pid),
                }
                if postgres:
                    cpu["database"] = postgres.cpu_seconds
                yield Contestant(
                    [relay.port for relay in relays],
                    cpu,
                    stored=lambda: accepted_rows(url),
                    on_chain=lambda contract: len(scores_on_chain(node.url, contract)),
                )
            finally:
                for relay in relays:
                    relay.cleanup()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def accepted_rows(url: str) -> Rows:
    """(submission id, round id) of every submission the database holds as accepted, in the order of round ids."""
    query = "SELECT id, round_id FROM submissions WHERE accepted_at_ms IS NOT NULL ORDER BY round_id"
    if url.startswith("sqlite"):
        with sqlite3.connect(f"file:{url.removeprefix('sqlite:///')}?mode=ro", uri=True) as reader:
            rows: list[Any] = reader.execute(query).fetchall()
        reader.close()
    else:
        with psycopg.connect(url) as connection:
            rows = connection.execute(query).fetchall()
    return [(str(row[0]), row[1]) for row in rows]


def entries(postgres: Postgres) -> list[Entry]:
    """The lines of the table: the baselines first."""
    return [
        Entry("Express, no chain, not durable", lambda: streambeat_like(chain=False), 20_000, 1_000),
        Entry("Express + ethers, anvil automine", streambeat_like, 600, 64),
        Entry("Express + ethers, anvil 1 s blocks", lambda: streambeat_like("--block-time", "1"), 300, 64),
        Entry("session per request, eth-account", plain_relay, 3_000, 200),
        Entry("fairscore, SQLite, 1 process", lambda: fairscore(1), 40_000, 2_000, frozenset({"sqlite"})),
        Entry(
            "fairscore, PostgreSQL, 2 processes",
            lambda: fairscore(2, postgres),
            40_000,
            2_000,
            frozenset({"postgresql"}),
        ),
    ]
