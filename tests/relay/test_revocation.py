"""What a request to revoke or reinstate changes: every status, every last order; and when a revocation lapses."""

import itertools
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.attestation import Domain
from relay.revocation import (
    UNDER_WAY,
    UNSENT,
    Action,
    Order,
    Place,
    Refuse,
    State,
    Unchanged,
    WaitingOrder,
    Withdraw,
    decisive,
    evidence,
    lapses,
    leaves_revoked,
    plans,
    respond,
    signed_until,
    why_unrecorded,
)

REVOKE, REINSTATE = Action.REVOKE, Action.REINSTATE
STANDING = ("accepted", "held", "queued", "sent", "included", "final", "parked")


@pytest.mark.parametrize("status", STANDING)
def test_what_stands_can_be_revoked_and_not_reinstated(status: str) -> None:
    assert respond(REVOKE, status, ()) == Place()
    answer = respond(REINSTATE, status, ())
    assert isinstance(answer, Refuse)
    assert answer.code == "SUBMISSION_NOT_REVOKED"


@pytest.mark.parametrize("action", Action)
def test_what_was_refused_has_no_score(action: Action) -> None:
    answer = respond(action, "rejected", ())
    assert isinstance(answer, Refuse)
    assert answer.code == {REVOKE: "SUBMISSION_NOT_ACCEPTED", REINSTATE: "SUBMISSION_NOT_REVOKED"}[action]


@pytest.mark.parametrize(("action", "last", "state"), list(itertools.product(Action, Action, State)))
def test_every_request_after_every_last_order(action: Action, last: Action, state: State) -> None:
    before = [] if last is REVOKE else [Order(1, REVOKE, State.FINAL)]
    orders = [*before, Order(2, last, state)]
    revoked = leaves_revoked(decisive(orders))
    answer = respond(action, "revoked" if revoked else "final", orders)
    if not revoked:
        assert answer == (Place() if action is REVOKE else Unchanged(2))
    elif state is State.WITHDRAWN:  # a reinstatement was: the revocation before it stands
        assert answer == (Unchanged(1) if action is REVOKE else Place())
    elif action is last:
        assert answer == Unchanged(2)
    elif state in UNSENT:
        assert answer == Withdraw(2, revoked=last is REINSTATE)
    else:
        assert answer == Place()


class Ledger:
    """A submission as the store would keep it, with orders that move on by chance."""

    def __init__(self) -> None:
        self.status = "final"
        self.orders: list[Order] = []

    def ask(self, action: Action) -> None:
        """Carry out a request."""
        answer = respond(action, self.status, self.orders)
        if isinstance(answer, Place):
            self.orders.append(Order(len(self.orders) + 1, action, State.WAITING))
            self.status = "revoked"
        elif isinstance(answer, Withdraw):
            self._set(answer.seq, State.WITHDRAWN)
            self.status = "revoked" if answer.revoked else "final"

    def advance(self) -> None:
        """Let the oldest unresolved order take its next step."""
        path = (State.WAITING, *UNDER_WAY, State.FINAL)
        for order in self.orders:
            if order.state in path[:-1]:
                self._set(order.seq, path[path.index(order.state) + 1])
                break
        self.status = "revoked" if leaves_revoked(decisive(self.orders)) else "final"

    def _set(self, seq: int, state: State) -> None:
        self.orders = [Order(o.seq, o.action, state) if o.seq == seq else o for o in self.orders]


@given(st.lists(st.sampled_from([REVOKE, REINSTATE, None]), max_size=40))
def test_orders_alternate_one_waits_one_is_under_way_and_the_last_word_wins(story: list[Action | None]) -> None:
    ledger, wanted = Ledger(), REINSTATE
    for action in story:
        if action is None:
            ledger.advance()
        else:
            ledger.ask(action)
            wanted = action
        states = [order.state for order in ledger.orders]
        assert states.count(State.WAITING) <= 1
        assert sum(state in UNDER_WAY for state in states) <= 1
        kept = [order.action for order in ledger.orders if order.state is not State.WITHDRAWN]
        assert all(one is not other for one, other in itertools.pairwise(kept))
    for _ in range(10):
        ledger.advance()
    assert ledger.status == ("revoked" if wanted is REVOKE else "final")
    assert all(order.state in (State.FINAL, State.WITHDRAWN) for order in ledger.orders)


def waiting(seq: int = 1, game: str = "streambeat", **changes: int | bool | str) -> WaitingOrder:
    """An order that waits."""
    made = WaitingOrder(seq, f"rev_{seq}", f"sub_{seq}", game, seq, "why", seq, None, 5_000, False, False)
    return made._replace(**changes)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("carried", "final_at", "lapsed"),
    [(False, 8_601, True), (False, 8_600, False), (True, 8_601, False), (True, 10**9, False)],
)
def test_a_revocation_lapses_only_after_every_signature_has(carried: bool, final_at: int, lapsed: bool) -> None:
    """The receipt's deadline is 5,000; the margin between clocks, 3,600 s."""
    assert lapses(waiting(carried=carried), 60, final_at) is lapsed


def test_the_latest_signature_counts() -> None:
    assert signed_until(waiting(receipt_deadline=10**9), 60) == 10**9 + 3_600
    assert signed_until(waiting(asked_at_ms=10**12), 60) == 10**9 + 60 + 3_600


def test_what_a_revocation_waits_for() -> None:
    assert "own transaction" in why_unrecorded(waiting(carried=True))
    assert "until 5000 (unix time)" in why_unrecorded(waiting())


def test_plans_hold_one_game_each_and_small_ones_wait_for_company() -> None:
    orders = [waiting(n, "a" if n % 3 else "b") for n in range(1, 10)]
    full = plans(orders, 10, 1_000, 2)
    assert [[one.seq for one in plan] for plan in full] == [[1, 2], [3, 6], [4, 5], [7, 8]]
    assert plans(orders, 1_009, 1_000, 2)[-1] == [orders[8]]
    assert plans([], 10, 0, 2) == []


def test_evidence_is_canonical_and_names_every_order() -> None:
    orders = [waiting(7, reason="Möbel\n"), waiting(9)]
    domain = Domain(1, b"\x03" * 20)
    body = evidence(domain, REVOKE, orders)
    document = json.loads(body)
    assert [one["roundId"] for one in document["orders"]] == [7, 9]
    assert document["orders"][0]["reason"] == "Möbel\n"
    assert document["type"] == "fairscore-moderation@1"
    assert body == evidence(domain, REVOKE, orders)
    assert body != evidence(domain, REINSTATE, orders)
