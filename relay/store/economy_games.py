"""Games that have an economy only: registered, found, listed.

The only SQL on `economy_games`. A game is registered together with its first server key, or not at all.
"""

from collections.abc import Iterable
from typing import Any, NamedTuple

from sqlalchemy import Connection, Select, insert, select

from relay.games import ECONOMY_PREFIX
from relay.ids import new_id
from relay.store import keys
from relay.store.controls import By, record
from relay.store.economy_tables import economy_games

OPEN = "open"  # how the name begins of who registered a game where nobody had to say so: no id of a key does


class EconomyGame(NamedTuple):
    """A registered game; `owner_id` is the caller's own. Time in epoch ms."""

    game_id: str
    name: str
    owner_id: str | None
    created_at_ms: int
    created_by: str


def register(c: Connection, name: str, owner_id: str | None, by: By) -> tuple[EconomyGame, keys.NewKey]:
    """Register a game under a new id; returns it and its server key, whose secret exists nowhere else."""
    made = EconomyGame(new_id(ECONOMY_PREFIX, by.at_ms), name, owner_id, by.at_ms, by.actor)
    c.execute(insert(economy_games).values(**made._asdict()))
    record(c, by, "economy.game", made.game_id)
    return made, keys.create(c, keys.Wanted("server", made.game_id, name), by)


def known(c: Connection, game_ids: Iterable[str]) -> set[str]:
    """Return which of these ids are registered games'."""
    g = economy_games.c
    return set(c.scalars(select(g.game_id).where(g.game_id.in_(sorted(set(game_ids))))))


def find(c: Connection, game_id: str) -> EconomyGame | None:
    """Return a game."""
    row = c.execute(select(economy_games).where(economy_games.c.game_id == game_id)).first()
    return None if row is None else _game(row)


def open_ones() -> Select[tuple[str]]:
    """Return the query for the ids of games that nobody needed a key to register."""
    return select(economy_games.c.game_id).where(economy_games.c.created_by.startswith(OPEN))


def page(c: Connection, limit: int, before: str | None = None) -> list[EconomyGame]:
    """Return at most `limit` games, newest first, older than the id `before`."""
    query = select(economy_games).order_by(economy_games.c.game_id.desc()).limit(limit)
    if before is not None:
        query = query.where(economy_games.c.game_id < before)
    return [_game(row) for row in c.execute(query)]


def _game(row: Any) -> EconomyGame:
    return EconomyGame(*(getattr(row, name) for name in EconomyGame._fields))
