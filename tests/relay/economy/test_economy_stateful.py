"""Any sequence of operations, by two replicas, with retries and crashes between any two statements: all of it holds.

The whole journey of a group is run, on both databases, and every answer, balance, listing, roll, key and count is what
a model of dictionaries says.
"""

import asyncio
import copy
import hashlib
import uuid
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from decimal import Decimal
from typing import Any, NamedTuple

import msgspec
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test
from sqlalchemy import Connection, func, select

from relay import economy_group
from relay.api.economy_answers import render
from relay.economy.catalog import Item, LootEntry, LootTable, Output, Price, Recipe, Stack
from relay.economy.config import patched
from relay.economy.desk import Traded
from relay.economy.entries import Position
from relay.economy.ledger import Refusal
from relay.economy.requests import (
    Asked,
    BuyRequest,
    CancelRequest,
    CraftRequest,
    GrantRequest,
    ListRequest,
    LootRequest,
    Operation,
    PurchaseRequest,
    ReverseRequest,
    SpendRequest,
    TransferRequest,
)
from relay.economy.rolls import verify_roll
from relay.economy.trades import Expire
from relay.economy_entries import Order, Reply
from relay.findings import passed
from relay.guard import limits
from relay.seeds import DAY_MS
from relay.store import catalog, controls, desks, economy_config, ledger, rolls
from relay.store.catalog_tables import economy_rolls, market_listings
from relay.store.engine import Database, open_database
from relay.store.intake import intake_store
from relay.store.kept_answers import Claim
from relay.store.tables import kept_answers, limit_windows
from relay.store.tally_tables import economy_operation_tallies
from relay.store.writer import Writer
from tests.harness.crashing import CrashError, crashing
from tests.harness.economy_model import AMOUNT_MOST, LIMIT, MINUTE_MS, PRICE, TAX_BPS, TRANSFERS_MOST, Model
from tests.harness.ledgers import BY, NOW, PLAYERS, all_balances, check_ledger, found_game, ledger_at

DECLARED = (
    Item("iron", "Iron", prices=(Price("gold", PRICE),)),
    Item("sword", "Sword", max_owned=4),
    Item("relic", "Relic", soulbound=True),
    Recipe(
        "blade", (Output("sword", 1, Decimal("0.5")),), inputs=(Stack("iron", 2),), costs=(Price("gold", 1),),
        cooldown_seconds=1,
    ),
    LootTable(
        "chest", (LootEntry(2, item_id="iron", quantity=3), LootEntry(1, currency_id="gems", amount=9), LootEntry(1))
    ),
)  # fmt: skip
SETTINGS = {
    "rateLimits": {"default": LIMIT, "craft": LIMIT, "marketplace_list": LIMIT},  # these two have others
    "maxTransactionAmount": AMOUNT_MOST,
    "amountPerWindow": {"transfer": TRANSFERS_MOST},
    "marketplaceTaxBps": TAX_BPS,
}
POSITIONS = [
    (f"{kind}:{name}", asset)
    for name in PLAYERS
    for kind, asset in (("player", "currency:gold"), ("player", "item:iron"), ("escrow", "item:iron"))
]


class Draw(NamedTuple):
    """An operation as drawn: of listings and transactions the n-th last; `key`: None, or which of a few."""

    body: Operation
    which: int = 0
    key: int | None = None
    lasts_ms: int | None = None


def operations() -> st.SearchStrategy[Draw]:
    """Any operation, of players who exist more often than not, with amounts at the limits."""
    who = st.sampled_from([*PLAYERS, *PLAYERS, "nobody"])
    few = st.sampled_from(PLAYERS)
    money = {
        "currency_id": st.sampled_from(["gold", "gold", "gold", "gems", "tin"]),
        "amount": st.sampled_from([1, 5, 12, 30, AMOUNT_MOST, AMOUNT_MOST + 1]),
    }
    more: dict[str, Any] = {"reference": st.none() | st.none() | st.sampled_from([f"order {n}" for n in range(6)])}
    goods = st.sampled_from(["iron", "iron", "iron", "sword", "relic", "ghost"])
    n = st.integers(1, 3)
    pairs = st.permutations(PLAYERS)
    bodies = st.one_of(
        st.builds(GrantRequest, external_id=who, **money, **more),
        st.builds(SpendRequest, external_id=who, **money, **more),
        st.builds(_transfer, pairs, money["currency_id"], money["amount"], more["reference"]),
        st.builds(PurchaseRequest, external_id=who, item_id=goods, quantity=n, **more),
        st.builds(PurchaseRequest, external_id=few, item_id=st.just("iron"), quantity=n),
        st.builds(CraftRequest, external_id=who, recipe_id=st.sampled_from(["blade", "blade", "soup"]), **more),
        st.builds(LootRequest, external_id=who, loot_table_id=st.sampled_from(["chest", "chest", "hole"]), **more),
        st.builds(ListRequest, external_id=few, item_id=goods, quantity=n, currency_id=money["currency_id"],
                  price=st.sampled_from([1, 7, 20]), **more),
        st.builds(BuyRequest, external_id=who, listing_id=st.just(""), **more),
        st.builds(CancelRequest, external_id=few, listing_id=st.just(""), **more),
        st.builds(ReverseRequest, reason=st.just("mistake"), **more),
    )  # fmt: skip
    keys = st.none() | st.integers(0, 7)
    return st.builds(Draw, bodies, st.integers(0, 3), keys, st.sampled_from([None, None, 0, 5_000]))


def _transfer(pair: Sequence[str], currency_id: str, amount: int, reference: str | None) -> Operation:
    return TransferRequest(
        from_external_id=pair[0], to_external_id=pair[1], currency_id=currency_id, amount=amount, reference=reference
    )


class Replica:
    """One process of several: a database of its own, a writer of its own, a clock that stands still."""

    def __init__(self, database: Database) -> None:
        self.database, self.writer = database, Writer(database, group_max=1)  # as the relay does
        self.store = intake_store(database)
        self.now_ms = NOW
        self.store.now_ms = lambda connection: self.now_ms  # type: ignore[method-assign]  # noqa: ARG005 - its name

    async def run(self, orders: list[Order]) -> list[Reply]:
        """Let one group through its journey."""
        return await self.writer.run(lambda c: economy_group.process(c, self.store, orders, render))


Group = list[Draw]
groups = st.lists(operations(), min_size=1, max_size=6)


class Economy(RuleBasedStateMachine):
    """Groups at one replica or both, retries, crashes, expiry, freezing, and time that passes, against a model."""

    replicas: tuple[Replica, Replica]

    def __init__(self) -> None:
        super().__init__()
        self.game_id = uuid.uuid4().hex  # every example has its own game in one database
        self.model = Model(NOW)
        self.sent: list[Order] = []  # those with keys
        self._pass(0)

    @initialize()
    def found(self) -> None:
        with self.replicas[0].database.write() as c:
            found_game(c, self.game_id)
            book = ledger.open_books(c, [self.game_id])[self.game_id]
            for declared in DECLARED:
                assert catalog.declare(c, book, declared, "key_1", NOW) == 1
            by = controls.By("key_1", "", NOW)
            economy_config.change(c, self.game_id, lambda now: patched(now, SETTINGS), by)
        wealth: list[Operation] = [GrantRequest(external_id=p, currency_id="gold", amount=50) for p in PLAYERS]
        wealth += [PurchaseRequest(external_id=p, item_id="iron", quantity=5) for p in PLAYERS]
        self.expect(self.orders([Draw(body) for body in wealth]), 0)

    @rule(group=groups, at=st.integers(0, 1))
    def operate(self, group: Group, at: int) -> None:
        """One group at one replica."""
        self.expect(self.orders(group), at)

    @rule(here=groups, there=groups)
    def operate_both(self, here: Group, there: Group) -> None:
        """A group at each replica at the same time: as if one had come after the other."""
        both = [self.orders(here), self.orders(there)]
        answered = asyncio.run(_together(self.replicas, both))
        self.either_way(list(zip(both, answered, strict=True)))

    @rule(group=groups, other=groups, after=st.integers(0, 60))
    def crash(self, group: Group, other: Group, after: int) -> None:
        """A replica dies somewhere while the other one works; nothing of its group is there, and it can be retried."""
        both = [self.orders(group), self.orders(other)]
        with crashing(self.replicas[0].database, after):
            answered = asyncio.run(_together(self.replicas, both))
        done = [(orders, replies) for orders, replies in zip(both, answered, strict=True) if replies]
        self.either_way(done)
        self.holds()
        if not answered[0]:
            self.expect(both[0], 1)

    @rule(data=st.data(), group=groups, at=st.integers(0, 1))
    def retry(self, data: st.DataObject, group: Group, at: int) -> None:
        """Requests of before come again, among new ones: those answered are answered the same, and do nothing."""
        again = data.draw(st.lists(st.sampled_from(self.sent), max_size=4)) if self.sent else []
        self.expect([*again, *self.orders(group), *again], at)

    @rule(ms=st.sampled_from([1, 999, 1_000, 5_000, 59_999, 60_000]))
    def wait(self, ms: int) -> None:
        """Time passes."""
        self._pass(ms)

    @rule(which=st.integers(0, 3), at=st.integers(0, 1))
    def expire(self, which: int, at: int) -> None:
        """What the job does with a listing."""
        found = self._nth(list(self.model.listings), which)
        with self.replicas[at].database.write() as c:
            book = ledger.open_books(c, [self.game_id])[self.game_id]
            outcome = desks.decide(c, book, Expire(found, BY), self.model.now_ms)
            ledger.write(c, book)
        listing = self.model.listings.get(found)
        due = listing is not None and listing.expires_at_ms is not None and listing.expires_at_ms <= self.model.now_ms
        if listing is None or not due or listing.state != "open":
            assert isinstance(outcome, Refusal)
        elif isinstance(outcome, Refusal):
            assert outcome.code == "WALLET_FROZEN"
        else:
            assert isinstance(outcome, Traded)
            (move,) = self.model.back(listing)
            changes = {(move.source, move.asset): -move.amount, (move.target, move.asset): move.amount}
            self.model.book(outcome.posted, changes)
            self.model.listings[found] = outcome.listing

    @rule(position=st.sampled_from(POSITIONS))
    def freeze_or_thaw(self, position: Position) -> None:
        """What the reconciler and an auditor do."""
        with self.replicas[0].database.write() as c:
            if position in self.model.frozen:
                assert ledger.thaw(c, self.game_id, position)
                self.model.frozen.remove(position)
            elif ledger.freeze(c, self.game_id, position, "looks odd", NOW):
                self.model.frozen.add(position)

    @invariant()
    def holds(self) -> None:
        """The ledger holds; balances, listings, keys and counts are the model's."""
        self.replicas[0].database.read_now(self._look)

    def teardown(self) -> None:
        """Rolls are numbered without a gap, and anybody can do them again."""
        self.replicas[0].database.read_now(self._look_at_rolls)

    def _look(self, c: Connection) -> None:
        check_ledger(c, self.game_id)
        model, t, k, o = self.model, market_listings.c, kept_answers.c, economy_operation_tallies.c
        assert all_balances(c, self.game_id) == {key: n for key, n in model.balances.items() if n}
        listings = select(t.listing_id, t.state, t.buyer).where(t.game_id == self.game_id)
        expected = {(one.listing_id, str(one.state), one.buyer) for one in model.listings.values()}
        assert {tuple(row) for row in c.execute(listings)} == expected
        kept = select(k.scope, k.claim_hash, k.status, k.body).where(
            k.scope.in_({one.claim.scope for one in self.sent if one.claim})
        )
        assert {bytes(row[0]): (bytes(row[1]), row[2], bytes(row[3])) for row in c.execute(kept)} == model.keys
        tally = select(o.action, o.code, func.sum(o.operations)).where(o.game_id == self.game_id, o.grain_s == 60)
        found = {(action, code): int(n) for action, code, n in c.execute(tally.group_by(o.action, o.code))}
        assert found == model.tally
        self._look_at_windows(c)

    def _look_at_windows(self, c: Connection) -> None:
        """What counts towards the limits is what was admitted in the last minute, once."""
        w, since = limit_windows.c, self.model.now_ms - MINUTE_MS
        found = Counter[tuple[str, str, int]]()
        for row in c.execute(select(w.action, w.subject, w.admitted).where(w.game_id == self.game_id)):
            times = [at_ms for at_ms in limits.unpack(bytes(row.admitted), b"").admitted if at_ms > since]
            found.update((row.action, bytes(row.subject).decode(), at_ms) for at_ms in times)
        assert found == Counter({key: n for key, n in self.model.admitted.items() if key[2] > since})

    def _look_at_rolls(self, c: Connection) -> None:
        r = economy_rolls.c
        made = c.execute(select(r.epoch, r.number).where(r.game_id == self.game_id).order_by(r.number)).all()
        assert [row.number for row in made] == list(range(self.model.rolls))
        for row in made:
            document = rolls.document(c, self.game_id, f"roll_{row.epoch}_{row.number}", NOW + 2 * DAY_MS)
            assert passed(verify_roll(document))

    # --- sending

    def orders(self, group: Group) -> list[Order]:
        """What was drawn as orders of this game, as it stands."""
        made = [self._order(draw) for draw in group]
        self.sent += [order for order in made if order.claim is not None]
        return made

    def _order(self, draw: Draw) -> Order:
        body, transaction_id = draw.body, ""
        expires = None if draw.lasts_ms is None else self.model.now_ms + draw.lasts_ms
        if isinstance(body, BuyRequest | CancelRequest):
            body = msgspec.structs.replace(body, listing_id=self._nth(list(self.model.listings), draw.which))
        if isinstance(body, ReverseRequest):
            transaction_id = self._nth(list(self.model.done), draw.which)
        expires = expires if isinstance(body, ListRequest) else None
        asked = Asked(body, "server", "key_1", transaction_id, expires)
        claim = None
        if draw.key is not None:
            scope = hashlib.sha256(f"{self.game_id} {body.action} {draw.key}".encode()).digest()
            claim = Claim(scope, hashlib.sha256(repr(asked).encode()).digest())
        return Order(self.game_id, asked, "req_1", claim)

    def expect(self, orders: list[Order], at: int) -> None:
        """Send a group and compare its answers."""
        for order, reply in zip(orders, asyncio.run(self.replicas[at].run(orders)), strict=True):
            self.model.expect(order, reply)

    def either_way(self, done: list[tuple[list[Order], list[Reply]]]) -> None:
        """Compare the answers to groups that ran together: one came after the other, whichever."""
        before = copy.deepcopy(self.model)
        try:
            self._in_order(done)
        except AssertionError:
            self.model = before
            self._in_order(done[::-1])

    def _in_order(self, done: list[tuple[list[Order], list[Reply]]]) -> None:
        for orders, replies in done:
            for order, reply in zip(orders, replies, strict=True):
                self.model.expect(order, reply)

    def _pass(self, ms: int) -> None:
        self.model.now_ms += ms
        for replica in self.replicas:
            replica.now_ms = self.model.now_ms

    def _nth(self, ids: list[str], which: int) -> str:
        return ids[-1 - which] if which < len(ids) else "none"


async def _together(replicas: tuple[Replica, Replica], groups: list[list[Order]]) -> list[list[Reply]]:
    """Let each replica take its group; a replica that dies answers nothing."""
    both = [one.run(orders) for one, orders in zip(replicas, groups, strict=True)]
    answered = await asyncio.gather(*both, return_exceptions=True)
    for one in answered:
        if isinstance(one, BaseException) and not isinstance(one, CrashError):
            raise one
    return [[] if isinstance(one, BaseException) else one for one in answered]


@contextmanager
def two_replicas(url: str) -> Iterator[tuple[Replica, Replica]]:
    """Two processes, but for their memory, on one database."""
    with ledger_at(url) as first:
        second = open_database(url)
        both = (Replica(first), Replica(second))
        for one in both:
            one.writer.start()
        try:
            yield both
        finally:
            for one in both:
                asyncio.run(one.writer.stop())
            second.close()


def check_economy(url: str, examples: int, steps: int) -> None:
    """Let hypothesis look for a sequence after which something does not hold."""
    with two_replicas(url) as both:

        class Here(Economy):
            replicas = both

        run_state_machine_as_test(
            Here,
            settings=settings(
                max_examples=examples,
                stateful_step_count=steps,
                deadline=None,
                suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
            ),
        )


def test_any_sequence_of_operations_and_crashes(database_url: str) -> None:
    """Sums are zero, nothing is negative, items are conserved, the chain is whole, retries changed nothing."""
    check_economy(database_url, examples=12, steps=12)


@pytest.mark.slow
def test_many_sequences_of_operations_and_crashes(database_url: str) -> None:
    """The same, for minutes."""
    check_economy(database_url, examples=150, steps=25)
