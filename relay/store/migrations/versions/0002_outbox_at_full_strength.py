"""outbox at full strength."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    op.create_table(
        "audit_flag_history",
        sa.Column("seq", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("flag_id", sa.Text(), nullable=False),
        sa.Column("at_ms", sa.BigInteger(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("note", sa.Text(), nullable=False),
        sa.CheckConstraint(
            "status IN ('open', 'confirmed', 'false_positive', 'dismissed')", name=op.f("ck_audit_flag_history_status")
        ),
        sa.PrimaryKeyConstraint("seq", name=op.f("pk_audit_flag_history")),
    )
    with op.batch_alter_table("audit_flag_history", schema=None) as batch_op:
        batch_op.create_index("ix_audit_flag_history_flag_id", ["flag_id", "seq"], unique=False)

    op.create_table(
        "kept_answers",
        sa.Column("scope", sa.LargeBinary(length=32), nullable=False),
        sa.Column("claim_hash", sa.LargeBinary(length=32), nullable=False),
        sa.Column("status", sa.SmallInteger(), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.Column("created_at_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("scope", name=op.f("pk_kept_answers")),
        sqlite_with_rowid=False,
    )
    with op.batch_alter_table("kept_answers", schema=None) as batch_op:
        batch_op.create_index("ix_kept_answers_created_at_ms", ["created_at_ms"], unique=False)

    op.create_table(
        "operator_actions",
        sa.Column("seq", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("at_ms", sa.BigInteger(), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("action", sa.Text(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("seq", name=op.f("pk_operator_actions")),
    )
    with op.batch_alter_table("operator_actions", schema=None) as batch_op:
        batch_op.create_index("ix_operator_actions_subject", ["subject"], unique=False)

    op.create_table(
        "revocations",
        sa.Column("seq", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("submission_id", sa.Text(), nullable=False),
        sa.Column("game_id", sa.Text(), nullable=False),
        sa.Column("round_id", sa.BigInteger(), nullable=False),
        sa.Column("action", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("asked_by", sa.Text(), nullable=False),
        sa.Column("asked_at_ms", sa.BigInteger(), nullable=False),
        sa.Column("reason_hash", sa.LargeBinary(length=32), nullable=True),
        sa.Column("tx_hash", sa.LargeBinary(length=32), nullable=True),
        sa.Column("block_number", sa.BigInteger(), nullable=True),
        sa.Column("detail", sa.Text(), nullable=True),
        sa.Column("resolved_at_ms", sa.BigInteger(), nullable=True),
        sa.CheckConstraint(
            "(resolved_at_ms IS NOT NULL) = (state IN ('final', 'lapsed', 'withdrawn'))",
            name=op.f("ck_revocations_resolved"),
        ),
        sa.CheckConstraint("action IN ('revoke', 'reinstate')", name=op.f("ck_revocations_action")),
        sa.CheckConstraint(
            "state IN ('waiting', 'queued', 'sent', 'included', 'final', 'lapsed', 'withdrawn')",
            name=op.f("ck_revocations_state"),
        ),
        sa.PrimaryKeyConstraint("seq", name=op.f("pk_revocations")),
        sa.UniqueConstraint("id", name=op.f("uq_revocations_id")),
    )
    with op.batch_alter_table("revocations", schema=None) as batch_op:
        batch_op.create_index("ix_revocations_submission_id", ["submission_id", "seq"], unique=False)
        batch_op.create_index(
            "uq_revocations_under_way",
            ["submission_id"],
            unique=True,
            sqlite_where=sa.text("state IN ('queued', 'sent', 'included')"),
            postgresql_where=sa.text("state IN ('queued', 'sent', 'included')"),
        )
        batch_op.create_index(
            "uq_revocations_waiting",
            ["submission_id"],
            unique=True,
            sqlite_where=sa.text("state = 'waiting'"),
            postgresql_where=sa.text("state = 'waiting'"),
        )

    op.create_table(
        "sender_pauses",
        sa.Column("chain_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("signer", sa.LargeBinary(length=20), nullable=False),
        sa.Column("paused_at_ms", sa.BigInteger(), nullable=False),
        sa.Column("paused_by", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("chain_id", "signer", name=op.f("pk_sender_pauses")),
    )
    op.create_table(
        "webhook_deliveries",
        sa.Column("hook", sa.Text(), nullable=False),
        sa.Column("seq", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("submission_id", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("first_at_ms", sa.BigInteger(), nullable=True),
        sa.Column("tried_at_ms", sa.BigInteger(), nullable=True),
        sa.Column("next_at_ms", sa.BigInteger(), nullable=True),
        sa.Column("error", sa.Text(), nullable=True),
        sa.CheckConstraint(
            "state = 'waiting' OR next_at_ms IS NULL", name=op.f("ck_webhook_deliveries_dead_is_never_due")
        ),
        sa.CheckConstraint("state IN ('waiting', 'dead')", name=op.f("ck_webhook_deliveries_state")),
        sa.PrimaryKeyConstraint("hook", "seq", name=op.f("pk_webhook_deliveries")),
    )
    with op.batch_alter_table("webhook_deliveries", schema=None) as batch_op:
        batch_op.create_index("ix_webhook_deliveries_due", ["hook", "next_at_ms"], unique=False)
        batch_op.create_index("ix_webhook_deliveries_submission", ["hook", "submission_id", "seq"], unique=False)

    op.create_table(
        "webhooks",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("target", sa.LargeBinary(length=32), nullable=False),
        sa.Column("position", sa.BigInteger(), nullable=False),
        sa.Column("holder", sa.Text(), nullable=False),
        sa.Column("epoch", sa.BigInteger(), nullable=False),
        sa.Column("expires_at_ms", sa.BigInteger(), nullable=False),
        sa.Column("delivered", sa.BigInteger(), nullable=False),
        sa.Column("succeeded_at_ms", sa.BigInteger(), nullable=True),
        sa.Column("failed_at_ms", sa.BigInteger(), nullable=True),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("disabled_at_ms", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_webhooks")),
    )
    with op.batch_alter_table("attempts", schema=None) as batch_op:
        batch_op.add_column(sa.Column("void", sa.SmallInteger(), server_default="0", nullable=False))

    with op.batch_alter_table("history", schema=None) as batch_op:
        batch_op.add_column(sa.Column("tx_hash", sa.LargeBinary(length=32), nullable=True))
        batch_op.add_column(sa.Column("block_number", sa.BigInteger(), nullable=True))

    with op.batch_alter_table("leases", schema=None) as batch_op:
        batch_op.add_column(sa.Column("trouble", sa.Text(), nullable=True))

    with op.batch_alter_table("slots", schema=None) as batch_op:
        batch_op.add_column(sa.Column("gas_used", sa.BigInteger(), nullable=True))
        batch_op.add_column(sa.Column("void_requested_at_ms", sa.BigInteger(), nullable=True))
        batch_op.add_column(sa.Column("void_by", sa.Text(), nullable=True))

    with op.batch_alter_table("submissions", schema=None) as batch_op:
        batch_op.add_column(sa.Column("failures", sa.SmallInteger(), server_default="0", nullable=False))
        batch_op.add_column(sa.Column("status_beneath", sa.Text(), nullable=True))
        batch_op.create_index(
            "ix_submissions_aside",
            ["status", "id"],
            unique=False,
            sqlite_where=sa.text("status IN ('held', 'parked')"),
            postgresql_where=sa.text("status IN ('held', 'parked')"),
        )


def downgrade() -> None:
    """Undo."""
    with op.batch_alter_table("submissions", schema=None) as batch_op:
        batch_op.drop_index(
            "ix_submissions_aside",
            sqlite_where=sa.text("status IN ('held', 'parked')"),
            postgresql_where=sa.text("status IN ('held', 'parked')"),
        )
        batch_op.drop_column("status_beneath")
        batch_op.drop_column("failures")

    with op.batch_alter_table("slots", schema=None) as batch_op:
        batch_op.drop_column("void_by")
        batch_op.drop_column("void_requested_at_ms")
        batch_op.drop_column("gas_used")

    with op.batch_alter_table("leases", schema=None) as batch_op:
        batch_op.drop_column("trouble")

    with op.batch_alter_table("history", schema=None) as batch_op:
        batch_op.drop_column("block_number")
        batch_op.drop_column("tx_hash")

    with op.batch_alter_table("attempts", schema=None) as batch_op:
        batch_op.drop_column("void")

    op.drop_table("webhooks")
    with op.batch_alter_table("webhook_deliveries", schema=None) as batch_op:
        batch_op.drop_index("ix_webhook_deliveries_submission")
        batch_op.drop_index("ix_webhook_deliveries_due")

    op.drop_table("webhook_deliveries")
    op.drop_table("sender_pauses")
    with op.batch_alter_table("revocations", schema=None) as batch_op:
        batch_op.drop_index(
            "uq_revocations_waiting",
            sqlite_where=sa.text("state = 'waiting'"),
            postgresql_where=sa.text("state = 'waiting'"),
        )
        batch_op.drop_index(
            "uq_revocations_under_way",
            sqlite_where=sa.text("state IN ('queued', 'sent', 'included')"),
            postgresql_where=sa.text("state IN ('queued', 'sent', 'included')"),
        )
        batch_op.drop_index("ix_revocations_submission_id")

    op.drop_table("revocations")
    with op.batch_alter_table("operator_actions", schema=None) as batch_op:
        batch_op.drop_index("ix_operator_actions_subject")

    op.drop_table("operator_actions")
    with op.batch_alter_table("kept_answers", schema=None) as batch_op:
        batch_op.drop_index("ix_kept_answers_created_at_ms")

    op.drop_table("kept_answers")
    with op.batch_alter_table("audit_flag_history", schema=None) as batch_op:
        batch_op.drop_index("ix_audit_flag_history_flag_id")

    op.drop_table("audit_flag_history")
