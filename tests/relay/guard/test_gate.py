"""What the guard says of one attempt: texts, order, and what consumes."""

from typing import Any

import pytest

from relay.economy.config import DEFAULTS, EconomyConfig, patched, read
from relay.errors import PROBLEMS
from relay.flag_kinds import ECONOMY_KINDS
from relay.guard import amounts, limits
from relay.guard.amounts import Moved
from relay.guard.gate import Attempt, Ruling, executed, rule
from relay.guard.limits import WINDOW_MS, Window


class Player:
    """One player of a game with these settings, doing one thing."""

    def __init__(self, action: str = "grant", **settings: Any) -> None:
        self.config: EconomyConfig = read(patched(DEFAULTS, settings), 7)
        self.action, self.now_ms = action, 1_000_000
        self.rate: Window = limits.empty()
        self.moved: dict[str, Moved] = {"gold": amounts.empty(), "gems": amounts.empty()}

    def tries(self, gold: int = 1, *, works: bool = True, **others: int) -> Ruling:
        attempt = Attempt("g", self.action, "alice", {"gold": gold, **others})
        ruling = rule(attempt, self.config, self.rate, self.moved, self.now_ms)
        if ruling.admit and works:
            executed(attempt, self.config, self.moved, self.now_ms)
        return ruling


def test_the_sixty_first_grant_is_refused_with_the_text_that_clients_know() -> None:
    alice = Player()
    assert all(alice.tries().admit for _ in range(60))
    ruling = alice.tries()
    assert ruling.refusal == ("RATE_LIMITED", "Rate limit exceeded: grant (61/60 per minute)", WINDOW_MS)
    (flag,) = ruling.flags
    reason = "Rate limit exceeded: grant (61/60 per minute)"
    assert (flag.reason, flag.severity, flag.player_id) == (reason, "warning", "alice")
    assert flag.context == {"action": "grant", "count": 61, "limit": 60, "configVersion": 7}
    assert alice.tries().flags[0].reason == "Rate limit exceeded: grant (62/60 per minute)"
    alice.now_ms += WINDOW_MS
    assert alice.tries().admit


@pytest.mark.parametrize(("action", "limit"), [("grant", 60), ("craft", 10), ("marketplace_list", 5)])
def test_each_action_has_its_limit(action: str, limit: int) -> None:
    alice = Player(action)
    assert [alice.tries().admit for _ in range(limit + 1)] == [True] * limit + [False]


def test_the_highest_amount_passes_and_one_more_is_critical() -> None:
    alice = Player()
    assert alice.tries(1_000_000).admit
    ruling = alice.tries(1_000_001)
    reason = "Transaction amount exceeded: grant (1000001/1000000 gold)"
    assert ruling.refusal == ("MAX_AMOUNT_EXCEEDED", reason, None)
    assert (ruling.flags[0].severity, ruling.flags[0].reason) == ("critical", reason)


def test_what_is_refused_consumes_nothing() -> None:
    """However often an amount is refused, sixty good ones pass; and the text of the limit counts all attempts."""
    alice = Player()
    for _ in range(100):
        ruling = alice.tries(1_000_001)
        assert ruling.rate is not None
        assert (ruling.rate.remaining, ruling.admit) == (60, False)
    assert all(alice.tries().admit for _ in range(60))
    assert alice.tries().flags[0].reason == "Rate limit exceeded: grant (161/60 per minute)"


def test_an_amount_within_the_window_counts_when_it_was_executed() -> None:
    alice = Player("spend", amountPerWindow={"spend": 100})
    assert alice.tries(60, works=False).admit
    assert alice.tries(60).admit
    ruling = alice.tries(41)
    reason = "Amount limit exceeded: spend (101/100 gold per minute)"
    assert ruling.refusal == ("AMOUNT_WINDOW_EXCEEDED", reason, WINDOW_MS)
    assert ruling.flags[0].context["moved"] == 60
    assert alice.tries(40, gems=100).admit
    assert not alice.tries(1).admit
    alice.now_ms += WINDOW_MS
    assert alice.tries(100).admit


def test_every_currency_and_both_amount_checks_are_looked_at() -> None:
    alice = Player(amountPerWindow={"default": 50}, maxTransactionAmount=100)
    ruling = alice.tries(101, gems=51)
    assert [flag.code for flag in ruling.flags] == [
        "MAX_AMOUNT_EXCEEDED", "AMOUNT_WINDOW_EXCEEDED", "AMOUNT_WINDOW_EXCEEDED",
    ]  # fmt: skip
    assert ruling.refusal is not None
    assert ruling.refusal.code == "MAX_AMOUNT_EXCEEDED"


def test_the_guard_can_be_switched_off() -> None:
    alice = Player(enabled=False)
    for _ in range(100):
        assert alice.tries(10**9) == (None, (), None, 7)


def test_every_refusal_and_every_flag_is_explained() -> None:
    assert PROBLEMS["MAX_AMOUNT_EXCEEDED"].status == 422
    assert PROBLEMS["AMOUNT_WINDOW_EXCEEDED"].status == PROBLEMS["RATE_LIMITED"].status == 429
    assert {kind.severity for kind in ECONOMY_KINDS.values()} == {"warning", "critical"}
