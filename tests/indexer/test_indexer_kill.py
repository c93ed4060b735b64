"""SIGKILL at any moment, forks meanwhile: after the last start everything is there exactly once."""

import asyncio
import random
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import func, inspect, select

from indexer.events import Mark
from indexer.store.tables import metadata, scores
from relay.store.engine import Database, StoreUnavailableError, open_database
from relay.store.migrate import upgrade
from tests.conftest import Anvil
from tests.harness.ports import free_port
from tests.harness.process import Fairscore
from tests.indexer.fake_chain import FakeChain, oracle
from tests.indexer.test_follower import PLAYERS, agree, fill, readers_agree
from tests.indexer.test_follower_anvil import play
from tests.indexer.twin import Twin
from tests.indexer.watching import GAME, Watching, named, wipe


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    opened = open_database(database_url)
    wipe(opened)
    yield opened
    opened.close()


def test_killed_again_and_again(anvil: Anvil, database_url: str, tmp_path: Path) -> None:
    """The real command against anvil: ten kills at random moments, a reorganisation now and then."""
    dice = random.Random(5)
    twin = Twin(anvil, (GAME, "other"))
    port = free_port()
    settings = {
        "FAIRSCORE_RPC_URL": anvil.url,
        "FAIRSCORE_CONTRACT": "0x" + twin.contract.hex(),
        "FAIRSCORE_DATABASE_URL": database_url,
        "FAIRSCORE_INDEXER_PORT": str(port),
        "FAIRSCORE_INDEXER_POLL_MS": "10",
        "FAIRSCORE_FINALITY": "2",
    }
    with Fairscore(tmp_path / "home", "indexer", settings=settings, port=port) as indexer:
        for _ in range(6):
            for _ in range(6):
                play(twin, dice, forks=dice.random() < 0.3)
                time.sleep(dice.random() * 0.05)
            indexer.kill()
            for _ in range(3):
                play(twin, dice, forks=True)
            indexer.launch()
            time.sleep(dice.random() * 1.5)
        twin.submit(GAME, [(PLAYERS[0], 3)])
        while twin.fake.height <= max(block.header.number for block in twin.fake.blocks[:-1]):
            twin.mine()
        indexer.wait_ready()
        path = f"/api/leaderboards/{GAME}/default"
        deadline = time.monotonic() + 60
        while indexer.get(path)["blockNumber"] != twin.fake.height and time.monotonic() < deadline:
            twin.mine()  # an orphaned tip may have been higher
            time.sleep(0.1)
        rows = indexer.get(path)["rows"]
        expected = oracle(twin.fake.world, GAME)
        assert [(row["player"], row["score"], tuple(row["position"])) for row in rows] == [
            (named(player), score, place) for player, score, place in expected
        ]
        indexer.stop()
    opened = open_database(database_url)
    stored = opened.read_now(lambda connection: connection.scalar(select(func.count()).select_from(scores)))
    opened.close()
    assert stored == len(twin.fake.world.plays)


@pytest.mark.parametrize("kept", [False, True])
def test_a_commit_whose_answer_is_lost(database: Database, kept: bool) -> None:
    """Whether it took effect is read from the database; readers get what they missed, once."""

    async def scenario() -> None:
        chain = FakeChain()
        watching = Watching(chain, database)
        try:
            fill(chain, 3)
            await watching.catch_up()
            reader = await watching.join()
            run = watching.writer.run

            async def lost(job):  # type: ignore[no-untyped-def]
                if kept:
                    await run(job)
                raise StoreUnavailableError("the connection was lost during the commit")

            watching.writer.run = lost  # type: ignore[method-assign]
            fill(chain, 1)
            with pytest.raises(StoreUnavailableError):
                await watching.follower.step()
            assert watching.follower.state is None
            watching.writer.run = run  # type: ignore[method-assign]
            fill(chain, 1)
            await watching.follower.step()
            await watching.catch_up()
            agree(watching, chain)
            assert reader.kinds.count("snapshot") == 1
            readers_agree([reader], await watching.join())
        finally:
            await watching.stop()

    asyncio.run(scenario())


def test_a_second_indexer_on_the_same_database_does_not_write_twice(database: Database) -> None:
    """One writes; the other finds the checkpoint moved, reads anew, and its readers lose nothing."""

    async def scenario() -> None:
        chain = FakeChain()
        one, two = Watching(chain, database), Watching(chain, database)
        try:
            await one.follower.connect()
            await two.follower.connect()
            readers = [await one.join(), await two.join()]
            for turn in range(12):
                fill(chain, 1)
                for watching in (one, two) if turn % 2 else (two, one):
                    try:
                        await watching.follower.step()
                    except StoreUnavailableError as error:
                        watching.follower._note(error)
            for watching in (one, two):
                await watching.catch_up()
                agree(watching, chain)
            readers_agree(readers, await one.join())
            assert one.state.tip == two.state.tip == Mark(chain.height, chain.blocks[-1].header.hash)
        finally:
            await one.stop()
            await two.stop()

    asyncio.run(scenario())


def test_the_migrations_make_the_tables_the_code_expects(database_url: str) -> None:
    """Also a second time."""
    opened = open_database(database_url)
    assert upgrade(opened, "indexer") == upgrade(opened, "indexer")
    found = inspect(opened.engine)
    for table in metadata.tables.values():
        columns = {column["name"]: column for column in found.get_columns(table.name)}
        assert set(columns) == {column.name for column in table.columns}
        for column in table.columns:
            assert columns[column.name]["nullable"] == column.nullable, f"{table.name}.{column.name}"
        indexes = {index["name"]: index["column_names"] for index in found.get_indexes(table.name)}
        assert {
            index.name: [column.name for column in index.columns] for index in table.indexes
        }.items() <= indexes.items()
        assert found.get_pk_constraint(table.name)["constrained_columns"] == [c.name for c in table.primary_key]
    opened.close()
