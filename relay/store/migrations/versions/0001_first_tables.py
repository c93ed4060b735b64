"""first tables."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    op.create_table(
        "api_keys",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("prefix", sa.Text(), nullable=False),
        sa.Column("hash", sa.LargeBinary(length=32), nullable=False),
        sa.Column("role", sa.Text(), nullable=False),
        sa.Column("game_id", sa.Text(), nullable=True),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("created_at_ms", sa.BigInteger(), nullable=False),
        sa.Column("expires_at_ms", sa.BigInteger(), nullable=True),
        sa.Column("revoked_at_ms", sa.BigInteger(), nullable=True),
        sa.Column("last_used_at_ms", sa.BigInteger(), nullable=True),
        sa.CheckConstraint("role IN ('server', 'client', 'auditor', 'admin')", name=op.f("ck_api_keys_role")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_api_keys")),
        sa.UniqueConstraint("hash", name=op.f("uq_api_keys_hash")),
    )
    op.create_table(
        "audit_flags",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("game_id", sa.Text(), nullable=False),
        sa.Column("severity", sa.Text(), nullable=False),
        sa.Column("code", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("player_id", sa.Text(), nullable=True),
        sa.Column("about", sa.Text(), nullable=False),
        sa.Column("subject_type", sa.Text(), nullable=False),
        sa.Column("subject_id", sa.Text(), nullable=False),
        sa.Column("action", sa.Text(), nullable=False),
        sa.Column("context", sa.Text(), nullable=False),
        sa.Column("occurrences", sa.BigInteger(), nullable=False),
        sa.Column("first_seen_ms", sa.BigInteger(), nullable=False),
        sa.Column("last_seen_ms", sa.BigInteger(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("resolved_by", sa.Text(), nullable=True),
        sa.Column("resolved_at_ms", sa.BigInteger(), nullable=True),
        sa.Column("resolution_note", sa.Text(), nullable=True),
        sa.CheckConstraint("severity IN ('warning', 'critical')", name=op.f("ck_audit_flags_severity")),
        sa.CheckConstraint(
            "status IN ('open', 'confirmed', 'false_positive', 'dismissed')", name=op.f("ck_audit_flags_status")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_audit_flags")),
    )
    with op.batch_alter_table("audit_flags", schema=None) as batch_op:
        batch_op.create_index("ix_audit_flags_player_id_id", ["player_id", "id"], unique=False)
        batch_op.create_index(
            "uq_audit_flags_open",
            ["game_id", "about", "action", "code"],
            unique=True,
            sqlite_where=sa.text("status = 'open'"),
            postgresql_where=sa.text("status = 'open'"),
        )

    op.create_table(
        "batches",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("kind", sa.Text(), server_default="scores", nullable=False),
        sa.Column("game_id", sa.Text(), nullable=False),
        sa.Column("rules_hash", sa.LargeBinary(length=32), nullable=False),
        sa.Column("size", sa.Integer(), nullable=False),
        sa.Column("calldata", sa.LargeBinary(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("created_at_ms", sa.BigInteger(), nullable=False),
        sa.Column("resolved_at_ms", sa.BigInteger(), nullable=True),
        sa.CheckConstraint("state IN ('open', 'included', 'final', 'failed')", name=op.f("ck_batches_state")),
        sa.CheckConstraint("size >= 0", name=op.f("ck_batches_size")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_batches")),
    )
    op.create_table(
        "chain_identities",
        sa.Column("chain_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("genesis_hash", sa.LargeBinary(length=32), nullable=False),
        sa.Column("contract", sa.LargeBinary(length=20), nullable=False),
        sa.Column("recorded_at_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("chain_id", name=op.f("pk_chain_identities")),
    )
    op.create_table(
        "evidence",
        sa.Column("hash", sa.LargeBinary(length=32), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("hash", name=op.f("pk_evidence")),
    )
    op.create_table(
        "history",
        sa.Column("seq", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("submission_id", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("at_ms", sa.BigInteger(), nullable=False),
        sa.Column("detail", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("seq", name=op.f("pk_history")),
    )
    with op.batch_alter_table("history", schema=None) as batch_op:
        batch_op.create_index("ix_history_submission_id", ["submission_id"], unique=False)

    op.create_table(
        "idempotency",
        sa.Column("scope", sa.LargeBinary(length=32), nullable=False),
        sa.Column("claim_hash", sa.LargeBinary(length=32), nullable=False),
        sa.Column("submission_id", sa.Text(), nullable=False),
        sa.Column("created_at_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("scope", name=op.f("pk_idempotency")),
        sqlite_with_rowid=False,
    )
    with op.batch_alter_table("idempotency", schema=None) as batch_op:
        batch_op.create_index("ix_idempotency_created_at_ms", ["created_at_ms"], unique=False)

    op.create_table(
        "leases",
        sa.Column("chain_id", sa.BigInteger(), nullable=False),
        sa.Column("signer", sa.LargeBinary(length=20), nullable=False),
        sa.Column("holder", sa.Text(), nullable=False),
        sa.Column("epoch", sa.BigInteger(), nullable=False),
        sa.Column("expires_at_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("chain_id", "signer", name=op.f("pk_leases")),
    )
    op.create_table(
        "limit_windows",
        sa.Column("game_id", sa.Text(), nullable=False),
        sa.Column("action", sa.Text(), nullable=False),
        sa.Column("subject", sa.LargeBinary(), nullable=False),
        sa.Column("admitted", sa.LargeBinary(), nullable=False),
        sa.Column("refused", sa.LargeBinary(), nullable=False),
        sa.Column("scores", sa.LargeBinary(), nullable=False),
        sa.Column("claims", sa.LargeBinary(), nullable=False),
        sa.Column("updated_at_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("game_id", "action", "subject", name=op.f("pk_limit_windows")),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "round_counters",
        sa.Column("game_id", sa.Text(), nullable=False),
        sa.Column("next", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("game_id", name=op.f("pk_round_counters")),
    )
    op.create_table(
        "submissions",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("game_id", sa.Text(), nullable=False),
        sa.Column("player", sa.LargeBinary(length=20), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("score", sa.BigInteger(), nullable=True),
        sa.Column("round_id", sa.BigInteger(), nullable=True),
        sa.Column("external_round", sa.Text(), nullable=True),
        sa.Column("evidence_hash", sa.LargeBinary(length=32), nullable=False),
        sa.Column("evidence_level", sa.SmallInteger(), nullable=False),
        sa.Column("rules_hash", sa.LargeBinary(length=32), nullable=False),
        sa.Column("claim_hash", sa.LargeBinary(length=32), nullable=False),
        sa.Column("received_at_ms", sa.BigInteger(), nullable=False),
        sa.Column("accepted_at_ms", sa.BigInteger(), nullable=True),
        sa.Column("receipt_deadline", sa.BigInteger(), nullable=True),
        sa.Column("receipt_signer", sa.LargeBinary(length=20), nullable=True),
        sa.Column("receipt_signature", sa.LargeBinary(length=65), nullable=True),
        sa.Column("tx_hash", sa.LargeBinary(length=32), nullable=True),
        sa.Column("block_number", sa.BigInteger(), nullable=True),
        sa.Column("code", sa.Text(), nullable=True),
        sa.Column("request_id", sa.Text(), nullable=False),
        sa.Column("answering_until_ms", sa.BigInteger(), nullable=True),
        sa.Column("answered_status", sa.Text(), nullable=True),
        sa.Column("answered_tx", sa.LargeBinary(length=32), nullable=True),
        sa.CheckConstraint(
            "(receipt_signature IS NULL) = (round_id IS NULL)", name=op.f("ck_submissions_signed_iff_accepted")
        ),
        sa.CheckConstraint(
            "(round_id IS NULL) = (accepted_at_ms IS NULL)", name=op.f("ck_submissions_serial_iff_accepted")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_submissions")),
        sa.UniqueConstraint("game_id", "round_id", name=op.f("uq_submissions_game_id_round_id")),
    )
    with op.batch_alter_table("submissions", schema=None) as batch_op:
        batch_op.create_index("ix_submissions_player_id", ["player", "id"], unique=False)
        batch_op.create_index(
            "ix_submissions_ready",
            ["game_id", "round_id"],
            unique=False,
            sqlite_where=sa.text("status = 'accepted'"),
            postgresql_where=sa.text("status = 'accepted'"),
        )

    op.create_table(
        "batch_scores",
        sa.Column("batch_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("submission_id", sa.Text(), nullable=False),
        sa.Column("unresolved", sa.SmallInteger(), server_default="1", nullable=False),
        sa.CheckConstraint("unresolved IN (0, 1)", name=op.f("ck_batch_scores_unresolved")),
        sa.ForeignKeyConstraint(["batch_id"], ["batches.id"], name=op.f("fk_batch_scores_batch_id")),
        sa.PrimaryKeyConstraint("batch_id", "position", name=op.f("pk_batch_scores")),
    )
    with op.batch_alter_table("batch_scores", schema=None) as batch_op:
        batch_op.create_index("ix_batch_scores_submission_id", ["submission_id"], unique=False)
        batch_op.create_index(
            "uq_batch_scores_unresolved",
            ["submission_id"],
            unique=True,
            sqlite_where=sa.text("unresolved = 1"),
            postgresql_where=sa.text("unresolved = 1"),
        )

    op.create_table(
        "slots",
        sa.Column("chain_id", sa.BigInteger(), nullable=False),
        sa.Column("signer", sa.LargeBinary(length=20), nullable=False),
        sa.Column("nonce", sa.BigInteger(), nullable=False),
        sa.Column("batch_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=True),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("epoch", sa.BigInteger(), nullable=False),
        sa.Column("reserved_at_ms", sa.BigInteger(), nullable=False),
        sa.Column("tx_hash", sa.LargeBinary(length=32), nullable=True),
        sa.Column("block_number", sa.BigInteger(), nullable=True),
        sa.Column("block_hash", sa.LargeBinary(length=32), nullable=True),
        sa.Column("succeeded", sa.SmallInteger(), nullable=True),
        sa.CheckConstraint("state IN ('reserved', 'live', 'mined', 'final', 'foreign')", name=op.f("ck_slots_state")),
        sa.ForeignKeyConstraint(["batch_id"], ["batches.id"], name=op.f("fk_slots_batch_id")),
        sa.PrimaryKeyConstraint("chain_id", "signer", "nonce", name=op.f("pk_slots")),
        sa.UniqueConstraint("batch_id", name="uq_slots_batch_id"),
    )
    with op.batch_alter_table("slots", schema=None) as batch_op:
        batch_op.create_index(
            "ix_slots_unfinished",
            ["chain_id", "signer", "nonce"],
            unique=False,
            sqlite_where=sa.text("state IN ('reserved', 'live', 'mined')"),
            postgresql_where=sa.text("state IN ('reserved', 'live', 'mined')"),
        )

    op.create_table(
        "attempts",
        sa.Column("tx_hash", sa.LargeBinary(length=32), nullable=False),
        sa.Column("chain_id", sa.BigInteger(), nullable=False),
        sa.Column("signer", sa.LargeBinary(length=20), nullable=False),
        sa.Column("nonce", sa.BigInteger(), nullable=False),
        sa.Column("raw", sa.LargeBinary(), nullable=False),
        sa.Column("gas_limit", sa.BigInteger(), nullable=False),
        sa.Column("fee_wei_max", sa.BigInteger(), nullable=False),
        sa.Column("tip_wei_max", sa.BigInteger(), nullable=True),
        sa.Column("created_at_ms", sa.BigInteger(), nullable=False),
        sa.Column("created_at_block", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["chain_id", "signer", "nonce"], ["slots.chain_id", "slots.signer", "slots.nonce"], name="fk_attempts_slot"
        ),
        sa.PrimaryKeyConstraint("tx_hash", name=op.f("pk_attempts")),
    )
    with op.batch_alter_table("attempts", schema=None) as batch_op:
        batch_op.create_index("ix_attempts_slot", ["chain_id", "signer", "nonce"], unique=False)


def downgrade() -> None:
    """Undo."""
    with op.batch_alter_table("attempts", schema=None) as batch_op:
        batch_op.drop_index("ix_attempts_slot")

    op.drop_table("attempts")
    with op.batch_alter_table("slots", schema=None) as batch_op:
        batch_op.drop_index(
            "ix_slots_unfinished",
            sqlite_where=sa.text("state IN ('reserved', 'live', 'mined')"),
            postgresql_where=sa.text("state IN ('reserved', 'live', 'mined')"),
        )

    op.drop_table("slots")
    with op.batch_alter_table("batch_scores", schema=None) as batch_op:
        batch_op.drop_index(
            "uq_batch_scores_unresolved",
            sqlite_where=sa.text("unresolved = 1"),
            postgresql_where=sa.text("unresolved = 1"),
        )
        batch_op.drop_index("ix_batch_scores_submission_id")

    op.drop_table("batch_scores")
    with op.batch_alter_table("submissions", schema=None) as batch_op:
        batch_op.drop_index(
            "ix_submissions_ready",
            sqlite_where=sa.text("status = 'accepted'"),
            postgresql_where=sa.text("status = 'accepted'"),
        )
        batch_op.drop_index("ix_submissions_player_id")

    op.drop_table("submissions")
    op.drop_table("round_counters")
    op.drop_table("limit_windows")
    op.drop_table("leases")
    with op.batch_alter_table("idempotency", schema=None) as batch_op:
        batch_op.drop_index("ix_idempotency_created_at_ms")

    op.drop_table("idempotency")
    with op.batch_alter_table("history", schema=None) as batch_op:
        batch_op.drop_index("ix_history_submission_id")

    op.drop_table("history")
    op.drop_table("evidence")
    op.drop_table("chain_identities")
    op.drop_table("batches")
    with op.batch_alter_table("audit_flags", schema=None) as batch_op:
        batch_op.drop_index(
            "uq_audit_flags_open", sqlite_where=sa.text("status = 'open'"), postgresql_where=sa.text("status = 'open'")
        )
        batch_op.drop_index("ix_audit_flags_player_id_id")

    op.drop_table("audit_flags")
    op.drop_table("api_keys")
