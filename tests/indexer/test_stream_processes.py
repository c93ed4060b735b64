"""Several indexers on one database: one writes, the others tell and rank the same; when it dies another goes on."""

import itertools
import random
import time
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from indexer.boards import BoardConfig, Operator, Order, Ties
from indexer.lease import TTL_MS, Held, Holder, free
from indexer.post import alone
from indexer.store.access import Store
from indexer.store.stream import append_flag
from relay.store.engine import StoreUnavailableError
from tests.indexer.fake_chain import FakeChain
from tests.indexer.serving import Serving
from tests.indexer.test_stream_http import Client, now_id
from tests.indexer.watching import GAME

PLAYERS = [bytes([4, number]) * 10 for number in range(30)]
BOARDS = (
    BoardConfig(),
    BoardConfig("fewest", order=Order.ASC, ties=Ties.SHARED),
    BoardConfig("few", capacity=5),
    BoardConfig("days", operator=Operator.SUM, season="daily"),
    BoardConfig("plays", operator=Operator.COUNT, capacity=7, ties=Ties.SHARED),
)


@pytest.fixture(autouse=True)
def hosts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each indexer of this test's process is a host of its own."""
    numbers = itertools.count()
    monkeypatch.setattr("indexer.post.this_process", lambda: Holder(f"host{next(numbers)}", 1, 1))


@pytest.fixture
def chain() -> FakeChain:
    return FakeChain()


@pytest.fixture
def pair(database_url: str, chain: FakeChain, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Serving, Serving]]:
    """One that leads and one that stands by."""
    monkeypatch.setattr("indexer.store.access.TTL_MS", 60_000)  # a machine that is busy for seconds changes no roles
    with ExitStack() as stack:
        leads = Serving(database_url, chain, boards=BOARDS)
        stack.callback(leads.stop)
        stands_by = Serving(database_url, chain, boards=BOARDS)
        stack.callback(stands_by.stop)
        assert leads.service.post.leads
        assert not stands_by.service.post.leads
        yield leads, stands_by


def settle(serving: Serving) -> None:
    """Wait until a process shows the newest block."""
    deadline = time.monotonic() + 60
    while serving.service.reading.state.tip != serving.chain.blocks[-1].header.mark:
        assert time.monotonic() < deadline, serving.service.ready()
        time.sleep(0.005)


def shown(serving: Serving) -> list[Any]:
    """All that a process answers about its boards."""
    answers = []
    for board in BOARDS:
        path = f"/api/leaderboards/{GAME}/{board.name}"
        answers += [serving.get(f"{path}?limit=200"), serving.get(f"{path}/stats"), serving.get(f"{path}/seasons")]
    return [(status, body) for status, _, body in answers]


def play(chain: FakeChain, dice: random.Random) -> None:
    """Some blocks: scores, rulings by reorganisation, another day now and then."""
    for _ in range(dice.randint(1, 3)):
        chain.submit(GAME, [(dice.choice(PLAYERS), dice.randint(0, 40)) for _ in range(dice.randint(1, 6))])
        chain.mine()
    if dice.random() < 0.25:
        depth = dice.randint(1, 3)
        chain.fork(depth)
        for _ in range(depth + 1):
            chain.mine()


def test_whoever_stands_by_tells_and_ranks_the_same(pair: tuple[Serving, Serving], chain: FakeChain) -> None:
    """Seeded; a reader of each process applies every message and checks that none is missing or repeated."""
    leads, stands_by = pair
    dice = random.Random(23)
    play(chain, dice)
    leads.settle()
    settle(stands_by)
    readers = [Client(leads), Client(stands_by)]
    for turn in range(40):
        play(chain, dice)
        if turn % 8 == 0:
            leads.settle()
            settle(stands_by)
            assert shown(stands_by) == shown(leads)
    leads.settle()
    settle(stands_by)
    assert now_id(stands_by) == now_id(leads)
    for reader in readers:
        reader.until(now_id(leads))
        reader.stream.close()
    assert readers[0].top() == readers[1].top()
    assert shown(stands_by) == shown(leads)
    assert leads.service.ready()["indexer.lag"].ok
    assert "stands by" in stands_by.service.ready()["indexer.lag"].detail


def test_another_goes_on_at_once_when_the_leader_leaves(database_url: str, chain: FakeChain) -> None:
    """Its readers notice nothing: the same epoch, the next number."""
    leads, stands_by = (Serving(database_url, chain, boards=BOARDS) for _ in range(2))
    chain.submit(GAME, [(PLAYERS[0], 1)])
    chain.mine()
    settle(stands_by)
    reader = Client(stands_by)
    reader.until(now_id(stands_by))
    leads.stop()
    chain.submit(GAME, [(PLAYERS[1], 2)])
    chain.mine()
    settle(stands_by)
    assert stands_by.service.post.leads
    reader.until(now_id(stands_by))
    assert reader.kinds == ["snapshot", "score", "standing"]
    reader.stream.close()
    stands_by.stop()


def test_one_that_was_stopped_and_woken_can_write_nothing(pair: tuple[Serving, Serving], chain: FakeChain) -> None:
    """Its lease is over though it does not know; then it stands by and shows what the other wrote."""
    leads, stands_by = pair
    chain.mine()
    settle(stands_by)

    async def stolen() -> int:
        store = stands_by.service._store
        return await store._writer.run(
            lambda connection: _steal(connection, "elsewhere:1:1", store.database.now_ms(connection))
        )

    async def write() -> str:
        with pytest.raises(StoreUnavailableError) as refused:
            await leads.service._store._write(lambda _: None)
        return str(refused.value)

    assert stands_by.do(stolen()) == 2
    assert leads.do(write()) == "another indexer took over"
    deadline = time.monotonic() + 60
    while leads.service.post.leads and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not leads.service.post.leads
    chain.submit(GAME, [(PLAYERS[1], 2)])
    chain.mine()
    for one in pair:  # whoever is there first when the thief's lease is over
        settle(one)
    assert shown(leads) == shown(stands_by)
    assert sum(one.service.post.leads for one in pair) == 1


def test_what_must_be_alone_does_not_begin_beside_an_indexer(pair: tuple[Serving, Serving]) -> None:
    """And holds the lease for as long as it lasts."""
    _, stands_by = pair

    async def beside() -> None:
        store = stands_by.service._store
        async with alone(Store(store.database, store._writer)):
            pass

    with pytest.raises(StoreUnavailableError, match="an indexer runs on it"):
        stands_by.do(beside())


def _steal(connection: Any, holder: str, now_ms: int) -> int:
    from indexer.store import leases

    return leases.take(connection, holder, leases.held(connection), now_ms, TTL_MS)


def test_flags_reach_the_auditors_of_every_process(pair: tuple[Serving, Serving], chain: FakeChain) -> None:
    leads, stands_by = pair
    chain.mine()
    settle(stands_by)
    heard: list[tuple[int, int, bytes]] = []
    stands_by.service.tail._tell_flag = lambda *flag: heard.append(flag)

    async def flag() -> None:
        store = leads.service._store
        for number in range(3):
            await store._write(
                lambda connection, number=number: append_flag(connection, 1, b"flag %d" % number, 5)  # type: ignore[misc]
            )

    leads.do(flag())
    deadline = time.monotonic() + 60
    while len(heard) < 3 and time.monotonic() < deadline:
        time.sleep(0.01)
    assert heard == [(1, number + 1, b"flag %d" % number) for number in range(3)]


ME = Holder("here", 10, 1)


@pytest.mark.parametrize(
    ("seen", "may"),
    [
        (None, True),
        (Held("here:10:1", 1, 0), True),  # mine
        (Held("there:5:5", 1, 999), True),  # expired
        (Held("there:5:5", 1, 1000), False),
        (Held("here:10:2", 1, 5000), True),  # my process id, another process: it is gone
        (Held("here:11:2", 1, 5000), False),  # lives
        (Held("here:12:2", 1, 5000), True),  # does not
        (Held("nonsense", 1, 5000), False),
    ],
)
def test_who_may_take_the_lease(seen: Held | None, may: bool) -> None:
    assert free(seen, ME, 1000, lambda pid: pid == 11) is may


def test_a_wake_up_needs_no_clock(postgres_url: str, chain: FakeChain, monkeypatch: pytest.MonkeyPatch) -> None:
    """NOTIFY tells of each block: without the safety poll, too."""
    monkeypatch.setattr("indexer.store.wakeup.SAFETY_S", 3_600)
    leads, stands_by = (Serving(postgres_url, chain, boards=BOARDS) for _ in range(2))
    deadline = time.monotonic() + 60
    while not stands_by.service._wakeup._listening and time.monotonic() < deadline:
        time.sleep(0.01)
    for _ in range(20):
        chain.submit(GAME, [(PLAYERS[0], 1)])
        chain.mine()
        leads.settle()
        settle(stands_by)
    assert stands_by.service._wakeup._listening
    stands_by.stop()
    leads.stop()
