"""The marketplace's operations: put up, bought, taken back, expired.

Pure. Each is a `relay.economy.desk.Step`. The desk's lock is the listing's: of buyers, a seller who cancels and the
expiry, in any number of processes, one finds the listing open.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from relay.economy import market
from relay.economy.desk import Desk, Names, Traded
from relay.economy.drafts import By, Draft
from relay.economy.ledger import Refusal
from relay.economy.market import Listing, State


class Offer(NamedTuple):
    """What a seller asks for; `price` for all of it, `expires_at_ms` None: until it is sold or taken back."""

    seller: str
    item_id: str
    quantity: int
    currency_id: str
    price: int
    tax_bps: int
    expires_at_ms: int | None = None


@dataclass(frozen=True)
class PutUp:
    """Put items up for sale; they are in escrow from then on."""

    offer: Offer
    by: By

    def names(self, names: Names) -> None:
        """The item, and the currency, which no booking names yet."""
        names.items.add(self.offer.item_id)
        names.currencies.add(self.offer.currency_id)

    def drafts(self, desk: Desk) -> Sequence[Draft]:
        """Return the escrow."""
        return _bookable(self._draft(desk, self._listing("lst_0", desk)))

    def amounts(self, desk: Desk) -> Mapping[str, int]:  # noqa: ARG002
        """Nothing is paid yet."""
        return {}

    def decide(self, desk: Desk) -> Traded | Refusal:
        """Put it up."""
        listing = self._listing(desk.new_id("lst_"), desk)
        posted = desk.record(self._draft(desk, listing))
        if isinstance(posted, Refusal):
            return posted
        desk.put_up(listing)
        return Traded(listing, posted)

    def _listing(self, listing_id: str, desk: Desk) -> Listing:
        return Listing(listing_id=listing_id, listed_at_ms=desk.now_ms, **self.offer._asdict())

    def _draft(self, desk: Desk, listing: Listing) -> Draft | Refusal:
        item = desk.items.get(listing.item_id)
        if item is None:
            return _unknown_item(listing.item_id)
        if listing.currency_id not in desk.book.currencies:
            return Refusal("CURRENCY_UNKNOWN", f"The game has no currency {listing.currency_id}.")
        return market.listed(listing, item, self.by)


@dataclass(frozen=True)
class Buy:
    """Sell a listing to a player."""

    listing_id: str
    buyer: str
    by: By

    def names(self, names: Names) -> None:
        """The listing."""
        names.listings.add(self.listing_id)

    def drafts(self, desk: Desk) -> Sequence[Draft]:
        """Return the sale."""
        return _bookable(self._draft(desk))

    def amounts(self, desk: Desk) -> Mapping[str, int]:
        """Return the price."""
        listing = desk.listings.get(self.listing_id)
        return {} if listing is None else {listing.currency_id: listing.price}

    def decide(self, desk: Desk) -> Traded | Refusal:
        """Sell it."""
        return _closed(desk, self.listing_id, self._draft(desk), State.SOLD, self.buyer)

    def _draft(self, desk: Desk) -> Draft | Refusal:
        listing = desk.listings.get(self.listing_id)
        if listing is None:
            return _unknown(self.listing_id)
        item = desk.items.get(listing.item_id)
        if item is None:
            return _unknown_item(listing.item_id)
        return market.bought(listing, item, self.buyer, self.by, desk.now_ms)


@dataclass(frozen=True)
class Cancel:
    """Give the items of a listing back to its seller, who asks for them."""

    listing_id: str
    seller: str
    by: By

    def names(self, names: Names) -> None:
        """The listing."""
        names.listings.add(self.listing_id)

    def drafts(self, desk: Desk) -> Sequence[Draft]:
        """Return the way back."""
        return _bookable(self._draft(desk))

    def amounts(self, desk: Desk) -> Mapping[str, int]:  # noqa: ARG002
        """Nothing is paid."""
        return {}

    def decide(self, desk: Desk) -> Traded | Refusal:
        """Take it back."""
        return _closed(desk, self.listing_id, self._draft(desk), State.CANCELLED)

    def _draft(self, desk: Desk) -> Draft | Refusal:
        listing = desk.listings.get(self.listing_id)
        return _unknown(self.listing_id) if listing is None else market.cancelled(listing, self.seller, self.by)


@dataclass(frozen=True)
class Expire:
    """Give the items of a listing back whose time is over; refused where it is not, or the listing is not open."""

    listing_id: str
    by: By

    def names(self, names: Names) -> None:
        """The listing."""
        names.listings.add(self.listing_id)

    def drafts(self, desk: Desk) -> Sequence[Draft]:
        """Return the way back."""
        return _bookable(self._draft(desk))

    def amounts(self, desk: Desk) -> Mapping[str, int]:  # noqa: ARG002
        """Nothing is paid."""
        return {}

    def decide(self, desk: Desk) -> Traded | Refusal:
        """Let it expire."""
        return _closed(desk, self.listing_id, self._draft(desk), State.EXPIRED)

    def _draft(self, desk: Desk) -> Draft | Refusal:
        listing = desk.listings.get(self.listing_id)
        if listing is None:
            return _unknown(self.listing_id)
        over = market.expired(listing, self.by, desk.now_ms)
        return over or Refusal("LISTING_CLOSED", f"The listing {self.listing_id} does not expire now.")


def _closed(
    desk: Desk, listing_id: str, wanted: Draft | Refusal, state: State, buyer: str | None = None
) -> Traded | Refusal:
    posted = desk.record(wanted)
    if isinstance(posted, Refusal):
        return posted
    after = desk.listings[listing_id]._replace(state=state, buyer=buyer, closed_at_ms=desk.now_ms)
    desk.close(after)
    return Traded(after, posted)


def _bookable(wanted: Draft | Refusal) -> Sequence[Draft]:
    return () if isinstance(wanted, Refusal) else (wanted,)


def _unknown(listing_id: str) -> Refusal:
    return Refusal("LISTING_UNKNOWN", f"The game has no listing {listing_id}.")


def _unknown_item(item_id: str) -> Refusal:
    return Refusal("ITEM_UNKNOWN", f"The game has no item {item_id}.")
