"""What the page does before anything is submitted: form, preview, player, tooltips, theme, contrast, keyboard."""

import random
import re
from typing import Any

import pytest
from playwright.sync_api import BrowserContext, Page, expect

from relay.rules.ruleset import Context
from relay.rules.streambeat import Counts, Play, StreambeatParameters, computed_score

CHECKSUMMED = "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed"


@pytest.fixture
def form(context: BrowserContext, module_files: str) -> Page:
    """The page without a server behind it: everything but the board and submitting works."""
    page = context.new_page()
    page.goto(f"{module_files}/index.html")
    expect(page.locator("#submit")).to_be_enabled()
    return page


def test_the_preview_is_the_relays_own_formula(blank: Page) -> None:
    source = random.Random(2652)
    plays: list[dict[str, int]] = [{"perfect": 45, "good": 12, "combo": 42}, {"perfect": 2000, "good": 0, "combo": 490}]
    plays += [
        {"perfect": source.randrange(300), "good": source.randrange(300), "combo": source.randrange(700)}
        for _ in range(500)
    ]
    scores = blank.evaluate(
        "async (all) => { const p = await import('/play.js'); return all.map((c) => p.streambeatScore(c).score); }",
        plays,
    )
    limits, context = StreambeatParameters(score_max=10**12), Context(bytes(19) + b"\1")
    expected = [
        computed_score(Play(Counts(score=0, miss=0, game_time=0, **counts), limits, context)) for counts in plays
    ]
    assert scores == expected
    assert scores[:2] == [2652, 1_000_000]


def test_the_prefilled_play_is_the_documented_one(form: Page) -> None:
    expect(form.locator("#preview")).to_have_text("(45×10 + 12×5) × 5.2 =2,652")  # noqa: RUF001 - the page writes a true multiplication sign
    expect(form.locator("#submit")).to_have_text("Submit 2,652")
    expect(form.locator("#cheat")).to_have_text("Try to cheat: claim 5,420")


def test_sliders_numbers_and_preview_follow_each_other(form: Page) -> None:
    form.get_by_role("spinbutton", name="Perfect hits").fill("100")
    expect(form.get_by_role("slider", name="Perfect hits")).to_have_value("100")
    expect(form.locator("#preview strong")).to_have_text("5,512")
    form.get_by_role("slider", name="Best combo").fill("600")
    expect(form.get_by_role("spinbutton", name="Best combo")).to_have_value("600")
    expect(form.locator("#preview")).to_contain_text("50.0 (capped)")


def test_half_points_are_shown_but_not_claimed(form: Page) -> None:
    for name, value in {"Perfect hits": "0", "Good hits": "1", "Best combo": "3"}.items():
        form.get_by_role("spinbutton", name=name).fill(value)
    expect(form.locator("#preview strong")).to_have_text("6.5")
    expect(form.locator("#submit")).to_have_text("Submit 6")


@pytest.mark.parametrize("value", ["", "-1", "1.5"])
def test_a_count_that_is_no_whole_number_cannot_be_submitted(form: Page, value: str) -> None:
    form.get_by_role("spinbutton", name="Misses").fill(value)
    expect(form.locator("#submit")).to_be_disabled()
    expect(form.locator("#cheat")).to_be_disabled()
    expect(form.locator("#preview")).to_contain_text("whole number")


def test_the_player_is_random_kept_and_editable(form: Page) -> None:
    player = form.locator("#player")
    first = player.input_value()
    assert re.fullmatch("0x[0-9a-fA-F]{40}", first)
    form.reload()
    expect(player).to_have_value(first)
    form.get_by_role("button", name="A new random player").click()
    expect(player).not_to_have_value(first)
    player.fill(CHECKSUMMED.lower())
    form.reload()
    expect(player).to_have_value(CHECKSUMMED)


def test_a_wrong_address_says_so_and_cannot_be_submitted(form: Page) -> None:
    form.locator("#player").fill(CHECKSUMMED[:-1] + "D")
    expect(form.locator("#player")).to_have_attribute("aria-invalid", "true")
    expect(form.locator("#player-error")).to_contain_text("checksum")
    expect(form.locator("#submit")).to_be_disabled()
    form.locator("#player").fill(CHECKSUMMED)
    expect(form.locator("#player-error")).to_be_empty()
    expect(form.locator("#submit")).to_be_enabled()


def test_levels_are_explained_on_hover_on_focus_and_in_the_legend(form: Page) -> None:
    form.get_by_text("What do the evidence levels mean?").click()
    expect(form.locator("#legend div")).to_have_count(5)
    tip = form.get_by_role("tooltip")
    badge = form.locator("#legend .level").nth(3)
    badge.hover()
    expect(tip).to_contain_text("note by note")
    form.keyboard.press("Escape")
    expect(tip).to_be_hidden()
    form.locator("#legend .level").nth(1).focus()
    expect(tip).to_contain_text("hit counts")
    expect(form.locator("#legend .level").nth(1)).to_have_attribute("aria-describedby", "tip")


def test_the_theme_is_chosen_and_kept(form: Page) -> None:
    background = "getComputedStyle(document.body).backgroundColor"
    form.emulate_media(color_scheme="light")
    light = form.evaluate(background)
    button = form.locator("#theme")
    for label in ("Theme: light", "Theme: dark"):
        button.click()
        expect(button).to_have_attribute("aria-label", label)
    dark = form.evaluate(background)
    assert dark != light
    form.reload()
    expect(button).to_have_attribute("aria-label", "Theme: dark")
    assert form.evaluate(background) == dark
    button.click()
    assert form.evaluate(background) == light
    form.emulate_media(color_scheme="dark")
    assert form.evaluate(background) == dark


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_has_the_contrast_of_wcag_aa(form: Page, scheme: Any) -> None:
    """4.5 to 1 for every pair of text and ground that the style sheet uses (WCAG 2.2, 1.4.3)."""
    form.emulate_media(color_scheme=scheme)
    pairs = [(text, ground) for text in ("ink", "soft") for ground in ("ground", "card", "inset", "you")]
    pairs += [
        ("accent", "card"),
        ("accent", "accent-soft"),
        ("ink", "accent-soft"),
        ("accent-ink", "accent"),
        ("bad", "card"),
        ("bad", "bad-soft"),
    ]
    pairs += [("warn", "card"), ("warn", "warn-soft"), ("card", "ink"), ("card", "bad"), ("info", "card")]
    ratios = form.evaluate(
        """(pairs) => {
            const style = getComputedStyle(document.documentElement);
            const light = (name) => {
                const hex = style.getPropertyValue('--' + name).trim().slice(1);
                const [r, g, b] = [0, 2, 4].map((at) => parseInt(hex.slice(at, at + 2), 16) / 255)
                    .map((c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4));
                return 0.2126 * r + 0.7152 * g + 0.0722 * b;
            };
            return pairs.map(([one, other]) => {
                const [low, high] = [light(one), light(other)].sort((a, b) => a - b);
                return (high + 0.05) / (low + 0.05);
            });
        }""",
        pairs,
    )
    assert {pair: round(ratio, 2) for pair, ratio in zip(pairs, ratios, strict=True) if not ratio >= 4.5} == {}


def test_every_control_has_a_name_and_can_be_reached_by_keyboard(form: Page) -> None:
    nameless = form.evaluate(
        """() => [...document.querySelectorAll(':is(button, input, a[href]):not([hidden])')]
            .filter((e) => !(e.labels?.length || e.getAttribute('aria-label') || e.textContent.trim()))
            .map((e) => e.outerHTML)"""
    )
    assert nameless == []
    form.locator("body").click(position={"x": 5, "y": 400})
    reached = []
    for _ in range(40):
        form.keyboard.press("Tab")
        reached.append(form.evaluate("document.activeElement.id"))
    assert {"theme", "player", "new-player", "perfect", "gameTime", "submit", "cheat"} <= set(reached)
