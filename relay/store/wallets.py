"""Currencies and players of an economy: declared, changed, listed.

The only SQL that changes `economy_currencies` and `economy_players`. A player's opening balances are booked in the same
transaction as the player is created, and never again.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from sqlalchemy import Connection, select
from sqlalchemy.dialects import postgresql, sqlite

from relay.economy.drafts import By, opening
from relay.economy.ledger import Posted, Refusal
from relay.economy.players import Currency, Player
from relay.ids import new_id
from relay.store.economy_tables import economy_currencies, economy_players
from relay.store.ledger import currencies, load, open_books, players, write


class Declared(NamedTuple):
    """What became of a declared player. `opened`: the opening balances, None where there were none to book."""

    created: bool
    opened: Posted | None = None


class PlayerRow(NamedTuple):
    """A player as declared last. Times in epoch ms."""

    external_id: str
    display_name: str | None
    address: bytes | None
    created_at_ms: int
    updated_at_ms: int


def put_currency(c: Connection, game_id: str, currency: Currency, now_ms: int) -> bool:
    """Declare a currency, or change what was declared; balances above a lowered `maxBalance` stay, and cannot grow.

    Locks the game's economy, so that no booking under way is decided by the old limit after the new one is answered.
    Returns whether the currency is new.
    """
    open_books(c, [game_id])
    created = not currencies(c, game_id, [currency.currency_id])
    _upsert(c, economy_currencies, {"game_id": game_id, **currency._asdict()}, ("game_id", "currency_id"), now_ms)
    return created


def list_currencies(c: Connection, game_id: str, after: str = "", limit: int | None = None) -> list[Currency]:
    """Return at most `limit` currencies of a game by id, above `after`."""
    e = economy_currencies.c
    query = select(economy_currencies).where(e.game_id == game_id, e.currency_id > after).order_by(e.currency_id)
    rows = c.execute(query.limit(limit))
    return [Currency(row.currency_id, row.name, row.icon, row.max_balance, row.decimals) for row in rows]


def put_players(
    c: Connection, game_id: str, declared: Sequence[Player], by: By, now_ms: int
) -> list[Declared | Refusal]:
    """Declare players, or change what was declared; returns what became of each, in order.

    One whose opening balances are refused is not created. Locks the game's economy.
    """
    book = open_books(c, [game_id])[game_id]
    known = players(c, game_id, [player.external_id for player in declared])
    openings = [None if one.external_id in known else opening(one.external_id, one.wallets, by) for one in declared]
    load(c, book, [draft for draft in openings if draft is not None])
    book.currencies.update(currencies(c, game_id, {name for player in declared for name, _ in player.wallets}))
    outcomes: list[Declared | Refusal] = []
    for player, first in zip(declared, openings, strict=True):
        new = player.external_id not in known
        outcome: Declared | Refusal = Declared(created=new)
        missing = [name for name, _ in player.wallets if name not in book.currencies]  # a balance of 0 books nothing
        if new and missing:
            outcome = Refusal("CURRENCY_UNKNOWN", f"The game has no currency {missing[0]}.")
        elif new and first is not None:
            book.players.add(player.external_id)  # is created below, in this same transaction
            posted = book.record(first, new_id("txn_", now_ms), now_ms)
            outcome = posted if isinstance(posted, Refusal) else Declared(created=True, opened=posted)
        if isinstance(outcome, Declared):
            known.add(player.external_id)
            row = {"external_id": player.external_id, "display_name": player.display_name, "address": player.address}
            kept = [name for name in ("display_name", "address") if name not in player.changes]
            key = ("game_id", "external_id")
            _upsert(c, economy_players, {"game_id": game_id, **row}, key, now_ms, kept)
        outcomes.append(outcome)
    write(c, book)
    return outcomes


def find_players(c: Connection, game_id: str, external_ids: Iterable[str]) -> dict[str, PlayerRow]:
    """Return those of these players that the game has, by external id."""
    p = economy_players.c
    query = select(*_PLAYER).where(p.game_id == game_id, p.external_id.in_(sorted(set(external_ids))))
    return {row.external_id: _player(row) for row in c.execute(query)}


def list_players(c: Connection, game_id: str, search: str, after: str, limit: int) -> list[PlayerRow]:
    """Return at most `limit` players by external id, above `after`, whose id or name contains `search` in any case."""
    p = economy_players.c
    query = select(*_PLAYER).where(p.game_id == game_id, p.external_id > after)
    if search:
        query = query.where(p.external_id.icontains(search, autoescape=True)
                            | p.display_name.icontains(search, autoescape=True))  # fmt: skip
    return [_player(row) for row in c.execute(query.order_by(p.external_id).limit(limit))]


def _upsert(
    c: Connection, table: Any, row: Mapping[str, Any], key: tuple[str, ...], now_ms: int, kept: Collection[str] = ()
) -> None:
    """Insert a row, or change all of the one that is there but its key and what is `kept`."""
    insert = postgresql.insert if c.dialect.name == "postgresql" else sqlite.insert
    changed = {name: value for name, value in row.items() if name not in (*key, *kept)}
    statement = insert(table).values(**row, created_at_ms=now_ms, updated_at_ms=now_ms)
    c.execute(statement.on_conflict_do_update(index_elements=key, set_={**changed, "updated_at_ms": now_ms}))


_PLAYER = [economy_players.c[name] for name in PlayerRow._fields]


def _player(row: Any) -> PlayerRow:
    address = None if row.address is None else bytes(row.address)
    return PlayerRow(row.external_id, row.display_name, address, row.created_at_ms, row.updated_at_ms)
