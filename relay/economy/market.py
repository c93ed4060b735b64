"""The marketplace: a listing, and what may become of it.

Pure. The items of a listing are in the seller's escrow as long as it is open, and leave it once:

    open ──► sold        bought: items to the buyer, the price less tax to the seller
     ├─────► cancelled   the seller took it back
     └─────► expired     nobody bought it in time

All of it is decided under the lock of the game's economy, so of several who want a listing one finds it open.
"""

from enum import StrEnum
from typing import NamedTuple

from relay.economy import catalog, entries
from relay.economy.catalog import Item
from relay.economy.drafts import By, Draft, draft
from relay.economy.entries import TAX
from relay.economy.ledger import Refusal

BPS = 10_000  # basis points of a whole


class State(StrEnum):
    """What became of a listing."""

    OPEN = "open"
    SOLD = "sold"
    CANCELLED = "cancelled"
    EXPIRED = "expired"


class Listing(NamedTuple):
    """Items for sale, all together. Times in epoch ms; `price` is for all of them.

    `tax_bps` (basis points) is what was in force when the seller agreed to it.
    """

    listing_id: str
    seller: str
    item_id: str
    quantity: int
    currency_id: str
    price: int
    tax_bps: int
    listed_at_ms: int
    expires_at_ms: int | None = None
    state: State = State.OPEN
    buyer: str | None = None
    closed_at_ms: int | None = None

    @property
    def tax(self) -> int:
        """What the marketplace keeps of the price: rounded up, so at least 1 where there is a tax."""
        return -(-self.price * self.tax_bps // BPS)


def listed(listing: Listing, item: Item, by: By) -> Draft | Refusal:
    """Return the draft of putting items up for sale; ValueError: quantity out of range.

    (1) the item may change hands; (2) the end, if any, is still to come.
    """
    if item.soulbound:  # (1)
        return Refusal("ITEM_SOULBOUND", f"{item.item_id} is bound to its owner and cannot be sold.")
    if listing.expires_at_ms is not None and listing.expires_at_ms <= listing.listed_at_ms:  # (2)
        return Refusal("LISTING_EXPIRED", "`expiresAt` is not in the future.")
    owned, held = entries.wallet(listing.seller), entries.escrow(listing.seller)
    move = entries.moved(entries.item(item.item_id), listing.quantity, owned, held)
    return draft("list", by, [move], listingId=listing.listing_id, price=listing.price, currencyId=listing.currency_id)


def bought(listing: Listing, item: Item, buyer: str, by: By, now_ms: int) -> Draft | Refusal:
    """Return the draft of a sale.

    (1) the listing is open; (2) its time is not over; (3) nobody buys from himself; (4) the item may change hands: what
    was bound since it was listed stays with the seller.
    """
    if listing.state is not State.OPEN:  # (1)
        return _closed(listing)
    if listing.expires_at_ms is not None and now_ms >= listing.expires_at_ms:  # (2)
        return Refusal("LISTING_EXPIRED", f"The listing {listing.listing_id} has expired.")
    if buyer == listing.seller:  # (3)
        return Refusal("SELF_PURCHASE", f"{buyer} is the seller: cancel the listing instead.")
    if item.soulbound:  # (4)
        return Refusal("ITEM_SOULBOUND", f"{item.item_id} is bound to its owner and cannot be sold.")
    payer, money = entries.wallet(buyer), entries.currency(listing.currency_id)
    proceeds = listing.price - listing.tax
    moves = [
        entries.moved(entries.item(listing.item_id), listing.quantity, entries.escrow(listing.seller), payer),
        *([entries.moved(money, proceeds, payer, entries.wallet(listing.seller))] if proceeds else []),
        *([entries.moved(money, listing.tax, payer, TAX)] if listing.tax else []),
    ]
    return draft("buy", by, moves, caps=catalog.caps([item]), listingId=listing.listing_id, tax=listing.tax)


def cancelled(listing: Listing, external_id: str, by: By) -> Draft | Refusal:
    """Return the draft of taking a listing back: its seller may, as long as it is open, also when its time is over."""
    if external_id != listing.seller:
        return Refusal("NOT_THE_SELLER", f"The listing {listing.listing_id} is not of {external_id}.")
    if listing.state is not State.OPEN:
        return _closed(listing)
    return _back("cancel", listing, by)


def expired(listing: Listing, by: By, now_ms: int) -> Draft | None:
    """Return the draft of what happens to an open listing when its time is over; None where it is not, or not open."""
    over = listing.expires_at_ms is not None and now_ms >= listing.expires_at_ms
    return _back("expire", listing, by) if over and listing.state is State.OPEN else None


def _back(kind: str, listing: Listing, by: By) -> Draft:
    asset, seller = entries.item(listing.item_id), listing.seller
    move = entries.moved(asset, listing.quantity, entries.escrow(seller), entries.wallet(seller))
    return draft(kind, by, [move], listingId=listing.listing_id)


def _closed(listing: Listing) -> Refusal:
    return Refusal("LISTING_CLOSED", f"The listing {listing.listing_id} is {listing.state}, not open.")
