"""Two indexers of one database through what happens to processes: killed, frozen and woken, cut off from it.

Real processes, a real chain that is reorganised, and boards that are configured otherwise meanwhile.
"""

import os
import signal
import time
from contextlib import ExitStack
from pathlib import Path

import pytest
from sqlalchemy import text

from indexer.boards import BoardConfig, Operator, Order
from relay.store.engine import Database, open_database
from relay.store.keys import KeyStore
from tests.conftest import Anvil
from tests.harness.ports import free_port
from tests.harness.process import Fairscore
from tests.journeys.test_boards_journey import (
    ADDED,
    CONFIGURED,
    HOURLY,
    World,
    check_boards,
    put,
    rebuild,
    settings_of,
)

FROZEN_S = 4.0  # longer than a lease lasts
CHANGED = [ADDED, BoardConfig(ADDED.name, Operator.SUM, Order.ASC, season=HOURLY)]


def leads(indexer: Fairscore) -> bool:
    """Whether this one writes."""
    return "stands by" not in indexer.get("/health/ready")["checks"]["indexer.lag"]["detail"]


def cut_off(database: Database) -> None:
    """Let every connection to the database be lost, amid whatever it does."""
    others = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database()"
    with database.engine.connect() as connection:
        connection.execute(text(f"{others} AND pid <> pg_backend_pid()"))


def freeze(indexer: Fairscore, world: World) -> None:
    """Stop a process without its knowing; the world goes on, and it wakes."""
    os.kill(indexer.running.pid, signal.SIGSTOP)
    try:
        world.live(1)
        time.sleep(FROZEN_S)
        world.take_back()
    finally:
        os.kill(indexer.running.pid, signal.SIGCONT)


@pytest.mark.slow
def test_whatever_happens_to_either_both_are_right(anvil: Anvil, postgres_url: str, tmp_path: Path) -> None:
    world, database, boards = World(anvil, 11), open_database(postgres_url), list(CONFIGURED)
    with ExitStack() as stack:
        stack.callback(database.close)
        world.live(4)
        pair = []
        for name in ("one", "other"):
            port = free_port()
            settings = settings_of(world, postgres_url, port)
            pair.append(stack.enter_context(Fairscore(tmp_path / name, "indexer", settings=settings, port=port)))
        key = KeyStore(database).create("admin").secret
        for turn, change in enumerate(CHANGED):
            first, second = sorted(pair, key=leads, reverse=True)
            assert leads(first) != leads(second)
            put(second, key, change)  # through the one that does not write
            boards = [*CONFIGURED, change]
            freeze(first, world)
            for indexer in pair:
                check_boards(world, indexer, boards)
            first, second = sorted(pair, key=leads, reverse=True)
            world.take_back()
            cut_off(database)
            world.live(2)
            for indexer in pair:
                check_boards(world, indexer, boards)
            first, second = sorted(pair, key=leads, reverse=True)
            first.kill()
            world.take_back()
            first.launch()
            if turn == 1:
                second.kill()
                second.launch()
            for indexer in pair:
                indexer.wait_ready()
                check_boards(world, indexer, boards)
        for indexer in pair:
            indexer.stop()
        for options in ([], ["--from-chain"]):
            again = rebuild(pair[0], *options)
            assert (again.returncode, "identical: 5 boards" in again.stdout) == (0, True), again.stdout + again.stderr
