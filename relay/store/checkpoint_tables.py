"""Tables of what proves a ledger: the tiles of each game's Merkle tree, and its checkpoints.

Pure (schema only). The queries are in `relay.store.checkpoints`, `relay.store.ledger_tree` and
`relay.store.checkpoint_moves`.
"""

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    Index,
    LargeBinary,
    SmallInteger,
    Table,
    Text,
    text,
)

from relay.store.metadata import metadata

# One row per game: who holds it may make the tree grow, or make a checkpoint.
ledger_trees = Table(
    "ledger_trees",
    metadata,
    Column("game_id", Text, primary_key=True),
    Column("size", BigInteger, nullable=False),  # transactions that are in the tiles
    CheckConstraint("size >= 0", name="size"),
)

# See relay.economy.tiles: a tile of 256 hashes never changes, the last of each level only grows.
ledger_tiles = Table(
    "ledger_tiles",
    metadata,
    Column("game_id", Text, primary_key=True),
    Column("level", SmallInteger, primary_key=True, autoincrement=False),
    Column("number", BigInteger, primary_key=True, autoincrement=False),
    Column("hashes", LargeBinary, nullable=False),
    CheckConstraint("length(hashes) BETWEEN 32 AND 8192 AND length(hashes) % 32 = 0", name="hashes"),
)

checkpoints = Table(
    "checkpoints",
    metadata,
    Column("id", Text, primary_key=True),  # cp_<26>
    Column("game_id", Text, nullable=False),
    Column("first_sequence", BigInteger, nullable=False),
    Column("entries", BigInteger, nullable=False),  # new ones since the checkpoint before
    Column("root", LargeBinary(32), nullable=False),  # tree head over the first first_sequence + entries transactions
    Column("state", Text, nullable=False),
    Column("created_at_ms", BigInteger, nullable=False),
    Column("tx_hash", LargeBinary(32)),
    Column("block_number", BigInteger),
    Column("head", LargeBinary(32)),  # the contract's economyHead after it; of a final one
    Column("signer", LargeBinary(20)),  # whose signature it carried; of a final one
    Column("detail", Text),  # why it waits, or was given up
    Column("resolved_at_ms", BigInteger),
    CheckConstraint("first_sequence >= 0 AND entries > 0", name="covers"),
    CheckConstraint(
        "state IN ('waiting', 'queued', 'sent', 'included', 'final', 'superseded', 'contradicted')", name="state"
    ),
    CheckConstraint(
        "(resolved_at_ms IS NOT NULL) = (state IN ('final', 'superseded', 'contradicted'))", name="resolved"
    ),
    CheckConstraint(
        "state <> 'final' OR (tx_hash IS NOT NULL AND block_number IS NOT NULL AND head IS NOT NULL "
        "AND signer IS NOT NULL)",
        name="proved",
    ),
)
# The contract takes a game's anchors in order, so that one is under way, however many processes make them; and of the
# final ones each begins where another ends.
Index(
    "uq_checkpoints_open",
    checkpoints.c.game_id,
    unique=True,
    sqlite_where=text("state IN ('waiting', 'queued', 'sent', 'included')"),
    postgresql_where=text("state IN ('waiting', 'queued', 'sent', 'included')"),
)
Index(
    "uq_checkpoints_final",
    checkpoints.c.game_id,
    checkpoints.c.first_sequence,
    unique=True,
    sqlite_where=text("state = 'final'"),
    postgresql_where=text("state = 'final'"),
)
Index("ix_checkpoints_game_id", checkpoints.c.game_id, checkpoints.c.id)
