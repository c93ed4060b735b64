"""The marketplace: listings put up, bought, taken back, expired.

The only SQL on `market_listings`. Every change is made with the game's book open, which is the lock: of buyers, a
seller who cancels and the expiry, in any number of processes, one finds the listing open. What is booked is recorded in
the book; whoever opened it writes it.
"""

from typing import NamedTuple

from sqlalchemy import Connection, insert, select, update

from relay.economy import market
from relay.economy.catalog import Item
from relay.economy.drafts import By, Draft
from relay.economy.ledger import Book, Posted, Refusal
from relay.economy.market import Listing, State
from relay.ids import new_id
from relay.store import ledger
from relay.store.catalog import find
from relay.store.catalog_tables import market_listings

_COLUMNS = [market_listings.c[name] for name in Listing._fields]


class Offer(NamedTuple):
    """What a seller asks for; `price` for all of it, `expires_at_ms` None: until it is sold or taken back."""

    seller: str
    item_id: str
    quantity: int
    currency_id: str
    price: int
    tax_bps: int
    expires_at_ms: int | None = None


class Traded(NamedTuple):
    """What became of a listing, and the transaction that booked it."""

    listing: Listing
    posted: Posted


def put_up(c: Connection, book: Book, offer: Offer, by: By, now_ms: int) -> Traded | Refusal:
    """Put items up for sale; they are in escrow from now on."""
    item = find(c, book.game_id, Item, [offer.item_id]).get(offer.item_id)
    if item is None:
        return _unknown_item(offer.item_id)
    if not ledger.currencies(c, book.game_id, [offer.currency_id]):
        return Refusal("CURRENCY_UNKNOWN", f"The game has no currency {offer.currency_id}.")
    listing = Listing(listing_id=new_id("lst_", now_ms), listed_at_ms=now_ms, **offer._asdict())
    posted = _book(c, book, market.listed(listing, item, by), now_ms)
    if isinstance(posted, Refusal):
        return posted
    c.execute(insert(market_listings).values(game_id=book.game_id, **listing._asdict()))
    return Traded(listing, posted)


def buy(c: Connection, book: Book, listing_id: str, buyer: str, by: By, now_ms: int) -> Traded | Refusal:
    """Sell a listing to a player."""
    listing = read(c, book.game_id, listing_id)
    if listing is None:
        return _unknown(listing_id)
    item = find(c, book.game_id, Item, [listing.item_id]).get(listing.item_id)
    if item is None:
        return _unknown_item(listing.item_id)
    sold = listing._replace(state=State.SOLD, buyer=buyer, closed_at_ms=now_ms)
    return _close(c, book, sold, market.bought(listing, item, buyer, by, now_ms), now_ms)


def cancel(c: Connection, book: Book, listing_id: str, seller: str, by: By, now_ms: int) -> Traded | Refusal:
    """Give the items of a listing back to its seller, who asks for them."""
    listing = read(c, book.game_id, listing_id)
    if listing is None:
        return _unknown(listing_id)
    taken_back = listing._replace(state=State.CANCELLED, closed_at_ms=now_ms)
    return _close(c, book, taken_back, market.cancelled(listing, seller, by), now_ms)


def expire(c: Connection, book: Book, listing_id: str, by: By, now_ms: int) -> Traded | Refusal | None:
    """Give the items of a listing back if its time is over; None where it is not, or where it is not open any more.

    Refused where the seller's escrow is frozen: the listing stays, and cannot be bought.
    """
    listing = read(c, book.game_id, listing_id)
    draft = None if listing is None else market.expired(listing, by, now_ms)
    if listing is None or draft is None:
        return None
    return _close(c, book, listing._replace(state=State.EXPIRED, closed_at_ms=now_ms), draft, now_ms)


def due(c: Connection, now_ms: int, limit: int) -> list[tuple[str, str]]:
    """Return (game, listing) of at most `limit` open listings whose time is over, oldest first. Locks nothing.

    To be expired game by game: `open_books` of all their games at once, then `expire` each.
    """
    t = market_listings.c
    over = (t.state == State.OPEN, t.expires_at_ms.is_not(None), t.expires_at_ms <= now_ms)
    query = select(t.game_id, t.listing_id).where(*over).order_by(t.expires_at_ms, t.listing_id).limit(limit)
    return [(row.game_id, row.listing_id) for row in c.execute(query)]


def read(c: Connection, game_id: str, listing_id: str) -> Listing | None:
    """Return a listing."""
    t = market_listings.c
    row = c.execute(select(*_COLUMNS).where(t.game_id == game_id, t.listing_id == listing_id)).first()
    return None if row is None else _listing(tuple(row))


def open_listings(c: Connection, game_id: str, now_ms: int, limit: int, before: str | None) -> list[Listing]:
    """Return at most `limit` listings that can be bought, newest first, with ids below `before` (None: any)."""
    t = market_listings.c
    query = select(*_COLUMNS).where(t.game_id == game_id, t.state == State.OPEN)
    query = query.where(t.expires_at_ms.is_(None) | (t.expires_at_ms > now_ms))
    if before is not None:
        query = query.where(t.listing_id < before)
    return [_listing(tuple(row)) for row in c.execute(query.order_by(t.listing_id.desc()).limit(limit))]


def _close(c: Connection, book: Book, after: Listing, draft: Draft | Refusal, now_ms: int) -> Traded | Refusal:
    posted = _book(c, book, draft, now_ms)
    if isinstance(posted, Refusal):
        return posted
    t = market_listings.c
    values = {"state": after.state, "buyer": after.buyer, "closed_at_ms": after.closed_at_ms}
    one = (t.game_id == book.game_id, t.listing_id == after.listing_id, t.state == State.OPEN)
    if c.execute(update(market_listings).where(*one).values(values)).rowcount != 1:
        raise RuntimeError(f"listing {after.listing_id} was closed by somebody who did not hold the game's book")
    return Traded(after, posted)


def _book(c: Connection, book: Book, draft: Draft | Refusal, now_ms: int) -> Posted | Refusal:
    if isinstance(draft, Refusal):
        return draft
    ledger.load(c, book, [draft])
    return book.record(draft, new_id("txn_", now_ms), now_ms)


def _listing(row: tuple[object, ...]) -> Listing:
    found = Listing(*row)  # type: ignore[arg-type]
    return found._replace(state=State(found.state))


def _unknown(listing_id: str) -> Refusal:
    return Refusal("LISTING_UNKNOWN", f"The game has no listing {listing_id}.")


def _unknown_item(item_id: str) -> Refusal:
    return Refusal("ITEM_UNKNOWN", f"The game has no item {item_id}.")
