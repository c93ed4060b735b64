"""Tables of the outbox: batches, nonce slots, attempts, the scores of each batch, leases and the chain's identity.

Pure (schema only). The constraints are the invariants of the outbox; the queries are in `relay.store.outbox`.
"""

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Integer,
    LargeBinary,
    SmallInteger,
    Table,
    Text,
    UniqueConstraint,
    text,
)

from relay.store.metadata import metadata

# BIGINT everywhere, but SQLite numbers rows by itself only in a column declared INTEGER.
ROW_ID = BigInteger().with_variant(Integer(), "sqlite")

batches = Table(
    "batches",
    metadata,
    Column("id", ROW_ID, primary_key=True, autoincrement=True),
    Column("kind", Text, nullable=False, server_default="scores"),  # other calls can go through the same slots
    Column("game_id", Text, nullable=False),
    Column("rules_hash", LargeBinary(32), nullable=False),
    Column("size", Integer, nullable=False),
    Column("calldata", LargeBinary, nullable=False),  # fixed here, before any attempt: every attempt carries it
    Column("state", Text, nullable=False),
    Column("created_at_ms", BigInteger, nullable=False),
    Column("resolved_at_ms", BigInteger, nullable=True),
    CheckConstraint("state IN ('open', 'included', 'final', 'failed')", name="state"),
    CheckConstraint("size >= 0", name="size"),
)

batch_scores = Table(
    "batch_scores",
    metadata,
    Column("batch_id", ROW_ID, ForeignKey("batches.id"), primary_key=True),
    Column("position", Integer, primary_key=True),
    Column("submission_id", Text, nullable=False),
    Column("unresolved", SmallInteger, nullable=False, server_default="1"),
    CheckConstraint("unresolved IN (0, 1)", name="unresolved"),
    # A score is in at most one unresolved batch, however many senders there are.
    Index(
        "uq_batch_scores_unresolved",
        "submission_id",
        unique=True,
        sqlite_where=text("unresolved = 1"),
        postgresql_where=text("unresolved = 1"),
    ),
    Index("ix_batch_scores_submission_id", "submission_id"),  # every transaction that tried to carry a score
)

slots = Table(
    "slots",
    metadata,
    Column("chain_id", BigInteger, primary_key=True),
    Column("signer", LargeBinary(20), primary_key=True),
    Column("nonce", BigInteger, primary_key=True),
    Column("batch_id", ROW_ID, ForeignKey("batches.id"), nullable=True),  # null for a nonce that is not ours
    Column("state", Text, nullable=False),
    Column("epoch", BigInteger, nullable=False),  # of the lease under which it was reserved
    Column("reserved_at_ms", BigInteger, nullable=False),
    Column("tx_hash", LargeBinary(32), nullable=True),  # the attempt that was mined
    Column("block_number", BigInteger, nullable=True),
    Column("block_hash", LargeBinary(32), nullable=True),
    Column("succeeded", SmallInteger, nullable=True),  # receipt status: 1, 0
    Column("gas_used", BigInteger, nullable=True),  # by the attempt that was mined
    Column("void_requested_at_ms", BigInteger, nullable=True),  # an operator wants it used up by a self-send
    Column("void_by", Text, nullable=True),
    CheckConstraint("state IN ('reserved', 'live', 'mined', 'final', 'foreign')", name="state"),
    UniqueConstraint("batch_id", name="uq_slots_batch_id"),
    Index(
        "ix_slots_unfinished",
        "chain_id",
        "signer",
        "nonce",
        sqlite_where=text("state IN ('reserved', 'live', 'mined')"),
        postgresql_where=text("state IN ('reserved', 'live', 'mined')"),
    ),
)

attempts = Table(
    "attempts",
    metadata,
    Column("tx_hash", LargeBinary(32), primary_key=True),
    Column("chain_id", BigInteger, nullable=False),
    Column("signer", LargeBinary(20), nullable=False),
    Column("nonce", BigInteger, nullable=False),
    Column("raw", LargeBinary, nullable=False),  # the signed transaction, stored before it is first sent
    Column("gas_limit", BigInteger, nullable=False),
    Column("fee_wei_max", BigInteger, nullable=False),  # per gas; the gas price of a legacy transaction
    Column("tip_wei_max", BigInteger, nullable=True),  # per gas; null for a legacy transaction
    Column("created_at_ms", BigInteger, nullable=False),
    Column("created_at_block", BigInteger, nullable=False),
    Column("void", SmallInteger, nullable=False, server_default="0"),  # 1: a self-send that carries nothing
    ForeignKeyConstraint(
        ["chain_id", "signer", "nonce"], ["slots.chain_id", "slots.signer", "slots.nonce"], name="fk_attempts_slot"
    ),
    Index("ix_attempts_slot", "chain_id", "signer", "nonce"),
)

leases = Table(
    "leases",
    metadata,
    Column("chain_id", BigInteger, primary_key=True),
    Column("signer", LargeBinary(20), primary_key=True),
    Column("holder", Text, nullable=False),
    Column("epoch", BigInteger, nullable=False),  # rises at every change of hands; fences the former holder
    Column("expires_at_ms", BigInteger, nullable=False),
    Column("trouble", Text, nullable=True),  # JSON: what is in the holder's way, so that every process can show it
)

chain_identities = Table(
    "chain_identities",
    metadata,
    Column("chain_id", BigInteger, primary_key=True, autoincrement=False),
    Column("genesis_hash", LargeBinary(32), nullable=False),  # two chains can share an id; not their first block
    Column("contract", LargeBinary(20), nullable=False),
    Column("recorded_at_ms", BigInteger, nullable=False),
)
