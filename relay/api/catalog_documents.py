"""Declarations of the catalog as they are sent and shown: currencies, items, recipes, loot tables.

Pure.
"""

from typing import Annotated, Generic, TypeVar

import msgspec
from msgspec import Meta

from relay.api.economy_parts import GameQuery
from relay.api.pages import Cursor, Limit, TextCursor
from relay.economy.catalog import Id, Item, LootEntry, LootTable, Name, Price, Recipe, Stack
from relay.economy.entries import AMOUNT_MAX
from relay.economy.players import DECIMALS_MAX, Currency
from relay.strict_json import Request

T = TypeVar("T")

ICON_MAX = 2_048
IdempotencyKey = Annotated[str, Meta(max_length=257)]  # quoted, it may be
MaxBalance = Annotated[int, Meta(ge=0, le=AMOUNT_MAX)]
Decimals = Annotated[int, Meta(ge=0, le=DECIMALS_MAX)]

# ------------------------------------------------------------------- requests


class CurrencyRequest(Request, frozen=True):
    """A currency. `decimals` says how amounts are shown, they are integers; `maxBalance` is the most a player owns."""

    currency_id: Id
    name: Name
    icon: Annotated[str, Meta(max_length=ICON_MAX)]
    max_balance: MaxBalance | None = None
    decimals: Decimals = 0
    idempotency_key: IdempotencyKey | None = None


class ItemRequest(Item, frozen=True):
    """An item. Each of `prices` alone buys one. Not stackable: owned once, unless `maxOwned` allows more."""

    idempotency_key: IdempotencyKey | None = None


class RecipeRequest(Recipe, frozen=True):
    """What crafting takes, whatever comes out of it, and what it yields: each output by a draw of its own `chance`."""

    idempotency_key: IdempotencyKey | None = None


class LootTableRequest(LootTable, frozen=True):
    """Each of `rolls` yields one entry by its weight: an item, a currency, rolls of another table, or nothing."""

    idempotency_key: IdempotencyKey | None = None


class CatalogQuery(GameQuery, frozen=True):
    """A page of declarations, by id."""

    limit: Limit = 50
    cursor: TextCursor | None = None


class HistoryQuery(GameQuery, frozen=True):
    """The versions of one declaration, newest first."""

    id: Annotated[str, Meta(max_length=128, description="of what was declared; required")] = ""
    limit: Limit = 50
    cursor: Cursor | None = None


# -------------------------------------------------------------------- answers


class CurrencyDocument(msgspec.Struct, frozen=True, rename="camel"):
    """A currency as it is in force."""

    currency_id: str
    name: str
    icon: str
    max_balance: int | None
    decimals: int


class ItemDocument(msgspec.Struct, frozen=True, rename="camel"):
    """An item as it is in force."""

    item_id: str
    name: str
    rarity: str | None
    prices: tuple[Price, ...]
    stackable: bool
    soulbound: bool
    max_owned: int | None
    version: int


class OutputDocument(msgspec.Struct, frozen=True, rename="camel"):
    """What a recipe yields; `chance` has at most six decimals, and is exact as it is written."""

    item_id: str
    quantity: int
    chance: float


class RecipeDocument(msgspec.Struct, frozen=True, rename="camel"):
    """A recipe as it is in force."""

    recipe_id: str
    inputs: tuple[Stack, ...]
    costs: tuple[Price, ...]
    outputs: tuple[OutputDocument, ...]
    cooldown_seconds: int
    version: int


class LootTableDocument(msgspec.Struct, frozen=True, rename="camel"):
    """A loot table as it is in force."""

    loot_table_id: str
    rolls: int
    entries: tuple[LootEntry, ...]
    version: int


class Change(msgspec.Struct, Generic[T], frozen=True, rename="camel"):
    """One version of a declaration: who made it, and when."""

    version: int
    at: str
    actor: str
    declared: T


class History(msgspec.Struct, Generic[T], frozen=True, rename="camel"):
    """A page of versions, newest first."""

    changes: list[Change[T]]
    next_cursor: str | None


class CurrencyPage(msgspec.Struct, frozen=True, rename="camel"):
    """A page of currencies, by id."""

    currencies: list[CurrencyDocument]
    next_cursor: str | None


class ItemPage(msgspec.Struct, frozen=True, rename="camel"):
    """A page of items, by id."""

    items: list[ItemDocument]
    next_cursor: str | None


class RecipePage(msgspec.Struct, frozen=True, rename="camel"):
    """A page of recipes, by id."""

    recipes: list[RecipeDocument]
    next_cursor: str | None


class LootTablePage(msgspec.Struct, frozen=True, rename="camel"):
    """A page of loot tables, by id."""

    loot_tables: list[LootTableDocument]
    next_cursor: str | None


def item_document(item: Item, version: int) -> ItemDocument:
    """Return an item as it is shown."""
    return ItemDocument(
        item.item_id, item.name, item.rarity, item.prices, item.stackable, item.soulbound, item.max_owned, version
    )


def recipe_document(recipe: Recipe, version: int) -> RecipeDocument:
    """Return a recipe as it is shown."""
    outputs = tuple(OutputDocument(one.item_id, one.quantity, float(one.chance)) for one in recipe.outputs)
    return RecipeDocument(recipe.recipe_id, recipe.inputs, recipe.costs, outputs, recipe.cooldown_seconds, version)


def loot_table_document(table: LootTable, version: int) -> LootTableDocument:
    """Return a loot table as it is shown."""
    return LootTableDocument(table.loot_table_id, table.rolls, table.entries, version)


def currency_document(currency: Currency) -> CurrencyDocument:
    """Return a currency as it is shown."""
    return CurrencyDocument(*currency)
