"""economy."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    op.create_table(
        "amount_windows",
        sa.Column("game_id", sa.Text(), nullable=False),
        sa.Column("action", sa.Text(), nullable=False),
        sa.Column("subject", sa.LargeBinary(), nullable=False),
        sa.Column("currency_id", sa.Text(), nullable=False),
        sa.Column("at_ms", sa.LargeBinary(), nullable=False),
        sa.Column("amounts", sa.LargeBinary(), nullable=False),
        sa.Column("updated_at_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("game_id", "action", "subject", "currency_id", name=op.f("pk_amount_windows")),
        sqlite_with_rowid=False,
    )
    with op.batch_alter_table("amount_windows", schema=None) as batch_op:
        batch_op.create_index("ix_amount_windows_updated_at_ms", ["updated_at_ms"], unique=False)

    op.create_table(
        "checkpoints",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("game_id", sa.Text(), nullable=False),
        sa.Column("first_sequence", sa.BigInteger(), nullable=False),
        sa.Column("entries", sa.BigInteger(), nullable=False),
        sa.Column("root", sa.LargeBinary(length=32), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("created_at_ms", sa.BigInteger(), nullable=False),
        sa.Column("tx_hash", sa.LargeBinary(length=32), nullable=True),
        sa.Column("block_number", sa.BigInteger(), nullable=True),
        sa.Column("head", sa.LargeBinary(length=32), nullable=True),
        sa.Column("signer", sa.LargeBinary(length=20), nullable=True),
        sa.Column("detail", sa.Text(), nullable=True),
        sa.Column("resolved_at_ms", sa.BigInteger(), nullable=True),
        sa.CheckConstraint(
            "(resolved_at_ms IS NOT NULL) = (state IN ('final', 'superseded', 'contradicted'))",
            name=op.f("ck_checkpoints_resolved"),
        ),
        sa.CheckConstraint(
            "state <> 'final' OR (tx_hash IS NOT NULL AND block_number IS NOT NULL AND head IS NOT NULL AND signer IS NOT NULL)",
            name=op.f("ck_checkpoints_proved"),
        ),
        sa.CheckConstraint(
            "state IN ('waiting', 'queued', 'sent', 'included', 'final', 'superseded', 'contradicted')",
            name=op.f("ck_checkpoints_state"),
        ),
        sa.CheckConstraint("first_sequence >= 0 AND entries > 0", name=op.f("ck_checkpoints_covers")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_checkpoints")),
    )
    with op.batch_alter_table("checkpoints", schema=None) as batch_op:
        batch_op.create_index("ix_checkpoints_game_id", ["game_id", "id"], unique=False)
        batch_op.create_index(
            "uq_checkpoints_final",
            ["game_id", "first_sequence"],
            unique=True,
            sqlite_where=sa.text("state = 'final'"),
            postgresql_where=sa.text("state = 'final'"),
        )
        batch_op.create_index(
            "uq_checkpoints_open",
            ["game_id"],
            unique=True,
            sqlite_where=sa.text("state IN ('waiting', 'queued', 'sent', 'included')"),
            postgresql_where=sa.text("state IN ('waiting', 'queued', 'sent', 'included')"),
        )

    op.create_table(
        "economy_catalog",
        sa.Column("game_id", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("entry_id", sa.Text(), nullable=False),
        sa.Column("version", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("at_ms", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("kind IN ('item', 'recipe', 'loot_table')", name=op.f("ck_economy_catalog_kind")),
        sa.CheckConstraint("version >= 1", name=op.f("ck_economy_catalog_version")),
        sa.PrimaryKeyConstraint("game_id", "kind", "entry_id", "version", name=op.f("pk_economy_catalog")),
    )
    op.create_table(
        "economy_config_versions",
        sa.Column("game_id", sa.Text(), nullable=False),
        sa.Column("version", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("document", sa.Text(), nullable=False),
        sa.Column("at_ms", sa.BigInteger(), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.CheckConstraint("version >= 1", name=op.f("ck_economy_config_versions_version")),
        sa.PrimaryKeyConstraint("game_id", "version", name=op.f("pk_economy_config_versions")),
    )
    op.create_table(
        "economy_crafts",
        sa.Column("game_id", sa.Text(), nullable=False),
        sa.Column("external_id", sa.Text(), nullable=False),
        sa.Column("recipe_id", sa.Text(), nullable=False),
        sa.Column("last_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("game_id", "external_id", "recipe_id", name=op.f("pk_economy_crafts")),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "economy_currencies",
        sa.Column("game_id", sa.Text(), nullable=False),
        sa.Column("currency_id", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("icon", sa.Text(), nullable=False),
        sa.Column("max_balance", sa.BigInteger(), nullable=True),
        sa.Column("decimals", sa.SmallInteger(), nullable=False),
        sa.Column("created_at_ms", sa.BigInteger(), nullable=False),
        sa.Column("updated_at_ms", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("decimals BETWEEN 0 AND 18", name=op.f("ck_economy_currencies_decimals")),
        sa.CheckConstraint(
            "max_balance BETWEEN 0 AND 9007199254740991", name=op.f("ck_economy_currencies_max_balance")
        ),
        sa.PrimaryKeyConstraint("game_id", "currency_id", name=op.f("pk_economy_currencies")),
    )
    op.create_table(
        "economy_games",
        sa.Column("game_id", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("owner_id", sa.Text(), nullable=True),
        sa.Column("created_at_ms", sa.BigInteger(), nullable=False),
        sa.Column("created_by", sa.Text(), nullable=False),
        sa.CheckConstraint("game_id LIKE 'eco|_%' ESCAPE '|'", name=op.f("ck_economy_games_game_id")),
        sa.PrimaryKeyConstraint("game_id", name=op.f("pk_economy_games")),
    )
    op.create_table(
        "economy_operation_tallies",
        sa.Column("game_id", sa.Text(), nullable=False),
        sa.Column("grain_s", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("at_ms", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("action", sa.Text(), nullable=False),
        sa.Column("code", sa.Text(), nullable=False),
        sa.Column("operations", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("grain_s IN (60, 3600)", name=op.f("ck_economy_operation_tallies_grain_s")),
        sa.CheckConstraint("operations > 0", name=op.f("ck_economy_operation_tallies_operations")),
        sa.PrimaryKeyConstraint(
            "game_id", "grain_s", "at_ms", "action", "code", name=op.f("pk_economy_operation_tallies")
        ),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "economy_players",
        sa.Column("game_id", sa.Text(), nullable=False),
        sa.Column("external_id", sa.Text(), nullable=False),
        sa.Column("display_name", sa.Text(), nullable=True),
        sa.Column("address", sa.LargeBinary(length=20), nullable=True),
        sa.Column("created_at_ms", sa.BigInteger(), nullable=False),
        sa.Column("updated_at_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("game_id", "external_id", name=op.f("pk_economy_players")),
    )
    op.create_table(
        "economy_supply_tallies",
        sa.Column("game_id", sa.Text(), nullable=False),
        sa.Column("grain_s", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("at_ms", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("currency_id", sa.Text(), nullable=False),
        sa.Column("minted", sa.BigInteger(), nullable=False),
        sa.Column("burned", sa.BigInteger(), nullable=False),
        sa.Column("taxed", sa.BigInteger(), nullable=False),
        sa.Column("escrowed", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("grain_s IN (60, 3600)", name=op.f("ck_economy_supply_tallies_grain_s")),
        sa.PrimaryKeyConstraint("game_id", "grain_s", "at_ms", "currency_id", name=op.f("pk_economy_supply_tallies")),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "ledger_balances",
        sa.Column("game_id", sa.Text(), nullable=False),
        sa.Column("account", sa.Text(), nullable=False),
        sa.Column("asset", sa.Text(), nullable=False),
        sa.Column("amount", sa.BigInteger(), nullable=False),
        sa.Column("frozen_at_ms", sa.BigInteger(), nullable=True),
        sa.Column("frozen_why", sa.Text(), nullable=True),
        sa.CheckConstraint(
            "CASE WHEN account = 'mint' THEN amount BETWEEN -9007199254740991 AND 0 ELSE amount BETWEEN 0 AND 9007199254740991 END",
            name=op.f("ck_ledger_balances_never_negative"),
        ),
        sa.CheckConstraint(
            "account IN ('mint', 'burn', 'tax') OR account LIKE 'player:_%' OR account LIKE 'escrow:_%'",
            name=op.f("ck_ledger_balances_account"),
        ),
        sa.CheckConstraint("(frozen_at_ms IS NULL) = (frozen_why IS NULL)", name=op.f("ck_ledger_balances_frozen_why")),
        sa.PrimaryKeyConstraint("game_id", "account", "asset", name=op.f("pk_ledger_balances")),
        sqlite_with_rowid=False,
    )
    with op.batch_alter_table("ledger_balances", schema=None) as batch_op:
        batch_op.create_index(
            "ix_ledger_balances_escrow",
            ["game_id", "asset", "amount"],
            unique=False,
            sqlite_where=sa.text("account LIKE 'escrow:%'"),
            postgresql_where=sa.text("account LIKE 'escrow:%'"),
        )

    op.create_table(
        "ledger_heads",
        sa.Column("game_id", sa.Text(), nullable=False),
        sa.Column("next_sequence", sa.BigInteger(), nullable=False),
        sa.Column("head", sa.LargeBinary(length=32), nullable=False),
        sa.CheckConstraint("next_sequence >= 0", name=op.f("ck_ledger_heads_next_sequence")),
        sa.PrimaryKeyConstraint("game_id", name=op.f("pk_ledger_heads")),
    )
    op.create_table(
        "ledger_moves",
        sa.Column("game_id", sa.Text(), nullable=False),
        sa.Column("sequence", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("line", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("asset", sa.Text(), nullable=False),
        sa.Column("amount", sa.BigInteger(), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("target", sa.Text(), nullable=False),
        sa.CheckConstraint("asset LIKE 'currency:_%' OR asset LIKE 'item:_%'", name=op.f("ck_ledger_moves_asset")),
        sa.CheckConstraint("amount BETWEEN 1 AND 9007199254740991", name=op.f("ck_ledger_moves_amount")),
        sa.CheckConstraint("source <> target", name=op.f("ck_ledger_moves_moves")),
        sa.PrimaryKeyConstraint("game_id", "sequence", "line", name=op.f("pk_ledger_moves")),
    )
    with op.batch_alter_table("ledger_moves", schema=None) as batch_op:
        batch_op.create_index("ix_ledger_moves_asset", ["game_id", "asset", "sequence"], unique=False)
        batch_op.create_index("ix_ledger_moves_source", ["game_id", "source", "sequence"], unique=False)
        batch_op.create_index("ix_ledger_moves_target", ["game_id", "target", "sequence"], unique=False)

    op.create_table(
        "ledger_tiles",
        sa.Column("game_id", sa.Text(), nullable=False),
        sa.Column("level", sa.SmallInteger(), autoincrement=False, nullable=False),
        sa.Column("number", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("hashes", sa.LargeBinary(), nullable=False),
        sa.CheckConstraint(
            "length(hashes) BETWEEN 32 AND 8192 AND length(hashes) % 32 = 0", name=op.f("ck_ledger_tiles_hashes")
        ),
        sa.PrimaryKeyConstraint("game_id", "level", "number", name=op.f("pk_ledger_tiles")),
    )
    op.create_table(
        "ledger_transactions",
        sa.Column("game_id", sa.Text(), nullable=False),
        sa.Column("sequence", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("at_ms", sa.BigInteger(), nullable=False),
        sa.Column("reference", sa.Text(), nullable=True),
        sa.Column("reverses", sa.Text(), nullable=True),
        sa.Column("hash", sa.LargeBinary(length=32), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.CheckConstraint(
            "(type = 'reversal') = (reverses IS NOT NULL)", name=op.f("ck_ledger_transactions_reverses")
        ),
        sa.CheckConstraint(
            "source IN ('server', 'client', 'craft', 'loot', 'marketplace', 'purchase', 'system')",
            name=op.f("ck_ledger_transactions_source"),
        ),
        sa.CheckConstraint(
            "type IN ('opening', 'grant', 'spend', 'transfer', 'purchase', 'craft', 'loot', 'list', 'buy', 'cancel', 'expire', 'reversal')",
            name=op.f("ck_ledger_transactions_type"),
        ),
        sa.PrimaryKeyConstraint("game_id", "sequence", name=op.f("pk_ledger_transactions")),
    )
    with op.batch_alter_table("ledger_transactions", schema=None) as batch_op:
        batch_op.create_index("ix_ledger_transactions_kind", ["game_id", "type", "source", "sequence"], unique=False)
        batch_op.create_index("uq_ledger_transactions_id", ["id"], unique=True)
        batch_op.create_index(
            "uq_ledger_transactions_reference",
            ["game_id", "reference"],
            unique=True,
            sqlite_where=sa.text("reference IS NOT NULL"),
            postgresql_where=sa.text("reference IS NOT NULL"),
        )
        batch_op.create_index(
            "uq_ledger_transactions_reverses",
            ["reverses"],
            unique=True,
            sqlite_where=sa.text("reverses IS NOT NULL"),
            postgresql_where=sa.text("reverses IS NOT NULL"),
        )

    op.create_table(
        "ledger_trees",
        sa.Column("game_id", sa.Text(), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("size >= 0", name=op.f("ck_ledger_trees_size")),
        sa.PrimaryKeyConstraint("game_id", name=op.f("pk_ledger_trees")),
    )
    op.create_table(
        "market_listings",
        sa.Column("game_id", sa.Text(), nullable=False),
        sa.Column("listing_id", sa.Text(), nullable=False),
        sa.Column("seller", sa.Text(), nullable=False),
        sa.Column("item_id", sa.Text(), nullable=False),
        sa.Column("quantity", sa.BigInteger(), nullable=False),
        sa.Column("currency_id", sa.Text(), nullable=False),
        sa.Column("price", sa.BigInteger(), nullable=False),
        sa.Column("tax_bps", sa.Integer(), nullable=False),
        sa.Column("listed_at_ms", sa.BigInteger(), nullable=False),
        sa.Column("expires_at_ms", sa.BigInteger(), nullable=True),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("buyer", sa.Text(), nullable=True),
        sa.Column("closed_at_ms", sa.BigInteger(), nullable=True),
        sa.CheckConstraint("(state = 'open') = (closed_at_ms IS NULL)", name=op.f("ck_market_listings_closed")),
        sa.CheckConstraint(
            "(state = 'sold') = (buyer IS NOT NULL) AND (buyer IS NULL OR buyer <> seller)",
            name=op.f("ck_market_listings_buyer"),
        ),
        sa.CheckConstraint("state IN ('open', 'sold', 'cancelled', 'expired')", name=op.f("ck_market_listings_state")),
        sa.CheckConstraint("expires_at_ms > listed_at_ms", name=op.f("ck_market_listings_expires_at_ms")),
        sa.CheckConstraint("price BETWEEN 1 AND 9007199254740991", name=op.f("ck_market_listings_price")),
        sa.CheckConstraint("quantity BETWEEN 1 AND 9007199254740991", name=op.f("ck_market_listings_quantity")),
        sa.CheckConstraint("tax_bps BETWEEN 0 AND 10000", name=op.f("ck_market_listings_tax_bps")),
        sa.PrimaryKeyConstraint("game_id", "listing_id", name=op.f("pk_market_listings")),
    )
    with op.batch_alter_table("market_listings", schema=None) as batch_op:
        batch_op.create_index(
            "ix_market_listings_expiry",
            ["expires_at_ms"],
            unique=False,
            sqlite_where=sa.text("state = 'open' AND expires_at_ms IS NOT NULL"),
            postgresql_where=sa.text("state = 'open' AND expires_at_ms IS NOT NULL"),
        )
        batch_op.create_index(
            "ix_market_listings_open",
            ["game_id", "listing_id"],
            unique=False,
            sqlite_where=sa.text("state = 'open'"),
            postgresql_where=sa.text("state = 'open'"),
        )

    op.create_table(
        "roll_rules",
        sa.Column("hash", sa.LargeBinary(length=32), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("hash", name=op.f("pk_roll_rules")),
    )
    op.create_table(
        "transfers_seen",
        sa.Column("game_id", sa.Text(), nullable=False),
        sa.Column("sequence", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("transaction_id", sa.Text(), nullable=False),
        sa.Column("currency_id", sa.Text(), nullable=False),
        sa.Column("sender", sa.Text(), nullable=True),
        sa.Column("receiver", sa.Text(), nullable=False),
        sa.Column("amount", sa.BigInteger(), nullable=False),
        sa.Column("at_ms", sa.BigInteger(), nullable=False),
        sa.Column("verdict", sa.Text(), nullable=True),
        sa.CheckConstraint(
            "verdict IN ('pass', 'flag', 'insufficient_data', 'off')", name=op.f("ck_transfers_seen_verdict")
        ),
        sa.CheckConstraint("amount > 0", name=op.f("ck_transfers_seen_amount")),
        sa.CheckConstraint("sender IS NULL OR sender <> receiver", name=op.f("ck_transfers_seen_not_to_oneself")),
        sa.PrimaryKeyConstraint("game_id", "sequence", name=op.f("pk_transfers_seen")),
        sqlite_with_rowid=False,
    )
    with op.batch_alter_table("transfers_seen", schema=None) as batch_op:
        batch_op.create_index(
            "ix_transfers_seen_receiver", ["game_id", "currency_id", "receiver", "at_ms"], unique=False
        )
        batch_op.create_index("ix_transfers_seen_sender", ["game_id", "currency_id", "sender", "at_ms"], unique=False)
        batch_op.create_index(
            "ix_transfers_seen_waiting",
            ["game_id", "sequence"],
            unique=False,
            sqlite_where=sa.text("verdict IS NULL"),
            postgresql_where=sa.text("verdict IS NULL"),
        )

    op.create_table(
        "economy_rolls",
        sa.Column("game_id", sa.Text(), nullable=False),
        sa.Column("epoch", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("number", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("external_id", sa.Text(), nullable=False),
        sa.Column("at_ms", sa.BigInteger(), nullable=False),
        sa.Column("client_seed", sa.Text(), nullable=False),
        sa.Column("rules_hash", sa.LargeBinary(length=32), nullable=False),
        sa.Column("yields", sa.LargeBinary(), nullable=False),
        sa.Column("transaction_id", sa.Text(), nullable=True),
        sa.Column("reference", sa.Text(), nullable=True),
        sa.CheckConstraint("number >= 0", name=op.f("ck_economy_rolls_number")),
        sa.ForeignKeyConstraint(["rules_hash"], ["roll_rules.hash"], name="fk_economy_rolls_rules_hash"),
        sa.PrimaryKeyConstraint("game_id", "epoch", "number", name=op.f("pk_economy_rolls")),
    )
    with op.batch_alter_table("economy_rolls", schema=None) as batch_op:
        batch_op.create_index(
            "ix_economy_rolls_reference",
            ["game_id", "reference"],
            unique=True,
            sqlite_where=sa.text("reference IS NOT NULL"),
            postgresql_where=sa.text("reference IS NOT NULL"),
        )


def downgrade() -> None:
    """Undo."""
    with op.batch_alter_table("economy_rolls", schema=None) as batch_op:
        batch_op.drop_index(
            "ix_economy_rolls_reference",
            sqlite_where=sa.text("reference IS NOT NULL"),
            postgresql_where=sa.text("reference IS NOT NULL"),
        )

    op.drop_table("economy_rolls")
    with op.batch_alter_table("transfers_seen", schema=None) as batch_op:
        batch_op.drop_index(
            "ix_transfers_seen_waiting",
            sqlite_where=sa.text("verdict IS NULL"),
            postgresql_where=sa.text("verdict IS NULL"),
        )
        batch_op.drop_index("ix_transfers_seen_sender")
        batch_op.drop_index("ix_transfers_seen_receiver")

    op.drop_table("transfers_seen")
    op.drop_table("roll_rules")
    with op.batch_alter_table("market_listings", schema=None) as batch_op:
        batch_op.drop_index(
            "ix_market_listings_open",
            sqlite_where=sa.text("state = 'open'"),
            postgresql_where=sa.text("state = 'open'"),
        )
        batch_op.drop_index(
            "ix_market_listings_expiry",
            sqlite_where=sa.text("state = 'open' AND expires_at_ms IS NOT NULL"),
            postgresql_where=sa.text("state = 'open' AND expires_at_ms IS NOT NULL"),
        )

    op.drop_table("market_listings")
    op.drop_table("ledger_trees")
    with op.batch_alter_table("ledger_transactions", schema=None) as batch_op:
        batch_op.drop_index(
            "uq_ledger_transactions_reverses",
            sqlite_where=sa.text("reverses IS NOT NULL"),
            postgresql_where=sa.text("reverses IS NOT NULL"),
        )
        batch_op.drop_index(
            "uq_ledger_transactions_reference",
            sqlite_where=sa.text("reference IS NOT NULL"),
            postgresql_where=sa.text("reference IS NOT NULL"),
        )
        batch_op.drop_index("uq_ledger_transactions_id")
        batch_op.drop_index("ix_ledger_transactions_kind")

    op.drop_table("ledger_transactions")
    op.drop_table("ledger_tiles")
    with op.batch_alter_table("ledger_moves", schema=None) as batch_op:
        batch_op.drop_index("ix_ledger_moves_target")
        batch_op.drop_index("ix_ledger_moves_source")
        batch_op.drop_index("ix_ledger_moves_asset")

    op.drop_table("ledger_moves")
    op.drop_table("ledger_heads")
    with op.batch_alter_table("ledger_balances", schema=None) as batch_op:
        batch_op.drop_index(
            "ix_ledger_balances_escrow",
            sqlite_where=sa.text("account LIKE 'escrow:%'"),
            postgresql_where=sa.text("account LIKE 'escrow:%'"),
        )

    op.drop_table("ledger_balances")
    op.drop_table("economy_supply_tallies")
    op.drop_table("economy_players")
    op.drop_table("economy_operation_tallies")
    op.drop_table("economy_games")
    op.drop_table("economy_currencies")
    op.drop_table("economy_crafts")
    op.drop_table("economy_config_versions")
    op.drop_table("economy_catalog")
    with op.batch_alter_table("checkpoints", schema=None) as batch_op:
        batch_op.drop_index(
            "uq_checkpoints_open",
            sqlite_where=sa.text("state IN ('waiting', 'queued', 'sent', 'included')"),
            postgresql_where=sa.text("state IN ('waiting', 'queued', 'sent', 'included')"),
        )
        batch_op.drop_index(
            "uq_checkpoints_final", sqlite_where=sa.text("state = 'final'"), postgresql_where=sa.text("state = 'final'")
        )
        batch_op.drop_index("ix_checkpoints_game_id")

    op.drop_table("checkpoints")
    with op.batch_alter_table("amount_windows", schema=None) as batch_op:
        batch_op.drop_index("ix_amount_windows_updated_at_ms")

    op.drop_table("amount_windows")
