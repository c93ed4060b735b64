"""A board is made anew while others are followed: nothing waits for it, and whatever happens meanwhile, it is right."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from random import Random
from typing import Any

import pytest

from indexer.api.leaderboards import Leaderboards
from indexer.boards import BoardConfig, Operator, Order, Ties
from indexer.building import Building
from indexer.reading import Reading
from indexer.rebuilding import from_scores
from indexer.store import access, rebuild
from indexer.store.access import Store
from relay.api.asgi import Api
from relay.contract import game_key
from relay.store.engine import Database, open_database
from relay.store.writer import Writer
from tests.benchmarks.rank.served import ask
from tests.indexer.fake_chain import FakeChain
from tests.indexer.test_boards import agree_by_name, dump
from tests.indexer.test_rebuilding import play
from tests.indexer.watching import GAME, Watching, wipe

NAMES = {game_key(GAME): GAME}
SUM = BoardConfig("b", Operator.SUM)
CONFIGS = [
    SUM,
    BoardConfig("b", Operator.LATEST, Order.ASC, Ties.SHARED, "* * * * *"),
    BoardConfig("b", Operator.COUNT, season="*/2 * * * *", capacity=4),
    BoardConfig("b"),
]


@pytest.fixture
def database(database_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Database]:
    monkeypatch.setattr(access, "AT_ONCE", -1)
    monkeypatch.setattr(rebuild, "STRETCH", 7)
    monkeypatch.setattr(rebuild, "WRITTEN", 3)
    opened = open_database(database_url)
    wipe(opened)
    yield opened
    opened.close()


class Beside:
    """Building over a writer of its own, at each of whose commits something else happens first."""

    def __init__(self, watching: Watching, event: Callable[[], Awaitable[None]]) -> None:
        self._writer = Writer(watching.database)
        self._writer.start()
        run = self._writer.run

        async def after_event(job: Any) -> Any:
            if not watching.follower._committing.locked():  # the last commit is between two of the follower's steps
                await event()
            return await run(job)

        self._writer.run = after_event  # type: ignore[method-assign]
        store = Store(watching.database, self._writer)
        store.revision = -1  # it has not looked yet
        self.building = Building(store, watching.follower, NAMES, (watching.archive, watching.hub))

    async def stop(self) -> None:
        """End the thread."""
        await self._writer.stop()


async def begun(database: Database) -> tuple[FakeChain, Watching]:
    """A game with some history and one board."""
    chain = FakeChain()
    watching = Watching(chain, database)
    await watching.catch_up()
    play(chain, 1, 20)
    await watching.catch_up()
    return chain, watching


def test_following_goes_on_while_a_board_is_made(database: Database) -> None:
    """Ranks and streams of other boards move; the changed board is shown as it was, and a new one is waited for."""

    async def scenario() -> None:
        chain, watching = await begun(database)
        reading = Reading(lambda: watching.follower.state, watching.store, watching.archive)
        api, path = Api(Leaderboards(reading).operations()), f"/api/leaderboards/{GAME}/b"
        heard: list[str] = []
        live = await watching.join()
        before: list[tuple[bytes, int, tuple[int, int]]] = []

        async def event() -> None:
            seen = len(live.kinds)
            chain.submit(GAME, [(b"\x63" * 20, 10 + seen)])
            chain.mine()
            assert await watching.follower.step() is False
            assert watching.state.tip.number == chain.height
            heard.extend(live.kinds[seen:])
            await agree_by_name(chain, watching, [BoardConfig()])
            status, body = await ask(api, path)
            if before:
                assert status == 200
                assert watching.standings(name="b") == before
            else:
                assert (status, b"being made" in body) == (503, True)

        beside = Beside(watching, event)
        try:
            await watching.store.put_board(1, SUM, "key_1", "")
            assert await beside.building.step() is True
            assert heard.count("score") > 5
            assert (await ask(api, path))[0] == 200
            await agree_by_name(chain, watching, [BoardConfig(), SUM])
            made = watching.state.find(GAME, "b")
            assert made is not None
            before, reader = watching.standings(name="b"), await watching.join(board=made.number)
            wanted = BoardConfig("b", Operator.COUNT, Order.ASC, season="* * * * *")
            await watching.store.put_board(1, wanted, "key_1", "")
            assert await beside.building.step() is True
            assert reader.kinds == ["snapshot", "snapshot"]
            assert (reader.order, reader.season) == ("asc", watching.state.boards[made.number].season.name)
            await agree_by_name(chain, watching, [BoardConfig(), wanted])
            assert await beside.building.step() is False
            assert "snapshot" in live.kinds[1:]  # a new epoch: all begin with one
            await watching.store.delete_board(1, "b", "key_1", "")
            assert await beside.building.step() is False
            assert watching.state.find(GAME, "b") is None
            assert not dump(database, made.number)
        finally:
            await watching.stop()
            await beside.stop()

    asyncio.run(scenario())


@pytest.mark.parametrize("seed", [0, 3, 4])
def test_whatever_happens_meanwhile_the_board_is_right(database: Database, seed: int) -> None:
    """Scores, rulings on old scores, reorganisations short and past finality, other configurations, restarts."""

    async def scenario() -> None:
        random = Random(seed)
        chain, watching = await begun(database)
        wanted = random.choice(CONFIGS)
        beside: Beside
        happened: list[str] = []

        async def event() -> None:
            nonlocal wanted
            kinds = ["nothing", "scores", "ruling", "short", "deep", "configure", "restart"]
            kind = random.choices(kinds, [8, 6, 4, 3, 1, 1, 1] if len(happened) < 60 else [1, 0, 0, 0, 0, 0, 0])[0]
            happened.append(kind)
            if kind == "scores":
                play(chain, random.getrandbits(32), 2)
            elif kind == "ruling":
                chain.judge(GAME, random.randint(1, 40), invalid=random.random() < 0.5)
                chain.mine()
            elif kind in {"short", "deep"}:
                depth = 2 if kind == "short" else random.randint(4, 15)
                chain.fork(depth)
                play(chain, random.getrandbits(32), depth + 1)
            elif kind == "configure":
                wanted = random.choice(CONFIGS)
                await watching.store.put_board(1, wanted, "key_1", "")
            if kind == "restart":
                await watching.follower.connect()
            elif kind != "nothing":
                await watching.catch_up()

        beside = Beside(watching, event)
        try:
            await watching.store.put_board(1, wanted, "key_1", "")
            while await beside.building.step():
                pass
            await watching.catch_up()
            await agree_by_name(chain, watching, [BoardConfig(), wanted])
            plan = watching.plan._replace(boards={GAME: [BoardConfig()]})
            assert (await from_scores(watching.store, plan, lambda *_: None)).identical
            await watching.restart()
            await agree_by_name(chain, watching, [BoardConfig(), wanted])
            assert len(set(happened)) > 3, happened
        finally:
            await watching.stop()
            await beside.stop()

    asyncio.run(scenario())


def test_a_game_that_begins_while_boards_are_looked_at_stays(database: Database) -> None:
    async def scenario() -> None:
        chain, watching = await begun(database)
        beside = Beside(watching, lambda: asyncio.sleep(0))
        amend = watching.follower.amend

        async def begins(change: Any) -> bool:
            if "other" not in chain.world.heads:
                chain.submit("other", [(b"\x07" * 20, 1)])
                chain.mine()
                await watching.catch_up()
            return await amend(change)

        watching.follower.amend = begins  # type: ignore[method-assign]
        try:
            await watching.store.put_board(1, SUM, "key_1", "")
            while await beside.building.step():
                pass
            chain.submit("other", [(b"\x08" * 20, 2)])
            chain.mine()
            await watching.catch_up()
            assert len(watching.standings("0x" + game_key("other").hex())) == 2
            await agree_by_name(chain, watching, [BoardConfig(), SUM])
        finally:
            await watching.stop()
            await beside.stop()

    asyncio.run(scenario())


def test_what_was_taken_in_early_and_replaced_is_made_again(database: Database) -> None:
    """More than one commit takes is not final yet: it is taken in early, and then its blocks are reorganised away."""

    async def scenario() -> None:
        chain, watching = await begun(database)
        beside = Beside(watching, lambda: asyncio.sleep(0))
        amend, ends = watching.follower.amend, 0

        async def replaced(change: Any) -> bool:
            nonlocal ends
            if watching.state.unmade:
                ends += 1
                if ends == 1:
                    chain.fork(1)
                    chain.submit(GAME, [(b"\x02" * 20, 3)])
                    chain.mine()
                    chain.mine()
                    await watching.catch_up()
            return await amend(change)

        watching.follower.amend = replaced  # type: ignore[method-assign]
        try:
            await watching.store.put_board(1, SUM, "key_1", "")
            await beside.building._look()
            chain.submit(GAME, [(bytes([number]) * 20, 50) for number in range(1, 30)])
            chain.mine()
            await watching.catch_up()
            assert await beside.building.step() is True
            assert watching.state.find(GAME, "b") is None  # overtaken
            assert await beside.building.step() is True
            assert ends == 2
            await agree_by_name(chain, watching, [BoardConfig(), SUM])
        finally:
            await watching.stop()
            await beside.stop()

    asyncio.run(scenario())


def test_a_claim_is_let_go_when_nothing_is_followed(database: Database) -> None:
    """The follower lost its memory at the end of the making: the next try begins at once."""

    async def scenario() -> None:
        chain, watching = await begun(database)
        beside = Beside(watching, lambda: asyncio.sleep(0))
        amend = watching.follower.amend

        async def lost(change: Any) -> bool:
            watching.follower.state = None
            return await amend(change)

        watching.follower.amend = lost  # type: ignore[method-assign]
        try:
            await watching.store.put_board(1, SUM, "key_1", "")
            assert await beside.building.step() is True
            assert await beside.building.step() is False  # nothing is read yet
            watching.follower.amend = amend  # type: ignore[method-assign]
            await watching.follower.connect()
            assert await beside.building.step() is True
            await agree_by_name(chain, watching, [BoardConfig(), SUM])
        finally:
            await watching.stop()
            await beside.stop()

    asyncio.run(scenario())
