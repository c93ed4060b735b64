"""From a mined block to its row and to a client: how long that takes when nothing else is to be done.

Touches processes, databases, loopback HTTP and WebSocket. The clock starts when the node's answer to the order to mine
is back. A row is there when another connection reads it; a client has it when a WebSocket message of that block came.
"""

import asyncio
import json
import random
import sqlite3
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import psycopg
from websockets.asyncio.client import connect

from tests.benchmarks.index.contestants import SCHEMA, UnsoundError, ponder
from tests.benchmarks.index.ground import GAME, Ground
from tests.harness.nodes import Postgres
from tests.harness.ports import free_port
from tests.harness.process import Fairscore

GAP_S = (0.15, 0.35)  # between blocks, at random: a poll must not fall into step with them
SCORES = 10  # per block
ROW_LOOK_S = 0.0005
SETTLE_S = 1.5
START_S = 120.0  # of Ponder
GIVE_UP_S = 30.0
Seen = dict[int, float]


class Rows(threading.Thread):
    """Notes when each block was first in the database."""

    def __init__(self, newest: Callable[[], int]) -> None:
        super().__init__(daemon=True)
        self._newest = newest
        self.seen: Seen = {}
        self._ended = threading.Event()

    def run(self) -> None:
        """Look two thousand times a second."""
        while not self._ended.wait(ROW_LOOK_S):
            self.seen.setdefault(self._newest(), time.perf_counter())

    def end(self) -> None:
        """Look no more."""
        self._ended.set()
        self.join()


def sqlite_tip(file: Path) -> Callable[[], int]:
    """The newest block in our database."""
    database = sqlite3.connect(f"file:{file}?mode=ro", uri=True, check_same_thread=False)

    def newest() -> int:
        return int(database.execute("SELECT tip_number FROM ix_chain").fetchone()[0])

    return newest


def ponder_tip(url: str) -> Callable[[], int]:
    """The newest block in Ponder's database."""
    database = psycopg.connect(url, autocommit=True)

    def newest() -> int:
        with suppress(psycopg.errors.UndefinedTable):
            row = database.execute(f"SELECT max(block) FROM {SCHEMA}.score".encode()).fetchone()
            return int(row[0] or 0) if row else 0
        return 0

    return newest


async def mine(ground: Ground, blocks: int) -> Seen:
    """Mine at random moments; when each block was there."""
    dice, mined = random.Random(7), {}
    for _ in range(blocks):
        await asyncio.sleep(dice.uniform(*GAP_S))
        await asyncio.to_thread(ground.block, SCORES)
        at = time.perf_counter()
        mined[await asyncio.to_thread(ground.head)] = at
    return mined


def taken(mined: Seen, seen: Seen) -> dict[str, float]:
    """Milliseconds from mined to seen.

    Raises:
        UnsoundError: the last block was never seen.
    """
    newest = max(seen, default=0)
    if newest < max(mined):
        raise UnsoundError(f"block {max(mined)} was mined, {newest} is the newest that was seen")
    # Who polls seldom takes in several blocks at once, and shows the last of them.
    shown = {block: min(at for number, at in seen.items() if number >= block) for block in mined}
    delays = sorted((shown[block] - at) * 1000 for block, at in mined.items())
    return {"p50_ms": delays[len(delays) // 2], "p99_ms": delays[int(len(delays) * 0.99)]}


async def read(url: str, seen: Seen) -> None:
    """Be a client: note when the first message of each block comes."""
    async with connect(url, max_size=None) as socket:
        async for text in socket:
            message: dict[str, Any] = json.loads(text)
            if message["type"] == "score":
                seen.setdefault(message["position"][0], time.perf_counter())


async def watched(server: Fairscore, ground: Ground, blocks: int) -> dict[str, dict[str, float]]:
    """Mine while a reader of the database and a client watch."""
    seen: Seen = {}
    url = f"ws://127.0.0.1:{server.port}/api/leaderboards/{GAME}/default/ws"
    client = asyncio.create_task(read(url, seen))
    rows = Rows(sqlite_tip(server.home / "fairscore.db"))
    rows.start()
    try:
        await asyncio.sleep(SETTLE_S)
        mined = await mine(ground, blocks)
        until = time.perf_counter() + GIVE_UP_S
        while max(seen, default=0) < max(mined) and time.perf_counter() < until and not client.done():  # noqa: ASYNC110 - looked at from outside
            await asyncio.sleep(0.01)
    finally:
        client.cancel()
        await asyncio.gather(client, return_exceptions=True)
        rows.end()
    return {"row": taken(mined, rows.seen), "client": taken(mined, seen)}


def ours(ground: Ground, folder: Path, blocks: int, *, subscribed: bool) -> dict[str, dict[str, float]]:
    """`fairscore indexer` on SQLite, told of blocks by subscription or asking for them at its own pace."""
    websocket = ground.node.url.replace("http", "ws", 1)
    home = folder / ("subscribed" if subscribed else "polling")
    home.mkdir(parents=True)
    settings = {
        "FAIRSCORE_RPC_URL": f"{ground.node.url},{websocket}" if subscribed else ground.node.url,
        "FAIRSCORE_CONTRACT": ground.address,
        "FAIRSCORE_DATABASE_URL": f"sqlite:///{home / 'fairscore.db'}",
        "FAIRSCORE_EVIDENCE_GRACE_S": "3600",  # these scores have no evidence: nobody is to write a flag for each now
    }
    port = free_port()
    with Fairscore(home, "indexer", settings=settings | {"FAIRSCORE_INDEXER_PORT": str(port)}, port=port) as server:
        return asyncio.run(watched(server, ground, blocks))


def ponders(
    project: Path, ground: Ground, postgres: Postgres, blocks: int, *, subscribed: bool
) -> dict[str, dict[str, float]]:
    """Ponder on PostgreSQL; its rows only, it has no stream of its own."""
    url = postgres.database()
    with ponder(project, ground, url, websocket=subscribed):
        rows = Rows(ponder_tip(url))
        rows.start()
        try:
            until = time.perf_counter() + START_S
            while max(rows.seen, default=0) < ground.head() and time.perf_counter() < until:
                ground.block(SCORES)  # by subscription it first looks when there is a new one
                time.sleep(SETTLE_S)
            mined = asyncio.run(mine(ground, blocks))
            wait_for(rows, max(mined))
        finally:
            rows.end()
    return {"row": taken(mined, rows.seen)}


def wait_for(rows: Rows, block: int) -> None:
    """Wait until a block is in the database; UnsoundError where it never is."""
    until = time.perf_counter() + GIVE_UP_S
    while max(rows.seen, default=0) < block:
        if time.perf_counter() > until:
            raise UnsoundError(f"block {block} did not come")
        time.sleep(0.02)
