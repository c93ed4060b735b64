"""What a game declares, over HTTP: currencies, items, recipes, loot tables.

Touches the database through the store. A declaration is a whole document: what is left out is as by default, not as it
was; its idempotency key is no part of it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, TypeVar

import msgspec
from msgspec import Meta

from relay.api.economy_parts import (
    BODY_ERRORS,
    ERRORS,
    KEY_ERRORS,
    READERS,
    TAG,
    WRITERS,
    EconomyParts,
    Envelope,
    GameQuery,
    credential_of,
    envelope,
    page_of,
)
from relay.api.idempotency import HEADER_TEXT
from relay.api.operations import Answer, Call, Operation, Response
from relay.api.pages import Limit, TextCursor, cursor_of, read_text_cursor, storable
from relay.economy import catalog
from relay.economy.catalog import Declaration, Id, Item, LootEntry, LootTable, Name, Price, Recipe, Stack
from relay.economy.entries import AMOUNT_MAX
from relay.economy.ledger import Refusal
from relay.economy.players import DECIMALS_MAX, Currency, wrong_currency
from relay.errors import CallerError, FieldError, PayloadError
from relay.store import catalog as store
from relay.store import ledger, wallets
from relay.store.intake_rows import Connection
from relay.strict_json import Request

D = TypeVar("D", Item, Recipe, LootTable)

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


def _item(item: Item, version: int) -> ItemDocument:
    return ItemDocument(
        item.item_id, item.name, item.rarity, item.prices, item.stackable, item.soulbound, item.max_owned, version
    )


def _recipe(recipe: Recipe, version: int) -> RecipeDocument:
    outputs = tuple(OutputDocument(one.item_id, one.quantity, float(one.chance)) for one in recipe.outputs)
    return RecipeDocument(recipe.recipe_id, recipe.inputs, recipe.costs, outputs, recipe.cooldown_seconds, version)


def _loot_table(table: LootTable, version: int) -> LootTableDocument:
    return LootTableDocument(table.loot_table_id, table.rolls, table.entries, version)


def _currency(currency: Currency) -> CurrencyDocument:
    return CurrencyDocument(*currency)


# ----------------------------------------------------------------- operations


@dataclass(frozen=True)
class Kind:
    """One kind of declaration: where it is, what is sent, what is shown."""

    path: str
    singular: str
    plural: str
    declared: type[Item | Recipe | LootTable]
    request: type[Request]
    document: type[msgspec.Struct]
    page: Callable[..., msgspec.Struct]
    shown: Callable[[Any, int], msgspec.Struct]
    errors: tuple[str, ...] = ()


KINDS = (
    Kind("/items", "an item", "Items", Item, ItemRequest, ItemDocument, ItemPage, _item),
    Kind("/recipes", "a recipe", "Recipes", Recipe, RecipeRequest, RecipeDocument, RecipePage, _recipe,
         ("ITEM_UNKNOWN",)),
    Kind("/loot-tables", "a loot table", "Loot tables", LootTable, LootTableRequest, LootTableDocument, LootTablePage,
         _loot_table, ("ITEM_UNKNOWN", "LOOT_TABLE_UNKNOWN", "LOOT_TABLE_UNUSABLE")),
)  # fmt: skip
BASE = "/api/economy"
VERSIONED = "Every version is kept; the same declaration again is the same version. Of use for operations after it."


def refuse_wrong(found: list[FieldError]) -> None:
    """Refuse what has wrong fields.

    Raises:
        PayloadError: there are any.
    """
    if found:
        raise PayloadError("The body is not of the expected shape: " + found[0].detail, found[:20])


class Catalog:
    """The endpoints."""

    def __init__(self, parts: EconomyParts) -> None:
        self._parts = parts

    async def put_currency(self, call: Call) -> Answer:
        """Declare a currency."""
        game_id, body = await self._parts.game_of(call), call.body
        name, icon = storable(body.name), storable(body.icon)
        currency = Currency(body.currency_id, name, icon, body.max_balance, body.decimals)
        refuse_wrong(wrong_currency(currency))

        def make(c: Connection, now_ms: int) -> tuple[int, object]:
            created = wallets.put_currency(c, game_id, currency, now_ms)
            return 201 if created else 200, _currency(currency)

        return await self._parts.once(call, "POST /api/economy/currencies", game_id, make)

    async def currencies(self, call: Call) -> Answer:
        """Return a page of currencies."""
        game_id, query = await self._parts.game_of(call), call.query
        after = read_text_cursor(query.cursor)
        rows = await self._parts.read(lambda c: wallets.list_currencies(c, game_id, after, query.limit + 1))
        shown, following = page_of(rows, query.limit, lambda row: cursor_of(row.currency_id))
        return envelope(call, CurrencyPage([_currency(row) for row in shown], following))

    def put(self, kind: Kind) -> Any:
        """Return the endpoint that declares one of a kind."""

        async def declare(call: Call) -> Answer:
            game_id = await self._parts.game_of(call)
            declared: Declaration = kind.declared(
                **{name: getattr(call.body, name) for name in kind.declared.__struct_fields__}
            )
            refuse_wrong(catalog.wrong(declared))

            def make(c: Connection, now_ms: int) -> tuple[int, object]:
                book = ledger.open_books(c, [game_id])[game_id]
                new = not store.known(c, game_id, catalog.named(declared))
                version = store.declare(c, book, declared, credential_of(call).key_id, now_ms)
                if isinstance(version, Refusal):
                    raise CallerError(version.code, version.detail)
                return 201 if new else 200, kind.shown(declared, version)

            return await self._parts.once(call, f"POST {BASE}{kind.path}", game_id, make)

        return declare

    def page(self, kind: Kind) -> Any:
        """Return the endpoint that lists a kind."""
        name = next(name for name, declared in catalog.KINDS.items() if declared is kind.declared)

        async def listed(call: Call) -> Answer:
            game_id, query = await self._parts.game_of(call), call.query
            after = read_text_cursor(query.cursor)
            rows = await self._parts.read(lambda c: store.listed(c, game_id, name, after, query.limit + 1))
            shown, following = page_of(rows, query.limit, lambda row: cursor_of(catalog.named(row[1]).id))
            return envelope(call, kind.page([kind.shown(declared, version) for version, declared in shown], following))

        return listed


def catalog_operations(parts: EconomyParts) -> list[Operation]:
    """Return the declarations."""
    here = Catalog(parts)
    operations = [
        _declaration("/currencies", "a currency", CurrencyRequest, CurrencyDocument, here.put_currency,
                     "Balances above a lowered `maxBalance` stay, and cannot grow."),
        _list("/currencies", "Currencies", CurrencyPage, here.currencies),
    ]  # fmt: skip
    for kind in KINDS:
        operations += [
            _declaration(kind.path, kind.singular, kind.request, kind.document, here.put(kind), VERSIONED, kind.errors),
            _list(kind.path, kind.plural, kind.page, here.page(kind)),
        ]
    return operations


def _declaration(
    path: str, what: str, request: Any, document: Any, endpoint: Any, text: str, errors: tuple[str, ...] = ()
) -> Operation:
    new, known = Response(Envelope[document], "New."), Response(Envelope[document], "It was there; as it is now.")
    return Operation(
        "POST", BASE + path, f"Declare {what}, or change it", endpoint, {201: new, 200: known},
        (*ERRORS, *BODY_ERRORS, *KEY_ERRORS, *errors), WRITERS, request=request, query=GameQuery, tag=TAG,
        request_headers={"Idempotency-Key": HEADER_TEXT},
        description=f"A whole document: what is left out is as by default. {text}",
    )  # fmt: skip


def _list(path: str, what: str, page: Any, endpoint: Any) -> Operation:
    return Operation(
        "GET", BASE + path, f"{what}, by id", endpoint, {200: Envelope[page]}, (*ERRORS, "QUERY_INVALID"), READERS,
        query=CatalogQuery, tag=TAG,
    )  # fmt: skip
