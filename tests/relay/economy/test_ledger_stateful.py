"""Any sequence of bookings, with crashes between any two statements: the ledger holds, and is what a model says."""

import uuid
from functools import partial
from operator import ne
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from relay.economy import drafts, entries
from relay.economy.drafts import Draft
from relay.economy.entries import BURN, MINT, TAX, Position
from relay.economy.ledger import Posted, Refusal
from relay.store import ledger
from relay.store.engine import Database
from tests.harness.crashing import CrashError, crashing
from tests.harness.ledgers import BY, NOW, PLAYERS, all_balances, check_ledger, found_game, ledger_at, post, reverse

ASSETS = ("currency:gold", "currency:gems", "item:sword")
CAPS = {"currency:gems": 50, "item:sword": 5}
POSITIONS = [
    (account, asset) for name in PLAYERS for account in (f"player:{name}", f"escrow:{name}") for asset in ASSETS
]


@st.composite
def moves(draw: st.DrawFn) -> Draft:
    """One to four moves between any accounts: more than any operation does."""
    lines = []
    for _ in range(draw(st.integers(1, 3))):
        asset = draw(st.sampled_from(ASSETS))
        account = st.sampled_from([f"player:{name}" for name in PLAYERS] + [f"escrow:{name}" for name in PLAYERS])
        source = draw(st.just(MINT) | st.just(MINT) | account)  # or little could ever be booked
        target = draw((account | st.sampled_from([BURN, TAX])).filter(partial(ne, source)))
        amount = draw(st.sampled_from([1, 1, 2, 3, 5, 8, 13, 21, 50, entries.AMOUNT_MAX]))
        lines.append(entries.moved(asset, amount, source, target))
    reference = draw(st.none() | st.sampled_from([f"order {n}" for n in range(20)]))
    by = BY._replace(reference=reference)
    return drafts.draft(draw(st.sampled_from(["purchase", "craft", "loot", "buy"])), by, lines, caps=CAPS, n=1)


class Ledger(RuleBasedStateMachine):
    """Drafts in groups, reversals, frozen wallets and crashes, against a dictionary."""

    database: Database

    def __init__(self) -> None:
        super().__init__()
        self.game_id = uuid.uuid4().hex  # every example has its own game in one database
        self.model: dict[Position, int] = {}
        self.frozen: set[Position] = set()
        self.references: set[str] = set()
        self.done: dict[str, Draft] = {}  # by transaction id
        self.reversals: dict[str, str] = {}

    @initialize()
    def found(self) -> None:
        with self.database.write() as c:
            found_game(c, self.game_id)

    @rule(group=st.lists(moves(), min_size=1, max_size=6))
    def post(self, group: list[Draft]) -> None:
        with self.database.write() as c:
            outcomes = post(c, {self.game_id: group}, NOW)[self.game_id]
        for draft, outcome in zip(group, outcomes, strict=True):
            self.expect(draft, outcome)

    @rule(group=st.lists(moves(), min_size=1, max_size=3), after=st.integers(0, 12))
    def crash(self, group: list[Draft], after: int) -> None:
        """Nothing is stored of a group whose process dies, wherever it dies; invariants look below."""
        with pytest.raises(CrashError), crashing(self.database, after):
            self.post_and_die(group)

    def post_and_die(self, group: list[Draft]) -> None:
        with self.database.write() as c:
            post(c, {self.game_id: group}, NOW)
            raise CrashError

    @rule(data=st.data())
    def reverse(self, data: st.DataObject) -> None:
        transaction_id = data.draw(st.sampled_from([*self.done, "txn_unknown"]))
        with self.database.write() as c:
            outcome = reverse(c, self.game_id, transaction_id, BY, NOW)
        original = self.done.get(transaction_id)
        if original is None:
            assert outcome == Refusal("TRANSACTION_UNKNOWN", "The game has no transaction txn_unknown.")
        elif original.type not in drafts.REVERSIBLE:
            assert isinstance(outcome, Refusal)
            assert outcome.code == "NOT_REVERSIBLE"
        elif transaction_id in self.reversals:
            assert isinstance(outcome, Posted)
            assert outcome.replayed
            assert outcome.transaction.id == self.reversals[transaction_id]
        else:
            undoing = drafts.reversal(transaction_id, original, BY)
            assert undoing is not None
            self.expect(undoing, outcome)

    @rule(position=st.sampled_from(POSITIONS))
    def freeze_or_thaw(self, position: Position) -> None:
        with self.database.write() as c:
            if position in self.frozen:
                assert ledger.thaw(c, self.game_id, position)
                self.frozen.remove(position)
            elif ledger.freeze(c, self.game_id, position, "looks odd", NOW):
                self.frozen.add(position)
            else:
                assert position not in self.model

    @invariant()
    def holds(self) -> None:
        def look(c: Any) -> None:
            check_ledger(c, self.game_id)
            assert all_balances(c, self.game_id) == {key: n for key, n in self.model.items() if n}

        self.database.read_now(look)

    def expect(self, draft: Draft, outcome: Posted | Refusal) -> None:
        """The outcome is what the model says, and the model goes on."""
        code = self.refusal(draft)
        if code is not None:
            assert isinstance(outcome, Refusal)
            assert outcome.code in code
            return
        assert isinstance(outcome, Posted), outcome
        assert not outcome.replayed
        for position, change in draft.net.items():
            self.model[position] = self.model.get(position, 0) + change
        for position, amount in outcome.transaction.balances.items():
            assert amount == self.model[position]
        self.done[outcome.transaction.id] = draft
        if draft.reference is not None:
            self.references.add(draft.reference)
        if draft.reverses is not None:
            self.reversals[draft.reverses] = outcome.transaction.id

    def refusal(self, draft: Draft) -> set[str] | None:
        """The codes that may refuse a draft, None where it must be booked."""
        if draft.reference in self.references:
            return {"REFERENCE_EXISTS"}
        codes = set()
        after = {position: self.model.get(position, 0) + change for position, change in draft.net.items()}
        for (account, asset), amount in after.items():
            if (account, asset) in self.frozen:
                codes.add("WALLET_FROZEN")
            if account == MINT and amount < -entries.AMOUNT_MAX:
                codes.add("SUPPLY_EXCEEDED")
            if account != MINT and amount < 0:
                codes |= {"INSUFFICIENT_ITEMS"} if asset.startswith("item") else {"INSUFFICIENT_BALANCE"}
        for name in PLAYERS:
            for asset, cap in CAPS.items():
                both = [(f"{kind}:{name}", asset) for kind in ("player", "escrow")]
                owned = sum(after.get(key, self.model.get(key, 0)) for key in both)
                gains = sum(draft.net.get(key, 0) for key in both) > 0 and both[0] in draft.net
                if draft.reverses is None and gains and owned > cap:
                    codes.add("MAX_BALANCE_EXCEEDED")
        return codes or None


def test_any_sequence_of_bookings_and_crashes_leaves_a_ledger_that_holds(database_url: str) -> None:
    """Sums are zero, nothing is negative, the chain is whole, and the balances are the model's."""
    with ledger_at(database_url) as opened:

        class Here(Ledger):
            database = opened

        run_state_machine_as_test(
            Here,
            settings=settings(
                max_examples=25,
                stateful_step_count=15,
                deadline=None,
                suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
            ),
        )
        check_one_more(opened)


def check_one_more(database: Database) -> None:
    """The database still takes bookings."""
    with database.write() as c:
        found_game(c, "last")
        outcome = post(c, {"last": [drafts.grant("ann", "gold", 5, BY)]}, NOW)["last"][0]
    assert isinstance(outcome, Posted)
