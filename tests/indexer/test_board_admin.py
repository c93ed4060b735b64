"""Boards configured over HTTP: made anew with progress, recorded, noticed by every process, made by one at a time."""

import asyncio
import itertools
import json
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from sqlalchemy import text

from indexer.boards import BoardConfig, Operator, Order, Ties
from indexer.lease import Holder
from indexer.store import rebuild
from indexer.store.news import Log
from relay.api.operations import Credential
from relay.contract import game_key
from relay.store.engine import Database, open_database
from tests.harness.sse import Stream
from tests.indexer.fake_chain import FakeChain
from tests.indexer.serving import Serving
from tests.indexer.test_boards import by_definition, dump, ranked
from tests.indexer.watching import GAME, Watching, listed, wipe

PATH = f"/api/boards/{GAME}"
KEYS = {
    "admin": Credential("key_1", "admin", None),
    "mine": Credential("key_2", "admin", GAME),
    "theirs": Credential("key_3", "admin", "other"),
    "auditor": Credential("key_4", "auditor", None),
}


async def authenticate(token: str) -> Credential | None:
    """Who calls."""
    return KEYS.get(token.removeprefix("fs_live_"))


@pytest.fixture(autouse=True)
def hosts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two indexers of this process stand for two of different hosts."""
    numbers = itertools.count()
    monkeypatch.setattr("indexer.post.this_process", lambda: Holder(f"host{next(numbers)}", 1, 1))


def full(chain: FakeChain) -> FakeChain:
    """Some plays over some minutes, one of them withdrawn."""
    for turn in range(40):
        chain.submit(GAME, [(bytes([turn % 7 + 1]) * 20, turn * 37 % 11), (bytes([turn % 5 + 1]) * 20, turn % 4)])
        chain.mine(13)
    chain.judge(GAME, 3, invalid=True)
    chain.mine()
    return chain


@pytest.fixture
def serving(database_url: str, hosts: None) -> Iterator[Serving]:
    running = Serving(database_url, full(FakeChain()), authenticate=authenticate)
    running.settle()
    yield running
    running.stop()


def admin(
    serving: Serving, method: str, path: str, body: object = None, key: str = "admin"
) -> tuple[int, dict[str, Any]]:
    """Status and body of an operation that needs a key."""
    headers = {"Authorization": f"Bearer fs_live_{key}"} if key else {}
    sent = None if body is None else json.dumps(body).encode()
    if sent is not None:
        headers["Content-Type"] = "application/json"
    status, _, found = serving.ask(method, path, headers, sent)
    return status, found or {}


def until(holds: Callable[[], bool], timeout_s: float = 60) -> None:
    """Wait until it holds."""
    deadline = time.monotonic() + timeout_s
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def check_board(serving: Serving, config: BoardConfig) -> None:
    """Wait until a board is ready, and demand that it shows what the definition says."""
    until(lambda: bool(serving.get(f"{PATH}/{config.name}")[2]["state"] == "ready"))
    until(lambda: serving.get(f"/api/leaderboards/{GAME}/{config.name}")[0] == 200)
    seasons = by_definition(serving.chain, config)
    expected = ranked(config, seasons[max(seasons)])

    def shown() -> list[tuple[int, str, int]]:
        page = serving.get(f"/api/leaderboards/{GAME}/{config.name}?limit=200")[2]
        return [(row["rank"], row["player"], row["score"]) for row in page["rows"]]

    until(lambda: shown() == expected)
    listed = serving.get(f"/api/leaderboards/{GAME}")[2]["boards"]
    assert next(one["operator"] for one in listed if one["board"] == config.name) == config.operator


def test_a_board_over_http(serving: Serving) -> None:
    """Made, changed, asked for again, removed, made again: each is served as if it had always been so."""
    status, made = admin(serving, "PUT", f"{PATH}/fast", {"order": "asc", "ties": "shared", "reason": "a race"})
    assert (status, made["origin"], made["order"], made["operator"]) == (201, "api", "asc", "best")
    check_board(serving, BoardConfig("fast", order=Order.ASC, ties=Ties.SHARED))
    wanted = {"operator": "sum", "season": "* * * * *", "capacity": 3}
    status, changed = admin(serving, "PUT", f"{PATH}/fast", wanted, "mine")
    assert (status, changed["season"], changed["capacity"]) == (200, "* * * * *", 3)
    check_board(serving, BoardConfig("fast", Operator.SUM, season="* * * * *", capacity=3))
    assert admin(serving, "PUT", f"{PATH}/fast", wanted)[0] == 200
    with Stream(f"{serving.url}/api/leaderboards/{GAME}/fast/stream") as stream:
        assert stream.wait(lambda event: event.kind == "snapshot").data["total"] <= 3
        assert admin(serving, "DELETE", f"{PATH}/fast?reason=enough")[0] == 204
        until(lambda: serving.get(f"/api/leaderboards/{GAME}/fast")[0] == 404)
    assert serving.get(f"{PATH}/fast")[2]["code"] == "BOARD_UNKNOWN"
    assert admin(serving, "PUT", f"{PATH}/fast", {"operator": "count"})[0] == 201
    check_board(serving, BoardConfig("fast", Operator.COUNT))
    found = admin(serving, "GET", f"{PATH}/fast/changes", key="auditor")[1]["changes"]
    assert [(one["action"], one["actor"], one["operator"], one["reason"]) for one in found] == [
        ("created", "key_1", "count", ""), ("deleted", "key_1", "sum", "enough"),
        ("changed", "key_2", "sum", ""), ("created", "key_1", "best", "a race"),
    ]  # fmt: skip
    assert admin(serving, "GET", f"{PATH}/%00/changes", key="auditor")[1]["changes"] == []
    boards = serving.get("/api/boards")[2]["boards"]
    assert [(one["board"], one["origin"], one["state"]) for one in boards] == [
        ("default", "file", "ready"), ("fast", "api", "ready"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("method", "path", "body", "key", "says"),
    [
        ("PUT", f"{PATH}/x", {}, "", (401, "NOT_AUTHENTICATED")),
        ("PUT", f"{PATH}/x", {}, "auditor", (403, "FORBIDDEN_ROLE")),
        ("PUT", f"{PATH}/x", {}, "theirs", (403, "FORBIDDEN_GAME")),
        ("GET", f"{PATH}/x/changes", None, "theirs", (403, "FORBIDDEN_GAME")),
        ("PUT", f"{PATH}/default", {"operator": "sum"}, "admin", (409, "BOARD_CONFIGURED")),
        ("DELETE", f"{PATH}/default", None, "admin", (409, "BOARD_CONFIGURED")),
        ("DELETE", f"{PATH}/x", None, "admin", (404, "BOARD_UNKNOWN")),
        ("DELETE", f"{PATH}/def%00ault", None, "admin", (404, "BOARD_UNKNOWN")),  # what PostgreSQL takes in no text
        ("GET", f"{PATH}/%00", None, "admin", (404, "BOARD_UNKNOWN")),
        ("PUT", "/api/boards/nothing/x", {}, "admin", (404, "GAME_UNKNOWN")),
        ("PUT", f"{PATH}/-x", {}, "admin", (400, "PATH_INVALID")),
        ("PUT", f"{PATH}/x", {"operator": "median"}, "admin", (400, "PAYLOAD_MALFORMED")),
        ("PUT", f"{PATH}/x", {"season": "0 0 30 2 *"}, "admin", (400, "PAYLOAD_MALFORMED")),
        ("PUT", f"{PATH}/x", {"capacity": 0}, "admin", (400, "PAYLOAD_MALFORMED")),
        ("PUT", f"{PATH}/x", {"colour": "red"}, "admin", (400, "PAYLOAD_MALFORMED")),
    ],
)
def test_what_is_refused(
    serving: Serving, method: str, path: str, body: object, key: str, says: tuple[int, str]
) -> None:
    status, problem = admin(serving, method, path, body, key)
    assert (status, problem["code"]) == says
    assert [one["board"] for one in serving.get("/api/boards")[2]["boards"]] == ["default"]


def test_other_processes_notice(serving: Serving, database_url: str) -> None:
    """A board made through one process is served by the other, and one removed there is gone here."""
    other = Serving(database_url, serving.chain, authenticate=authenticate)
    try:
        until(lambda: other.get("/api/boards")[0] == 200)
        assert not other.service.post.leads
        assert admin(other, "PUT", f"{PATH}/sum", {"operator": "sum"})[0] == 201
        for one in (serving, other):
            check_board(one, BoardConfig("sum", Operator.SUM))
        assert admin(serving, "PUT", f"{PATH}/sum", {"operator": "count", "order": "asc"})[0] == 200
        for one in (other, serving):
            check_board(one, BoardConfig("sum", Operator.COUNT, Order.ASC))
        assert admin(serving, "DELETE", f"{PATH}/sum")[0] == 204
        until(lambda: other.get(f"/api/leaderboards/{GAME}/sum")[0] == 404)
    finally:
        other.stop()


# ------------------------------------------------------------------------ making one anew


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    opened = open_database(database_url)
    wipe(opened)
    yield opened
    opened.close()


def unmake(database: Database) -> None:
    """Mark every board."""
    with database.write() as connection:
        connection.execute(text("UPDATE ix_boards SET built = 0"))


async def two(database: Database) -> tuple[Watching, Watching]:
    """Two processes over one history."""
    chain = full(FakeChain())
    one = Watching(chain, database)
    await one.catch_up()
    return one, Watching(chain, database)


def test_two_processes_make_a_board_once(database: Database) -> None:
    async def scenario() -> None:
        one, other = await two(database)
        try:
            before = dump(database, 1)
            unmake(database)
            said: list[tuple[str, int, int]] = []
            made = await asyncio.gather(
                rebuild.rebuild(database, one.writer, {}, lambda *told: said.append(told)),
                rebuild.rebuild(database, other.writer, {}, lambda *told: said.append(told)),
            )
            assert sorted(made) == [0, 1]
            assert dump(database, 1) == before
            assert (80, 80) in {told[1:] for told in said}
            with database.engine.connect() as connection:
                assert connection.scalar(text("SELECT count(*) FROM ix_builds")) == 0
        finally:
            await one.stop()
            await other.stop()

    asyncio.run(scenario())


@pytest.mark.parametrize("dead", [False, True])
def test_a_builder_is_waited_for_unless_it_is_dead(
    database: Database, dead: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario() -> None:
        one, other = await two(database)
        monkeypatch.setattr(rebuild, "WAIT_S", 0.01)
        try:
            before = dump(database, 1)
            unmake(database)
            task = (await database.read(lambda c: rebuild.pending({}, None, c)))[0]
            claimed = await one.writer.run(lambda c: rebuild._claim(task, "one", database.now_ms, c))
            assert isinstance(claimed, rebuild.Build)
            if dead:
                with database.write() as connection:
                    connection.execute(text("UPDATE ix_builds SET touched_at_ms = touched_at_ms - 60000"))
            told: list[tuple[str, int, int]] = []
            making = asyncio.create_task(rebuild.rebuild(database, other.writer, {}, lambda *said: told.append(said)))
            builder = rebuild._Builder(database, one.writer, claimed, lambda *_: None)
            if dead:
                assert await making == 1
                with pytest.raises(rebuild.OvertakenError):  # it was not dead after all
                    await builder.make()
            else:
                await asyncio.sleep(0.1)
                assert not making.done()
                assert {said[1:] for said in told} == {(0, 80)}
                made = await builder.make()
                await one.writer.run(lambda c: rebuild.settle(c, made, database.now_ms(c)))
                assert await making == 0
            assert dump(database, 1) == before
        finally:
            await one.stop()
            await other.stop()

    asyncio.run(scenario())


@pytest.mark.parametrize("event", ["scores", "configuration"])
def test_what_happens_meanwhile_is_not_lost(database: Database, event: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Scores committed, or the board configured anew, between reading and end: it is made of what holds then."""

    async def scenario() -> None:
        one, other = await two(database)
        begun, go_on = asyncio.Event(), asyncio.Event()
        run = other.writer.run

        async def held(job: Any) -> Any:
            if begun.is_set():  # it has read: what it writes waits for the event
                await go_on.wait()
            return await run(job)

        monkeypatch.setattr(other.writer, "run", held)
        try:
            await one.store.put_board(1, BoardConfig("b", Operator.SUM), "key_1", "")
            wanted = BoardConfig("b", Operator.SUM)
            making = asyncio.create_task(rebuild.rebuild(database, other.writer, {}, lambda *_: begun.set()))
            await begun.wait()
            if event == "scores":
                one.chain.submit(GAME, [(b"\x01" * 20, 500)])  # type: ignore[attr-defined]
                one.chain.mine()  # type: ignore[attr-defined]
                await one.follower.step()
            else:
                wanted = BoardConfig("b", Operator.COUNT, Order.ASC)
                await one.store.put_board(1, wanted, "key_1", "")
            go_on.set()
            await making
            await one.restart()
            assert isinstance(one.chain, FakeChain)
            assert one.standings(name="b") == by_definition(one.chain, wanted)[0]
        finally:
            await one.stop()
            await other.stop()

    asyncio.run(scenario())


def test_settings_take_a_board_over(database: Database) -> None:
    """One made over HTTP stays; once the settings name it, it is theirs, and goes when they drop it."""

    async def scenario() -> None:
        one, other = await two(database)
        try:
            await one.store.put_board(1, BoardConfig("b", Operator.SUM), "key_1", "")
            for boards, origin in (
                ((BoardConfig(),), "api"),
                ((BoardConfig(), BoardConfig("b", Operator.SUM)), "file"),
            ):
                one.boards = boards
                await one.restart()
                assert (await one.store.board(1, "b")).origin == origin
                assert one.state.find(GAME, "b") is not None
            one.boards = (BoardConfig(),)
            await one.restart()
            assert one.state.find(GAME, "b") is None
            assert await one.store.put_board(1, BoardConfig("b"), "key_1", "") == "created"
            assert [row.number for row in await one.store.boards()] == [1, 3]  # numbers are not given twice
        finally:
            await one.stop()
            await other.stop()

    asyncio.run(scenario())


def test_who_stands_by_never_shows_a_board_half_made(database: Database) -> None:
    """A changed board is what it was until it is made; a process that begins meanwhile does not know it yet."""

    async def scenario() -> None:
        one, other = await two(database)
        log = Log(database, {game_key(GAME): GAME})
        try:
            await one.store.put_board(1, BoardConfig("b", Operator.SUM), "key_1", "")
            await one.restart()
            known = await log.view()
            assert known is not None
            assert known.find(GAME, "b") is not None
            wanted = BoardConfig("b", Operator.LATEST, Order.ASC)
            await one.store.put_board(1, wanted, "key_1", "")
            assert await log.news(known, {}) is not None  # nothing that must be read anew
            begun = await log.view()
            assert begun is not None
            assert begun.find(GAME, "b") is None
            assert await log.news(begun, {}) is not None
            await one.restart()
            assert await log.news(known, {}) is None
            assert await log.news(begun, {}) is None
            made = await log.view()
            assert made is not None
            board = made.find(GAME, "b")
            assert board is not None
            assert isinstance(one.chain, FakeChain)
            assert listed(board.standings) == by_definition(one.chain, wanted)[0]
            await one.store.delete_board(1, "b", "key_1", "")
            assert await log.news(made, {}) is None
        finally:
            await one.stop()
            await other.stop()

    asyncio.run(scenario())
