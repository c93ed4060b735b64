"""A database that does not answer: readers are told to come again, memory is served, and nothing stays broken."""

import asyncio
import json
from collections.abc import Callable, Iterator
from typing import TypeVar

import pytest
from sqlalchemy import Connection

from indexer.api.boards import Boards
from indexer.api.leaderboards import Leaderboards
from indexer.api.scores import Scores
from indexer.boards import BoardConfig
from indexer.messages import checksummed
from indexer.reading import Reading
from relay.api.asgi import Api
from relay.store.engine import Database, StoreUnavailableError, open_database
from tests.benchmarks.rank.served import ask
from tests.indexer.fake_chain import FakeChain
from tests.indexer.watching import GAME, Watching, wipe

T = TypeVar("T")
DAY = 86_400
PLAYER = b"\x07" * 20
BASE = f"/api/leaderboards/{GAME}"
FROM_MEMORY = ("/api/leaderboard", f"{BASE}/daily", f"{BASE}/daily/stats", BASE)


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    opened = open_database(database_url)
    wipe(opened)
    yield opened
    opened.close()


def test_readers_are_told_to_come_again(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario() -> None:
        chain = FakeChain()
        chain.submit(GAME, [(bytes([number]) * 20, number) for number in range(1, 150)])
        chain.mine()
        for _ in range(2):
            chain.mine(DAY)
            chain.submit(GAME, [(PLAYER, 5)])
            chain.mine()
        watching = Watching(chain, database, boards=[BoardConfig(), BoardConfig("daily", season="daily")])
        try:
            await watching.catch_up()
            reading = Reading(lambda: watching.follower.state, watching.store, watching.archive)
            boards = Boards(reading, watching.store, lambda: None)
            api = Api([*Leaderboards(reading).operations(), *Scores(reading).operations(), *boards.operations()])
            _, listed = await ask(api, f"{BASE}/daily/seasons")
            past, who = json.loads(listed)["seasons"][-1]["name"], checksummed(PLAYER)
            from_rows = [
                f"{BASE}/daily?season={past}",
                f"{BASE}/daily/players/{who}?season={past}",
                f"{BASE}/daily/stats?season={past}",
                f"{BASE}/daily/seasons",
                f"{BASE}/default/players/{checksummed(bytes([1]) * 20)}",
                f"/api/players/{who}/scores",
                f"/api/scores/{GAME}:1",
                "/api/boards",
                f"/api/boards/{GAME}/daily",
            ]
            await watching.archive.reset(watching.state)

            async def down(job: Callable[[Connection], T]) -> T:
                raise StoreUnavailableError("OperationalError")

            with monkeypatch.context() as outage:
                outage.setattr(database, "read", down)
                for path in from_rows:
                    status, body = await ask(api, path)
                    assert (status, json.loads(body)["code"]) == (503, "STORE_UNAVAILABLE"), path
                    assert b"OperationalError" not in body
                for path in FROM_MEMORY:
                    assert (await ask(api, path))[0] == 200, path
            for path in from_rows:
                assert (await ask(api, path))[0] == 200, path
        finally:
            await watching.stop()

    asyncio.run(scenario())
