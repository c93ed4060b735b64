"""Tables of what operators decide: keys that are paused, and the record of every decision.

Pure (schema only). The queries are in `relay.store.controls`.
"""

from sqlalchemy import BigInteger, Column, Index, LargeBinary, Table, Text

from relay.store.metadata import metadata
from relay.store.tables import Serial

# A row while the key is paused: senders read it in each round, so that it holds in every process within a second.
sender_pauses = Table(
    "sender_pauses",
    metadata,
    Column("chain_id", BigInteger, primary_key=True, autoincrement=False),
    Column("signer", LargeBinary(20), primary_key=True),
    Column("paused_at_ms", BigInteger, nullable=False),
    Column("paused_by", Text, nullable=False),
    Column("reason", Text, nullable=False),
)

# Append-only, written in the same commit as the change: who did what to which key or submission, when and why.
operator_actions = Table(
    "operator_actions",
    metadata,
    Column("seq", Serial, primary_key=True, autoincrement=True),
    Column("at_ms", BigInteger, nullable=False),
    Column("actor", Text, nullable=False),  # id of an API key, or cli:<user of the machine>
    Column("action", Text, nullable=False),
    Column("subject", Text, nullable=False),  # <address>, <address>/<nonce>, or the id of a submission
    Column("reason", Text, nullable=False),
)
Index("ix_operator_actions_subject", operator_actions.c.subject)
