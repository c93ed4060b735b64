"""The panels of the economy's page against the real `fairscore run`: players, transactions, market, flags."""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import BrowserContext, Locator, Page, expect

from tests.harness.game_server import GameServer, register
from tests.harness.process import FAIRSCORE, Fairscore

HOSTILE = "<img src=x onerror=alert(1)>"


@pytest.fixture(scope="module")
def relay(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fairscore]:
    """One `fairscore run`, shared; each test has its own game."""
    with Fairscore(tmp_path_factory.mktemp("economy_panels") / "home") as running:
        yield running


def devnet(relay: Fairscore) -> Any:
    return json.loads((relay.home / "devnet.json").read_text())


@pytest.fixture
def game(relay: Fairscore) -> GameServer:
    """The server of a game with gold, swords and players."""
    _, server = register(relay.url, str(devnet(relay)["keys"]["admin"]), ann=1_000, bob=1_000)
    sword = {"itemId": "sword", "name": "Sword", "prices": [{"currencyId": "gold", "amount": 50}]}
    assert server.call("POST", "/api/economy/items", sword).data
    return server


def opened(context: BrowserContext, relay: Fairscore, game: GameServer) -> Page:
    page = context.new_page()
    page.goto(f"{relay.url}/economy")
    page.locator("#key").fill(game.secret)
    page.keyboard.press("Enter")
    expect(page.locator("#connection-text")).to_have_text("Live")
    return page


def rows(page: Page, panel: str) -> Locator:
    return page.locator(f"#{panel} > .scroll tbody tr")


def test_a_player_is_found_and_what_is_owned_stays_live(
    context: BrowserContext, relay: Fairscore, game: GameServer, complaints: list[str]
) -> None:
    assert game.do("purchase", externalId="ann", itemId="sword", quantity=3).data
    listed: dict[str, Any] = {"externalId": "ann", "itemId": "sword", "quantity": 1, "currencyId": "gold", "price": 70}
    assert game.do("marketplace/list", **listed).data
    page = opened(context, relay, game)
    expect(rows(page, "players")).to_have_count(3)
    page.get_by_label("Id or name contains").fill("an")
    expect(rows(page, "players")).to_have_count(1)
    page.locator("#players button", has_text="ann").click()
    player = page.locator("#player")
    expect(player.locator("tr", has_text="gold").first).to_contain_text("850")
    expect(player.get_by_role("row", name="sword 2 1")).to_be_visible()
    assert game.do("grant", externalId="ann", currencyId="gold", amount=50).data
    expect(player.locator("tr", has_text="gold").first).to_contain_text("900")
    player.get_by_role("button", name="Close").click()
    expect(player).to_be_hidden()
    assert complaints == []


def test_transactions_appear_are_filtered_and_proved(
    context: BrowserContext, relay: Fairscore, game: GameServer, tmp_path: Path
) -> None:
    page = opened(context, relay, game)
    opening = rows(page, "transactions").count()
    made = game.do("transfer", fromExternalId="ann", toExternalId="bob", currencyId="gold", amount=77).data
    first = rows(page, "transactions").first
    expect(first).to_contain_text("77 gold: ann → bob")
    expect(rows(page, "transactions")).to_have_count(opening + 1)
    page.locator("#transactions").get_by_label("Type").select_option("transfer")
    expect(rows(page, "transactions")).to_have_count(1)
    page.locator("#transactions").get_by_label("Player").fill("eve")
    expect(page.locator("#transactions .message")).to_contain_text("No transaction fits")
    page.locator("#transactions").get_by_label("Player").fill("bob")
    link = page.locator(f"[data-transaction={made['transactionId']}] a")
    expect(link).to_have_text("anchored", timeout=120_000)
    with page.expect_download() as saved:
        link.click()
    proof = tmp_path / "proof.json"
    saved.value.save_as(proof)
    chain = [
        "--rpc-url",
        f"{relay.url}/devnet/rpc",
        "--contract",
        relay.get("/api/signing")["domain"]["verifyingContract"],
    ]
    proved = subprocess.run([FAIRSCORE, "verify-proof", proof, *chain], capture_output=True, text=True, check=False)
    assert proved.returncode == 0, (proved.stdout, proved.stderr)
    first.get_by_role("button").click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("fairscore verify-proof")
    page.keyboard.press("Escape")
    expect(dialog).to_be_hidden()


def test_more_is_read_and_what_is_new_joins_it(context: BrowserContext, relay: Fairscore, game: GameServer) -> None:
    for amount in range(1, 41):
        assert game.do("spend", externalId="ann", currencyId="gold", amount=amount).data
    page = opened(context, relay, game)
    page.locator("#transactions").get_by_label("Type").select_option("spend")
    expect(rows(page, "transactions").first).to_contain_text("40 gold")
    expect(rows(page, "transactions")).to_have_count(20)
    page.locator("#transactions").get_by_role("button", name="More").click()
    expect(rows(page, "transactions")).to_have_count(40)
    assert game.do("spend", externalId="ann", currencyId="gold", amount=41).data
    expect(rows(page, "transactions")).to_have_count(41)
    expect(rows(page, "transactions").first).to_contain_text("41 gold")
    expect(rows(page, "transactions").last).to_contain_text("1 gold: ann → burn")


def test_the_market_is_what_can_be_bought(context: BrowserContext, relay: Fairscore, game: GameServer) -> None:
    page = opened(context, relay, game)
    expect(page.locator("#market .message")).to_contain_text("Nothing is for sale")
    assert game.do("purchase", externalId="ann", itemId="sword").data
    listed: dict[str, Any] = {"externalId": "ann", "itemId": "sword", "quantity": 1, "currencyId": "gold", "price": 70}
    listing = game.do("marketplace/list", **listed).data["listingId"]
    expect(rows(page, "market")).to_contain_text(["sword"])
    expect(rows(page, "market").first).to_contain_text("70 gold")
    assert game.do("marketplace/buy", externalId="bob", listingId=listing).data
    expect(rows(page, "market")).to_have_count(0)


def test_flags_are_told_with_their_reason(context: BrowserContext, relay: Fairscore, game: GameServer) -> None:
    page = opened(context, relay, game)
    expect(page.locator("#flags .message")).to_contain_text("No such flag")
    assert game.do("grant", externalId="ann", currencyId="gold", amount=1_000_001).code == "MAX_AMOUNT_EXCEEDED"
    expect(rows(page, "flags")).to_have_count(1)
    expect(rows(page, "flags").first).to_contain_text("MAX_AMOUNT_EXCEEDED")
    expect(rows(page, "flags").first.locator("[data-state=critical]")).to_be_visible()
    page.locator("#flags").get_by_label("Severity").select_option("warning")
    expect(rows(page, "flags")).to_have_count(0)


def test_names_of_strangers_are_text(
    context: BrowserContext, relay: Fairscore, game: GameServer, complaints: list[str]
) -> None:
    stranger = {"externalId": HOSTILE, "displayName": "<b>Mallory</b>"}
    assert game.call("POST", "/api/economy/players", stranger).data
    assert game.do("grant", externalId=HOSTILE, currencyId="gold", amount=5).data
    page = opened(context, relay, game)
    page.locator("#players button", has_text=HOSTILE).click()
    expect(page.locator("#player h3")).to_have_text(HOSTILE)
    expect(page.locator("#player tr", has_text="gold").first).to_contain_text("5")
    expect(rows(page, "players").filter(has_text="<b>Mallory</b>")).to_have_count(1)
    assert page.locator("main img, main b").count() == 0
    assert complaints == []
