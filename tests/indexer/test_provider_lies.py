"""Several providers, some of which lie: only the truth is applied, and it is told who lied and why."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import text

from indexer.ancestry import ChainIdentityError
from indexer.boards import BoardConfig
from indexer.chain import MalformedError
from indexer.chain_pool import ChainPool
from indexer.events import Header
from indexer.fold import BrokenChainError
from indexer.follower import EXPECTED
from relay.chain_types import ChainUnavailableError, ProviderState
from relay.contract import game_key
from relay.keccak import keccak
from relay.store.engine import Database, open_database
from relay.store.migrate import upgrade
from tests.indexer.fake_chain import FakeChain, oracle
from tests.indexer.mirrors import PROVED, Clock, Lie, Mirror, branch, mark, pool
from tests.indexer.test_boards import agree as agree_boards
from tests.indexer.test_boards import board_lists, waits
from tests.indexer.test_follower import PLAYERS, agree, change, fill, operation, readers_agree, sound
from tests.indexer.watching import GAME, Reader, Watching, wipe

Scenario = Callable[[FakeChain, list[Mirror], ChainPool, Watching], Awaitable[None]]


@pytest.fixture
def database(sqlite_url: str) -> Iterator[Database]:
    opened = open_database(sqlite_url)
    wipe(opened)
    yield opened
    opened.close()


def run(database: Database, scenario: Scenario, count: int = 2) -> None:
    """Run a scenario on a new chain with that many providers."""

    async def play() -> None:
        chain = FakeChain()
        mirrors = [Mirror(chain) for _ in range(count)]
        chosen = pool(*mirrors)
        watching = Watching(chosen, database)
        try:
            await scenario(chain, mirrors, chosen, watching)
        finally:
            await watching.stop()
            await chosen.close()

    asyncio.run(play())


async def step(watching: Watching) -> Exception | None:
    """Step as the follower's loop does; returns what was wrong."""
    try:
        await watching.follower.step()
    except EXPECTED as error:
        watching.follower._note(error)
        return error
    return None


async def reach(watching: Watching, chain: FakeChain, clock: Clock | None = None) -> None:
    """Step until the newest block is committed; every step takes its time."""
    for _ in range(200):
        error = await step(watching)
        if error is None and watching.state.tip == chain.blocks[-1].header.mark:
            return
        if clock is not None:
            clock.now_s += 1.0
            await asyncio.sleep(0)  # rounds of looks run beside
    raise AssertionError(f"does not settle: {watching.follower.health}")


def states(chosen: ChainPool) -> dict[str, ProviderState]:
    """Every provider by its name."""
    return {one.name: one for one in chosen.providers()}


# ------------------------------------------------------------------------------ one lies


@pytest.mark.parametrize("lie", PROVED, ids=lambda lie: lie.name)
@pytest.mark.parametrize("blocks", [1, 200])
def test_who_is_proved_to_lie_is_named_and_the_next_is_asked(database: Database, lie: Lie, blocks: int) -> None:
    """Block by block and in bulk; nothing of the lie is applied, and afterwards the liar is asked last."""

    async def scenario(chain: FakeChain, mirrors: list[Mirror], chosen: ChainPool, watching: Watching) -> None:
        fill(chain, 3)
        await reach(watching, chain)
        reader = await watching.join()
        mirrors[0].lie = lie
        fill(chain, blocks)
        assert isinstance(await step(watching), (BrokenChainError, MalformedError, ValueError))
        liar = states(chosen)["p0:1"]
        assert not liar.healthy
        assert liar.reason
        await reach(watching, chain)
        agree(watching, chain)
        readers_agree([reader], await watching.join())
        assert watching.follower.health.checks(0.0)["indexer.events"].ok
        calls = mirrors[0].calls
        fill(chain, 1)
        await reach(watching, chain)
        assert mirrors[0].calls == calls
        assert states(chosen)["p1:1"][:3] == ("p1:1", True, chain.height)

    run(database, scenario)


@pytest.mark.parametrize(
    "lie",
    [Lie.LOST_BLOCKS, Lie.LOOSE_BLOCKS, Lie.AWAY, Lie.REFUSES, Lie.WRONG_CHAIN, Lie.WRONG_CODE],
    ids=lambda lie: lie.name,
)
def test_who_cannot_be_read_is_passed_over_from_the_start(database: Database, lie: Lie) -> None:
    """The preferred one is unusable before anything is known: the database is begun with the other."""

    async def scenario(chain: FakeChain, mirrors: list[Mirror], chosen: ChainPool, watching: Watching) -> None:
        mirrors[0].lie = lie
        fill(chain, 5)
        if lie in {Lie.WRONG_CHAIN, Lie.WRONG_CODE}:  # what our chain is, a first provider would decide
            mirrors[0].lie = None
            await watching.follower.connect()
            mirrors[0].lie = lie
            watching.chain = pool(*mirrors)
            with pytest.raises(ChainIdentityError) if lie is Lie.WRONG_CODE else _nothing():
                await watching.restart()
            if lie is Lie.WRONG_CODE:
                await watching.restart()
        await reach(watching, chain)
        agree(watching, chain)

    run(database, scenario)


class _nothing:  # noqa: N801 - reads as a function
    def __enter__(self) -> None:
        """Expect nothing."""

    def __exit__(self, *_: object) -> None:
        """Pass on whatever happened."""


def test_all_on_another_chain_are_told_and_change_nothing(database: Database) -> None:
    async def scenario(chain: FakeChain, mirrors: list[Mirror], chosen: ChainPool, watching: Watching) -> None:
        fill(chain, 5)
        await reach(watching, chain)
        before = watching.standings()
        for mirror in mirrors:
            mirror.lie = Lie.WRONG_CHAIN
        watching.chain = pool(*mirrors)
        with pytest.raises(ChainIdentityError, match="chain_id is 31337 there and 1 behind"):
            await watching.restart()
        for mirror in mirrors:
            mirror.lie = None
        watching.chain = pool(*mirrors)
        await watching.restart()
        assert watching.standings() == before

    run(database, scenario)


def test_who_lags_is_not_followed_and_is_back_when_it_caught_up(database: Database) -> None:
    async def scenario(chain: FakeChain, mirrors: list[Mirror], chosen: ChainPool, watching: Watching) -> None:
        clock = Clock()
        chosen = watching.chain = pool(*mirrors, clock=clock)
        await watching.restart()
        fill(chain, 10)
        await reach(watching, chain)
        mirrors[0].lie = Lie.LAGS
        fill(chain, 12)
        await reach(watching, chain, clock)
        assert "blocks behind" in states(chosen)["p0:1"].reason
        mirrors[0].lie = None
        clock.now_s += 60
        await chosen.examine()
        assert states(chosen)["p0:1"].healthy
        calls = mirrors[0].calls
        fill(chain, 1)
        await reach(watching, chain)
        assert mirrors[0].calls > calls

    run(database, scenario)


def test_who_left_something_out_unnoticed_is_found_out_by_the_next_batch(database: Database) -> None:
    """No state to compare with and no logs: believed until an event contradicts it; then all since is read anew."""

    async def scenario(chain: FakeChain, mirrors: list[Mirror], chosen: ChainPool, watching: Watching) -> None:
        fill(chain, 5)
        await reach(watching, chain)
        mirrors[0].lie = Lie.NO_STATE
        fill(chain, 1)
        assert await step(watching) is None
        assert watching.state.verified < watching.state.tip
        mirrors[0].lie = Lie.AWAY
        fill(chain, 1)
        await reach(watching, chain)
        agree(watching, chain)
        assert states(chosen)["p0:1"].healthy is False

    run(database, scenario)


def test_a_first_batch_of_an_unknown_game_that_was_left_out_is_read_again(database: Database) -> None:
    """Its head was never compared, because nobody knew the game: the contract's head proves that we lack something."""

    async def scenario(chain: FakeChain, mirrors: list[Mirror], chosen: ChainPool, watching: Watching) -> None:
        fill(chain, 3)
        await reach(watching, chain)
        chain.submit("newcomer", [(PLAYERS[0], 5)])
        chain.mine()
        mirrors[0].lie = Lie.NO_LOGS
        assert await step(watching) is None
        assert watching.state.verified == watching.state.tip
        mirrors[0].lie = None
        chain.submit("newcomer", [(PLAYERS[1], 6)])
        chain.mine()
        await reach(watching, chain)
        agree(watching, chain)
        assert watching.standings("0x" + game_key("newcomer").hex()) == oracle(chain.world, "newcomer")

    run(database, scenario)


def test_a_single_liar_is_waited_for_and_nothing_is_read_again(database: Database) -> None:
    """What is refused over and over does not throw away what is proved."""

    async def scenario(chain: FakeChain, mirrors: list[Mirror], chosen: ChainPool, watching: Watching) -> None:
        fill(chain, 5)
        await reach(watching, chain)
        before, mirrors[0].lie = watching.state.tip, Lie.NO_FIRST
        fill(chain, 1)
        for _ in range(6):
            assert isinstance(await step(watching), BrokenChainError)
            assert watching.state.tip == before
        assert "were given of a batch of" in states(chosen)["p0:1"].reason
        assert not watching.follower.health.checks(0.0)["indexer.events"].ok
        mirrors[0].lie = None
        await reach(watching, chain)
        agree(watching, chain)

    run(database, scenario, count=1)


# ------------------------------------------------------------------------------- finality


def test_a_provider_that_rewrites_final_blocks_is_not_followed_alone(database: Database) -> None:
    async def scenario(chain: FakeChain, mirrors: list[Mirror], chosen: ChainPool, watching: Watching) -> None:
        fill(chain, 12)
        await reach(watching, chain)
        before = watching.standings()
        mirrors[0].chain = branch(chain, 8)
        fill(mirrors[0].chain, 12, scores_each=1)
        error = await step(watching)
        assert "a second provider contradicts it" in str(error)
        assert watching.standings() == before
        assert "was final" in states(chosen)["p0:1"].reason
        fill(chain, 2)
        await reach(watching, chain)
        agree(watching, chain)
        assert await chosen.confirms(mark(mirrors[0].chain, 10)) is False
        mirrors[1].lie = Lie.AWAY
        assert await chosen.confirms(mark(mirrors[0].chain, 10)) is None
        mirrors[1].lie = None
        mirrors[0].chain = chain
        assert await chosen.confirms(mark(chain, chain.height))

    run(database, scenario)


@pytest.mark.parametrize("count", [1, 2, 3])
def test_a_chain_that_really_broke_its_finality_is_followed_and_flagged(database: Database, count: int) -> None:
    upgrade(database, "relay")

    async def scenario(chain: FakeChain, mirrors: list[Mirror], chosen: ChainPool, watching: Watching) -> None:
        told: list[str] = []

        async def alarm(state: object, code: str, reason: str) -> None:
            told.append(code)
            assert state is watching.state
            [news] = await watching.store.alarm(watching.state, code, reason)
            assert (news.game, news.seq) == (1, len(told))
            assert json.loads(news.body)["occurrences"] == len(told)

        fill(chain, 12)
        await reach(watching, chain)
        watching.follower._retreat._alarm = alarm
        for _ in range(2):
            chain.fork(8)
            fill(chain, 9, scores_each=1)
            await reach(watching, chain)
            agree(watching, chain)
        assert told == ["FINALITY_BROKEN"] * 2
        with database.engine.connect() as connection:
            query = text("SELECT game_id, code, severity, occurrences, subject_type, status FROM audit_flags")
            [flag] = connection.execute(query)
        assert tuple(flag) == (GAME, "FINALITY_BROKEN", "critical", 2, "chain", "open")

    run(database, scenario, count)


# -------------------------------------------------------------------------------- ranges


def test_ranges_halve_and_grow_with_what_the_provider_takes(database: Database) -> None:
    """Nothing wider than it takes is asked for more than a few times, and width returns when the limit is gone."""

    async def scenario(chain: FakeChain, mirrors: list[Mirror], chosen: ChainPool, watching: Watching) -> None:
        for _ in range(6_000):
            chain.mine()
        mirrors[0].range_max = 30
        await reach(watching, chain)
        asked = mirrors[0].ranges
        assert sum(width > 30 for width in asked) < len(asked) / 6
        assert max(asked[-20:]) > 15
        agree_at = len(asked)
        mirrors[0].range_max = 10**9
        for _ in range(6_000):
            chain.mine()
        await reach(watching, chain)
        assert max(asked[agree_at:]) > 1_000

    run(database, scenario, count=1)


def test_live_blocks_are_read_in_parts_too_and_a_block_that_is_too_much_is_asked_of_another(database: Database) -> None:
    async def scenario(chain: FakeChain, mirrors: list[Mirror], chosen: ChainPool, watching: Watching) -> None:
        fill(chain, 3)
        await reach(watching, chain)
        mirrors[0].results_max = 9  # two blocks have eight logs
        fill(chain, 20)
        await reach(watching, chain)
        agree(watching, chain)
        assert states(chosen)["p0:1"].healthy
        mirrors[0].results_max = 3
        fill(chain, 1)
        await reach(watching, chain)
        agree(watching, chain)
        assert "a single block" in states(chosen)["p0:1"].reason

    run(database, scenario)


def test_published_rules_are_looked_for_in_ranges() -> None:
    async def scenario() -> None:
        chain = FakeChain()
        for _ in range(3_000):
            chain.mine()
        mirror = Mirror(chain)
        mirror.range_max = 400
        chosen = pool(mirror, start_block=2)
        assert await chosen.published_rules(b"game", keccak(b"rules")) == b"rules"
        assert sum(width > 400 for width in mirror.ranges) <= 4
        mirror.ranges.clear()
        assert await chosen.published_rules(b"game", keccak(b"never")) is None
        assert sum(mirror.ranges) >= 2_999
        assert sum(width > 400 for width in mirror.ranges) <= 5
        assert min(mirror.ranges[2:-1]) >= 350
        mirror.lie = Lie.AWAY
        with pytest.raises(ChainUnavailableError):
            await chosen.published_rules(b"game", keccak(b"rules"))
        await chosen.close()

    asyncio.run(scenario())


# ------------------------------------------------------------------------------ anything


lying = st.tuples(st.just("lie"), st.one_of(st.none(), st.sampled_from(Lie)))
histories = st.lists(st.tuples(st.one_of(operation, operation, waits, lying), st.booleans()), max_size=35)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(boards=board_lists, operations=histories, first=st.booleans())
def test_any_history_on_any_boards_told_by_anybody(
    database: Database, boards: list[BoardConfig], operations: list[tuple[tuple[str, object], bool]], first: bool
) -> None:
    """Blocks, forks, rulings, seasons, restarts, lies of one of two providers: all equals the true chain's fold."""
    wipe(database)
    asyncio.run(check_history(database, boards, operations, first=first))


@pytest.mark.slow
@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(boards=board_lists, operations=histories, first=st.booleans())
def test_five_times_as_many_histories(
    database: Database, boards: list[BoardConfig], operations: list[tuple[tuple[str, object], bool]], first: bool
) -> None:
    """The same, for longer."""
    wipe(database)
    asyncio.run(check_history(database, boards, operations, first=first))


async def check_history(
    database: Database, boards: list[BoardConfig], operations: list[tuple[tuple[str, object], bool]], *, first: bool
) -> None:
    chain, clock = FakeChain(), Clock()
    liar, honest = Mirror(chain), Mirror(chain)
    chosen = pool(*((liar, honest) if first else (honest, liar)), clock=clock)
    watching = Watching(chosen, database, boards=boards)
    try:
        await watching.follower.connect()
        readers = [await watching.join(board=number) for number in sorted(watching.state.boards)]
        for (kind, value), look in operations:
            if kind == "lie":
                liar.lie = value if isinstance(value, Lie) else None
            elif kind == "wait":
                assert isinstance(value, int)
                chain.mine(value)
            else:
                change(chain, kind, value)
            if kind == "restart":
                readers = await restarted(watching, readers)
            if look or kind == "step":
                await step(watching)
            clock.now_s += 1.0
            if watching.follower.state is not None:
                sound(watching)
        chain.mine()
        while chain.height <= (watching.follower.state.tip.number if watching.follower.state else 0):
            chain.mine()
        if liar.lie not in PROVED:  # whether a final block is gone, two must say: the silent one comes back
            liar.lie = None
        await reach(watching, chain, clock)
        await agree_boards(chain, watching, boards, readers)
    finally:
        await watching.stop()
        await chosen.close()


async def restarted(watching: Watching, readers: list[Reader]) -> list[Reader]:
    """A new process over the same database, whichever provider answers it; readers resume where they were."""
    for _ in range(5):
        try:
            await watching.restart()
        except EXPECTED:
            continue
        return [await watching.join(reader, number) for number, reader in enumerate(readers, 1)]
    raise AssertionError("does not start")


def test_a_header_keeps_what_providers_are_compared_by() -> None:
    async def scenario() -> None:
        chain = FakeChain()
        chain.mine()
        head = await pool(Mirror(chain)).head()
        assert head == chain.blocks[-1].header
        assert isinstance(head, Header)

    asyncio.run(scenario())
