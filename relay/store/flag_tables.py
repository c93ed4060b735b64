"""The history of audit flags: what auditors made of them, append-only.

Pure (schema only). The queries are in `relay.store.flags`.
"""

from sqlalchemy import BigInteger, CheckConstraint, Column, Index, Table, Text

from relay.store.metadata import metadata
from relay.store.tables import Serial

flag_history = Table(
    "audit_flag_history",
    metadata,
    Column("seq", Serial, primary_key=True, autoincrement=True),
    Column("flag_id", Text, nullable=False),
    Column("at_ms", BigInteger, nullable=False),
    Column("status", Text, nullable=False),
    Column("actor", Text, nullable=False),  # id of an API key, or of what else decided
    Column("note", Text, nullable=False),
    CheckConstraint("status IN ('open', 'confirmed', 'false_positive', 'dismissed')", name="status"),
    Index("ix_audit_flag_history_flag_id", "flag_id", "seq"),
)
