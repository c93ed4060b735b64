"""Tables of what happened in a game's economy, counted by minute and by hour: what charts over time are drawn from.

Pure (schema only). Written by `relay.store.tallies` once per group of operations, read by `relay.store.economy_stats`.
Every count stands in two rows, of its minute and of its hour, so that a chart of days adds up hours; minutes are swept.
"""

from sqlalchemy import BigInteger, CheckConstraint, Column, Integer, Table, Text

from relay.store.metadata import metadata

GRAINS_S = (60, 3_600)

economy_operation_tallies = Table(
    "economy_operation_tallies",
    metadata,
    Column("game_id", Text, primary_key=True),
    Column("grain_s", Integer, primary_key=True, autoincrement=False),
    Column("at_ms", BigInteger, primary_key=True, autoincrement=False),  # start of the minute or hour
    Column("action", Text, primary_key=True),
    Column("code", Text, primary_key=True),  # `ok` for what took effect, else why it was refused
    Column("operations", BigInteger, nullable=False),
    CheckConstraint("grain_s IN (60, 3600)", name="grain_s"),
    CheckConstraint("operations > 0", name="operations"),
    sqlite_with_rowid=False,
)

# What a currency's system accounts and all its escrow gained: negative where a reversal or a release took from them.
economy_supply_tallies = Table(
    "economy_supply_tallies",
    metadata,
    Column("game_id", Text, primary_key=True),
    Column("grain_s", Integer, primary_key=True, autoincrement=False),
    Column("at_ms", BigInteger, primary_key=True, autoincrement=False),
    Column("currency_id", Text, primary_key=True),
    Column("minted", BigInteger, nullable=False),
    Column("burned", BigInteger, nullable=False),
    Column("taxed", BigInteger, nullable=False),
    Column("escrowed", BigInteger, nullable=False),
    CheckConstraint("grain_s IN (60, 3600)", name="grain_s"),
    sqlite_with_rowid=False,
)
