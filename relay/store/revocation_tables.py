"""The table of revocations: every order to take a score back or to put it back.

Pure (schema only). The queries are in `relay.store.revocations` and `relay.store.revocation_moves`.
"""

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    Index,
    LargeBinary,
    Table,
    Text,
    UniqueConstraint,
    text,
)

from relay.store.metadata import metadata
from relay.store.tables import Serial

revocations = Table(
    "revocations",
    metadata,
    Column("seq", Serial, primary_key=True, autoincrement=True),
    Column("id", Text, nullable=False),  # rev_<26>
    Column("submission_id", Text, nullable=False),
    Column("game_id", Text, nullable=False),
    Column("round_id", BigInteger, nullable=False),
    Column("action", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("asked_by", Text, nullable=False),  # id of the API key, or of what else decided
    Column("asked_at_ms", BigInteger, nullable=False),
    Column("reason_hash", LargeBinary(32), nullable=True),  # of the evidence sealed with it
    Column("tx_hash", LargeBinary(32), nullable=True),
    Column("block_number", BigInteger, nullable=True),
    Column("detail", Text, nullable=True),  # why it waits, lapsed or was withdrawn
    Column("resolved_at_ms", BigInteger, nullable=True),
    UniqueConstraint("id"),
    CheckConstraint("action IN ('revoke', 'reinstate')", name="action"),
    CheckConstraint("state IN ('waiting', 'queued', 'sent', 'included', 'final', 'lapsed', 'withdrawn')", name="state"),
    CheckConstraint("(resolved_at_ms IS NOT NULL) = (state IN ('final', 'lapsed', 'withdrawn'))", name="resolved"),
    # However many auditors ask, and however many processes send: one waits, one is under way.
    Index(
        "uq_revocations_waiting",
        "submission_id",
        unique=True,
        sqlite_where=text("state = 'waiting'"),
        postgresql_where=text("state = 'waiting'"),
    ),
    Index(
        "uq_revocations_under_way",
        "submission_id",
        unique=True,
        sqlite_where=text("state IN ('queued', 'sent', 'included')"),
        postgresql_where=text("state IN ('queued', 'sent', 'included')"),
    ),
    Index("ix_revocations_submission_id", "submission_id", "seq"),
)
