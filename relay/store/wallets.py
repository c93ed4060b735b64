"""Currencies and players of an economy: declared, changed, listed.

The only SQL that changes `economy_currencies` and `economy_players`. A player's opening balances are booked in the same
transaction as the player is created, and never again.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from sqlalchemy import Connection, select
from sqlalchemy.dialects import postgresql, sqlite

from relay.economy.drafts import By, opening
from relay.economy.ledger import Posted, Refusal
from relay.economy.players import Currency, Player
from relay.ids import new_id
from relay.store.economy_tables import economy_currencies, economy_players
from relay.store.ledger import load, open_books, players, write


class Declared(NamedTuple):
    """What became of a declared player. `opened`: the opening balances, None where there were none to book."""

    created: bool
    opened: Posted | None = None


def put_currency(c: Connection, game_id: str, currency: Currency, now_ms: int) -> None:
    """Declare a currency, or change what was declared; balances above a lowered `maxBalance` stay, and cannot grow.

    Locks the game's economy, so that no booking under way is decided by the old limit after the new one is answered.
    """
    open_books(c, [game_id])
    _upsert(c, economy_currencies, {"game_id": game_id, **currency._asdict()}, ("game_id", "currency_id"), now_ms)


def list_currencies(c: Connection, game_id: str) -> list[Currency]:
    """Return the currencies of a game by id."""
    e = economy_currencies.c
    query = select(economy_currencies).where(e.game_id == game_id).order_by(e.currency_id)
    return [Currency(row.currency_id, row.name, row.icon, row.max_balance, row.decimals) for row in c.execute(query)]


def put_players(
    c: Connection, game_id: str, declared: Sequence[Player], by: By, now_ms: int
) -> list[Declared | Refusal]:
    """Declare players, or change what was declared; returns what became of each, in order.

    One whose opening balances are refused is not created. Locks the game's economy.
    """
    book = open_books(c, [game_id])[game_id]
    known = players(c, game_id, [player.external_id for player in declared])
    outcomes: list[Declared | Refusal] = []
    for player in declared:
        outcome: Declared | Refusal = Declared(created=player.external_id not in known)
        first = None if player.external_id in known else opening(player.external_id, player.wallets, by)
        if first is not None:
            load(c, book, [first])
            book.players.add(player.external_id)  # is created below, in this same transaction
            posted = book.record(first, new_id("txn_", now_ms), now_ms)
            outcome = posted if isinstance(posted, Refusal) else Declared(created=True, opened=posted)
        if isinstance(outcome, Declared):
            known.add(player.external_id)
            row = {"external_id": player.external_id, "display_name": player.display_name, "address": player.address}
            _upsert(c, economy_players, {"game_id": game_id, **row}, ("game_id", "external_id"), now_ms)
        outcomes.append(outcome)
    write(c, book)
    return outcomes


def find_player(c: Connection, game_id: str, external_id: str) -> Player | None:
    """Return a player as declared last, without balances."""
    p = economy_players.c
    row = c.execute(select(economy_players).where(p.game_id == game_id, p.external_id == external_id)).first()
    if row is None:
        return None
    return Player(row.external_id, row.display_name, None if row.address is None else bytes(row.address))


def _upsert(c: Connection, table: Any, row: Mapping[str, Any], key: tuple[str, ...], now_ms: int) -> None:
    insert = postgresql.insert if c.dialect.name == "postgresql" else sqlite.insert
    changed = {name: value for name, value in row.items() if name not in key}
    statement = insert(table).values(**row, created_at_ms=now_ms, updated_at_ms=now_ms)
    c.execute(statement.on_conflict_do_update(index_elements=key, set_={**changed, "updated_at_ms": now_ms}))
