"""A real chain that reorganises, providers that lie, an indexer that is restarted: boards and streams stay right."""

import asyncio
from collections.abc import Iterator
from random import Random

import pytest

from indexer.app import IndexerService
from indexer.boards import BoardConfig, Operator, Order, Ties
from indexer.chain_pool import ChainPool, connect
from indexer.follower import EXPECTED, Plan
from indexer.store.access import Store
from relay.store.engine import Database, open_database
from relay.store.writer import Writer
from tests.conftest import Anvil
from tests.harness.fault_proxy import DROPPED_ANSWER, MISSING_LOGS, STALE_HEAD, FaultProxy, always, fault_proxy, honest
from tests.harness.rpc import rpc
from tests.indexer.fake_chain import oracle
from tests.indexer.test_boards import agree
from tests.indexer.test_follower import PLAYERS
from tests.indexer.twin import Twin
from tests.indexer.watching import GAME, NoEvidence, Reader, Watching, wipe

GAMES = (GAME, "other")
BOARDS = [
    BoardConfig(),
    BoardConfig("minutes", Operator.SUM, season="* * * * *"),
    BoardConfig("race", Operator.LATEST, Order.ASC, Ties.SHARED),
    BoardConfig("often", Operator.COUNT, season="*/2 * * * *", capacity=3),
]
FAULTS = (None, None, MISSING_LOGS, DROPPED_ANSWER, STALE_HEAD)


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    opened = open_database(database_url)
    yield opened
    opened.close()


def happen(twin: Twin, proxy: FaultProxy, random: Random) -> None:
    """One thing that happens to the chain or to a provider."""
    match random.choice(["submit", "submit", "submit", "judge", "mine", "wait", "reorganise", "lie"]):
        case "submit":
            plays = [(random.choice(PLAYERS), random.randint(0, 6)) for _ in range(random.randint(1, 5))]
            twin.submit(random.choice(GAMES), plays)
        case "judge":
            twin.judge(random.choice(GAMES), random.randint(1, 12), invalid=random.random() < 0.6)
        case "mine":
            twin.mine()
        case "wait":
            twin.pass_time(random.choice([20, 70, 130]))
            twin.mine()
        case "reorganise":
            twin.reorganise(random.randint(1, 5))
        case _:
            fault = random.choice(FAULTS)
            proxy.plan = honest if fault is None else always(fault)


async def step(watching: Watching) -> bool:
    """Step as the follower's loop does; returns whether there was nothing wrong."""
    try:
        await watching.follower.step()
    except EXPECTED as error:
        watching.follower._note(error)
        return False
    return True


async def reach(watching: Watching, twin: Twin, anvil: Anvil) -> None:
    """Step until the node's newest block is committed."""
    for _ in range(100):
        head = bytes.fromhex(rpc(anvil.url, "eth_getBlockByNumber", "latest", False)["hash"][2:])
        if await step(watching) and watching.state.tip == (twin.fake.height, head):
            return
    raise AssertionError(f"does not settle: {watching.follower.health}")


async def restart(watching: Watching, readers: list[Reader]) -> list[Reader]:
    """A new process over the same database; whoever read its streams goes on where they were."""
    while True:
        try:
            await watching.restart()
        except EXPECTED:
            continue
        return [await watching.join(reader, number) for number, reader in enumerate(readers, 1)]


@pytest.mark.parametrize("seed", [4, 5])
def test_boards_of_every_kind_through_reorganisations_lies_and_restarts(
    anvil: Anvil, database: Database, seed: int, caplog: pytest.LogCaptureFixture
) -> None:
    """`anvil_reorg`, the compiled contract, two providers, one of which lies: all equals the final chain's fold."""

    async def scenario(proxy: FaultProxy) -> None:
        wipe(database)
        twin, random = Twin(anvil, GAMES), Random(seed)
        chain = connect(f"{proxy.url},{anvil.url}", twin.contract)
        watching = Watching(chain, database, Plan(games=GAMES, confirmations=2), BOARDS)
        try:
            await watching.follower.connect()
            readers = [await watching.join(board=number) for number in range(1, len(BOARDS) + 1)]
            for _ in range(60):
                happen(twin, proxy, random)
                if random.random() < 0.6:
                    await step(watching)
                if random.random() < 0.05:
                    readers = await restart(watching, readers)
            proxy.plan = always(MISSING_LOGS)
            twin.submit(GAME, [(PLAYERS[0], 3)])
            for _ in range(6):
                twin.mine()
            await reach(watching, twin, anvil)
            twin.take_times()
            await agree(twin.fake, watching, BOARDS, readers)
            assert watching.standings("other") == oracle(twin.fake.world, "other")
            assert "the chain was reorganised" in caplog.text
            reasons = [str(vars(record).get("reason")) for record in caplog.records]
            assert any("is not that of its events" in reason for reason in reasons)
        finally:
            await watching.stop()
            await chain.close()

    with fault_proxy(anvil.url) as proxy:
        asyncio.run(scenario(proxy))


def test_a_block_is_committed_because_it_was_announced(anvil: Anvil, database: Database) -> None:
    """Asking once a minute and hearing of new blocks by WebSocket: they are there at once, reorganisations too."""
    ws_url = anvil.url.replace("http", "ws")

    async def scenario() -> None:
        twin = Twin(anvil, GAMES)
        writer = Writer(database)
        writer.start()
        chain: ChainPool = connect(anvil.url, twin.contract)
        plan = Plan(games=GAMES, confirmations=2, poll_s=60.0)
        service = IndexerService(Store(database, writer), chain, NoEvidence(), plan, None, head_urls=[ws_url])
        await service.start()

        async def shown() -> None:
            head = bytes.fromhex(rpc(anvil.url, "eth_getBlockByNumber", "latest", False)["hash"][2:])
            async with asyncio.timeout(60):
                while service.follower.state is None or service.follower.state.tip.hash != head:  # noqa: ASYNC110
                    await asyncio.sleep(0.002)

        try:
            async with asyncio.timeout(60):
                while not service.heads.live:  # noqa: ASYNC110 - the first connection
                    await asyncio.sleep(0.002)
            for number in range(5):
                twin.submit(GAME, [(PLAYERS[number], number)])
                await shown()
            twin.reorganise(3)
            twin.mine()
            await shown()
            state = service.follower.state
            assert state is not None
            board = state.find(GAME, "default")
            assert board is not None
            assert len(board.standings) == len(oracle(twin.fake.world, GAME)) == 2
            assert service.ready()["indexer.providers"] == (True, "all are believed")
        finally:
            await service.stop()
            await writer.stop()

    asyncio.run(scenario())
