"""What a game declares, over HTTP: currencies, items, recipes, loot tables.

Touches the database through the store. A declaration is a whole document: what is left out is as by default, not as it
was; its idempotency key is no part of it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import msgspec

from relay.api.catalog_documents import (
    CatalogQuery,
    Change,
    CurrencyDocument,
    CurrencyPage,
    CurrencyRequest,
    History,
    HistoryQuery,
    ItemDocument,
    ItemPage,
    ItemRequest,
    LootTableDocument,
    LootTablePage,
    LootTableRequest,
    RecipeDocument,
    RecipePage,
    RecipeRequest,
    currency_document,
    item_document,
    loot_table_document,
    recipe_document,
)
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
from relay.api.pages import cursor_of, read_number_cursor, read_text_cursor, rfc3339, storable
from relay.economy import catalog
from relay.economy.catalog import Declaration, Item, LootTable, Named, Recipe
from relay.economy.entries import valid_id
from relay.economy.ledger import Refusal
from relay.economy.players import Currency, wrong_currency
from relay.errors import CallerError, FieldError, PayloadError
from relay.store import catalog as store
from relay.store import ledger, wallets
from relay.store.intake_rows import Connection
from relay.strict_json import Request


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
    unknown: str
    errors: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """What the store calls it."""
        return next(name for name, declared in catalog.KINDS.items() if declared is self.declared)


KINDS = (
    Kind("/items", "an item", "Items", Item, ItemRequest, ItemDocument, ItemPage, item_document,
         "ITEM_UNKNOWN"),
    Kind("/recipes", "a recipe", "Recipes", Recipe, RecipeRequest, RecipeDocument, RecipePage, recipe_document,
         "RECIPE_UNKNOWN", ("ITEM_UNKNOWN",)),
    Kind("/loot-tables", "a loot table", "Loot tables", LootTable, LootTableRequest, LootTableDocument, LootTablePage,
         loot_table_document, "LOOT_TABLE_UNKNOWN", ("ITEM_UNKNOWN", "LOOT_TABLE_UNKNOWN", "LOOT_TABLE_UNUSABLE")),
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
            return 201 if created else 200, currency_document(currency)

        return await self._parts.once(call, "POST /api/economy/currencies", game_id, make)

    async def currencies(self, call: Call) -> Answer:
        """Return a page of currencies."""
        game_id, query = await self._parts.game_of(call), call.query
        after = read_text_cursor(query.cursor)
        rows = await self._parts.read(lambda c: wallets.list_currencies(c, game_id, after, query.limit + 1))
        shown, following = page_of(rows, query.limit, lambda row: cursor_of(row.currency_id))
        return envelope(call, CurrencyPage([currency_document(row) for row in shown], following))

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

        async def listed(call: Call) -> Answer:
            game_id, query = await self._parts.game_of(call), call.query
            after = read_text_cursor(query.cursor)
            rows = await self._parts.read(lambda c: store.listed(c, game_id, kind.name, after, query.limit + 1))
            shown, following = page_of(rows, query.limit, lambda row: cursor_of(catalog.named(row[1]).id))
            return envelope(call, kind.page([kind.shown(declared, version) for version, declared in shown], following))

        return listed

    def history(self, kind: Kind) -> Any:
        """Return the endpoint that lists the versions of one declaration."""

        async def versions(call: Call) -> Answer:
            game_id, query = await self._parts.game_of(call), call.query
            if not valid_id(query.id):
                field = FieldError("?id", "FIELD_INVALID", "an id of what was declared")
                raise CallerError("QUERY_INVALID", f"Name {kind.singular} in `?id=`.", fields=[field])
            before, name = read_number_cursor(query.cursor), Named(kind.name, query.id)
            rows = await self._parts.read(lambda c: store.history(c, game_id, name, query.limit + 1, before))
            if not rows and before is None:
                raise CallerError(kind.unknown, f"The game never declared {kind.singular} with this id.")
            shown, following = page_of(rows, query.limit, lambda row: cursor_of(str(row.version)))
            changes = [
                Change(row.version, rfc3339(row.at_ms), row.actor, kind.shown(row.declared, row.version))
                for row in shown
            ]
            return envelope(call, History(changes, following))

        return versions


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
            Operation(
                "GET", f"{BASE}{kind.path}/history", f"Versions of {kind.singular}, newest first", here.history(kind),
                {200: Envelope[History[kind.document]]}, (*ERRORS, "QUERY_INVALID", kind.unknown), READERS,  # type: ignore[name-defined]
                query=HistoryQuery, tag=TAG,
            ),
        ]  # fmt: skip
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
