"""The follower over a fake chain: whatever it does, standings and stream equal a fold over the canonical chain."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from indexer.ancestry import ChainIdentityError
from indexer.chain import MalformedError
from indexer.decoding import LogError, RpcLog
from indexer.fold import BrokenChainError, Evidence
from indexer.follower import Plan
from indexer.state import State
from relay.contract import TOPICS, game_key
from relay.store.engine import Database, open_database
from tests.indexer.fake_chain import FakeChain, oracle
from tests.indexer.watching import GAME, Reader, Watching, named, wipe

PLAYERS = [bytes([number + 1]) * 20 for number in range(8)]


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    opened = open_database(database_url)
    wipe(opened)
    yield opened
    opened.close()


def agree(watching: Watching, chain: FakeChain, game: str = GAME) -> None:
    """Memory, and the database read anew, equal the oracle."""
    assert watching.standings(game) == oracle(chain.world, game)
    found = watching.state.game_named(game)
    assert found is not None
    assert found.recorded == sum(1 for play in chain.world.plays.values() if game_key(play.game) == found.key)
    sound(watching)


def sound(watching: Watching) -> None:
    """What must hold between any two steps."""
    state = watching.state
    assert state.verified <= state.tip
    assert not state.recent or max(state.recent) == state.tip.number
    assert state.final_block <= state.tip.number


def readers_agree(readers: list[Reader], fresh: Reader) -> None:
    """Whoever applied every message has what a fresh snapshot has."""
    for reader in readers:
        assert reader.top() == fresh.top()
        assert reader.total == fresh.total


batch = st.lists(st.tuples(st.sampled_from(PLAYERS), st.integers(0, 6)), min_size=1, max_size=5)
operation = st.one_of(
    st.tuples(st.just("submit"), batch),
    st.tuples(st.just("judge"), st.tuples(st.integers(1, 12), st.booleans())),
    st.tuples(st.just("mine"), st.integers(1, 3)),
    st.tuples(st.just("fork"), st.integers(1, 6)),
    st.tuples(st.just("shrink"), st.integers(1, 4)),  # some chains do: a branch that has yet to outgrow the other
    st.tuples(st.just("step"), st.none()),
    st.tuples(st.just("restart"), st.none()),
    st.tuples(st.just("join"), st.none()),
    st.tuples(st.just("rejoin"), st.none()),
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(operations=st.lists(st.tuples(operation, st.booleans()), max_size=40), timestamps=st.booleans())
def test_any_history_equals_a_fold_over_the_canonical_chain(
    database: Database, operations: list[tuple[tuple[str, object], bool]], timestamps: bool
) -> None:
    """Each operation is followed by a look of the follower, or is not."""
    wipe(database)
    asyncio.run(check_history(database, operations, timestamps))


def change(chain: FakeChain, kind: str, value: object) -> None:
    """What chains do."""
    match kind, value:
        case "submit", list():
            chain.submit(GAME, value)
            chain.mine()
        case "judge", (int() as round_id, bool() as invalid):
            chain.judge(GAME, round_id, invalid=invalid)
            chain.mine()
        case "mine", int():
            for _ in range(value):
                chain.mine()
        case "fork", int():
            height = chain.height
            chain.fork(value)
            while chain.height <= height:  # a branch wins by being longer
                chain.mine()
        case "shrink", int():
            chain.fork(value)
            chain.mine()


async def disturb(watching: Watching, readers: list[Reader], kind: str) -> None:
    """What happens to indexers and their clients."""
    if kind == "step":
        await watching.follower.step()
    elif kind == "restart":
        await watching.restart()
        readers[:] = [await _resumed(watching, reader) for reader in readers]
    elif kind == "join":
        readers.append(await watching.join())
    elif kind == "rejoin":
        await readers[0].leave()
        readers[0] = await _resumed(watching, readers[0])


async def check_history(
    database: Database, operations: list[tuple[tuple[str, object], bool]], timestamps: bool
) -> None:
    chain = FakeChain(timestamps_in_logs=timestamps)
    watching = Watching(chain, database)
    try:
        await watching.follower.connect()
        readers = [await watching.join()]
        for (kind, value), look in operations:
            change(chain, kind, value)
            await disturb(watching, readers, kind)
            if look:
                await watching.follower.step()
            sound(watching)
        chain.mine()
        while chain.height <= watching.state.tip.number:
            chain.mine()
        await watching.catch_up()
        await settled(chain, watching, readers)
    finally:
        await watching.stop()


async def settled(chain: FakeChain, watching: Watching, readers: list[Reader]) -> None:
    """Memory, database, old readers and a new one all agree with the oracle."""
    agree(watching, chain)
    fresh = await watching.join()
    readers_agree(readers, fresh)
    assert fresh.top() == [
        (rank, named(player), score, list(position), "final" if position[0] <= chain.height - 2 else "included")
        for rank, (player, score, position) in enumerate(oracle(chain.world, GAME), 1)
    ]
    valid = {f"{GAME}:{play.round_id}" for play in chain.world.plays.values() if play.valid}
    assert readers[0].scores == valid
    await watching.restart()
    agree(watching, chain)


async def _resumed(watching: Watching, reader: Reader) -> Reader:
    """The same client after its connection was lost: the history is kept, so it needs no new snapshot."""
    again = await watching.join(reader)
    assert "snapshot" not in again.kinds
    return again


def run(database: Database, scenario: "Scenario", plan: Plan | None = None) -> None:
    """Run a scenario on a new chain and an empty database."""

    async def play() -> None:
        chain = FakeChain()
        watching = Watching(chain, database, plan)
        try:
            await scenario(chain, watching)
        finally:
            await watching.stop()

    asyncio.run(play())


Scenario = Callable[[FakeChain, Watching], Awaitable[None]]


def fill(chain: FakeChain, blocks: int, scores_each: int = 3) -> None:
    """Mine blocks with one batch each."""
    for _ in range(blocks):
        first = chain.height * 7
        players = [(PLAYERS[(first + i) % len(PLAYERS)], (first * 31 + i * 17) % 1000) for i in range(scores_each)]
        chain.submit(GAME, players)
        chain.mine()


def test_history_is_read_in_bulk_and_handed_over_without_a_gap(database: Database) -> None:
    """Adaptive ranges, refused and halved, several in flight, applied in order; then block by block."""

    async def scenario(chain: FakeChain, watching: Watching) -> None:
        fill(chain, 700)
        chain.results_max = 500
        await watching.catch_up()
        agree(watching, chain)
        assert any(last - first + 1 > 100 for first, last in chain.asked)
        reader = await watching.join()
        assert reader.kinds == ["snapshot"]
        fill(chain, 3)
        await watching.catch_up()
        agree(watching, chain)
        readers_agree([reader], await watching.join())
        await watching.restart()
        agree(watching, chain)

    run(database, scenario)


def test_streams_begin_a_new_epoch_after_history_without_messages(database: Database) -> None:
    """A reader from before a long outage cannot be told every score: it gets a snapshot, never a silent gap."""

    async def scenario(chain: FakeChain, watching: Watching) -> None:
        fill(chain, 5)
        await watching.catch_up()
        connected = await watching.join()
        absent = await watching.join()
        await absent.leave()
        fill(chain, 300)
        await watching.catch_up()
        assert connected.kinds.count("snapshot") >= 2
        again = await watching.join(absent)
        assert again.kinds == ["snapshot"]
        assert again.last_id.split("-")[0] > absent.last_id.split("-")[0]
        readers_agree([connected, again], await watching.join())

    run(database, scenario)


@pytest.mark.parametrize("depth", [1, 31, 65, 140])
def test_reorganisation_live_and_while_down(database: Database, depth: int) -> None:
    """Depths at which another indexer stayed wrong without saying so."""

    async def scenario(chain: FakeChain, watching: Watching) -> None:
        fill(chain, 150)
        await watching.catch_up()
        reader = await watching.join()
        for down in (False, True):
            if down:
                await watching.restart()
                reader = await watching.join(reader)
            chain.fork(depth)
            fill(chain, depth + 2, scores_each=2)
            await watching.catch_up()
            agree(watching, chain)
            assert watching.follower.health.deep == ""
            readers_agree([reader], await watching.join())

    run(database, scenario)


def test_reorganisation_deeper_than_every_kept_block(database: Database) -> None:
    """Blocks that had events are known for ever: the ancestor is found among them; readiness fails meanwhile."""

    async def scenario(chain: FakeChain, watching: Watching) -> None:
        fill(chain, 40)
        for _ in range(1200):
            chain.mine()
        fill(chain, 10)
        await watching.catch_up()
        flags: list[str] = []

        async def alarm(state: State, code: str, reason: str) -> None:
            assert state.tip.number > 1200
            assert "replaced" in reason or "deeper" in reason
            flags.append(code)

        watching.follower._retreat._alarm = alarm
        chain.fork(chain.height - 20)
        fill(chain, 1300, scores_each=1)
        await watching.follower.step()
        assert not watching.follower.health.checks(0.0)["indexer.lag"].ok
        assert "deeper" in watching.follower.health.deep
        assert flags == ["REORG_DEEP", "FINALITY_BROKEN"]
        await watching.catch_up()
        await watching.follower.step()
        agree(watching, chain)
        assert watching.follower.health.deep == ""

    run(database, scenario)


def test_another_chain_behind_the_url_touches_nothing(database: Database) -> None:
    """Chain id, first block, contract and its code are compared at start and before anything is taken back."""

    async def scenario(chain: FakeChain, watching: Watching) -> None:
        fill(chain, 10)
        await watching.catch_up()
        before = watching.standings()
        other = FakeChain()
        other.chain_id = 1
        fill(other, 20, scores_each=1)
        watching.chain = other
        with pytest.raises(ChainIdentityError, match="chain_id is 31337 there and 1 behind"):
            await watching.restart()
        watching.chain = chain
        await watching.restart()
        assert watching.standings() == before
        watching.follower._chain = other  # the same URL, another chain, while running
        with pytest.raises(ChainIdentityError):
            await watching.follower.step()
        assert watching.standings() == before
        watching.follower._note(ChainIdentityError("another chain"))
        assert not watching.follower.health.checks(0.0)["indexer.chain"].ok
        watching.follower._chain = chain
        await watching.follower.step()
        assert watching.follower.health.checks(0.0)["indexer.chain"].ok

    run(database, scenario)


def without(index: int) -> Callable[[list[RpcLog]], list[RpcLog]]:
    """A provider that leaves out one log."""
    return lambda logs: logs[:index] + logs[index + 1 :]


def nothing(logs: list[RpcLog]) -> list[RpcLog]:
    """A provider that forgot the whole range."""
    return logs[:0]


def changed_score(logs: list[RpcLog]) -> list[RpcLog]:
    """A provider that reports another score."""
    lied = [RpcLog(**{name: getattr(log, name) for name in RpcLog.__struct_fields__}) for log in logs]
    lied[0].data = "0x" + f"{999_999:064x}" + lied[0].data[66:]
    return lied


def removed(logs: list[RpcLog]) -> list[RpcLog]:
    """A provider that gives logs of a block that is gone."""
    lied = changed_score(logs)
    lied[0].data, lied[0].removed = logs[0].data, True
    return lied


def other_fork(logs: list[RpcLog]) -> list[RpcLog]:
    """A provider whose logs are of another fork than its blocks."""
    lied = changed_score(logs)
    for log in lied:
        log.block_hash = "0x" + "77" * 32
    return lied


LIES: dict[str, tuple[Callable[[list[RpcLog]], list[RpcLog]], type[Exception]]] = {
    "a score is missing": (without(0), BrokenChainError),
    "the batch is missing": (without(3), BrokenChainError),
    "everything is missing": (nothing, BrokenChainError),
    "a score is another": (changed_score, BrokenChainError),
    "a score comes twice": (lambda logs: [logs[0], *logs], BrokenChainError),
    "a log was removed": (removed, LogError),
    "another fork": (other_fork, MalformedError),
}


@pytest.mark.parametrize("name", LIES)
def test_a_lying_provider_is_not_believed(database: Database, name: str) -> None:
    """Nothing of the lie is applied, readiness says why, and the truth heals it."""
    lie, refused = LIES[name]

    async def scenario(chain: FakeChain, watching: Watching) -> None:
        fill(chain, 3)
        await watching.catch_up()
        before = watching.standings()
        fill(chain, 1)
        chain.tamper = lie
        for _ in range(4):
            with pytest.raises(refused) as caught:
                await watching.follower.step()
            watching.follower._note(caught.value)
            assert watching.standings() == before
        checks = watching.follower.health.checks(0.0)
        assert checks["indexer.events"].ok == (refused is not BrokenChainError)
        chain.tamper = lambda logs: logs
        await watching.catch_up()
        agree(watching, chain)
        assert watching.follower.health.checks(0.0)["indexer.events"].ok

    run(database, scenario)


def test_events_left_out_while_nothing_could_be_verified_are_fetched_later(database: Database) -> None:
    """A provider omits a whole batch and no head can be compared: the next batch tells, and all since is read again."""

    async def scenario(chain: FakeChain, watching: Watching) -> None:
        fill(chain, 5)
        await watching.catch_up()
        heads, chain.heads = chain.heads, _no_heads  # type: ignore[method-assign]
        fill(chain, 1)
        chain.tamper = nothing
        await watching.follower.step()
        fill(chain, 1)
        chain.tamper = lambda logs: logs
        for _ in range(3):
            try:
                await watching.follower.step()
            except BrokenChainError as error:
                watching.follower._note(error)
        chain.heads = heads  # type: ignore[method-assign]
        await watching.catch_up()
        agree(watching, chain)
        assert watching.follower.health.broken == ""

    run(database, scenario)


async def _no_heads(games: object, block: int) -> None:
    return None


def test_invalidated_scores_leave_and_return(database: Database) -> None:
    """The next best takes over, and the stream says so."""

    async def scenario(chain: FakeChain, watching: Watching) -> None:
        alice, bob = PLAYERS[:2]
        chain.submit(GAME, [(alice, 10), (alice, 30), (bob, 20)])
        chain.mine()
        await watching.catch_up()
        reader = await watching.join()
        assert [row[1:3] for row in reader.top()] == [(named(alice), 30), (named(bob), 20)]
        chain.judge(GAME, 2, invalid=True)
        chain.mine()
        await watching.catch_up()
        assert [row[1:3] for row in reader.top()] == [(named(bob), 20), (named(alice), 10)]
        chain.judge(GAME, 3, invalid=True)
        chain.mine()
        await watching.catch_up()
        assert (reader.total, [row[1:3] for row in reader.top()]) == (1, [(named(alice), 10)])
        chain.judge(GAME, 2, invalid=False)
        chain.mine()
        await watching.catch_up()
        assert [row[1:3] for row in reader.top()] == [(named(alice), 30)]
        chain.fork(2)  # the reinstatement and the second invalidation never happened
        for _ in range(3):
            chain.mine()
        await watching.catch_up()
        agree(watching, chain)
        assert [row[1:3] for row in reader.top()] == [(named(bob), 20), (named(alice), 10)]
        assert {"retract", "standing", "score", "final"} <= set(reader.kinds)

    run(database, scenario)


def test_of_equal_scores_the_earliest_takes_over(database: Database) -> None:
    """Ties are decided by position, also when a withdrawn best makes room."""

    async def scenario(chain: FakeChain, watching: Watching) -> None:
        alice, bob = PLAYERS[:2]
        chain.submit(GAME, [(alice, 10), (bob, 10), (alice, 10), (alice, 30)])
        chain.mine()
        chain.judge(GAME, 4, invalid=True)
        chain.mine()
        await watching.catch_up()
        assert watching.standings() == [(alice, 10, (1, 0)), (bob, 10, (1, 1))]

    run(database, scenario)


def test_an_invalidated_score_that_is_reorganised_away_is_not_retracted_twice(database: Database) -> None:
    """Its readers heard of its end already."""

    async def scenario(chain: FakeChain, watching: Watching) -> None:
        await watching.follower.connect()
        reader = await watching.join()
        chain.mine()
        chain.submit(GAME, [(PLAYERS[0], 10)])
        chain.mine()
        chain.judge(GAME, 1, invalid=True)
        chain.mine()
        await watching.catch_up()
        assert reader.complete
        assert reader.kinds.count("retract") == 1
        chain.fork(2)
        for _ in range(3):
            chain.mine()
        await watching.catch_up()
        assert reader.kinds.count("retract") == 1
        assert reader.top() == []
        agree(watching, chain)

    run(database, scenario)


def test_what_replaces_final_blocks_is_not_final(database: Database) -> None:
    """Finality that was broken counts for nothing: new blocks earn it again."""

    async def scenario(chain: FakeChain, watching: Watching) -> None:
        fill(chain, 10)
        await watching.catch_up()
        assert watching.state.final_block == 8
        reader = await watching.join()
        chain.fork(6)
        fill(chain, 2)
        await watching.catch_up()
        assert watching.state.final_block == 4
        assert {row[4] for row in reader.top() if row[3][0] > 4} == {"included"}
        readers_agree([reader], await watching.join())
        fill(chain, 1)
        await watching.catch_up()
        agree(watching, chain)

    run(database, scenario)


def test_scores_beyond_a_bigint_are_kept_unranked(database: Database) -> None:
    """The relay never signs one, but the contract takes 2^96-1: it must neither rank nor stop the indexer."""

    async def scenario(chain: FakeChain, watching: Watching) -> None:
        chain.submit(GAME, [(PLAYERS[0], 2**96 - 1), (PLAYERS[1], 2**63 - 1), (PLAYERS[2], 0)])
        chain.mine()
        await watching.catch_up()
        assert [entry[:2] for entry in watching.standings()] == [(PLAYERS[1], 2**63 - 1), (PLAYERS[2], 0)]
        reader = await watching.join()
        assert [row[2] for row in reader.top()] == [2**63 - 1, 0]
        assert reader.rows[named(PLAYERS[1])]["score"] == str(2**63 - 1)
        chain.judge(GAME, 1, invalid=True)
        chain.mine()
        await watching.catch_up()
        assert len(watching.standings()) == 2

    run(database, scenario)


def test_the_window_learns_who_enters_it(database: Database) -> None:
    """130 players, the best ones are withdrawn: readers of the top 100 learn of numbers 101 to 110."""

    async def scenario(chain: FakeChain, watching: Watching) -> None:
        players = [bytes([1, number]) * 10 for number in range(130)]
        chain.submit(GAME, [(player, 1000 - number) for number, player in enumerate(players)])
        chain.mine()
        await watching.catch_up()
        reader = await watching.join()
        for round_id in range(1, 11):
            chain.judge(GAME, round_id, invalid=True)
        chain.submit(GAME, [(players[129], 5000)])
        chain.mine()
        await watching.catch_up()
        agree(watching, chain)
        assert [row[1] for row in reader.top()] == [named(player) for player, *_ in oracle(chain.world, GAME)][:100]
        readers_agree([reader], await watching.join())

    run(database, scenario)


def test_several_games_have_boards_of_their_own(database: Database) -> None:
    """A game nobody configured is indexed under its key."""

    async def scenario(chain: FakeChain, watching: Watching) -> None:
        chain.submit(GAME, [(PLAYERS[0], 5)])
        chain.submit("other", [(PLAYERS[0], 7), (PLAYERS[1], 8)])
        chain.mine()
        await watching.catch_up()
        agree(watching, chain)
        key = "0x" + next(key.hex() for key, game in watching.state.games.items() if game.game_id != GAME)
        assert watching.standings(key) == oracle(chain.world, "other")
        await watching.restart()
        assert watching.standings(key) == oracle(chain.world, "other")

    run(database, scenario)


def test_late_evidence_is_shown_and_told(database: Database) -> None:
    """Evidence found after its score fills the row in, for readers too."""

    async def scenario(chain: FakeChain, watching: Watching) -> None:
        chain.submit(GAME, [(PLAYERS[0], 5)])
        chain.mine()
        await watching.catch_up()
        reader = await watching.join()
        known = chain.world.plays[GAME, 1].evidence_hash
        _, missing = await watching.store.unexplained(-1, 10)
        await watching.follower.learn({pair: Evidence("sub_x", 1) for pair in missing})
        assert [pair[1] for pair in missing] == [known]
        assert reader.rows[named(PLAYERS[0])]["submissionId"] == "sub_x"
        fresh = await watching.join()
        assert fresh.rows[named(PLAYERS[0])]["evidenceLevel"] == 1
        assert (await watching.store.unexplained(-1, 10))[1] == []

    run(database, scenario)


def test_finality_by_tag_and_by_confirmations(database: Database) -> None:
    """`finalized` where the chain has it, else twelve blocks."""

    async def scenario(chain: FakeChain, watching: Watching) -> None:
        fill(chain, 20)
        await watching.catch_up()
        assert watching.state.final_block == chain.height - 12
        chain.finalized_tag = 15
        watching.follower.sweep()
        await watching.follower.step()
        assert watching.state.final_block == 15

    run(database, scenario, Plan(games=(GAME,)))


def test_topics_followed_are_the_contracts() -> None:
    from indexer.decoding import FOLLOWED, FOLLOWED_TOPICS

    assert ["0x" + TOPICS[name].hex() for name in FOLLOWED] == FOLLOWED_TOPICS
