"""The page against the real `fairscore run`: relay, chain, indexer and stream, seen in a real browser."""

import json
import re
import secrets
import signal
import urllib.request
from collections.abc import Callable
from typing import Any

import pytest
from eth_utils.address import to_checksum_address
from playwright.sync_api import BrowserContext, Locator, Page, Route, expect

from tests.harness.process import Fairscore

# A cheat's 422 is an error to the browser's console as well; nothing else may be.
REFUSAL = re.compile(r"the server responded with a status of 422")


def open_page(context: BrowserContext, url: str, player: str | None = None, path: str = "/") -> Page:
    """Open the page, as `player` when one is given, and wait until it is live."""
    if player is not None:
        remember = f"localStorage.getItem('fairscore.player') ?? localStorage.setItem('fairscore.player', '{player}')"
        context.add_init_script(f"if (location.protocol === 'http:') {{ {remember} }}")  # about:blank has no storage
    page = context.new_page()
    page.goto(url + path)
    expect(page.locator("#connection-text")).to_have_text("Live")
    return page


def new_player() -> str:
    address: str = to_checksum_address("0x" + secrets.token_hex(20))
    return address


def row_of(page: Page, player: str) -> Locator:
    return page.locator(f'#rows tr[data-player="{player}"]')


def play(perfect: int) -> dict[str, int]:
    """A human play without a combo: ten points for each perfect hit, one miss in ten, 100 ms a note."""
    counts = {"score": 10 * perfect, "perfect": perfect, "good": 0, "miss": perfect // 10 + 1, "combo": 0}
    return counts | {"gameTime": 10_000 + 110 * perfect + 100}


def post(url: str, player: str, score_data: dict[str, int]) -> dict[str, Any]:
    """Submit from outside the browser."""
    body = json.dumps({"playerAddress": player, "gameId": "streambeat", "scoreData": score_data}).encode()
    request = urllib.request.Request(f"{url}/api/submit-score", body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=60) as answer:
        accepted: dict[str, Any] = json.load(answer)
        return accepted


def fetch(url: str) -> dict[str, Any]:
    with urllib.request.urlopen(url, timeout=60) as answer:
        document: dict[str, Any] = json.load(answer)
        return document


def test_a_play_travels_from_the_form_to_a_final_row(
    context: BrowserContext, fairscore: str, complaints: list[str]
) -> None:
    player = new_player()
    page = open_page(context, fairscore, player)
    page.get_by_role("button", name="Submit 2,652").click()
    result = page.locator("#result")
    expect(result).to_have_attribute("data-state", "accepted")
    expect(result.locator("h2")).to_have_text("Accepted: 2,652")
    expect(result.locator("[data-step=final][data-done]")).to_be_visible()
    assert result.locator(".steps [data-done]").count() == 4
    # The receipt was compared field by field, the evidence hashed again.
    expect(result.locator(".verified[data-ok=true]")).to_be_visible()
    row = row_of(page, player)
    expect(row.locator(".c-score")).to_have_text("2,652")
    expect(row.locator(".level")).to_have_text("counts")
    expect(row.locator(".status")).to_have_text("final")
    expect(row.locator(".you")).to_be_visible()
    assert complaints == []


def test_a_cheat_is_refused_with_every_check(context: BrowserContext, fairscore: str, complaints: list[str]) -> None:
    player = new_player()
    page = open_page(context, fairscore, player)
    page.get_by_role("button", name="Try to cheat: claim 5,420").click()
    result = page.locator("#result")
    expect(result).to_have_attribute("data-state", "refused")
    expect(result.locator("h2")).to_have_text("Refused: 5,420")
    expect(result.locator(".reason")).to_contain_text("5420")
    first = result.locator(".checks li").first
    expect(first).to_have_attribute("data-code", "SCORE_MISMATCH")
    expect(first).to_have_attribute("data-result", "fail")
    expect(first).to_contain_text("claimed 5,420")
    expect(first).to_contain_text("expected 2,652")
    codes = {item.get_attribute("data-code") for item in result.locator(".checks li").all()}
    assert {"PLAYER_INVALID", "COMBO_EXCEEDS_HITS", "NOTES_EXCEED_TIME", "SCORE_SPIKE"} <= codes
    assert result.locator(".checks li[data-result=pass]").count() >= 6
    expect(row_of(page, player)).to_have_count(0)
    assert [text for text in complaints if not REFUSAL.search(text)] == []
    assert page.request.get(f"{fairscore}{result.locator('a').first.get_attribute('href')}").status == 200


def test_another_visitor_sees_it_without_reloading(
    context: BrowserContext, fairscore: str, complaints: list[str]
) -> None:
    page = open_page(context, fairscore)
    player = new_player()
    post(fairscore, player, play(4000))
    expect(row_of(page, player).locator(".c-score")).to_have_text("40,000")
    assert complaints == []


def test_what_a_visitor_points_at_is_never_replaced(context: BrowserContext, fairscore: str) -> None:
    """A row changes in place: a focused badge keeps the focus when the score becomes final and is beaten."""
    page = open_page(context, fairscore)
    player = new_player()
    post(fairscore, player, play(300))
    row = row_of(page, player)
    parts = [row.locator(part).element_handle() for part in (".level", ".c-tx a", ".status")]
    row.locator(".status").focus()
    expect(row.locator(".status")).to_have_text("final")
    post(fairscore, player, play(400))
    expect(row.locator(".c-score")).to_have_text("4,000")
    assert all(part.evaluate("(element) => element.isConnected") for part in parts)
    expect(row.locator(".status")).to_be_focused()


def test_rows_move_to_their_new_places(context: BrowserContext, fairscore: str) -> None:
    context.add_init_script(
        """window.glides = 0;
        const animate = Element.prototype.animate;
        Element.prototype.animate = function (frames, options) {
            if (this.matches('#rows tr') && frames[0].transform?.startsWith('translateY')) window.glides += 1;
            return animate.call(this, frames, options);
        };"""
    )
    low, high = new_player(), new_player()
    post(fairscore, low, play(5000))
    post(fairscore, high, play(5001))
    page = open_page(context, fairscore)
    expect(row_of(page, low)).to_be_visible()
    expect(row_of(page, high)).to_be_visible()
    page.evaluate("window.glides = 0")
    post(fairscore, low, play(5002))
    expect(row_of(page, low).locator(".c-score")).to_have_text("50,020")
    players = [row.get_attribute("data-player") for row in page.locator("#rows tr").all()]
    ranks = [row.locator(".c-rank").inner_text() for row in page.locator("#rows tr").all()]
    assert players.index(low) < players.index(high)
    assert ranks == [str(index + 1) for index in range(len(ranks))]
    assert page.evaluate("window.glides") >= 2
    board = fetch(f"{fairscore}/api/leaderboards/streambeat/default?limit=25")
    assert [entry["player"] for entry in board["rows"]] == players[: len(board["rows"])]


def test_nothing_moves_for_those_who_prefer_no_motion(context: BrowserContext, fairscore: str) -> None:
    player = new_player()
    post(fairscore, player, play(6000))
    page = context.new_page()
    page.emulate_media(reduced_motion="reduce")
    page.goto(fairscore)
    expect(row_of(page, player)).to_be_visible()
    page.evaluate(
        """() => {
            const animate = Element.prototype.animate;
            Element.prototype.animate = function (frames, options) {
                if (frames.some((frame) => 'transform' in frame)) window.moved = true;
                return animate.call(this, frames, options);
            };
        }"""
    )
    rival = new_player()
    post(fairscore, rival, play(6001))
    expect(row_of(page, rival)).to_be_visible()
    assert page.evaluate("window.moved") is None


def test_a_lost_answer_is_retried_and_counts_once(context: BrowserContext, fairscore: str) -> None:
    """The relay accepts, the answer never arrives: the same key brings the same answer, not a second score."""
    player = new_player()
    page = open_page(context, fairscore, player)
    seen: list[int] = []

    def lose_the_first_answer(route: Route) -> None:
        answer = route.fetch()
        seen.append(answer.status)
        if len(seen) == 1:
            route.abort("connectionreset")
        else:
            route.fulfill(response=answer)

    page.route("**/api/submit-score", lose_the_first_answer)
    page.locator("#submit").click()
    expect(page.locator("#result")).to_have_attribute("data-state", "accepted")
    expect(page.locator("[data-step=final][data-done]")).to_be_visible()
    assert len(seen) == 2
    assert all(200 <= status < 300 for status in seen)
    page.unroute("**/api/submit-score")
    expect(row_of(page, player)).to_be_visible()  # the indexer has it, too
    assert len(fetch(f"{fairscore}/api/players/{player}/scores")["scores"]) == 1


def test_the_client_says_when_an_answer_was_replayed(context: BrowserContext, fairscore: str) -> None:
    page = open_page(context, fairscore)
    both = page.evaluate(
        """async ({ player, play }) => {
            const { Fairscore } = await import('/fairscore.js');
            const client = new Fairscore();
            const first = await client.submit(play, { player, idempotencyKey: 'browser-' + player });
            const again = await client.submit(play, { player, idempotencyKey: 'browser-' + player });
            const waited = await client.wait(first.submissionId, { until: 'final' });
            return { first, again, waited };
        }""",
        {"player": new_player(), "play": play(30)},
    )
    assert both["first"]["submissionId"] == both["again"]["submissionId"] == both["waited"]["submissionId"]
    assert (both["first"]["replayed"], both["again"]["replayed"]) == (False, True)
    assert both["waited"]["status"] == "final"


def test_anyone_can_check_any_row(context: BrowserContext, fairscore: str, complaints: list[str]) -> None:
    player = new_player()
    accepted = post(fairscore, player, play(7000))
    page = open_page(context, fairscore)
    row_of(page, player).locator(".c-tx a").click()
    dialog = page.get_by_role("dialog")
    expect(dialog.locator("h2")).to_have_text("70,000")
    expect(dialog.locator(".ticks li[data-result=pass]")).to_have_count(3)
    expect(dialog.locator(".facts")).to_contain_text(accepted["evidenceHash"])
    dialog.get_by_text("checks of the verdict").click()
    expect(dialog.locator('.checks li[data-code="SCORE_MISMATCH"]')).to_have_attribute("data-result", "pass")
    page.keyboard.press("Escape")
    expect(dialog).to_be_hidden()
    assert complaints == []


def test_forged_evidence_is_noticed(context: BrowserContext, fairscore: str) -> None:
    """A server that answers other bytes than it committed to is caught by the visitor's own hash."""
    player = new_player()
    post(fairscore, player, play(7100))
    page = open_page(context, fairscore)

    def forge(route: Route) -> None:
        answer = route.fetch()
        route.fulfill(response=answer, body=answer.body().replace(b"7100", b"7101"))

    page.route("**/api/evidence/*", forge)
    row_of(page, player).click()
    tick = page.get_by_role("dialog").locator(".ticks li").first
    expect(tick).to_have_attribute("data-result", "fail")
    expect(tick).to_contain_text("expected 0x")


def test_a_killed_server_is_noticed_and_followed_again(
    context: BrowserContext, start_fairscore: Callable[[], Fairscore], complaints: list[str]
) -> None:
    server = start_fairscore()
    page = open_page(context, server.url)
    expect(page.get_by_text("No score yet")).to_be_visible()
    before, after = new_player(), new_player()
    post(server.url, before, play(100))
    expect(row_of(page, before)).to_be_visible()
    server.kill()
    expect(page.locator("#connection")).to_have_attribute("data-state", re.compile("reconnecting|stale"))
    expect(row_of(page, before)).to_be_visible()  # old rows stay readable
    server.start()
    expect(page.locator("#connection")).to_have_attribute("data-state", "live")
    post(server.url, after, play(200))
    expect(page.locator("#rows tr").first).to_have_attribute("data-player", after)
    expect(page.locator("#rows tr").nth(1)).to_have_attribute("data-player", before)
    expect(page.locator("#stat-players")).to_have_text("2")


def test_an_open_page_does_not_hold_up_a_stop(
    context: BrowserContext, start_fairscore: Callable[[], Fairscore]
) -> None:
    server = start_fairscore()
    open_page(context, server.url)
    server.stop(signal.SIGTERM)
    assert server.running.returncode in {0, -signal.SIGTERM}


def test_an_unreachable_board_says_what_to_do_and_recovers(context: BrowserContext, fairscore: str) -> None:
    page = context.new_page()
    page.route("**/default/stream*", lambda route: route.abort("connectionrefused"))
    page.goto(fairscore)
    expect(page.get_by_text("The leaderboard cannot be loaded")).to_be_visible()
    expect(page.get_by_text("fairscore run")).to_be_visible()
    page.unroute("**/default/stream*")
    expect(page.locator("#connection-text")).to_have_text("Live")
    expect(page.get_by_text("The leaderboard cannot be loaded")).to_be_hidden()


def test_an_unknown_board_is_said_without_becoming_markup(context: BrowserContext, fairscore: str) -> None:
    page = context.new_page()
    page.goto(f"{fairscore}/?board=%3Cimg+src%3Dx+onerror%3D%22window.hacked%3D1%22%3E")
    expect(page.get_by_text("No such board")).to_be_visible()
    expect(page.get_by_text('<img src=x onerror="window.hacked=1">')).to_be_visible()
    assert page.locator("#board-message img").count() == 0
    assert page.evaluate("window.hacked") is None


def test_inline_scripts_do_not_run(context: BrowserContext, fairscore: str, complaints: list[str]) -> None:
    page = open_page(context, fairscore)
    assert complaints == []
    page.evaluate(
        "const s = document.createElement('script'); s.textContent = 'window.hacked = 1'; document.head.append(s)"
    )
    assert page.evaluate("window.hacked") is None
    assert any("Content Security Policy" in text for text in complaints)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_phone_shows_everything_without_sideways_scrolling(
    context: BrowserContext, fairscore: str, scheme: Any
) -> None:
    player = new_player()
    post(fairscore, player, play(8000))
    page = open_page(context, fairscore)
    page.emulate_media(color_scheme=scheme)
    page.set_viewport_size({"width": 360, "height": 740})
    row = row_of(page, player)
    for part in (".c-rank", ".address", ".c-score", ".level", ".c-tx a", ".status"):
        expect(row.locator(part)).to_be_in_viewport(ratio=0.99)
        row.locator(part).scroll_into_view_if_needed()
    page.locator("#cheat").click()
    expect(page.locator("#result")).to_have_attribute("data-state", "refused")
    row.click()
    expect(page.get_by_role("dialog").locator(".ticks")).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    assert page.evaluate("document.querySelector('dialog').scrollWidth <= document.querySelector('dialog').clientWidth")


def test_a_game_of_another_origin_imports_submits_and_follows(
    blank: Page, fairscore: str, complaints: list[str]
) -> None:
    """What a game's own front end does: the module comes from the relay, and so does the base URL."""
    player = new_player()
    told = blank.evaluate(
        """async ({ url, player, play }) => {
            const { Fairscore } = await import(url + '/fairscore.js');
            const client = new Fairscore();
            const statuses = [];
            const seen = new Promise((resolve) => {
                const subscription = client.subscribe({
                    onStatus: ({ state }) => statuses.push(state),
                    onStandings: ({ rows }) => {
                        const row = rows.find((one) => one.player === player);
                        if (row) { subscription.close(); resolve(row); }
                    },
                });
            });
            const answer = await client.submit(play, { player, wait: 30 });
            const { ok, checks } = await client.verifyReceipt(answer.receipt, { answer });
            return { answer, ok, checks, row: await seen, statuses };
        }""",
        {"url": fairscore, "player": player, "play": play(9000)},
    )
    assert told["ok"] is True, told["checks"]
    assert told["answer"]["status"] in {"included", "final"}
    assert told["row"]["score"] == told["answer"]["score"] == 90_000
    assert told["row"]["txHash"] == told["answer"]["txHash"]
    assert told["row"]["submissionId"] in {told["answer"]["submissionId"], None}
    assert told["statuses"] == ["connecting", "live", "closed"]
    assert complaints == []
