"""Rounds, tournaments and signing in on the page, against the real `fairscore run`: from wallet to confirmed row."""

import json
import secrets
import urllib.request
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import BrowserContext, Page, Request, expect

from relay.store.engine import open_database
from relay.store.keys import KeyStore
from tests.harness.process import Fairscore
from tests.harness.wallet import LocalWallet

# A play lasts a second at least, so that a round is reported after one; anonymous, as `make run` is.
SETTINGS = """
[games.streambeat]
anonymous_submit = true
identity = "optional"
limits = { submit-score = 1000 }
[games.streambeat.parameters]
gameTimeMsMin = 1000
noteGapMsMin = 10
"""


@dataclass(frozen=True)
class Operator:
    """The game's operator: a server key against a running relay."""

    url: str
    secret: str

    def ask(self, method: str, path: str, body: object, headers: dict[str, str] | None = None) -> dict[str, Any]:
        """One JSON request with the server key."""
        given = {"Authorization": f"Bearer {self.secret}"} if headers is None else headers
        raw = json.dumps(body).encode()
        request = urllib.request.Request(
            self.url + path, raw, {"Content-Type": "application/json", **given}, method=method
        )
        with urllib.request.urlopen(request, timeout=60) as answer:
            document: dict[str, Any] = json.load(answer)
            return document

    def tournament(self, *, confirmed: bool) -> str:
        """Open a tournament; returns its id."""
        body = {"name": f"Cup {secrets.token_hex(3)}", "gameId": "streambeat", "requireConfirmation": confirmed}
        starts = {"startsAt": datetime(2020, 1, 1, tzinfo=UTC).isoformat(), "confirmationTimeout": 600}
        return str(self.ask("POST", "/api/tournaments", {**body, **starts})["id"])

    def confirm(self, tournament_id: str, round_id: str, word: dict[str, Any]) -> dict[str, Any]:
        """What the game's own server says of a round, as a client of escs says it."""
        path = f"/tournaments/{tournament_id}/rounds/{round_id}/game-server-confirmation"
        return self.ask("PUT", path, word, {"escs-game-secret-key": self.secret})


@pytest.fixture(scope="module")
def operator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Operator]:
    """One relay for the module, with a server key."""
    folder: Path = tmp_path_factory.mktemp("rounds")
    (folder / "fairscore.toml").write_text(SETTINGS)
    with Fairscore(folder / "home", settings={"FAIRSCORE_CONFIG": str(folder / "fairscore.toml")}) as server:
        with closing(open_database(f"sqlite:///{folder / 'home' / 'fairscore.db'}")) as database:
            secret = KeyStore(database).create("server", game_id="streambeat").secret
        yield Operator(server.url, secret)


def open_page(context: BrowserContext, operator: Operator, tournament_id: str | None = None) -> Page:
    page = context.new_page()
    page.goto(operator.url if tournament_id is None else f"{operator.url}/?tournament={tournament_id}")
    expect(page.locator("#connection-text")).to_have_text("Live")
    if tournament_id is not None:
        expect(page.locator("#arena")).to_have_value(tournament_id)
    return page


def start_round(page: Page) -> dict[str, Any]:
    """Press the button; returns the round as it was answered."""
    with page.expect_response(lambda answer: answer.url.endswith("/rounds")) as answered:
        page.get_by_role("button", name="Start a round").click()
    expect(page.locator("#round")).to_be_visible()
    started: dict[str, Any] = answered.value.json()
    return started


def test_a_wallet_signs_in_and_its_confirmed_score_is_on_the_board(
    context: BrowserContext, operator: Operator, complaints: list[str]
) -> None:
    """The whole way: SIWE, a round of a tournament, an encrypted report, the game server's word, the chain, the row."""
    wallet = LocalWallet(secrets.token_bytes(32))
    wallet.install(context)
    tournament_id = operator.tournament(confirmed=True)
    page = open_page(context, operator, tournament_id)
    page.get_by_role("button", name="Sign in with Ethereum").click()
    expect(page.locator("#session")).to_contain_text("Signed in until")
    expect(page.locator("#player")).to_have_value(wallet.address)
    expect(page.locator("#player")).not_to_be_editable()

    started = start_round(page)
    assert (started["player"], started["status"]) == (wallet.address, "active")
    page.get_by_role("button", name="Report 2,652").click()
    result = page.locator("#result")
    expect(result.locator("h2")).to_have_text("Reported: 2,652")
    expect(result.locator("[data-step=reported][data-done]")).to_be_visible()
    expect(result).to_contain_text("Waiting for the game's server to confirm it")
    expect(page.locator(f'#rows tr[data-player="{wallet.address}"]')).to_have_count(0)

    operator.confirm(tournament_id, started["_id"], {"isValid": True, "score": 2652})
    expect(result.locator("h2")).to_have_text("Accepted: 2,652")
    expect(result.locator(".level").first).to_have_text("confirmed")
    expect(result.locator(".verified[data-ok=true]").first).to_be_visible()
    row = page.locator(f'#rows tr[data-player="{wallet.address}"]')
    expect(row.locator(".level")).to_have_text("confirmed")
    expect(row.locator(".level")).to_have_attribute("data-level", "2")
    expect(row.locator(".c-score")).to_have_text("2,652")
    expect(result.locator("[data-step=final][data-done]")).to_be_visible()
    place = page.locator(f'#cup-places li[data-player="{wallet.address}"]')
    expect(place).to_contain_text("2,652")
    expect(place.locator(".level")).to_have_text("confirmed")
    expect(page.locator("#cup-state")).to_have_text("provisional")
    codes = result.locator(".checks li[data-code]")
    expect(codes.first).to_be_attached()
    # Each check of a round's verdict is named in words; only its figures show the code.
    names = codes.locator(".check-name").all_inner_texts()
    assert not [name for name in names if name.split(" (")[0].replace("_", "").isupper()]
    row.click()
    expect(page.locator("#details .vouchers")).to_contain_text(f"Played in round {started['_id']}")
    expect(page.locator("#details .vouchers")).to_contain_text("The game's server confirmed 2,652")
    expect(page.locator("#details .vouchers")).to_contain_text("The player was signed in with the wallet")
    expect(page.locator("#details .proof [data-result=fail]")).to_have_count(0)
    assert wallet.asked == ["eth_requestAccounts", "personal_sign"]
    assert complaints == []


def test_the_report_goes_encrypted_over_the_wire(context: BrowserContext, operator: Operator) -> None:
    page = open_page(context, operator, operator.tournament(confirmed=False))
    sent: list[Request] = []
    page.on("request", lambda request: sent.append(request) if request.url.endswith("/end") else None)
    started = start_round(page)
    page.get_by_role("button", name="Report 2,652").click()
    result = page.locator("#result")
    expect(result.locator("h2")).to_have_text("Accepted: 2,652")
    way = result.get_by_role("list", name="Way of the round").locator("li[data-done] > span")
    expect(way).to_have_text(["started", "reported", "accepted"])  # nobody confirmed it
    expect(result.locator(".level")).to_have_text("counts")
    expect(page.get_by_role("spinbutton", name="Time (ms)")).to_have_value("30000")  # as it was before the round
    (report,) = [json.loads(request.post_data or "{}") for request in sent]
    assert sorted(report) == ["encrypted", "keyId"]
    assert report["keyId"] == started["encryptionKeyId"]
    assert "encryptionKey" not in operator.ask("GET", f"/api/rounds/{started['_id']}", None, {})


def test_a_round_the_games_server_does_not_confirm_says_why(context: BrowserContext, operator: Operator) -> None:
    tournament_id = operator.tournament(confirmed=True)
    page = open_page(context, operator, tournament_id)
    started = start_round(page)
    page.get_by_role("button", name="Report 2,652").click()
    result = page.locator("#result")
    expect(result.locator("h2")).to_have_text("Reported: 2,652")
    operator.confirm(tournament_id, started["_id"], {"isValid": True, "score": 2653})
    expect(result.locator("h2")).to_have_text("Invalidated: 2,652")
    expect(result.locator("code").first).to_have_text("BACKEND_SCORE_MISMATCH")
    expect(page.locator("#cup-places")).to_contain_text("Nobody has a score here yet")


def test_a_cheat_in_a_round_uses_it_up(context: BrowserContext, operator: Operator) -> None:
    page = open_page(context, operator, operator.tournament(confirmed=False))
    start_round(page)
    page.get_by_role("button", name="Try to cheat: claim 5,420").click()
    result = page.locator("#result")
    expect(result.locator("h2")).to_have_text("Refused: 5,420")
    expect(result.locator(".checks li").first).to_have_attribute("data-code", "SCORE_MISMATCH")
    expect(page.get_by_role("button", name="Start a round")).to_be_enabled()
    expect(page.locator("#round")).to_be_hidden()


def test_a_round_that_is_over_is_left(context: BrowserContext, operator: Operator) -> None:
    tournament_id = operator.tournament(confirmed=False)
    page = open_page(context, operator, tournament_id)
    start_round(page)
    operator.ask("POST", f"/api/tournaments/{tournament_id}/cancel", {"reason": "rain"})
    page.get_by_role("button", name="Report 2,652").click()
    expect(page.locator("#result code").first).to_have_text("ROUND_INVALIDATED")
    page.get_by_role("button", name="Start a round").click()
    expect(page.locator("#result code").first).to_have_text("TOURNAMENT_NOT_OPEN")
    expect(page.locator("#player")).to_be_editable()


def test_a_session_key_signs_scores_after_one_question(context: BrowserContext, operator: Operator) -> None:
    """The wallet is asked once to delegate; the evidence of both scores then names the key that signed."""
    wallet = LocalWallet(secrets.token_bytes(32))
    wallet.install(context)
    page = open_page(context, operator)
    page.get_by_role("button", name="Sign in with Ethereum").click()
    page.get_by_role("checkbox", name="Sign my scores").check()
    signers: set[str] = set()
    for perfect in ("45", "46"):
        page.get_by_role("spinbutton", name="Perfect hits").fill(perfect)
        with page.expect_response(lambda answer: answer.url.endswith("/api/submit-score")) as answered:
            page.locator("#submit").click()
        expect(page.locator("#result h2")).to_contain_text("Accepted")
        evidence = operator.ask("GET", f"/api/evidence/{answered.value.json()['evidenceHash']}", None, {})
        assert evidence["proof"]["method"] == "session_key"
        signers.add(evidence["proof"]["signer"])
    assert len(signers) == 1
    assert wallet.asked == ["eth_requestAccounts", "personal_sign", "eth_signTypedData_v4"]


def test_who_declines_in_the_wallet_stays_a_guest(context: BrowserContext, operator: Operator) -> None:
    wallet = LocalWallet(secrets.token_bytes(32))
    wallet.declines = True
    wallet.install(context)
    page = open_page(context, operator)
    page.get_by_role("button", name="Sign in with Ethereum").click()
    expect(page.locator("#session [role=alert]")).to_have_text("The wallet did not sign.")
    expect(page.locator("#player")).to_be_editable()
    wallet.declines = False
    page.get_by_role("button", name="Sign in with Ethereum").click()
    page.get_by_role("button", name="Sign out").click()
    expect(page.locator("#player")).to_be_editable()
    page.get_by_role("button", name="Sign in with Ethereum").click()
    expect(page.locator("#session")).to_contain_text("Signed in until")
    page.locator("#arena").select_option(label="Open tournament")  # the one that every relay on a test chain has
    expect(page.locator("#cup-title")).to_have_text("Open tournament")
    assert "tournament=" in page.url
    page.locator("#arena").select_option("")
    expect(page.locator("#cup")).to_be_hidden()
    assert "tournament=" not in page.url
    page.evaluate("changeAccount()")  # another account is another player
    expect(page.get_by_role("button", name="Sign in with Ethereum")).to_be_visible()


def test_names_never_become_markup(context: BrowserContext, operator: Operator, complaints: list[str]) -> None:
    """Those of tournaments, which any game's server chooses, and those of players, which anybody does."""
    cup, player = "<img src=x onerror=alert(1)>", "<svg/onload=alert(2)>"
    made = operator.ask("POST", "/api/tournaments", {"name": cup, "gameId": "streambeat"})
    rounds = f"/tournaments/{made['id']}/rounds"
    started = operator.ask("POST", rounds, {"playerId": player}, {})
    page = open_page(context, operator, made["id"])
    page.wait_for_function(
        "at => Date.now() > at", arg=datetime.fromisoformat(started["createdAt"]).timestamp() * 1e3 + 1e3
    )
    counts = {"score": 2652, "perfect": 45, "good": 12, "miss": 3, "combo": 42, "gameTime": 1000}
    operator.ask("POST", f"{rounds}/{started['_id']}/end", counts, {})
    page.reload()
    expect(page.locator("#cup-title")).to_have_text(cup)
    expect(page.locator("#arena")).to_contain_text(cup)
    expect(page.locator("#cup-places")).to_contain_text(player)
    expect(page.locator("[onerror], [onload]")).to_have_count(0)
    assert complaints == []
