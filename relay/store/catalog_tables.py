"""The tables of what is built on the ledger: declarations, listings, rolls, crafts.

Pure (schema only). The queries are in `relay.store.catalog`, `relay.store.market` and `relay.store.rolls`.
"""

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    ForeignKeyConstraint,
    Index,
    Integer,
    LargeBinary,
    Table,
    Text,
    text,
)

from relay.store.metadata import metadata

# Every version of an item, a recipe or a loot table; the highest is in force.
economy_catalog = Table(
    "economy_catalog",
    metadata,
    Column("game_id", Text, primary_key=True),
    Column("kind", Text, primary_key=True),
    Column("entry_id", Text, primary_key=True),
    Column("version", Integer, primary_key=True, autoincrement=False),  # from 1
    Column("body", LargeBinary, nullable=False),  # canonical JSON
    Column("actor", Text, nullable=False),
    Column("at_ms", BigInteger, nullable=False),
    CheckConstraint("kind IN ('item', 'recipe', 'loot_table')", name="kind"),
    CheckConstraint("version >= 1", name="version"),
)

market_listings = Table(
    "market_listings",
    metadata,
    Column("game_id", Text, primary_key=True),
    Column("listing_id", Text, primary_key=True),  # lst_<26>, ascending with time
    Column("seller", Text, nullable=False),
    Column("item_id", Text, nullable=False),
    Column("quantity", BigInteger, nullable=False),
    Column("currency_id", Text, nullable=False),
    Column("price", BigInteger, nullable=False),
    Column("tax_bps", Integer, nullable=False),
    Column("listed_at_ms", BigInteger, nullable=False),
    Column("expires_at_ms", BigInteger),
    Column("state", Text, nullable=False),
    Column("buyer", Text),
    Column("closed_at_ms", BigInteger),
    CheckConstraint("quantity BETWEEN 1 AND 9007199254740991", name="quantity"),
    CheckConstraint("price BETWEEN 1 AND 9007199254740991", name="price"),
    CheckConstraint("tax_bps BETWEEN 0 AND 10000", name="tax_bps"),
    CheckConstraint("expires_at_ms > listed_at_ms", name="expires_at_ms"),
    CheckConstraint("state IN ('open', 'sold', 'cancelled', 'expired')", name="state"),
    CheckConstraint("(state = 'open') = (closed_at_ms IS NULL)", name="closed"),
    CheckConstraint("(state = 'sold') = (buyer IS NOT NULL) AND (buyer IS NULL OR buyer <> seller)", name="buyer"),
)
Index(
    "ix_market_listings_open",
    market_listings.c.game_id,
    market_listings.c.listing_id,
    sqlite_where=text("state = 'open'"),
    postgresql_where=text("state = 'open'"),
)
Index(
    "ix_market_listings_expiry",
    market_listings.c.expires_at_ms,
    sqlite_where=text("state = 'open' AND expires_at_ms IS NOT NULL"),
    postgresql_where=text("state = 'open' AND expires_at_ms IS NOT NULL"),
)

# What rolls are decided by, once for each content.
roll_rules = Table(
    "roll_rules",
    metadata,
    Column("hash", LargeBinary(32), primary_key=True),  # keccak-256 of body
    Column("body", LargeBinary, nullable=False),
)

economy_rolls = Table(
    "economy_rolls",
    metadata,
    Column("game_id", Text, primary_key=True),
    Column("epoch", Integer, primary_key=True, autoincrement=False),  # day (UTC) since 1970-01-01
    Column("number", BigInteger, primary_key=True, autoincrement=False),  # from 0 in each epoch, without a gap
    Column("external_id", Text, nullable=False),
    Column("at_ms", BigInteger, nullable=False),
    Column("client_seed", Text, nullable=False),
    Column("rules_hash", LargeBinary(32), nullable=False),
    Column("yields", LargeBinary, nullable=False),  # canonical JSON: [[asset, quantity], …]
    Column("transaction_id", Text),  # null: nothing came out, and nothing was taken
    Column("reference", Text),  # the caller's own, where there is no transaction to carry it
    CheckConstraint("number >= 0", name="number"),
    ForeignKeyConstraint(["rules_hash"], ["roll_rules.hash"], name="fk_economy_rolls_rules_hash"),
)

Index(
    "ix_economy_rolls_reference",
    economy_rolls.c.game_id,
    economy_rolls.c.reference,
    unique=True,
    sqlite_where=text("reference IS NOT NULL"),
    postgresql_where=text("reference IS NOT NULL"),
)

# When a player crafted by a recipe last: its cooldown runs from then.
economy_crafts = Table(
    "economy_crafts",
    metadata,
    Column("game_id", Text, primary_key=True),
    Column("external_id", Text, primary_key=True),
    Column("recipe_id", Text, primary_key=True),
    Column("last_ms", BigInteger, nullable=False),
    sqlite_with_rowid=False,
)
