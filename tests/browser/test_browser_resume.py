"""A subscription of fairscore.js while the server is killed and started again: no event lost, none twice."""

import time
from collections.abc import Callable
from typing import Any

from playwright.sync_api import BrowserContext, Page

from tests.browser.test_page_live import fetch, new_player, open_page, play, post
from tests.harness.process import Fairscore

PLAYERS = 6
# Everything that the subscription tells, kept in the page while this test kills servers.
FOLLOW = """async () => {
    const { Fairscore } = await import('/fairscore.js');
    const client = new Fairscore();
    window.told = { events: [], states: [], standings: null };
    window.submit = (play, player) => client.submit(play, { player, wait: 0, budgetMs: 90_000 });
    client.subscribe({
        onEvent: (event) => window.told.events.push(event),
        onStatus: ({ state }) => window.told.states.push(state),
        onStandings: (standings) => (window.told.standings = standings),
    });
}"""
SUBMIT = """(plays) => {
    window.submitted = Promise.all(plays.map(([play, player]) => window.submit(play, player)));
}"""
# Every score that was asked for has been told, and every row is final: nothing more is to come.
IS_COMPLETE = """(count) => {
    const { events, standings } = window.told;
    const scores = events.filter(({ type }) => type === 'score');
    return scores.length >= count && standings.rows.every(({ status }) => status === 'final');
}"""


def expect_soon(page: Page, predicate: str, argument: object, timeout_s: float = 60) -> None:
    """Ask the page until it says yes. (Playwright's own wait evaluates in the page, which the page's CSP forbids.)"""
    deadline = time.monotonic() + timeout_s
    while not page.evaluate(predicate, argument):
        assert time.monotonic() < deadline, page.evaluate("window.told")
        page.wait_for_timeout(50)


def submit_during(page: Page, plays: list[tuple[dict[str, int], str]], disturb: Callable[[], None]) -> None:
    """Submit all at once from the page, disturb the server meanwhile, and wait for every answer."""
    page.evaluate(SUBMIT, plays)
    disturb()
    answers = page.evaluate("window.submitted")
    assert len({answer["submissionId"] for answer in answers}) == len(plays)


def test_a_subscription_outlives_two_kills_without_gap_or_repeat(
    context: BrowserContext, start_fairscore: Callable[[], Fairscore]
) -> None:
    server = start_fairscore()
    players = [new_player() for _ in range(PLAYERS)]
    post(server.url, players[0], play(90))  # this one is in the snapshot
    page = open_page(context, server.url)
    page.evaluate(FOLLOW)
    expect_soon(page, "(count) => window.told.standings?.rows.length === count", 1)

    def restart() -> None:
        server.kill()
        server.start()

    for number in (1, 2):
        plays = [(play(100 * number + 10 * index), player) for index, player in enumerate(players)]
        submit_during(page, plays, restart)
    expect_soon(page, IS_COMPLETE, 2 * PLAYERS)

    told: dict[str, Any] = page.evaluate("window.told")
    events = told["events"]
    numbers = [event["seq"] for event in events]
    assert [event["type"] for event in events].count("snapshot") == 1, told["states"]
    assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))
    assert told["states"].count("reconnecting") >= 2
    scores = [event["scoreId"] for event in events if event["type"] == "score"]
    assert len(scores) == len(set(scores)) == 2 * PLAYERS
    board = fetch(f"{server.url}/api/leaderboards/streambeat/default")["rows"]
    assert told["standings"]["rows"] == board
    assert [row["score"] for row in board] == [10 * (200 + 10 * index) for index in reversed(range(PLAYERS))]
