"""Several boards and their seasons on the page and through fairscore.js, against the real `fairscore run`."""

import json
import re
import time
from collections.abc import Iterator

import pytest
from playwright.sync_api import BrowserContext, Page, Route, expect

from tests.browser.test_page_live import new_player, open_page, play, post, row_of
from tests.harness.process import Fairscore

BOARDS = """
[games.streambeat]
anonymous_submit = true
[games.streambeat.boards.total]
operator = "sum"
season = "monthly"
[games.streambeat.boards.plays]
operator = "count"
ties = "shared"
[games.streambeat.boards.lowest]
order = "asc"
ties = "shared"
[games.streambeat.boards.minute]
season = "* * * * *"
"""


@pytest.fixture(scope="module")
def boards(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """URL of a server whose game has five boards."""
    folder = tmp_path_factory.mktemp("boards")
    (folder / "fairscore.toml").write_text(BOARDS)
    with Fairscore(folder / "home", settings={"FAIRSCORE_CONFIG": str(folder / "fairscore.toml")}) as server:
        yield server.url


def choose(page: Page, board: str) -> None:
    page.get_by_role("combobox", name="Board").select_option(board)
    expect(page.locator("#connection-text")).to_have_text("Live")


def test_a_sum_and_a_count_are_called_what_they_are(
    context: BrowserContext, boards: str, complaints: list[str]
) -> None:
    player = new_player()
    for perfect in (200, 100):
        post(boards, player, play(perfect))
    page = open_page(context, boards)
    expect(row_of(page, player).locator(".c-score")).to_have_text("2,000")
    expect(page.locator("#rules")).to_have_text(re.compile("^The best score of each player, the highest first"))
    choose(page, "total")
    expect(page.get_by_role("columnheader", name="Total score")).to_be_visible()
    expect(row_of(page, player).locator(".c-score")).to_have_text("3,000")
    expect(page.locator("#rules")).to_contain_text("A new season begins every month (UTC).")
    expect(page.locator("#season-ends")).to_have_text(re.compile(r"^Ends in (\d+ d )?\d\d:\d\d:\d\d$"))
    choose(page, "plays")
    expect(page.get_by_role("columnheader", name="Plays")).to_be_visible()
    expect(row_of(page, player).locator(".c-score")).to_have_text("2")
    assert page.url.endswith("?board=plays")
    # The number of a tally stands in no evidence: the score behind it does, and is compared.
    row_of(page, player).click()
    dialog = page.get_by_role("dialog")
    expect(dialog.locator("header p")).to_have_text(re.compile(r"^Plays\. Its newest score is #\d+ of streambeat$"))
    expect(dialog.locator(".ticks li[data-result=pass]")).to_have_count(3)
    page.keyboard.press("Escape")
    page.go_back()
    expect(page.get_by_role("columnheader", name="Total score")).to_be_visible()
    expect(row_of(page, player).locator(".c-score")).to_have_text("3,000")
    assert complaints == []


def test_the_lowest_first_and_equal_ones_share_a_rank(context: BrowserContext, boards: str) -> None:
    """The smallest scores that the rules accept in these tests: nobody else is ahead of them."""
    first, second, third = (new_player() for _ in range(3))
    post(boards, first, play(11))
    page = open_page(context, boards, path="/?board=lowest")
    for player, perfect in ((second, 11), (third, 12)):
        post(boards, player, play(perfect))
    for player, rank in ((first, "1"), (second, "1"), (third, "3")):
        expect(row_of(page, player).locator(".c-rank")).to_have_text(rank)
    order = [row.get_attribute("data-player") for row in page.locator("#rows tr").all()]
    assert order[:3] == [first, second, third]
    post(boards, new_player(), play(10))
    expect(row_of(page, second).locator(".c-rank")).to_have_text("2")
    expect(row_of(page, third).locator(".c-rank")).to_have_text("4")


def ranked_soon(page: Page, url: str) -> None:
    """Wait until the indexer, which follows a moment after the submission's answer, has the player at `url`."""
    deadline = time.monotonic() + 60
    while not (found := page.request.get(url)).ok:
        assert time.monotonic() < deadline, found.text()
        page.wait_for_timeout(50)


def next_minute() -> None:
    """Sleep until a new minute of UTC has just begun."""
    time.sleep(60.5 - time.time() % 60)


def test_a_season_ends_before_the_visitors_eyes(context: BrowserContext, boards: str, complaints: list[str]) -> None:
    before, after = new_player(), new_player()
    if time.time() % 60 > 30:  # too late in this minute to score in it and see it
        next_minute()
    page = open_page(context, boards, path="/?board=minute")
    post(boards, before, play(500))
    expect(row_of(page, before).locator(".c-score")).to_have_text("5,000")
    ended = page.get_by_role("combobox", name="Season").locator("option").first.inner_text().removesuffix(" (current)")
    next_minute()
    expect(page.locator("#season-ends")).to_have_text("Over: the next block begins another season")
    post(boards, after, play(300))
    expect(row_of(page, after).locator(".c-rank")).to_have_text("1")
    expect(row_of(page, before)).to_have_count(0)
    expect(page.locator("#season-ends")).to_have_text(re.compile("^Ends in 00:00:"))

    page.get_by_role("combobox", name="Season").select_option(ended)
    expect(page.locator("#connection-text")).to_have_text("Past season")
    expect(page.get_by_role("heading", level=1)).to_have_text(f"Leaderboard of {ended}")
    expect(row_of(page, before).locator(".c-score")).to_have_text("5,000")
    expect(row_of(page, after)).to_have_count(0)
    page.reload()
    expect(row_of(page, before).locator(".c-rank")).to_have_text("1")
    page.get_by_role("combobox", name="Season").select_option("")
    expect(page.locator("#connection-text")).to_have_text("Live")
    expect(row_of(page, before)).to_have_count(0)
    assert complaints == []


def test_a_season_that_never_was_is_said(context: BrowserContext, boards: str) -> None:
    page = context.new_page()
    page.goto(f"{boards}/?board=total&season=2999-01")
    expect(page.get_by_text("No such season")).to_be_visible()
    page.get_by_role("link", name="Open the current one").click()
    expect(page.locator("#connection-text")).to_have_text("Live")
    assert page.get_by_role("combobox", name="Board").input_value() == "total"


def test_the_client_reads_boards_seasons_and_places(context: BrowserContext, boards: str) -> None:
    player = new_player()
    post(boards, player, play(700))
    page = open_page(context, boards, path="/?board=total")
    expect(row_of(page, player)).to_be_visible()
    told = page.evaluate(
        """async ({ player, absent }) => {
            const { Fairscore } = await import('/fairscore.js');
            const client = new Fairscore();
            const boards = await client.boards();
            const seasons = await client.seasons({ board: 'total' });
            const page = await client.standings({ board: 'total', season: seasons[0].name, limit: 200 });
            const one = await client.standings({ board: 'total', limit: 1 });
            const row = await client.player(player, { board: 'total', season: seasons[0].name });
            const nobody = await client.player(absent, { board: 'total' });
            const unknown = await client.standings({ board: 'total', season: '1999-01' })
                .then((page) => page.rows, (error) => error.code);
            return { boards, seasons, page, one, row, nobody, unknown };
        }""",
        {"player": player, "absent": new_player()},
    )
    kinds = {one["board"]: (one["operator"], one["order"], one["ties"], one["seasonRule"]) for one in told["boards"]}
    assert kinds["default"] == ("best", "desc", "earliest", "never")
    assert kinds["total"] == ("sum", "desc", "earliest", "monthly")
    assert kinds["lowest"] == ("best", "asc", "shared", "never")
    assert told["seasons"][0]["endsAt"] > told["seasons"][0]["startsAt"]
    assert player in {row["player"] for row in told["page"]["rows"]}
    assert (len(told["one"]["rows"]), told["one"]["rows"][0]["rank"]) == (1, 1)
    assert (told["row"]["player"], told["row"]["score"]) == (player, 7000)
    assert told["nobody"] is None
    assert told["unknown"] == []


def test_a_disputed_row_says_so_and_stops_when_it_is_settled(context: BrowserContext, boards: str) -> None:
    """The server's own snapshot with one field changed; that forged events are disputed is the indexer's test."""
    player = new_player()
    post(boards, player, play(900))
    asked: list[str] = []
    settled: list[bool] = []

    def stream(route: Route) -> None:
        asked.append(route.request.url)
        if len(asked) > 1 and not settled:
            return route.abort("connectionrefused")
        rows = route.fetch(url=f"{boards}/api/leaderboards/streambeat/plays").json()["rows"]
        row = next(row for row in rows if row["player"] == player)
        kind, seq = ("standing", 2) if settled else ("snapshot", 1)
        common = {"seq": seq, "gameId": "streambeat", "board": "plays", "total": 1}
        first = {"epoch": 7, "rows": [{**row, "disputed": True}], "blockNumber": 1, "order": "desc", "ties": "shared"}
        event = common | (first if seq == 1 else {**row, "previousRank": row["rank"]})
        body = f"id: 7-{seq}\nevent: {kind}\ndata: {json.dumps(event)}\n\n"
        return route.fulfill(body=body, content_type="text/event-stream")

    page = context.new_page()
    page.route("**/plays/stream*", stream)
    ranked_soon(page, f"{boards}/api/leaderboards/streambeat/plays/players/{player}")
    page.goto(f"{boards}/?board=plays")
    mark = row_of(page, player).locator(".disputed")
    expect(mark).to_be_visible()
    mark.hover()
    expect(page.get_by_role("tooltip")).to_contain_text("evidence of this score is missing or does not say")
    settled.append(True)
    expect(mark).to_be_hidden()
    expect(row_of(page, player)).to_be_visible()
    assert asked[1].endswith("?after=7-1")


def test_rules_and_countdowns_in_words(blank: Page) -> None:
    board = {"operator": "latest", "order": "asc", "ties": "shared", "seasonRule": "0 12 * * 5", "capacity": 1000}
    told = blank.evaluate(
        """async (board) => {
            const { countdown, rulesOf, valueOf } = await import('/choice.js');
            const times = [0, 999, 61_000, 86_400_000, 1e9].map(countdown);
            return { times, rules: rulesOf(board), plain: valueOf(undefined).heading, latest: valueOf(board).heading };
        }""",
        {**board, "season": {"name": "x", "startsAt": "", "endsAt": "2026-11-27T12:00:00Z"}},
    )
    assert told["times"] == ["00:00:00", "00:00:01", "00:01:01", "1 d 00:00:00", "11 d 13:46:40"]
    assert told["rules"] == (
        "The latest score of each player, the lowest first; equal ones share a rank. 1,000 places. "
        "A new season begins by the schedule 0 12 * * 5 (UTC)."
    )
    assert (told["plain"], told["latest"]) == ("Score", "Latest score")
