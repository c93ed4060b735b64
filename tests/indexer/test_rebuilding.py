"""Standings made again, from the stored scores and from the chain: byte-identical, and a difference is found."""

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from random import Random

import pytest
from sqlalchemy import text

from indexer.boards import BoardConfig, Operator, Order, Ties
from indexer.chain import UnreachableError
from indexer.decoding import RpcLog
from indexer.events import Header
from indexer.rebuilding import Compared, MovedError, from_chain, from_scores
from relay.store.engine import Database, open_database
from tests.indexer.fake_chain import FakeChain
from tests.indexer.test_boards import agree_by_name
from tests.indexer.watching import GAME, Watching, wipe

BOARDS = [
    BoardConfig(),
    BoardConfig("race", Operator.LATEST, Order.ASC, Ties.SHARED, "daily"),
    BoardConfig("minutes", Operator.SUM, season="* * * * *", capacity=3),
    BoardConfig("often", Operator.COUNT, season="*/2 * * * *"),
]


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    opened = open_database(database_url)
    wipe(opened)
    yield opened
    opened.close()


def play(chain: FakeChain, seed: int, blocks: int) -> None:
    """A history with rulings and seasons, also of a game that no setting names."""
    random = Random(seed)
    for _ in range(blocks):
        players = [bytes([random.randint(1, 30)]) * 20 for _ in range(random.randint(1, 5))]
        chain.submit(random.choice([GAME, GAME, "unnamed"]), [(player, random.randint(0, 9)) for player in players])
        if random.random() < 0.2:
            chain.judge(GAME, random.randint(1, 40), invalid=random.random() < 0.7)
        chain.mine(random.choice([1, 20, 90]))


def rows(database: Database) -> list[tuple[object, ...]]:
    """Every standing as it is stored."""
    with database.engine.connect() as connection:
        found = connection.execute(text("SELECT * FROM ix_standings ORDER BY board, season_s, player"))
        return [tuple(row) for row in found]


async def followed(database: Database, chain: FakeChain) -> Watching:
    """An indexer that has seen everything live, reorganisations too."""
    watching = Watching(chain, database, boards=BOARDS)
    for seed in range(6):
        play(chain, seed, 25)
        await watching.catch_up()
        chain.fork(3)
        play(chain, seed + 100, 4)
        await watching.catch_up()
    return watching


def again(
    watching: Watching, source: str, progress: Callable[[str, int, int], None] = lambda *_: None
) -> Coroutine[object, object, Compared]:
    """Make everything again."""
    plan = watching.plan._replace(boards={GAME: BOARDS})
    if source == "scores":
        return from_scores(watching.store, plan, progress)
    return from_chain(watching.store, watching.chain, watching.evidence, plan, progress)


def tamper(database: Database, statement: str) -> None:
    """Change what is stored behind everybody's back."""
    with database.write() as connection:
        assert connection.execute(text(statement)).rowcount >= 1


@pytest.mark.parametrize("source", ["scores", "chain"])
def test_every_standing_is_byte_identical(database: Database, source: str) -> None:
    async def scenario() -> None:
        chain = FakeChain()
        watching = await followed(database, chain)
        told: list[tuple[int, int]] = []
        try:
            before = rows(database)
            compared = await again(watching, source, lambda _, done, total: told.append((done, total)))
            assert compared.identical
            assert compared.after.standings == len(before) > 100
            assert compared.after.boards == len(BOARDS) + 1
            assert compared.block == (None if source == "scores" else chain.height)
            assert rows(database) == before
            assert told[-1][0] == told[-1][1] > 0
            await watching.restart()
            await agree_by_name(chain, watching, BOARDS)
        finally:
            await watching.stop()

    asyncio.run(scenario())


@pytest.mark.parametrize("source", ["scores", "chain"])
def test_a_difference_is_found_and_mended(database: Database, source: str) -> None:
    """One byte of a standing; a standing too few; for the chain also a score."""
    changes = [
        "UPDATE ix_standings SET place = place + 1 WHERE board = 1 AND player = (SELECT min(player) FROM ix_standings)",
        "DELETE FROM ix_standings WHERE board = 4",
    ]
    if source == "chain":
        changes.append("UPDATE ix_scores SET score = score + 1 WHERE place = (SELECT min(place) FROM ix_scores)")
        changes.append("UPDATE ix_standings SET value = value + 1 WHERE board = 1")

    async def scenario() -> None:
        watching = await followed(database, FakeChain())
        try:
            true = rows(database)
            for change in changes:
                tamper(database, change)
                compared = await again(watching, source)
                assert compared.identical == ("ix_scores" in change)  # the standings themselves were right then
                assert rows(database) == true
        finally:
            await watching.stop()

    asyncio.run(scenario())


def test_a_chain_that_moves_or_goes_away_meanwhile(database: Database) -> None:
    """It says so; the next indexer, or the next try, comes to the right end."""

    async def scenario() -> None:
        chain = FakeChain()
        watching = await followed(database, chain)
        logs, asked = chain.logs, 0

        async def away(first: int, last: int) -> list[RpcLog]:
            nonlocal asked
            asked += 1
            if asked == 2:
                raise UnreachableError("gone")
            return await logs(first, last)

        async def moved(first: int, last: int) -> list[RpcLog]:
            chain.fork(2)
            chain.mine()
            chain.mine()
            chain.mine()
            return await logs(first, last)

        try:
            for trouble, error in ((away, UnreachableError), (moved, MovedError)):
                chain.logs = trouble  # type: ignore[method-assign]
                with pytest.raises(error):
                    await again(watching, "chain")
                chain.logs = logs  # type: ignore[method-assign]
                await watching.restart()
                await watching.catch_up()
                await agree_by_name(chain, watching, BOARDS)
            compared = await again(watching, "chain")
            assert compared.identical
            assert isinstance(await chain.head(), Header)
        finally:
            await watching.stop()

    asyncio.run(scenario())
