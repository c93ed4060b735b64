"""Tables of the webhooks: how far each hook is, who delivers it, and what a receiver did not take (yet).

Pure (schema only). What was delivered leaves no row: a hook's position says it. The queries are in
`relay.store.webhooks`.
"""

from sqlalchemy import BigInteger, CheckConstraint, Column, Index, Integer, LargeBinary, Table, Text

from relay.store.metadata import metadata

webhooks = Table(
    "webhooks",
    metadata,
    Column("name", Text, primary_key=True),
    Column("target", LargeBinary(32), nullable=False),  # SHA-256 of its address, which may hold a token
    Column("position", BigInteger, nullable=False),  # every event up to here was delivered or has a row below
    Column("holder", Text, nullable=False),
    Column("epoch", BigInteger, nullable=False),  # rises at every change of hands; fences the former holder
    Column("expires_at_ms", BigInteger, nullable=False),
    Column("delivered", BigInteger, nullable=False),
    Column("succeeded_at_ms", BigInteger),
    Column("failed_at_ms", BigInteger),
    Column("error", Text),  # of the last failure
    Column("disabled_at_ms", BigInteger),  # the receiver said 410: gone
)

webhook_deliveries = Table(
    "webhook_deliveries",
    metadata,
    Column("hook", Text, primary_key=True),
    Column("seq", BigInteger, primary_key=True, autoincrement=False),  # of history
    Column("submission_id", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("first_at_ms", BigInteger),  # of the first attempt; null while an earlier event of the submission is due
    Column("tried_at_ms", BigInteger),
    Column("next_at_ms", BigInteger),  # null: dead, or waiting for an earlier event of the same submission
    Column("error", Text),
    CheckConstraint("state IN ('waiting', 'dead')", name="state"),
    CheckConstraint("state = 'waiting' OR next_at_ms IS NULL", name="dead_is_never_due"),
    Index("ix_webhook_deliveries_submission", "hook", "submission_id", "seq"),
    Index("ix_webhook_deliveries_due", "hook", "next_at_ms"),
)
