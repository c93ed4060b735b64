"""What the economy's reads show: transactions, balances, inventories, listings.

Pure. Amounts are whole units, however a currency's `decimals` let them be shown.
"""

from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec import field

from relay.api.pages import rfc3339
from relay.economy import entries
from relay.economy.entries import Asset, Move
from relay.economy.market import Listing
from relay.keccak import checksum_address
from relay.store.ledger_history import Told
from relay.store.ledger_view import Owned
from relay.store.wallets import PlayerRow


class MoveDocument(msgspec.Struct, frozen=True, rename="camel"):
    """`amount` of a currency or an item went from one account to another.

    An account is `player:<external id>`, `escrow:<external id>` (held for that player), `mint`, `burn` or `tax`.
    """

    asset: str
    currency_id: str | None
    item_id: str | None
    amount: int
    source: str = field(name="from")
    target: str = field(name="to")


class TransactionDocument(msgspec.Struct, frozen=True, rename="camel"):
    """A transaction of a ledger. `hash`: keccak-256 of its canonical bytes, `previous`: of those before.

    `anchored`: a final checkpoint covers it, so that it can be proved. `detail`: what else it is about.
    """

    transaction_id: str
    sequence: int
    type: str
    source: str
    at: str
    moves: list[MoveDocument]
    reason: str | None
    reference: str | None
    reverses: str | None
    reversed_by: str | None
    actor: str
    config_version: int
    detail: dict[str, Any]
    previous: str
    hash: str
    anchored: bool


class TransactionPage(msgspec.Struct, frozen=True, rename="camel"):
    """A page of transactions, newest first."""

    transactions: list[TransactionDocument]
    next_cursor: str | None


class Holding(msgspec.Struct, frozen=True, rename="camel"):
    """What a player has of a currency: to be used, and held in escrow. A frozen one cannot be moved."""

    currency_id: str
    balance: int
    held: int
    frozen: bool


class BalancesDocument(msgspec.Struct, frozen=True, rename="camel"):
    """A player's currencies, by id."""

    external_id: str
    display_name: str | None
    address: str | None
    balances: list[Holding]


class ItemHolding(msgspec.Struct, frozen=True, rename="camel"):
    """What a player has of an item: to be used, and in escrow for the marketplace."""

    item_id: str
    quantity: int
    escrowed: int
    frozen: bool


class InventoryDocument(msgspec.Struct, frozen=True, rename="camel"):
    """A player's items, by id."""

    external_id: str
    display_name: str | None
    address: str | None
    items: list[ItemHolding]


class ListingDocument(msgspec.Struct, frozen=True, rename="camel"):
    """Items for sale, all together for `price`; of it the marketplace keeps `tax` (`taxBps` basis points)."""

    listing_id: str
    seller: str
    item_id: str
    quantity: int
    currency_id: str
    price: int
    tax_bps: int
    tax: int
    listed_at: str
    expires_at: str | None


class MarketPage(msgspec.Struct, frozen=True, rename="camel"):
    """A page of listings that can be bought, newest first."""

    listings: list[ListingDocument]
    next_cursor: str | None


def transaction_document(told: Told, anchored: int) -> TransactionDocument:
    """Return a transaction as shown; `anchored`: how many of the ledger's transactions final checkpoints cover."""
    made = told.transaction
    draft = made.draft
    return TransactionDocument(
        transaction_id=made.id,
        sequence=made.sequence,
        type=draft.type,
        source=draft.source,
        at=rfc3339(made.at_ms),
        moves=[_move(move) for move in draft.moves],
        reason=draft.reason,
        reference=draft.reference,
        reverses=draft.reverses,
        reversed_by=told.reversed_by,
        actor=draft.actor,
        config_version=draft.config_version,
        detail=dict(draft.detail),
        previous="0x" + made.previous.hex(),
        hash="0x" + told.hash.hex(),
        anchored=made.sequence < anchored,
    )


def balances_document(player: PlayerRow, owned: Mapping[Asset, Owned]) -> BalancesDocument:
    """Return a player's currencies as shown."""
    found = [
        Holding(currency_id, has.amount, has.held, has.frozen)
        for asset, has in owned.items()
        if (currency_id := entries.currency_of(asset)) is not None
    ]
    return BalancesDocument(player.external_id, player.display_name, _address(player), found)


def inventory_document(player: PlayerRow, owned: Mapping[Asset, Owned]) -> InventoryDocument:
    """Return a player's items as shown; what came and went again is not there."""
    found = [
        ItemHolding(item_id, has.amount, has.held, has.frozen)
        for asset, has in owned.items()
        if (item_id := entries.item_of(asset)) is not None and has != NOTHING
    ]
    return InventoryDocument(player.external_id, player.display_name, _address(player), found)


def listing_document(listing: Listing) -> ListingDocument:
    """Return a listing as shown."""
    return ListingDocument(
        listing_id=listing.listing_id,
        seller=listing.seller,
        item_id=listing.item_id,
        quantity=listing.quantity,
        currency_id=listing.currency_id,
        price=listing.price,
        tax_bps=listing.tax_bps,
        tax=listing.tax,
        listed_at=rfc3339(listing.listed_at_ms),
        expires_at=None if listing.expires_at_ms is None else rfc3339(listing.expires_at_ms),
    )


NOTHING = Owned(0, 0, frozen=False)


def _move(move: Move) -> MoveDocument:
    currency_id, item_id = entries.currency_of(move.asset), entries.item_of(move.asset)
    return MoveDocument(move.asset, currency_id, item_id, move.amount, move.source, move.target)


def _address(player: PlayerRow) -> str | None:
    return None if player.address is None else checksum_address(player.address)
