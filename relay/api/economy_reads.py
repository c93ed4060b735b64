"""What an economy holds, over HTTP: transactions, balances, inventories, the marketplace.

Touches the database through the store, for reading only.
"""

from collections.abc import Callable
from datetime import datetime
from typing import Annotated, Literal

from msgspec import Meta, field

from relay.api.economy_documents import (
    BalancesDocument,
    InventoryDocument,
    MarketPage,
    TransactionDocument,
    TransactionPage,
    balances_document,
    inventory_document,
    listing_document,
    transaction_document,
)
from relay.api.economy_parts import ERRORS, READERS, TAG, EconomyParts, Envelope, GameQuery, envelope, page_of
from relay.api.economy_stats import stats_operations
from relay.api.operations import Answer, Call, Operation
from relay.api.pages import Cursor, Limit, cursor_of, read_cursor, storable
from relay.api.round_documents import epoch_ms
from relay.economy import entries
from relay.economy.entries import Asset
from relay.errors import CallerError, FieldError
from relay.store import ledger_history, ledger_view, market, wallets
from relay.store.checkpoints import anchored_size
from relay.store.intake_rows import Connection
from relay.store.ledger_history import History
from relay.store.ledger_view import Owned
from relay.store.wallets import PlayerRow

BASE = "/api/economy"
PLACE = "seq_"  # what cursors of transactions begin with
PLAYER_PARAMETER = {"externalId": "The player's external id, percent-encoded."}

Named = Annotated[str, Meta(min_length=1, max_length=entries.ID_MAX)]
Moment = Annotated[datetime, Meta(tz=True)]


class TransactionQuery(GameQuery, frozen=True):
    """Filters of the list. `player`: anything moved to or from, what is held for the player counts, too."""

    player: Named | None = None
    currency: Named | None = None
    item: Named | None = None
    type: (
        Literal[
            "opening", "grant", "spend", "transfer", "purchase", "craft", "loot", "list", "buy", "cancel", "expire",
            "reversal",
        ]
        | None
    ) = None  # fmt: skip
    source: Literal["server", "client", "craft", "loot", "marketplace", "purchase", "system"] | None = None
    from_: Annotated[Moment, Meta(description="RFC 3339; included")] | None = field(name="from", default=None)
    to: Annotated[Moment, Meta(description="RFC 3339; excluded")] | None = None
    limit: Limit = 50
    cursor: Cursor | None = None


class MarketQuery(GameQuery, frozen=True):
    """Filters of the list."""

    item: Named | None = None
    seller: Named | None = None
    currency: Named | None = None
    limit: Limit = 50
    cursor: Cursor | None = None


class Reads:
    """The endpoints."""

    def __init__(self, parts: EconomyParts) -> None:
        self._parts = parts

    async def transactions(self, call: Call) -> Answer:
        """Return a page of transactions."""
        game_id, query = await self._parts.game_of(call), call.query
        wanted, before = _wanted(query), _before(query.cursor)

        def read(c: Connection) -> TransactionPage:
            rows = ledger_history.history(c, game_id, wanted, query.limit + 1, before)
            shown, following = page_of(rows, query.limit, lambda one: cursor_of(f"{PLACE}{one.transaction.sequence}"))
            anchored = anchored_size(c, game_id)
            return TransactionPage([transaction_document(one, anchored) for one in shown], following)

        return envelope(call, await self._parts.read(read))

    async def transaction(self, call: Call) -> Answer:
        """Return one transaction."""
        game_id, wanted = await self._parts.game_of(call), storable(call.path["transactionId"])

        def read(c: Connection) -> TransactionDocument:
            told = ledger_history.find(c, game_id, wanted)
            if told is None:
                raise CallerError("TRANSACTION_UNKNOWN", "The game has no transaction with this id.")
            return transaction_document(told, anchored_size(c, game_id))

        return envelope(call, await self._parts.read(read))

    async def balance(self, call: Call) -> Answer:
        """Return what a player has of currencies."""
        return await self._owned(call, balances_document)

    async def inventory(self, call: Call) -> Answer:
        """Return what a player has of items."""
        return await self._owned(call, inventory_document)

    async def _owned(self, call: Call, shown: Callable[[PlayerRow, dict[Asset, Owned]], object]) -> Answer:
        game_id, external_id = await self._parts.game_of(call), call.path["externalId"]

        def read(c: Connection) -> object:
            known = wallets.find_players(c, game_id, [external_id] if entries.valid_id(external_id) else [])
            if external_id not in known:
                raise CallerError("PLAYER_UNKNOWN", "The game has no player with this external id.")
            return shown(known[external_id], ledger_view.owned(c, game_id, external_id))

        return envelope(call, await self._parts.read(read))

    async def listings(self, call: Call) -> Answer:
        """Return a page of the marketplace."""
        game_id, query = await self._parts.game_of(call), call.query
        before, database = read_cursor(query.cursor, "lst_"), self._parts.database
        named = {"item_id": query.item, "seller": query.seller, "currency_id": query.currency}
        wanted = {name: storable(value) for name, value in named.items() if value is not None}

        def read(c: Connection) -> MarketPage:
            rows = market.open_listings(c, game_id, database.now_ms(c), query.limit + 1, before, wanted)
            shown, following = page_of(rows, query.limit, lambda one: cursor_of(one.listing_id))
            return MarketPage([listing_document(one) for one in shown], following)

        return envelope(call, await self._parts.read(read))


def _wanted(query: TransactionQuery) -> History:
    """Return what a list shows.

    Raises:
        CallerError: QUERY_INVALID, naming the parameter.
    """
    if query.currency is not None and query.item is not None:
        raise _invalid("item", "name a currency or an item, not both")
    for name in ("player", "currency", "item"):
        value = getattr(query, name)
        if value is not None and not entries.valid_id(value):
            raise _invalid(name, f"an id is 1 to {entries.ID_MAX} printable characters, without spaces at its ends")
    asset = None
    if query.currency is not None:
        asset = entries.currency(query.currency)
    elif query.item is not None:
        asset = entries.item(query.item)
    from_ms = None if query.from_ is None else epoch_ms(query.from_)
    to_ms = None if query.to is None else epoch_ms(query.to)
    return History(query.player, asset, query.type, query.source, from_ms, to_ms)


def _before(cursor: str | None) -> int | None:
    """Return the sequence that a page ended at.

    Raises:
        CallerError: QUERY_INVALID, this is not a cursor of the list.
    """
    place = read_cursor(cursor, PLACE)
    if place is None:
        return None
    digits = place.removeprefix(PLACE)
    if not digits.isdecimal() or len(digits) > len(str(entries.AMOUNT_MAX)):
        raise _invalid("cursor", "not a cursor of this list")
    return int(digits)


def _invalid(name: str, why: str) -> CallerError:
    wrong = FieldError(f"?{name}", "FIELD_INVALID", why)
    return CallerError("QUERY_INVALID", f"Query parameter {name!r}: {why}.", fields=[wrong])


def read_operations(parts: EconomyParts) -> list[Operation]:
    """Return the declarations."""
    here = Reads(parts)
    whose, listed = f"{BASE}/players/{{externalId}}", (*ERRORS, "QUERY_INVALID")
    one = (*listed, "PLAYER_UNKNOWN")
    return [
        Operation(
            "GET", f"{BASE}/transactions", "Transactions, newest first", here.transactions,
            {200: Envelope[TransactionPage]}, listed, READERS, query=TransactionQuery, tag=TAG,
        ),
        Operation(
            "GET", f"{BASE}/transactions/{{transactionId}}", "One transaction", here.transaction,
            {200: Envelope[TransactionDocument]}, (*listed, "TRANSACTION_UNKNOWN"), READERS, query=GameQuery, tag=TAG,
            parameters={"transactionId": "As answered when it was made."},
        ),
        Operation(
            "GET", f"{whose}/balance", "A player's currencies", here.balance, {200: Envelope[BalancesDocument]}, one,
            READERS, query=GameQuery, tag=TAG, parameters=PLAYER_PARAMETER, spanning=True,
        ),
        Operation(
            "GET", f"{whose}/inventory", "A player's items", here.inventory, {200: Envelope[InventoryDocument]}, one,
            READERS, query=GameQuery, tag=TAG, parameters=PLAYER_PARAMETER, spanning=True,
        ),
        Operation(
            "GET", f"{BASE}/marketplace", "Listings that can be bought, newest first", here.listings,
            {200: Envelope[MarketPage]}, listed, READERS, query=MarketQuery, tag=TAG,
        ),
        *stats_operations(parts),
    ]  # fmt: skip
