"""Table of the games that are configured while relays run.

Pure (schema only). The queries are in `relay.store.games`.
"""

from sqlalchemy import BigInteger, Column, Integer, Table, Text

from relay.store.metadata import metadata

# Append-only: a game is as its highest version says. Games that the settings name are not here.
game_versions = Table(
    "game_versions",
    metadata,
    Column("game_id", Text, primary_key=True),
    Column("version", Integer, primary_key=True, autoincrement=False),  # 1, 2, 3 … per game
    Column("config", Text, nullable=False),  # JSON object as in `[games.<id>]`
    Column("at_ms", BigInteger, nullable=False),
    Column("actor", Text, nullable=False),  # id of an API key, or cli:<user of the machine>
    Column("reason", Text, nullable=False),
)
