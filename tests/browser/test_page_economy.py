"""The economy's page against the real `fairscore run`: a key, what it shows live, and what it says when it cannot."""

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import BrowserContext, Page, expect

from tests.harness.game_server import GameServer, register
from tests.harness.process import Fairscore

REFUSALS = re.compile(r"the server responded with a status of 4\d\d|net::ERR_")


@pytest.fixture(scope="module")
def relay(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fairscore]:
    """One `fairscore run`, shared; each test has its own game."""
    with Fairscore(tmp_path_factory.mktemp("economy_page") / "home") as running:
        yield running


@pytest.fixture
def game(relay: Fairscore) -> tuple[str, GameServer]:
    """A game with gold and players, and its server."""
    return register(relay.url, admin_key(relay), ann=1_000, bob=1_000)


def admin_key(relay: Fairscore) -> str:
    told: dict[str, Any] = json.loads((relay.home / "devnet.json").read_text())
    return str(told["keys"]["admin"])


def sign_in(context: BrowserContext, relay: Fairscore, key: str, game_id: str = "") -> Page:
    page = context.new_page()
    page.goto(f"{relay.url}/economy")
    page.locator("#key").fill(key)
    page.locator("#game").fill(game_id)
    page.locator("#key-form button[type=submit]").click()
    return page


def circulating(page: Page) -> Any:
    return page.locator("[data-currency=gold] .keys li").filter(has_text="circulating").locator("strong")


def test_supply_grows_while_one_looks(
    context: BrowserContext, relay: Fairscore, game: tuple[str, GameServer], complaints: list[str]
) -> None:
    page = sign_in(context, relay, game[1].secret)
    expect(page.locator("#connection-text")).to_have_text("Live")
    expect(circulating(page)).to_have_text("2,000")
    expect(page.locator("[data-tile=players] dd").first).to_have_text("3")
    assert game[1].do("grant", externalId="ann", currencyId="gold", amount=500).data
    expect(circulating(page)).to_have_text("2,500")
    assert complaints == []


def test_refused_operations_are_named_and_counted(
    context: BrowserContext, relay: Fairscore, game: tuple[str, GameServer]
) -> None:
    page = sign_in(context, relay, game[1].secret)
    expect(page.get_by_text("No operation was refused in this window.")).to_be_visible()
    answers = [game[1].do("grant", externalId="ann", currencyId="gold", amount=1) for _ in range(70)]
    refused = [answer.code for answer in answers if answer.code]
    assert refused
    assert set(refused) == {"RATE_LIMITED"}
    chart = page.locator("figure").filter(has_text="Refused operations")
    expect(chart.locator(".keys")).to_contain_text(f"RATE_LIMITED {len(refused)}")
    chart.locator("summary").click()
    expect(chart.locator("thead")).to_contain_text("RATE_LIMITED")
    expect(chart.locator("tbody tr")).to_have_count(60)


def test_a_chart_is_read_with_the_keyboard(
    context: BrowserContext, relay: Fairscore, game: tuple[str, GameServer]
) -> None:
    page = sign_in(context, relay, game[1].secret)
    plot = page.locator("[data-currency=gold] svg.plot")
    plot.focus()
    page.keyboard.press("Home")
    expect(circulating(page)).to_have_text("0")
    page.keyboard.press("End")
    expect(circulating(page)).to_have_text("2,000")
    expect(page.locator("[data-currency=gold] [role=status]")).to_contain_text("circulating 2,000")


def test_a_wrong_key_is_told_what_to_do(context: BrowserContext, relay: Fairscore) -> None:
    page = sign_in(context, relay, "fs_live_sk_wrong")
    expect(page.locator("#connection-text")).to_have_text("Key refused")
    expect(page.locator("#key-error")).to_contain_text("Copy it once more")
    expect(page.locator("#dashboard")).to_be_hidden()
    assert page.evaluate("sessionStorage.length") == 0


def test_a_key_of_no_game_needs_the_games_name(
    context: BrowserContext, relay: Fairscore, game: tuple[str, GameServer]
) -> None:
    page = sign_in(context, relay, admin_key(relay))
    expect(page.locator("#key-error")).to_contain_text("enter the game id, too")
    page.locator("#key").fill(admin_key(relay))
    page.locator("#game").fill(game[0])
    page.keyboard.press("Enter")
    expect(page.locator("#overview-game")).to_contain_text(game[0])


def test_signing_out_forgets_the_key(context: BrowserContext, relay: Fairscore, game: tuple[str, GameServer]) -> None:
    asked: list[str] = []
    context.on("request", lambda request: asked.append(request.url))
    page = sign_in(context, relay, game[1].secret)
    expect(page.locator("#connection-text")).to_have_text("Live")
    page.reload()  # this tab remembers
    expect(circulating(page)).to_have_text("2,000")
    page.get_by_role("button", name="Sign out").click()
    expect(page.locator("#entrance")).to_be_visible()
    expect(page.locator("#key")).to_have_value("")
    assert page.evaluate("[sessionStorage.length, document.cookie]") == [0, ""]
    assert game[1].secret not in page.content()
    assert game[1].secret not in page.evaluate("JSON.stringify(localStorage)")
    assert not [url for url in [*asked, page.url] if game[1].secret in url]
    page.reload()
    expect(page.locator("#entrance")).to_be_visible()


def test_a_lost_server_is_said_and_followed_again(
    context: BrowserContext, relay: Fairscore, game: tuple[str, GameServer], complaints: list[str]
) -> None:
    page = sign_in(context, relay, game[1].secret)
    expect(page.locator("#connection-text")).to_have_text("Live")
    page.route("**/api/economy/**", lambda route: route.abort("connectionrefused"))
    expect(page.locator("#connection-text")).to_have_text("Offline — retrying")
    expect(circulating(page)).to_have_text("2,000")  # what was known stays readable
    page.unroute("**/api/economy/**")
    page.locator("#retry-now").click()
    expect(page.locator("#connection-text")).to_have_text("Live")
    assert [text for text in complaints if not REFUSALS.search(text)] == []


def test_an_empty_economy_teaches(context: BrowserContext, relay: Fairscore) -> None:
    page = sign_in(context, relay, admin_key(relay), "streambeat")
    expect(page.get_by_text("No currency yet")).to_be_visible()
    expect(page.locator("#teaching pre")).to_contain_text(f"{relay.url}/api/economy/currencies?gameId=streambeat")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_phone_shows_it_without_sideways_scrolling(
    context: BrowserContext, relay: Fairscore, game: tuple[str, GameServer], scheme: Any
) -> None:
    page = sign_in(context, relay, game[1].secret)
    page.emulate_media(color_scheme=scheme)
    page.set_viewport_size({"width": 360, "height": 740})
    expect(circulating(page)).to_have_text("2,000")
    assert page.evaluate("document.documentElement.scrollWidth") <= 360


def test_the_two_pages_lead_to_each_other(context: BrowserContext, relay: Fairscore, complaints: list[str]) -> None:
    page = context.new_page()
    page.goto(relay.url)
    page.get_by_role("link", name="Economy").click()
    expect(page.locator("#entrance")).to_be_visible()
    page.get_by_role("link", name="Leaderboard").first.click()
    expect(page.locator("#board-title")).to_be_visible()
    assert complaints == []
