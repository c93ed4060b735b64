"""Boards of every kind over any history: memory, database, archive and streams equal a fold by the definition.

The definition is written here a second time, over the plays of the canonical chain, without a word of the product's.
"""

import asyncio
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from sqlalchemy import text

from indexer.boards import BoardConfig, BoardError, Operator, Order, Standing, Ties, boards_of_game
from indexer.messages import Board
from indexer.seasons import ALL_TIME, LAST_S, Calendar, Season, SeasonRuleError
from relay.store.engine import Database, open_database
from tests.indexer.fake_chain import FakeChain, Play
from tests.indexer.test_follower import change, disturb, operation, sound
from tests.indexer.watching import GAME, Reader, Watching, listed, named, wipe

MINUTE = "* * * * *"
RULES = ["never", "daily", MINUTE, "*/2 * * * *"]

configs = st.builds(
    BoardConfig,
    operator=st.sampled_from(Operator),
    order=st.sampled_from(Order),
    ties=st.sampled_from(Ties),
    season=st.sampled_from(RULES),
    capacity=st.one_of(st.none(), st.integers(1, 4)),
)
waits = st.tuples(st.just("wait"), st.sampled_from([1, 29, 60, 150, 86_400]))
operations = st.lists(st.tuples(st.one_of(operation, operation, waits), st.booleans()), max_size=35)
board_lists = st.lists(configs, min_size=1, max_size=4).map(
    lambda found: [renamed(config, "default" if i == 0 else f"board{i}") for i, config in enumerate(found)]
)


def renamed(config: BoardConfig, name: str) -> BoardConfig:
    """The same board under another name."""
    return BoardConfig(name, config.operator, config.order, config.ties, config.season, config.capacity)


# ------------------------------------------------------------------- the definition


def start_of(rule: str, time_s: int) -> int:
    """When the season of a moment began."""
    length = {"never": None, "daily": 86_400, MINUTE: 60, "*/2 * * * *": 120}[rule]
    return 0 if length is None else time_s - time_s % length


def worth(config: BoardConfig, plays: list[Play]) -> tuple[int, tuple[int, int]]:
    """What one player's valid plays of a season amount to, and the play that made it so."""
    if config.operator is Operator.LATEST:
        return plays[-1].score, plays[-1].position
    if config.operator is Operator.BEST:
        ahead = max if config.order is Order.DESC else min
        value = ahead(play.score for play in plays)
        return value, next(play.position for play in plays if play.score == value)
    return sum(play.score for play in plays) if config.operator is Operator.SUM else len(plays), plays[-1].position


def by_definition(chain: FakeChain, config: BoardConfig) -> dict[int, list[tuple[bytes, int, tuple[int, int]]]]:
    """(player, value, position) in order, by start of the season."""
    found: dict[int, dict[bytes, list[Play]]] = {}
    for play in sorted(chain.world.plays.values(), key=lambda play: play.position):
        if play.game == GAME and play.valid:
            start_s = start_of(config.season, chain.blocks[play.position[0]].header.time_s)
            found.setdefault(start_s, {}).setdefault(play.player, []).append(play)
    ahead = -1 if config.order is Order.DESC else 1
    return {
        start_s: sorted(
            ((player, *worth(config, plays)) for player, plays in players.items()),
            key=lambda seat: (ahead * seat[1], seat[2]),
        )
        for start_s, players in found.items()
    }


def ranked(config: BoardConfig, seats: Sequence[tuple[bytes, int, tuple[int, int]]]) -> list[tuple[int, str, int]]:
    """(rank, player, value) as the board shows them."""
    ranks = [
        1 + next(i for i, other in enumerate(seats) if other[1] == seat[1]) if config.ties is Ties.SHARED else ordinal
        for ordinal, seat in enumerate(seats, 1)
    ]
    shown = zip(ranks, seats, strict=True)
    return [(rank, named(player), value) for rank, (player, value, _) in shown][: config.capacity]


# ---------------------------------------------------------------------- the promise


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    opened = open_database(database_url)
    yield opened
    opened.close()


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(boards=board_lists, operations=operations)
@example(
    boards=[BoardConfig(season=MINUTE)],
    operations=[(("submit", [(b"\x01" * 20, 5)]), True), (("wait", 60), True), (("fork", 1), True)],
)
@example(  # a ruling is gone together with a later score: what it took away is not added to a total that has it
    boards=[BoardConfig(operator=Operator.SUM), BoardConfig("daily", operator=Operator.COUNT, season="daily")],
    operations=[
        (("submit", [(b"\x01" * 20, 5)]), True),
        (("submit", [(b"\x01" * 20, 7)]), True),
        (("judge", (1, True)), True),
        (("fork", 2), True),
    ],
)
@example(  # in the new branch two players have changed places, to the position
    boards=[BoardConfig(), BoardConfig("games", operator=Operator.COUNT)],
    operations=[
        (("mine", 1), True),
        (("submit", [(b"\x01" * 20, 5), (b"\x02" * 20, 5)]), True),
        (("shrink", 2), False),
        (("submit", [(b"\x02" * 20, 5), (b"\x01" * 20, 5)]), True),
    ],
)
@example(  # two rulings on one player are gone: one score returns, the other leaves
    boards=[BoardConfig(operator=Operator.SUM)],
    operations=[
        (("submit", [(b"\x01" * 20, 5), (b"\x01" * 20, 7)]), True),
        (("judge", (2, True)), True),
        (("judge", (2, False)), True),
        (("judge", (1, True)), True),
        (("fork", 2), True),
    ],
)
def test_any_history_on_any_boards(
    database: Database, boards: list[BoardConfig], operations: list[tuple[tuple[str, object], bool]]
) -> None:
    wipe(database)
    asyncio.run(check_history(database, boards, operations))


async def check_history(
    database: Database, boards: list[BoardConfig], operations: list[tuple[tuple[str, object], bool]]
) -> None:
    chain = FakeChain()
    watching = Watching(chain, database, boards=boards)
    try:
        await watching.follower.connect()
        readers = [await watching.join(board=number) for number in sorted(watching.state.boards)]
        for (kind, value), look in operations:
            if kind == "wait":
                assert isinstance(value, int)
                chain.mine(value)
            else:
                change(chain, kind, value)
            if kind in {"step", "restart"}:
                await disturb(watching, [], kind)
                if kind == "restart":
                    readers = [await watching.join(reader, n) for n, reader in enumerate(readers, 1)]
            if look:
                await watching.follower.step()
            sound(watching)
        chain.mine()
        while chain.height <= watching.state.tip.number:
            chain.mine()
        await watching.catch_up()
        await agree(chain, watching, boards, readers)
        await watching.restart()
        await agree(chain, watching, boards, [])
    finally:
        await watching.stop()


async def agree(chain: FakeChain, watching: Watching, boards: list[BoardConfig], readers: list[Reader]) -> None:
    """Everything that shows a board shows what the definition says."""
    for number, config in enumerate(boards, 1):
        board, expected = watching.state.boards[number], by_definition(chain, config)
        assert (board.names, board.config) == (Board(GAME, config.name), config)
        now_s = start_of(config.season, chain.blocks[-1].header.time_s)
        assert board.season.start_s == now_s
        assert watching.standings(GAME, config.name) == expected.get(now_s, [])
        shown = ranked(config, expected.get(now_s, []))
        assert [
            (p.rank, named(p.player), config.standing(p.key).value) for p in board.standings.page(None, 99)
        ] == shown
        fresh = await watching.join(board=number)
        for reader in [fresh, *readers[number - 1 : number]]:
            assert [(rank, player, value) for rank, player, value, _, _ in reader.top()] == shown
            assert (reader.season, reader.total) == (board.season.name, len(shown))
        for start_s, seats in expected.items():
            season = config.calendar.at(start_s)
            if start_s != now_s:
                assert listed(await watching.archive.season(board, season)) == seats
        assert set(await watching.store.seasons(number)) == set(expected)


# -------------------------------------------------------------------- reconfiguration


def test_a_changed_board_is_made_anew_and_the_others_are_left_alone(database: Database) -> None:
    """Operator, order and season change at a restart: the rows are as if it had always been so."""

    async def scenario() -> None:
        wipe(database)
        chain = FakeChain()
        before = [BoardConfig(), BoardConfig("weekly", season=MINUTE), BoardConfig("gone", operator=Operator.COUNT)]
        watching = Watching(chain, database, boards=before)
        try:
            for turn in range(60):
                chain.submit(
                    GAME, [(bytes([turn % 7 + 1]) * 20, turn * 37 % 11), (bytes([turn % 5 + 1]) * 20, turn % 4)]
                )
                chain.mine(7)
            await watching.catch_up()
            reader = await watching.join(board=2)
            rows = dump(database, 1)
            after = [BoardConfig(), BoardConfig("weekly", Operator.SUM, Order.ASC, season="daily"), BoardConfig("new")]
            watching.boards = after
            await watching.restart()
            progress: list[tuple[str, int, int]] = []
            assert dump(database, 1) == rows
            assert watching.state.find(GAME, "gone") is None
            assert [board.config.name for board in watching.state.boards.values()] == ["default", "weekly", "new"]
            await agree_by_name(chain, watching, after)
            again = await watching.join(reader, 2)
            assert again.kinds == ["snapshot"]  # what it knew is of another board
            with database.write() as connection:
                connection.execute(text("UPDATE ix_boards SET built = 0"))
            old = [dump(database, number) for number in watching.state.boards]
            await watching.store.load({}, {}, lambda *said: progress.append(said))
            assert [dump(database, number) for number in watching.state.boards] == old
            assert progress[-1][1:] == (120, 120)
        finally:
            await watching.stop()

    asyncio.run(scenario())


async def agree_by_name(chain: FakeChain, watching: Watching, boards: list[BoardConfig]) -> None:
    for config in boards:
        now_s = start_of(config.season, chain.blocks[-1].header.time_s)
        assert watching.standings(GAME, config.name) == by_definition(chain, config).get(now_s, [])


def dump(database: Database, board: int) -> list[tuple[object, ...]]:
    """Every standing of a board as it is stored."""
    query = text(
        "SELECT season_s, player, value, place FROM ix_standings WHERE board = :board ORDER BY season_s, player"
    )
    with database.engine.connect() as connection:
        return [tuple(row) for row in connection.execute(query, {"board": board})]


# -------------------------------------------------------------------- configurations


@pytest.mark.parametrize(
    ("table", "says"),
    [
        ({"operator": "median"}, "board daily: operator is one of best, latest, sum, count"),
        ({"order": "up"}, "order is one of desc, asc"),
        ({"ties": True}, "ties is one of earliest, shared"),
        ({"season": "yearly"}, "'yearly' is no season: never, daily, weekly, monthly, or five cron fields"),
        ({"season": "0 0 30 2 *"}, "is no season"),
        ({"season": "* * * * * *"}, "five cron fields"),
        ({"season": 7}, "season is not of the right type"),
        ({"capacity": True}, "capacity is not of the right type"),
        ({"capacity": 0}, "capacity is 1 to"),
        ({"colour": "red"}, "no setting named 'colour'"),
    ],
)
def test_a_wrong_board_is_refused_by_name(table: dict[str, object], says: str) -> None:
    with pytest.raises(BoardError, match="game g, board daily") as refused:
        boards_of_game("g", {"boards": {"daily": table}})
    assert says in str(refused.value)


def test_every_game_has_a_default_board_and_it_can_be_configured() -> None:
    assert boards_of_game("g", {}) == (BoardConfig(),)
    listed_ = boards_of_game("g", {"boards": {"fast": {"order": "asc"}, "default": {"operator": "sum"}}})
    assert listed_ == (BoardConfig(operator=Operator.SUM), BoardConfig("fast", order=Order.ASC))
    with pytest.raises(BoardError, match=r"board '\.\./x'"):
        boards_of_game("g", {"boards": {"../x": {}}})
    with pytest.raises(BoardError, match="boards are tables"):
        boards_of_game("g", {"boards": {"x": 1}})


def test_a_sum_never_exceeds_what_a_row_can_hold() -> None:
    config = BoardConfig(operator=Operator.SUM)
    most = 2**63 - 1
    assert config.standing(config.joined(config.joined(None, most, 1), most, 2)) == Standing(most, 2)


# -------------------------------------------------------------------------- seasons


def at(moment: str) -> int:
    """Unix seconds of a UTC moment."""
    return int(datetime.fromisoformat(moment).replace(tzinfo=UTC).timestamp())


@pytest.mark.parametrize(
    ("rule", "moment", "name", "start", "end"),
    [
        ("daily", "2026-11-22T23:59:59", "2026-11-22", "2026-11-22", "2026-11-23"),
        ("daily", "2026-11-23T00:00:00", "2026-11-23", "2026-11-23", "2026-11-24"),
        ("weekly", "2026-11-22T23:59:59", "2026-W47", "2026-11-16", "2026-11-23"),
        ("weekly", "2026-11-23T00:00:00", "2026-W48", "2026-11-23", "2026-11-30"),
        ("weekly", "2027-01-01T12:00:00", "2026-W53", "2026-12-28", "2027-01-04"),
        ("monthly", "2028-02-29T23:59:59", "2028-02", "2028-02-01", "2028-03-01"),
        ("monthly", "2026-12-31T23:59:59", "2026-12", "2026-12-01", "2027-01-01"),
        ("0 6 * * 1", "2026-11-23T05:59:59", "2026-11-16T06:00Z", "2026-11-16T06:00", "2026-11-23T06:00"),
        ("0 6 * * 1", "2026-11-23T06:00:00", "2026-11-23T06:00Z", "2026-11-23T06:00", "2026-11-30T06:00"),
        ("0 0 29 2 *", "2027-07-01T00:00:00", "2024-02-29T00:00Z", "2024-02-29", "2028-02-29"),
    ],
)
def test_boundaries_are_exact(rule: str, moment: str, name: str, start: str, end: str) -> None:
    season = Calendar(rule).at(at(moment))
    assert season == (at(start), at(end), name)
    assert Calendar(rule).named(name) == season


@given(st.sampled_from(["daily", "weekly", "monthly", "*/7 3-5 * * *"]), st.integers(0, 4_000_000_000))
def test_every_moment_belongs_to_exactly_one_season(rule: str, time_s: int) -> None:
    """Seasons follow one another without gap or overlap, and a calendar that was asked in any order says the same."""
    calendar = Calendar(rule)
    season = calendar.at(time_s)
    assert season.end_s is not None
    assert season.has(time_s)
    assert calendar.at(season.end_s).start_s == season.end_s
    assert calendar.at(season.start_s) == season
    assert calendar.at(season.start_s - 1).end_s == season.start_s or season.start_s <= 0
    assert calendar.named(season.name) == season


@pytest.mark.parametrize(
    "name", ["", "2026", "2026-13", "2026-11-22", "all", "2026-11-22T06:30Z", "x" * 32, "2026-W99"]
)
def test_what_is_no_season_has_no_name(name: str) -> None:
    assert Calendar("0 6 * * 1").named(name) is None
    assert Calendar("monthly").named(name) is None
    assert (Calendar("never").named(name) == ALL_TIME) == (name == "all")


@pytest.mark.parametrize(
    ("rule", "name"),
    [
        ("daily", "9999-12-31"),
        ("weekly", "9999-W52"),
        ("monthly", "9999-12"),
        ("* * * * *", "9999-12-31T23:59Z"),
        ("0 0 29 2 *", "9996-02-29T00:00Z"),
    ],
)
def test_the_end_of_the_calendar_is_no_error(rule: str, name: str) -> None:
    """Any client can ask for that season, and forge a page's cursor in it."""
    calendar = Calendar(rule)
    assert calendar.named(name) is None
    assert calendar.at(2**63 - 1).has(LAST_S)
    assert calendar.at(-(2**63)).has(0)


def test_who_asks_for_another_season_meanwhile_does_not_disturb(monkeypatch: pytest.MonkeyPatch) -> None:
    """A commit asks in its thread for the season of a score, while the event loop answers a client about another."""
    calendar, moment = Calendar("daily"), at("2026-11-22T12:00:00")
    today, has, turns = calendar.at(moment), Season.has, iter([True])

    def interrupted(season: Season, time_s: int) -> bool:
        if next(turns, False):  # the other thread's turn, between the question and the answer
            calendar.named("2026-11-20")
        return has(season, time_s)

    monkeypatch.setattr(Season, "has", interrupted)
    assert calendar.at(moment) == today


def test_a_rule_that_never_comes_is_refused() -> None:
    with pytest.raises(SeasonRuleError):
        Calendar("0 0 31 2 *")
