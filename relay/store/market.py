"""The marketplace's listings: read, put up, closed, found when their time is over.

The only SQL on `market_listings`. Every change is made with the game's book open, which is the lock: of buyers, a
seller who cancels and the expiry, in any number of processes, one finds the listing open. What becomes of a listing is
decided by `relay.economy.trades`.
"""

from collections.abc import Collection, Mapping, Sequence

from sqlalchemy import Connection, bindparam, insert, select, text, update

from relay.economy.market import Listing, State
from relay.store.catalog_tables import market_listings

# A literal, because both databases use a partial index only for its own words.
IS_OPEN = text("market_listings.state = 'open'")

_COLUMNS = [market_listings.c[name] for name in Listing._fields]
_T = market_listings.c
_INSERT = insert(market_listings)
_CLOSE = (
    update(market_listings)
    .where(_T.game_id == bindparam("of_game"), _T.listing_id == bindparam("of_listing"), _T.state == State.OPEN)
    .values(state=bindparam("to_state"), buyer=bindparam("to_buyer"), closed_at_ms=bindparam("at_ms"))
)
ALL: Mapping[str, str] = {}  # every listing is wanted


def find(c: Connection, game_id: str, listing_ids: Collection[str]) -> dict[str, Listing]:
    """Return those of these listings that the game has, by id."""
    if not listing_ids:
        return {}
    query = select(*_COLUMNS).where(_T.game_id == game_id, _T.listing_id.in_(sorted(listing_ids)))
    return {row.listing_id: _listing(tuple(row)) for row in c.execute(query)}


def read(c: Connection, game_id: str, listing_id: str) -> Listing | None:
    """Return a listing."""
    return find(c, game_id, [listing_id]).get(listing_id)


def insert_listings(c: Connection, game_id: str, listings: Sequence[Listing]) -> None:
    """Add new listings."""
    if listings:
        c.execute(_INSERT, [{"game_id": game_id, **listing._asdict()} for listing in listings])


def close_listings(c: Connection, game_id: str, closed: Sequence[Listing]) -> None:
    """Write what became of listings that were open.

    Raises:
        RuntimeError: one was closed by somebody who did not hold the game's book; nothing may be committed then.
    """
    for one in closed:
        key = {"of_game": game_id, "of_listing": one.listing_id}
        values = {"to_state": one.state, "to_buyer": one.buyer, "at_ms": one.closed_at_ms}
        if c.execute(_CLOSE, {**key, **values}).rowcount != 1:
            raise RuntimeError(f"listing {one.listing_id} was closed by somebody who did not hold the game's book")


def due(c: Connection, now_ms: int, limit: int) -> list[tuple[str, str]]:
    """Return (game, listing) of at most `limit` open listings whose time is over, oldest first. Locks nothing.

    To be expired (`relay.economy.trades.Expire`) after `open_books` of all their games at once.
    """
    over = (IS_OPEN, _T.expires_at_ms.is_not(None), _T.expires_at_ms <= now_ms)
    query = select(_T.game_id, _T.listing_id).where(*over).order_by(_T.expires_at_ms, _T.listing_id).limit(limit)
    return [(row.game_id, row.listing_id) for row in c.execute(query)]


def open_listings(
    c: Connection, game_id: str, now_ms: int, limit: int, before: str | None, wanted: Mapping[str, str] = ALL
) -> list[Listing]:
    """Return at most `limit` listings that can be bought, newest first, with ids below `before` (None: any).

    `wanted`: what they are to have as item_id, seller or currency_id.
    """
    query = select(*_COLUMNS).where(_T.game_id == game_id, IS_OPEN, *(_T[name] == it for name, it in wanted.items()))
    query = query.where(_T.expires_at_ms.is_(None) | (_T.expires_at_ms > now_ms))
    if before is not None:
        query = query.where(_T.listing_id < before)
    return [_listing(tuple(row)) for row in c.execute(query.order_by(_T.listing_id.desc()).limit(limit))]


def _listing(row: tuple[object, ...]) -> Listing:
    found = Listing(*row)  # type: ignore[arg-type]
    return found._replace(state=State(found.state))
