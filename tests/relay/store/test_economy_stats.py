"""An economy in numbers: what the tallies lead to is what the ledger itself says of each moment."""

import random
from collections.abc import Sequence

import pytest
from sqlalchemy import Connection

from relay.economy import drafts, entries
from relay.economy.drafts import By, Draft
from relay.economy.entries import BURN, MINT, TAX, Move
from relay.economy.ledger import Posted, Transaction
from relay.economy.series import WINDOWS, Level, levels
from relay.store import economy_stats, ledger_view, tallies
from tests.harness.ledgers import BY, NOW, PLAYERS, found_game, ledger_at, post, reverse

GAME, OTHER = "chess", "go"
GOLD, SWORD = entries.currency("gold"), entries.item("sword")
ANN, HELD = entries.wallet("ann"), entries.escrow("ann")
HOUR_MS = 3_600_000


def any_draft(draw: random.Random) -> Draft:
    """A booking that changes the supply in some way, or only moves it about."""
    amount = draw.randrange(1, 20)
    return draw.choice(
        [
            drafts.grant("ann", "gold", amount, BY),
            drafts.spend("ann", "gold", amount, BY),
            drafts.transfer("ann", "bob", "gold", amount, BY),
            drafts.draft("list", BY, [Move(GOLD, amount, ANN, HELD), Move(SWORD, 1, MINT, HELD)]),
            drafts.draft("cancel", BY, [Move(GOLD, 1, HELD, ANN)]),
            drafts.draft("buy", BY, [Move(GOLD, amount, ANN, TAX)]),
        ]
    )


def played(c: Connection, moments: Sequence[int]) -> None:
    """Book something at each moment, in two games; some of it is reversed later."""
    draw = random.Random(11)
    for game_id in (GAME, OTHER):
        found_game(c, game_id)
    rich = drafts.draft("opening", BY, [Move(GOLD, 5_000, MINT, ANN), Move(GOLD, 50, ANN, HELD)])
    post(c, {GAME: [rich], OTHER: [drafts.grant("ann", "gold", 3, BY)]}, moments[0])
    for at_ms in moments[1:]:
        drafted = any_draft(draw)
        outcome = post(c, {GAME: [drafted], OTHER: [drafts.grant("ann", "gold", 3, BY)]}, at_ms)[GAME][0]
        if isinstance(outcome, Posted) and drafted.type in {"grant", "spend"} and draw.random() < 0.3:
            reverse(c, GAME, outcome.transaction.id, By("admin", "key_1", 1, "wrong"), at_ms + 1)


def level_at(told: Sequence[Transaction], end_ms: int) -> Level:
    """Where all gold was, by telling the ledger up to a moment."""
    found = dict.fromkeys(("minted", "burned", "taxed", "escrowed"), 0)
    names = {MINT: "minted", BURN: "burned", TAX: "taxed"}
    for one in told:
        for (account, asset), change in one.draft.net.items():
            if asset == GOLD and one.at_ms < end_ms and not entries.is_wallet(account):
                found[names.get(account, "escrowed")] += -change if account == MINT else change
    return Level(**found)


@pytest.mark.parametrize("name", WINDOWS)
def test_every_level_is_what_the_ledger_was_then(database_url: str, name: str) -> None:
    """At the end of each step of each window, bookings older than the window, reversals and other games included."""
    window = WINDOWS[name]
    span_ms = window.steps * window.step_s * 1_000
    draw = random.Random(5)
    moments = sorted(NOW - draw.randrange(int(span_ms * 1.2)) for _ in range(60))
    with ledger_at(database_url) as database, database.write() as c:
        played(c, moments)
        found = economy_stats.stats(c, GAME, window, NOW)
        told = [ledger_view.parsed(body) for body in ledger_view.read(c, GAME, 0, 1_000)]
    now = Level(*found.supply[GOLD][:4])
    assert now == level_at(told, NOW + 2)
    shown = levels(found.steps, now, found.changes["gold"])
    assert shown[:-1] == [level_at(told, end_ms) for end_ms in found.steps.ends_ms[:-1]]
    assert len(set(shown)) > 10
    assert (found.head[0], found.players) == (len(told), len(PLAYERS))
    assert [(one.item_id, one.supply.escrowed > 0) for one in found.items] == [("sword", True)]


def test_operations_are_counted_by_step_and_code(database_url: str) -> None:
    """In minutes and in hours, added up over groups; another game's are its own."""
    with ledger_at(database_url) as database, database.write() as c:
        for at_ms, counted in (
            (NOW - 2 * HOUR_MS, {(GAME, "grant", "ok"): 7}),
            (NOW - 120_000, {(GAME, "grant", "ok"): 2, (GAME, "grant", "RATE_LIMITED"): 3, (OTHER, "spend", "ok"): 9}),
            (NOW - 119_000, {(GAME, "spend", "RATE_LIMITED"): 4, (GAME, "grant", "ok"): 1}),
            (NOW, {(GAME, "spend", "ok"): 1}),
        ):
            tallies.add_operations(c, counted, at_ms)
        hour = economy_stats.stats(c, GAME, WINDOWS["1h"], NOW)
        week = economy_stats.stats(c, GAME, WINDOWS["7d"], NOW)
    assert sorted((name, times) for name, _, times in hour.operations) == [("grant", 3), ("spend", 1)]
    last = WINDOWS["1h"].steps - 1
    assert {(name, last - number) for name, number, _ in hour.operations} == {("grant", 2), ("spend", 0)}
    assert sum(times for _, _, times in hour.refusals) == 7
    assert {code for code, _, _ in hour.refusals} == {"RATE_LIMITED"}
    assert sum(times for name, _, times in week.operations if name == "grant") == 10
