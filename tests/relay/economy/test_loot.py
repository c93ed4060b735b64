"""Loot and crafting: tables within tables, bounds that no outcome exceeds, chances, cooldowns."""

from collections import Counter
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.economy import crafting, loot
from relay.economy.catalog import MILLION, LootEntry, LootTable, Output, Price, Recipe, Stack
from relay.economy.crafting import Yield
from relay.economy.entries import AMOUNT_MAX, BURN, Move
from relay.economy.ledger import Refusal
from relay.economy.randomness import Draws

NOW = 1_700_000_000_000


def table(name: str, *entries: LootEntry, rolls: int = 1) -> LootTable:
    """A loot table."""
    return LootTable(name, entries, rolls)


def by_id(*tables: LootTable) -> dict[str, LootTable]:
    """Tables as they are handed in."""
    return {one.loot_table_id: one for one in tables}


CHEST = by_id(
    table(
        "chest", LootEntry(1, loot_table_id="gear", quantity=2), LootEntry(2, currency_id="gold", amount=50), rolls=2
    ),
    table("gear", LootEntry(1, item_id="sword"), LootEntry(3, item_id="arrow", quantity=20), LootEntry(6)),
)


def code(found: loot.Bound | Refusal) -> str:
    """Why a table cannot be rolled."""
    assert isinstance(found, Refusal)
    return found.code


def test_a_table_within_is_rolled_as_often_as_its_entry_says() -> None:
    """2 rolls of the chest, each 1 draw and at the worst 2 of the gear."""
    bound = loot.bound(CHEST, "chest")
    assert bound == loot.Bound(6, 2, {"item:sword": 4, "item:arrow": 80, "currency:gold": 100})


@given(st.binary(min_size=32, max_size=32))
def test_no_outcome_exceeds_the_bound(key: bytes) -> None:
    """Which is what makes it safe to look at the bound before drawing."""
    bound, total = loot.bound(CHEST, "chest"), Counter[str]()
    assert isinstance(bound, loot.Bound)
    yields = loot.rolled(CHEST, "chest", Draws(key))
    for asset, quantity in yields:
        total[asset] += quantity
    assert all(quantity <= bound.yields[asset] for asset, quantity in total.items())
    assert yields == loot.rolled(CHEST, "chest", Draws(key))


def test_entries_come_by_their_weights() -> None:
    """10,000 rolls of the gear: 1, 3 and 6 in 10, the last being nothing."""
    draws = Draws(bytes(32))
    found = Counter(tuple(loot.rolled(CHEST, "gear", draws)) for _ in range(10_000))
    assert abs(found[(Yield("item:sword", 1),)] - 1_000) < 150
    assert abs(found[(Yield("item:arrow", 20),)] - 3_000) < 230
    assert abs(found[()] - 6_000) < 250


@pytest.mark.parametrize(
    ("tables", "expected"),
    [
        ({}, "LOOT_TABLE_UNKNOWN"),
        (by_id(table("a", LootEntry(1, loot_table_id="b"))), "LOOT_TABLE_UNKNOWN"),
        (by_id(table("a", LootEntry(1, loot_table_id="a"))), "LOOT_TABLE_UNUSABLE"),
        (
            by_id(table("a", LootEntry(1, loot_table_id="b")), table("b", LootEntry(1, loot_table_id="a"))),
            "LOOT_TABLE_UNUSABLE",
        ),
        (
            by_id(table("a", LootEntry(1, loot_table_id="b"), rolls=20), table("b", LootEntry(1), rolls=50)),
            "LOOT_TABLE_UNUSABLE",
        ),
        (by_id(table("a", LootEntry(1, currency_id="g", amount=AMOUNT_MAX), rolls=2)), "LOOT_TABLE_UNUSABLE"),
    ],
)
def test_a_table_that_cannot_be_rolled(tables: dict[str, LootTable], expected: str) -> None:
    """Missing, circular, too long, too much."""
    assert code(loot.bound(tables, "a")) == expected


def test_depth_is_bounded_however_the_tables_are_reached() -> None:
    """8 levels are allowed, 9 not; a chain of thousands is refused without a stack of thousands."""

    def chain(length: int) -> dict[str, LootTable]:
        inner = [table(str(n), LootEntry(1, loot_table_id=str(n + 1))) for n in range(length - 1)]
        return by_id(*inner, table(str(length - 1), LootEntry(1, item_id="x")))

    assert isinstance(loot.bound(chain(8), "0"), loot.Bound)
    assert code(loot.bound(chain(9), "0")) == "LOOT_TABLE_UNUSABLE"
    assert code(loot.bound(chain(5_000), "0")) == "LOOT_TABLE_UNUSABLE"


def test_entries_of_one_table_do_not_multiply_the_work() -> None:
    """300 entries on each of 8 levels are 300^8 paths, and 8 tables."""
    levels = [table(str(n), *[LootEntry(1, loot_table_id=str(n + 1))] * 300) for n in range(7)]
    bound = loot.bound(by_id(*levels, table("7", LootEntry(1, item_id="x"))), "0")
    assert bound == loot.Bound(8, 8, {"item:x": 1})


RECIPE = Recipe(
    "blade",
    (Output("sword", 1), Output("gem", 2, Decimal("0.25")), Output("dust", 1, Decimal(0))),
    inputs=(Stack("iron", 3),),
    costs=(Price("gold", 10),),
    cooldown_seconds=60,
)


def test_each_output_has_a_chance_of_its_own() -> None:
    """1 always, 0 never, a quarter in a quarter of 10,000."""
    draws = Draws(bytes(32))
    found = Counter(asset for _ in range(10_000) for asset, _ in crafting.crafted(RECIPE, draws))
    assert (found["item:sword"], found["item:dust"]) == (10_000, 0)
    assert abs(found["item:gem"] - 2_500) < 220
    assert crafting.most(RECIPE) == [Yield("item:sword", 1), Yield("item:gem", 2)]


def test_an_output_comes_if_its_draw_is_below_its_parts() -> None:
    """One draw for each output, in order."""
    drawn, again = Draws(b"k" * 32), Draws(b"k" * 32)
    numbers = [again.below(MILLION) for _ in RECIPE.outputs]
    expected = [
        Yield(f"item:{output.item_id}", output.quantity)
        for output, number in zip(RECIPE.outputs, numbers, strict=True)
        if number < output.parts
    ]
    assert crafting.crafted(RECIPE, drawn) == expected


def test_what_is_taken_is_burnt() -> None:
    """Inputs and costs, whatever comes out."""
    assert crafting.taken(RECIPE, "ann") == [
        Move("item:iron", 3, "player:ann", BURN), Move("currency:gold", 10, "player:ann", BURN)
    ]  # fmt: skip


@pytest.mark.parametrize(("last_ms", "cools_ms"), [(None, 0), (NOW, 60_000), (NOW - 59_999, 1), (NOW - 60_000, 0)])
def test_a_recipe_cools_down(last_ms: int | None, cools_ms: int) -> None:
    """Exactly when the time is over it may be used again."""
    assert crafting.cools_ms(RECIPE, last_ms, NOW) == cools_ms
