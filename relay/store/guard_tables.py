"""The tables of the economy's guard: settings in versions, amounts of the last minute, transfers of the last hour.

Pure (schema only). Queries are in `relay.store.economy_config`, `relay.store.gate` and `relay.store.transfers_seen`.
How often somebody does something is in `limit_windows` (`relay.store.tables`), as for scores.
"""

from sqlalchemy import BigInteger, CheckConstraint, Column, Index, Integer, LargeBinary, Table, Text, text

from relay.store.metadata import metadata

# Append-only: a game's settings are as its highest version says; without one they are the defaults.
economy_config_versions = Table(
    "economy_config_versions",
    metadata,
    Column("game_id", Text, primary_key=True),
    Column("version", Integer, primary_key=True, autoincrement=False),  # 1, 2, 3 … per game
    Column("document", Text, nullable=False),  # JSON object with every setting
    Column("at_ms", BigInteger, nullable=False),
    Column("actor", Text, nullable=False),  # id of an API key, or cli:<user of the machine>
    Column("reason", Text, nullable=False),
    CheckConstraint("version >= 1", name="version"),
)

# Locked together with the same player's and action's row of limit_windows, which need not exist.
amount_windows = Table(
    "amount_windows",
    metadata,
    Column("game_id", Text, primary_key=True),
    Column("action", Text, primary_key=True),
    Column("subject", LargeBinary, primary_key=True),  # an external id in UTF-8
    Column("currency_id", Text, primary_key=True),
    Column("at_ms", LargeBinary, nullable=False),  # epoch ms as little-endian int64, oldest first
    Column("amounts", LargeBinary, nullable=False),  # the same, as many
    Column("updated_at_ms", BigInteger, nullable=False),
    sqlite_with_rowid=False,
)
Index("ix_amount_windows_updated_at_ms", amount_windows.c.updated_at_ms)

# What the detectors look at: executed transfers, and grants as transfers from nobody, for as long as a window is wide.
# The ledger has them for ever; here they are few, and indexed for the questions that detectors ask.
transfers_seen = Table(
    "transfers_seen",
    metadata,
    Column("game_id", Text, primary_key=True),
    Column("sequence", BigInteger, primary_key=True, autoincrement=False),  # of the game's ledger: in order of commit
    Column("transaction_id", Text, nullable=False),
    Column("currency_id", Text, nullable=False),
    Column("sender", Text),  # null: a grant
    Column("receiver", Text, nullable=False),
    Column("amount", BigInteger, nullable=False),
    Column("at_ms", BigInteger, nullable=False),
    Column("verdict", Text),  # of the detectors that run after the commit; null: not looked at yet
    CheckConstraint("amount > 0", name="amount"),
    CheckConstraint("sender IS NULL OR sender <> receiver", name="not_to_oneself"),
    CheckConstraint("verdict IN ('pass', 'flag', 'insufficient_data', 'off')", name="verdict"),
    sqlite_with_rowid=False,
)
# By sender, which is null for all grants of a currency; by receiver, for the way back of a cycle.
Index(
    "ix_transfers_seen_sender",
    transfers_seen.c.game_id, transfers_seen.c.currency_id, transfers_seen.c.sender, transfers_seen.c.at_ms,
)  # fmt: skip
Index(
    "ix_transfers_seen_receiver",
    transfers_seen.c.game_id, transfers_seen.c.currency_id, transfers_seen.c.receiver, transfers_seen.c.at_ms,
)  # fmt: skip
Index(
    "ix_transfers_seen_waiting",
    transfers_seen.c.game_id, transfers_seen.c.sequence,
    sqlite_where=text("verdict IS NULL"), postgresql_where=text("verdict IS NULL"),
)  # fmt: skip
