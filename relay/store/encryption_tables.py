"""Tables of payload encryption: the games' keys, and the initialisation vectors that were used with each.

Pure (schema only). The queries are in `relay.store.encryption`.
"""

from sqlalchemy import BigInteger, CheckConstraint, Column, Index, LargeBinary, Table, Text

from relay.store.metadata import metadata

encryption_keys = Table(
    "encryption_keys",
    metadata,
    Column("id", Text, primary_key=True),  # ek_<26>: the newest that is not retired is the current one
    Column("game_id", Text, nullable=False),
    Column("secret", LargeBinary(32), nullable=False),  # every process must derive from it; never in an answer or a log
    Column("created_at_ms", BigInteger, nullable=False),
    Column("created_by", Text, nullable=False),  # id of an API key, cli:<user>, or "round" for a game's first
    Column("retired_at_ms", BigInteger),
    Column("retired_by", Text),
    CheckConstraint("length(secret) = 32", name="secret"),
    CheckConstraint("(retired_at_ms IS NULL) = (retired_by IS NULL)", name="retired"),
    Index("ix_encryption_keys_game_id", "game_id", "id"),
)

# The primary key is the refusal: no IV twice under one game key, however many processes decrypt.
used_ivs = Table(
    "used_ivs",
    metadata,
    Column("key_id", Text, primary_key=True),
    Column("iv", LargeBinary(12), primary_key=True),
    Column("digest", LargeBinary(32), nullable=False),  # of the whole encrypted report: the same again is a retry
    Column("used_at_ms", BigInteger, nullable=False),
)
