"""A board in a real database: filled, started from as after a restart, and asked over the ASGI application."""

import asyncio
import gc
import os
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from sqlalchemy import Connection, update

from indexer.api.leaderboards import Leaderboards
from indexer.api.scores import Scores
from indexer.archive import Archive
from indexer.boards import BoardConfig
from indexer.events import Header
from indexer.messages import Entry, checksummed
from indexer.ordering import block_of, position
from indexer.reading import Reading, Seat, make_page_cursor
from indexer.state import Identity, State
from indexer.store import bulk
from indexer.store.access import Store
from indexer.store.tables import chain, games, scores
from relay.api.asgi import Api
from relay.contract import game_key
from relay.store.engine import Database, open_database
from relay.store.writer import Writer

GAME = "streambeat"
NAMES, BOARDS = {game_key(GAME): GAME}, {game_key(GAME): (BoardConfig(),)}
PER_BLOCK = 200
STRETCH = 50_000


def place_of(serial: int) -> int:
    """The position of a player's only score."""
    return position(1 + serial // PER_BLOCK, serial % PER_BLOCK)


def fill(url: str, entries: Sequence[tuple[bytes, int, int]]) -> None:
    """Write one score per player as the follower would, and let the board be made of them."""
    asyncio.run(_fill(url, entries))


async def _fill(url: str, entries: Sequence[tuple[bytes, int, int]]) -> None:
    database = open_database(url)
    writer = Writer(database)
    writer.start()
    store = Store(database, writer)
    store.migrate()
    identity = Identity(31337, bytes(32), bytes(20), bytes(32))
    await store.create(identity, Header(0, bytes(32), bytes(32), 1_700_000_000))
    await store.load(NAMES, BOARDS)
    for start in range(0, len(entries), STRETCH):
        rows = [
            Entry(place, 1, serial, player, score, bytes(32), bytes(32), bytes(32), _time_of(place), None, None)
            for serial, (player, score, place) in enumerate(entries[start : start + STRETCH], start + 1)
        ]
        await writer.run(partial(_insert, rows))
    await writer.run(partial(_settled, len(entries)))
    await store.unmake()
    await store.remake(NAMES)
    await writer.stop()
    database.close()


def _settled(count: int, connection: Connection) -> None:
    """As if the chain had been followed up to a final block with the last score."""
    last = block_of(place_of(count - 1))
    connection.execute(update(chain).values(tip_number=last, final_number=last, tip_time_s=_time_of(position(last, 0))))
    connection.execute(update(games).values(recorded=count))


def _time_of(place: int) -> int:
    return 1_700_000_000 + 12 * block_of(place)


def _insert(rows: Sequence[Entry], connection: Connection) -> None:
    bulk.insert(connection, scores, rows)


class Restarted:
    """A process that begins: reads everything that is committed, and can be asked."""

    def __init__(self, url: str) -> None:
        self.database: Database = open_database(url)
        self._writer = Writer(self.database)
        self._writer.start()
        self.store = Store(self.database, self._writer)
        self.state: State | None = None

    async def start(self) -> tuple[float, float]:
        """Seconds and CPU seconds until ranks are right."""
        began, cpu = time.perf_counter(), time.process_time()
        self.state = await self.store.load(NAMES, BOARDS)
        taken = time.perf_counter() - began, time.process_time() - cpu
        gc.collect()
        gc.freeze()  # as `relay.run` does
        return taken

    def application(self) -> Api:
        """Everything that is read, without a socket."""
        reading = Reading(lambda: self.state, self.store, Archive(self.store))
        return Api([*Leaderboards(reading).operations(), *Scores(reading).operations()])

    def seat(self) -> Seat:
        """The board."""
        assert self.state is not None
        board = next(iter(self.state.boards.values()))
        return Seat(board, board.season, board.standings)

    def cursors(self, count: int) -> list[str]:
        """Places all over the board."""
        seat, ranking = self.seat(), self.seat().standings.ranking
        return [make_page_cursor(seat, ranking.at(n * 7919 % (len(ranking) - 60))[0]) for n in range(count)]


async def ask(api: Any, path: str) -> tuple[int, bytes]:
    """Status and body of a GET."""
    path, _, query = path.partition("?")
    scope = {
        "type": "http", "method": "GET", "path": path, "raw_path": path.encode(), "query_string": query.encode(),
        "headers": [(b"host", b"x")], "http_version": "1.1", "scheme": "http", "server": ("x", 80),
        "client": ("127.0.0.1", 1), "root_path": "", "asgi": {"version": "3.0"},
    }  # fmt: skip
    status, body = 0, b""

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        nonlocal status, body
        if message["type"] == "http.response.start":
            status = message["status"]
        else:
            body += message.get("body", b"")

    await api(scope, receive, send)
    return status, body


async def time_handler(api: Any, path: Callable[[int], str], times: int) -> list[int]:
    """Nanoseconds of each answer."""
    taken = []
    for n in range(times):
        where = path(n)
        began = time.perf_counter_ns()
        status, body = await ask(api, where)
        taken.append(time.perf_counter_ns() - began)
        assert status == 200, body
    return taken


def paths(players: Sequence[bytes], cursors: Sequence[str]) -> dict[str, Callable[[int], str]]:
    """Every read endpoint, asked about another player or page each time."""
    base = f"/api/leaderboards/{GAME}/default"

    def who(n: int) -> str:
        return checksummed(players[n * 7919 % len(players)])

    return {
        "leaderboard": lambda _: "/api/leaderboard",
        "page, top 50": lambda _: base,
        "page, anywhere": lambda n: f"{base}?cursor={cursors[n % len(cursors)]}",
        "player": lambda n: f"{base}/players/{who(n)}",
        "around 50": lambda n: f"{base}/around/{who(n)}",
        "stats": lambda _: f"{base}/stats",
        "boards": lambda _: f"/api/leaderboards/{GAME}",
        "seasons": lambda _: f"{base}/seasons",
        "player's scores": lambda n: f"/api/players/{who(n)}/scores",
    }


def resident_mb() -> float:
    """Memory of this process, MB."""
    with open("/proc/self/statm") as found:  # noqa: PTH123 - no file
        return int(found.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6
