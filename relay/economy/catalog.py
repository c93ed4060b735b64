"""What a game declares: items with their prices, recipes, loot tables; and the purchase of an item.

Pure. The structs are request bodies and, as canonical JSON, what is kept of each version. `wrong` names what a type
cannot say. A chance is an exact decimal of at most six places, never a float: it is judged in parts per million.
"""

from collections.abc import Iterable, Iterator, Mapping
from decimal import Decimal
from typing import Annotated, Any, NamedTuple, TypeAlias

import msgspec
from msgspec import Meta

from relay.canonical import canonical
from relay.economy import entries
from relay.economy.drafts import By, Draft, draft
from relay.economy.entries import AMOUNT_MAX, BURN, MINT, Asset
from relay.economy.ledger import Refusal
from relay.errors import FieldError
from relay.strict_json import Request

MILLION = 1_000_000  # parts of a chance
LINES_MAX = 50  # inputs, costs, outputs, prices of one declaration
ENTRIES_MAX = 500  # of one loot table
ROLLS_MAX = 100
WEIGHT_MAX = 2**31 - 1  # 500 of them sum to less than 2^53
COOLDOWN_MAX_S = 366 * 86_400

Id = Annotated[str, Meta(min_length=1, max_length=entries.ID_MAX)]
Amount = Annotated[int, Meta(ge=1, le=AMOUNT_MAX)]
Name = Annotated[str, Meta(max_length=256)]
Chance = Annotated[Decimal, Meta(extra_json_schema={"minimum": 0, "maximum": 1})]


class Price(Request, frozen=True):
    """An amount of a currency."""

    currency_id: Id
    amount: Amount


class Stack(Request, frozen=True):
    """A quantity of an item."""

    item_id: Id
    quantity: Amount


class Item(Request, frozen=True):
    """An item. Each of `prices` alone buys one; without any it is not for sale.

    One that is not stackable is owned once, unless `max_owned` allows more; what is escrowed counts as owned.
    """

    item_id: Id
    name: Name
    rarity: Name | None = None
    prices: Annotated[tuple[Price, ...], Meta(max_length=LINES_MAX)] = ()
    stackable: bool = True
    soulbound: bool = False
    max_owned: Amount | None = None

    @property
    def cap(self) -> int | None:
        """The most a player may own; None for any quantity."""
        return 1 if self.max_owned is None and not self.stackable else self.max_owned


class Output(Request, frozen=True):
    """What a recipe yields with a chance from 0 to 1, each output by a draw of its own."""

    item_id: Id
    quantity: Amount
    chance: Chance = Decimal(1)

    @property
    def parts(self) -> int:
        """The chance in parts per million."""
        return int(self.chance.scaleb(6))


class Recipe(Request, frozen=True):
    """What crafting takes, whatever comes out of it, and what it may yield."""

    recipe_id: Id
    outputs: Annotated[tuple[Output, ...], Meta(min_length=1, max_length=LINES_MAX)]
    inputs: Annotated[tuple[Stack, ...], Meta(max_length=LINES_MAX)] = ()
    costs: Annotated[tuple[Price, ...], Meta(max_length=LINES_MAX)] = ()
    cooldown_seconds: Annotated[int, Meta(ge=0, le=COOLDOWN_MAX_S)] = 0


class LootEntry(Request, frozen=True):
    """A quantity of an item, an amount of a currency, or `quantity` rolls of another table; none of them: nothing."""

    weight: Annotated[int, Meta(ge=1, le=WEIGHT_MAX)]
    item_id: Id | None = None
    currency_id: Id | None = None
    loot_table_id: Id | None = None
    quantity: Amount | None = None
    amount: Amount | None = None

    @property
    def count(self) -> int:
        """How much of it, or how many rolls; said by `quantity` or `amount`, whichever was given."""
        return self.quantity or self.amount or 1


class LootTable(Request, frozen=True):
    """Each roll yields one of the entries; one of weight w of a sum W is drawn w times in W."""

    loot_table_id: Id
    entries: Annotated[tuple[LootEntry, ...], Meta(min_length=1, max_length=ENTRIES_MAX)]
    rolls: Annotated[int, Meta(ge=1, le=ROLLS_MAX)] = 1


Declaration: TypeAlias = Item | Recipe | LootTable
KINDS: Mapping[str, type[Item] | type[Recipe] | type[LootTable]] = {
    "item": Item, "recipe": Recipe, "loot_table": LootTable,
}  # fmt: skip


class Named(NamedTuple):
    """What a declaration is called by: a key of KINDS, and the id within it."""

    kind: str
    id: str


def named(declared: Declaration) -> Named:
    """Return what a declaration is called by."""
    match declared:
        case Item():
            return Named("item", declared.item_id)
        case Recipe():
            return Named("recipe", declared.recipe_id)
        case _:
            return Named("loot_table", declared.loot_table_id)


def body(declared: Declaration) -> bytes:
    """Return the canonical bytes (RFC 8785) of a declaration; defaults are left out, chances are text."""
    return canonical(msgspec.to_builtins(declared))


def parse(kind: str, found: bytes) -> Declaration:
    """Return the declaration of such bytes; msgspec.ValidationError for anything else."""
    parsed: Declaration = msgspec.json.decode(found, type=KINDS[kind])
    return parsed


def wrong(declared: Declaration) -> list[FieldError]:
    """Return what is wrong with a declaration beyond what its types say; empty where it can be used."""
    match declared:
        case Item():
            return [*_bad_id("/itemId", declared.item_id), *_bad_lines("/prices", declared.prices)]
        case Recipe():
            lines = (*_bad_lines("/inputs", declared.inputs), *_bad_lines("/costs", declared.costs))
            return [*_bad_id("/recipeId", declared.recipe_id), *lines, *_bad_outputs(declared.outputs)]
        case _:
            return [*_bad_id("/lootTableId", declared.loot_table_id), *_bad_entries(declared.entries)]


def items_of(declared: Declaration) -> set[str]:
    """Return the ids of the items that a recipe or a loot table names."""
    match declared:
        case Item():
            return set()
        case Recipe():
            return {line.item_id for line in declared.inputs} | {line.item_id for line in declared.outputs}
        case _:
            return {entry.item_id for entry in declared.entries if entry.item_id is not None}


def caps(items: Iterable[Item]) -> dict[Asset, int]:
    """Return the most a player may own of each of these items that has a limit."""
    return {entries.item(item.item_id): item.cap for item in items if item.cap is not None}


def purchase(item: Item, external_id: str, quantity: int, currency_id: str | None, by: By) -> Draft | Refusal:
    """Return the draft of a purchase: the price is burnt, the items are minted.

    Without `currency_id` the first price that was declared counts. ValueError: quantity or id out of range.
    """
    price = next((one for one in item.prices if currency_id in (None, one.currency_id)), None)
    if price is None:
        what = "at all" if currency_id is None or not item.prices else f"for {currency_id}"
        return Refusal("ITEM_NOT_FOR_SALE", f"{item.item_id} is not for sale {what}.")
    total = price.amount * quantity
    if total > AMOUNT_MAX:
        return Refusal("AMOUNT_INVALID", f"{quantity} of {item.item_id} would cost more than 2^53-1.")
    owned = entries.wallet(external_id)
    moves = [
        entries.moved(entries.item(item.item_id), quantity, MINT, owned),
        entries.moved(entries.currency(price.currency_id), total, owned, BURN),
    ]
    return draft("purchase", by, moves, caps=caps([item]), itemId=item.item_id, quantity=quantity)


def _error(pointer: str, must: str) -> FieldError:
    return FieldError(pointer, "FIELD_INVALID", f"`{pointer.lstrip('/')}` {must}")


def _bad_id(pointer: str, text: str | None) -> Iterator[FieldError]:
    if text is not None and not entries.valid_id(text):
        yield _error(pointer, f"is 1 to {entries.ID_MAX} printable characters, without spaces at its ends")


def _bad_lines(pointer: str, lines: Iterable[Price | Stack]) -> Iterator[FieldError]:
    seen: set[str] = set()
    for at, line in enumerate(lines):
        name, text = ("currencyId", line.currency_id) if isinstance(line, Price) else ("itemId", line.item_id)
        yield from _bad_id(f"{pointer}/{at}/{name}", text)
        if text in seen:
            yield _error(f"{pointer}/{at}/{name}", "is in another line already: add them up")
        seen.add(text)


def _bad_outputs(outputs: Iterable[Output]) -> Iterator[FieldError]:
    for at, output in enumerate(outputs):
        yield from _bad_id(f"/outputs/{at}/itemId", output.item_id)
        if not (output.chance.is_finite() and 0 <= output.chance <= 1 and _places(output.chance) <= 6):
            yield _error(f"/outputs/{at}/chance", "is a number from 0 to 1 with at most 6 decimals")


def _places(number: Decimal) -> int:
    exponent: Any = number.as_tuple().exponent
    return -int(exponent)


def _bad_entries(found: Iterable[LootEntry]) -> Iterator[FieldError]:
    for at, entry in enumerate(found):
        pointer = f"/entries/{at}"
        named_by = {"itemId": entry.item_id, "currencyId": entry.currency_id, "lootTableId": entry.loot_table_id}
        for name, text in named_by.items():
            yield from _bad_id(f"{pointer}/{name}", text)
        given = [name for name, text in named_by.items() if text is not None]
        if len(given) > 1:
            yield _error(pointer, f"yields one thing: leave out all but one of {', '.join(given)}")
        if entry.quantity is not None and entry.amount is not None:
            yield _error(pointer, "has `quantity` or `amount`, not both")
        if not given and (entry.quantity is not None or entry.amount is not None):
            yield _error(pointer, "has a quantity of nothing: name itemId, currencyId or lootTableId")
        if entry.loot_table_id is not None and entry.count > ROLLS_MAX:
            yield _error(pointer, f"rolls another table at most {ROLLS_MAX} times")
