"""The tables of the ledger, and of the games, players and currencies it is about.

Pure (schema only). The queries are in `relay.store.ledger`, `relay.store.ledger_view`, `relay.store.wallets` and
`relay.store.economy_games`. That transactions and moves are only ever added is held by triggers (migration 0005).
"""

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    Index,
    Integer,
    LargeBinary,
    SmallInteger,
    Table,
    Text,
    text,
)

from relay.store.metadata import metadata

# `account`: player:<external id>, escrow:<external id>, mint, burn or tax. `asset`: currency:<id> or item:<id>.
# See relay.economy.entries.

# Games that have an economy only: no scores, no rules on the contract. Their ids begin as no other game's may.
economy_games = Table(
    "economy_games",
    metadata,
    Column("game_id", Text, primary_key=True),  # eco_<26>
    Column("name", Text, nullable=False),
    Column("owner_id", Text),  # the caller's own name of whose game it is
    Column("created_at_ms", BigInteger, nullable=False),
    Column("created_by", Text, nullable=False),  # id of an API key, or `open` where anybody may register
    CheckConstraint("game_id LIKE 'eco|_%' ESCAPE '|'", name="game_id"),
)

economy_currencies = Table(
    "economy_currencies",
    metadata,
    Column("game_id", Text, primary_key=True),
    Column("currency_id", Text, primary_key=True),
    Column("name", Text, nullable=False),
    Column("icon", Text, nullable=False),
    Column("max_balance", BigInteger),  # null: as much as there is
    Column("decimals", SmallInteger, nullable=False),  # how amounts are shown; they are stored as integers
    Column("created_at_ms", BigInteger, nullable=False),
    Column("updated_at_ms", BigInteger, nullable=False),
    CheckConstraint("max_balance BETWEEN 0 AND 9007199254740991", name="max_balance"),
    CheckConstraint("decimals BETWEEN 0 AND 18", name="decimals"),
)

economy_players = Table(
    "economy_players",
    metadata,
    Column("game_id", Text, primary_key=True),
    Column("external_id", Text, primary_key=True),
    Column("display_name", Text),
    Column("address", LargeBinary(20)),
    Column("created_at_ms", BigInteger, nullable=False),
    Column("updated_at_ms", BigInteger, nullable=False),
)

# One row per game: who holds it holds the game's whole economy until the commit.
ledger_heads = Table(
    "ledger_heads",
    metadata,
    Column("game_id", Text, primary_key=True),
    Column("next_sequence", BigInteger, nullable=False),
    Column("head", LargeBinary(32), nullable=False),  # hash of the last transaction; zeros before the first
    CheckConstraint("next_sequence >= 0", name="next_sequence"),
)

ledger_transactions = Table(
    "ledger_transactions",
    metadata,
    Column("game_id", Text, primary_key=True),
    Column("sequence", BigInteger, primary_key=True, autoincrement=False),  # from 0 without a gap: the Merkle leaf
    Column("id", Text, nullable=False),  # txn_<26>
    Column("type", Text, nullable=False),
    Column("source", Text, nullable=False),
    Column("at_ms", BigInteger, nullable=False),
    Column("reference", Text),
    Column("reverses", Text),  # id of the transaction that this one undoes
    Column("hash", LargeBinary(32), nullable=False),  # keccak-256 of body
    Column("body", LargeBinary, nullable=False),  # canonical bytes; they name the hash of the one before
    CheckConstraint(
        "type IN ('opening', 'grant', 'spend', 'transfer', 'purchase', 'craft', 'loot', 'list', 'buy', 'cancel', "
        "'expire', 'reversal')",
        name="type",
    ),
    CheckConstraint(
        "source IN ('server', 'client', 'craft', 'loot', 'marketplace', 'purchase', 'system')", name="source"
    ),
    CheckConstraint("(type = 'reversal') = (reverses IS NOT NULL)", name="reverses"),
)
Index("uq_ledger_transactions_id", ledger_transactions.c.id, unique=True)
Index(
    "uq_ledger_transactions_reference",
    ledger_transactions.c.game_id,
    ledger_transactions.c.reference,
    unique=True,
    sqlite_where=text("reference IS NOT NULL"),
    postgresql_where=text("reference IS NOT NULL"),
)
Index(
    "uq_ledger_transactions_reverses",
    ledger_transactions.c.reverses,
    unique=True,
    sqlite_where=text("reverses IS NOT NULL"),
    postgresql_where=text("reverses IS NOT NULL"),
)

# A list filtered by type or source reads the few pairs of both that match, each in order (ledger_history).
Index(
    "ix_ledger_transactions_kind",
    ledger_transactions.c.game_id,
    ledger_transactions.c.type,
    ledger_transactions.c.source,
    ledger_transactions.c.sequence,
)

# Each row takes from one account what it gives to another: no transaction can fail to sum to zero.
ledger_moves = Table(
    "ledger_moves",
    metadata,
    Column("game_id", Text, primary_key=True),
    Column("sequence", BigInteger, primary_key=True, autoincrement=False),
    Column("line", Integer, primary_key=True, autoincrement=False),
    Column("asset", Text, nullable=False),
    Column("amount", BigInteger, nullable=False),
    Column("source", Text, nullable=False),
    Column("target", Text, nullable=False),
    CheckConstraint("amount BETWEEN 1 AND 9007199254740991", name="amount"),
    CheckConstraint("source <> target", name="moves"),
    CheckConstraint("asset LIKE 'currency:_%' OR asset LIKE 'item:_%'", name="asset"),
)
Index("ix_ledger_moves_source", ledger_moves.c.game_id, ledger_moves.c.source, ledger_moves.c.sequence)
Index("ix_ledger_moves_target", ledger_moves.c.game_id, ledger_moves.c.target, ledger_moves.c.sequence)
Index("ix_ledger_moves_asset", ledger_moves.c.game_id, ledger_moves.c.asset, ledger_moves.c.sequence)

ledger_balances = Table(
    "ledger_balances",
    metadata,
    Column("game_id", Text, primary_key=True),
    Column("account", Text, primary_key=True),
    Column("asset", Text, primary_key=True),
    Column("amount", BigInteger, nullable=False),
    Column("frozen_at_ms", BigInteger),  # null: may be moved
    Column("frozen_why", Text),
    # Only the mint is below zero, and by less than 2^53: this bounds every other account, since all sum to zero.
    CheckConstraint(
        "CASE WHEN account = 'mint' THEN amount BETWEEN -9007199254740991 AND 0 "
        "ELSE amount BETWEEN 0 AND 9007199254740991 END",
        name="never_negative",
    ),
    CheckConstraint(
        "account IN ('mint', 'burn', 'tax') OR account LIKE 'player:_%' OR account LIKE 'escrow:_%'", name="account"
    ),
    CheckConstraint("(frozen_at_ms IS NULL) = (frozen_why IS NULL)", name="frozen_why"),
    sqlite_with_rowid=False,
)
# What all escrow accounts of a game hold together is asked for with the statistics.
Index(
    "ix_ledger_balances_escrow",
    ledger_balances.c.game_id,
    ledger_balances.c.asset,
    ledger_balances.c.amount,
    sqlite_where=text("account LIKE 'escrow:%'"),
    postgresql_where=text("account LIKE 'escrow:%'"),
)
