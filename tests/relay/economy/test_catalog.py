"""Declarations: what is wrong in them is named, their bytes are canonical; purchases."""

import json
from decimal import Decimal
from typing import Any

import msgspec
import pytest

from relay.economy import catalog
from relay.economy.catalog import Item, LootEntry, LootTable, Output, Price, Recipe, Stack
from relay.economy.drafts import By
from relay.economy.entries import AMOUNT_MAX, BURN, MINT, Move
from relay.economy.ledger import Refusal
from relay.errors import PayloadError
from relay.strict_json import decode

BY = By("server", "key_1", 1)
SWORD = Item("sword", "Sword", prices=(Price("gold", 30), Price("gems", 2)), max_owned=5)


def recipe(body: dict[str, Any]) -> Recipe:
    """A recipe as a client sends it."""
    return decode(msgspec.json.Decoder(Recipe), json.dumps(body).encode())


def pointers(declared: catalog.Declaration) -> list[str]:
    """Where a declaration is wrong."""
    return [error.pointer for error in catalog.wrong(declared)]


@pytest.mark.parametrize(
    ("chance", "parts"), [(0.1, 100_000), (1, 1_000_000), (0, 0), (0.000001, 1), ("0.333333", 333_333)]
)
def test_a_chance_is_exact(chance: Any, parts: int) -> None:
    """A JSON number is read as the decimal it shows, not as the nearest binary fraction."""
    found = recipe({"recipeId": "r", "outputs": [{"itemId": "x", "quantity": 1, "chance": chance}]})
    assert catalog.wrong(found) == []
    assert found.outputs[0].parts == parts


@pytest.mark.parametrize("chance", ["NaN", "sNaN", "Infinity", "-0.1", "1.000001", "0.0000001", "1e-999999", "2"])
def test_a_chance_that_is_none_is_named(chance: str) -> None:
    """Also what only Python's decimals know."""
    assert pointers(Recipe("r", (Output("x", 1, Decimal(chance)),))) == ["/outputs/0/chance"]


def test_lines_of_one_thing_must_be_added_up() -> None:
    """Two lines of one item or currency would be one taking of both."""
    twice = Recipe("r", (Output("x", 1),), inputs=(Stack("a", 1), Stack("a", 2)), costs=(Price("g", 1), Price("g", 1)))
    assert pointers(twice) == ["/inputs/1/itemId", "/costs/1/currencyId"]
    assert pointers(Item(" bad", "Bad", prices=(Price("g\n", 1),))) == ["/itemId", "/prices/0/currencyId"]


@pytest.mark.parametrize(
    "entry",
    [
        LootEntry(1, item_id="a", currency_id="b"),
        LootEntry(1, item_id="a", quantity=1, amount=1),
        LootEntry(1, quantity=3),
        LootEntry(1, loot_table_id="t", quantity=101),
    ],
)
def test_a_loot_entry_yields_one_thing_once(entry: LootEntry) -> None:
    """What could be read in two ways is refused."""
    assert pointers(LootTable("t", (entry,))) == ["/entries/0"]


def test_bytes_of_a_declaration_are_canonical_and_read_back() -> None:
    """Whatever the order or the defaults that were spelled out."""
    first = recipe({"recipeId": "r", "outputs": [{"itemId": "x", "quantity": 1, "chance": 0.25}], "inputs": []})
    second = recipe({"outputs": [{"chance": 0.25, "quantity": 1, "itemId": "x"}], "recipeId": "r"})
    assert catalog.body(first) == catalog.body(second)
    assert catalog.parse("recipe", catalog.body(first)) == first
    assert catalog.body(first) == b'{"outputs":[{"chance":"0.25","itemId":"x","quantity":1}],"recipeId":"r"}'


def test_unknown_fields_and_floats_are_refused() -> None:
    """Strict, as every body."""
    for body in (
        {"recipeId": "r", "outputs": [], "x": 1},
        {"recipeId": "r", "outputs": [{"itemId": "x", "quantity": 1.5}]},
    ):
        with pytest.raises(PayloadError):
            recipe(body)


def test_what_is_not_stackable_is_owned_once() -> None:
    """Unless a limit says otherwise."""
    assert Item("a", "A", stackable=False).cap == 1
    assert Item("a", "A", stackable=False, max_owned=3).cap == 3
    assert Item("a", "A").cap is None
    assert catalog.caps([SWORD, Item("a", "A")]) == {"item:sword": 5}


def test_a_purchase_burns_the_price_and_mints_the_items() -> None:
    """In the currency that was asked for, or the first that was declared."""
    for currency_id, named, cost in ((None, "gold", 60), ("gems", "gems", 4)):
        draft = catalog.purchase(SWORD, "ann", 2, currency_id, BY)
        assert not isinstance(draft, Refusal)
        assert draft.moves == (
            Move("item:sword", 2, MINT, "player:ann"), Move(f"currency:{named}", cost, "player:ann", BURN)
        )  # fmt: skip
        assert (draft.source, draft.caps) == ("purchase", {"item:sword": 5})


@pytest.mark.parametrize(
    ("item", "quantity", "currency_id", "code"),
    [
        (SWORD, 1, "wood", "ITEM_NOT_FOR_SALE"),
        (Item("a", "A"), 1, None, "ITEM_NOT_FOR_SALE"),
        (SWORD, AMOUNT_MAX, "gold", "AMOUNT_INVALID"),
    ],
)
def test_a_purchase_that_cannot_be(item: Item, quantity: int, currency_id: str | None, code: str) -> None:
    """Said before anything is booked."""
    refusal = catalog.purchase(item, "ann", quantity, currency_id, BY)
    assert isinstance(refusal, Refusal)
    assert refusal.code == code
