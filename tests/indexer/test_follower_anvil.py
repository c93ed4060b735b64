"""The same over real anvil and the compiled contract: the fake chain is not believed, it is compared."""

import asyncio
from collections.abc import Iterator
from random import Random

import pytest

from indexer.chain import RefusedError, Rpc, UnreachableError
from indexer.chain_pool import ChainPool
from indexer.decoding import decode
from indexer.events import Accepted, Recorded, Ruled
from indexer.follower import Plan
from relay.chain_types import ChainError
from relay.contract import game_key
from relay.store.engine import Database, open_database
from tests.conftest import Anvil
from tests.harness.ports import free_port
from tests.indexer.fake_chain import CONTRACT, FakeChain, oracle
from tests.indexer.test_follower import PLAYERS, readers_agree
from tests.indexer.twin import Twin
from tests.indexer.watching import GAME, Watching, wipe

GAMES = (GAME, "other")


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    opened = open_database(database_url)
    wipe(opened)
    yield opened
    opened.close()


def play(twin: Twin, random: Random, forks: bool) -> None:
    """One random thing that can happen to a chain."""
    kind = random.choice(["submit", "submit", "submit", "judge", "mine", "fork" if forks else "mine"])
    game = random.choice(GAMES)
    if kind == "submit":
        count = random.randint(1, 5)
        twin.submit(game, [(random.choice(PLAYERS), random.randint(0, 6)) for _ in range(count)])
    elif kind == "judge":
        twin.judge(game, random.randint(1, 12), invalid=random.random() < 0.6)
    elif kind == "mine":
        twin.mine()
    else:
        twin.fork(random.randint(1, 5))
        for _ in range(6):
            twin.mine()


async def facts_of(chain: Rpc | FakeChain, height: int) -> list[object]:
    """What the logs of a whole chain say, without the hashes that name its blocks and transactions."""
    times = {header.number: header.time_s for header in await chain.headers(range(height + 1)) if header is not None}
    found: list[object] = []
    for fact in decode(await chain.logs(0, height), chain.contract, times):
        match fact:
            case Recorded():
                found.append(fact._replace(tx_hash=b"", time_s=0))
            case Accepted() | Ruled():
                found.append(fact._replace(tx_hash=b"", block_hash=b""))
    return found


def test_the_fake_contract_logs_what_the_compiled_one_logs(anvil: Anvil) -> None:
    """Positions, values and above all the chain of heads are the same, after anything."""

    async def scenario() -> None:
        twin, random = Twin(anvil, GAMES), Random(7)
        for _ in range(60):
            play(twin, random, forks=True)
        rpc = Rpc(anvil.url, twin.contract)
        try:
            height = twin.fake.height
            assert (await rpc.head()).number == height
            assert await facts_of(rpc, height) == await facts_of(twin.fake, height)
            keys = [game_key(game) for game in GAMES]
            assert await rpc.heads(keys, height) == await twin.fake.heads(keys, height)
            assert await rpc.heads(keys, 0) is None  # the contract was not there yet
            assert await rpc.headers([height + 1]) == [None]
        finally:
            await rpc.close()

    asyncio.run(scenario())


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_any_history_on_anvil(anvil: Anvil, database: Database, seed: int) -> None:
    """Blocks, rulings, forks, looks and restarts in random order: standings and readers equal the fold."""

    async def scenario() -> None:
        twin, random = Twin(anvil, GAMES), Random(seed)
        rpc = Rpc(anvil.url, twin.contract)
        watching = Watching(ChainPool([("anvil", rpc)]), database, Plan(games=GAMES, confirmations=2))
        try:
            await watching.follower.connect()
            reader = await watching.join()
            for _ in range(40):
                play(twin, random, forks=True)
                if random.random() < 0.6:
                    await watching.follower.step()
                if random.random() < 0.1:
                    await watching.restart()
                    reader = await watching.join(reader)
            while twin.fake.height <= watching.state.tip.number:
                twin.mine()
            await watching.catch_up()
            for game in GAMES:
                assert watching.standings(game) == oracle(twin.fake.world, game)
            fresh = await watching.join()
            readers_agree([reader], fresh)
            assert len(fresh.top()) == len(oracle(twin.fake.world, GAME)) > 0
        finally:
            await watching.stop()
            await rpc.close()

    asyncio.run(scenario())


def test_what_a_provider_can_refuse(anvil: Anvil) -> None:
    """No contract, nobody there: typed errors that name the cause and never the URL."""

    async def scenario() -> None:
        empty = Rpc(anvil.url, CONTRACT)
        with pytest.raises(RefusedError, match="no contract at 0xc0c0"):
            await empty.identity()
        assert await empty.finalized() is not None
        await empty.close()
        port = free_port()
        nobody = Rpc(f"http://127.0.0.1:{port}/token-of-mine", CONTRACT, timeout_s=1)
        with pytest.raises(UnreachableError) as caught:
            await nobody.head()
        assert isinstance(caught.value, ChainError)
        assert "token-of-mine" not in f"{caught.value!r} {nobody!r}"
        await nobody.close()

    asyncio.run(scenario())
