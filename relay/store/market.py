"""The marketplace's listings: read, put up, closed, found when their time is over.

The only SQL on `market_listings`. Every change is made with the game's book open, which is the lock: of buyers, a
seller who cancels and the expiry, in any number of processes, one finds the listing open. What becomes of a listing is
decided by `relay.economy.trades`.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, insert, select, text

from relay.economy.market import Listing, State
from relay.store.catalog_tables import market_listings

# A literal, because both databases use a partial index only for its own words.
IS_OPEN = text("market_listings.state = 'open'")

_COLUMNS = [market_listings.c[name] for name in Listing._fields]
_T = market_listings.c
_INSERT = insert(market_listings)
_CLOSE = {
    "postgresql": text(
        "UPDATE market_listings l SET state = k.state, buyer = k.buyer, closed_at_ms = k.at_ms FROM unnest("
        "CAST(:ids AS text[]), CAST(:states AS text[]), CAST(:buyers AS text[]), CAST(:times AS bigint[])) "
        "AS k (id, state, buyer, at_ms) WHERE l.game_id = :game_id AND l.listing_id = k.id AND l.state = 'open'"
    ),
    "sqlite": text(
        "UPDATE market_listings SET state = :states, buyer = :buyers, closed_at_ms = :times "
        "WHERE game_id = :game_id AND listing_id = :ids AND state = 'open'"
    ),
}
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
    if not closed:
        return
    rows = [
        {"game_id": game_id, "ids": one.listing_id, "states": str(one.state), "buyers": one.buyer,
         "times": one.closed_at_ms}
        for one in closed
    ]  # fmt: skip
    given: Any = rows
    if c.dialect.name == "postgresql":
        names = ("ids", "states", "buyers", "times")
        given = {"game_id": game_id, **{name: [row[name] for row in rows] for name in names}}
    if c.execute(_CLOSE[c.dialect.name], given).rowcount != len(rows):
        raise RuntimeError(f"listings of {game_id} were closed by somebody who did not hold the game's book")


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
