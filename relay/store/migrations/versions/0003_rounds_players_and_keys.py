"""rounds players and keys."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    op.create_table(
        "encryption_keys",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("game_id", sa.Text(), nullable=False),
        sa.Column("secret", sa.LargeBinary(length=32), nullable=False),
        sa.Column("created_at_ms", sa.BigInteger(), nullable=False),
        sa.Column("created_by", sa.Text(), nullable=False),
        sa.Column("retired_at_ms", sa.BigInteger(), nullable=True),
        sa.Column("retired_by", sa.Text(), nullable=True),
        sa.CheckConstraint("(retired_at_ms IS NULL) = (retired_by IS NULL)", name=op.f("ck_encryption_keys_retired")),
        sa.CheckConstraint("length(secret) = 32", name=op.f("ck_encryption_keys_secret")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_encryption_keys")),
    )
    with op.batch_alter_table("encryption_keys", schema=None) as batch_op:
        batch_op.create_index("ix_encryption_keys_game_id", ["game_id", "id"], unique=False)

    op.create_table(
        "game_versions",
        sa.Column("game_id", sa.Text(), nullable=False),
        sa.Column("version", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("config", sa.Text(), nullable=False),
        sa.Column("at_ms", sa.BigInteger(), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("game_id", "version", name=op.f("pk_game_versions")),
    )
    op.create_table(
        "player_sessions",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("hash", sa.LargeBinary(length=32), nullable=False),
        sa.Column("player", sa.LargeBinary(length=20), nullable=False),
        sa.Column("proof", sa.Text(), nullable=False),
        sa.Column("created_at_ms", sa.BigInteger(), nullable=False),
        sa.Column("expires_at_ms", sa.BigInteger(), nullable=False),
        sa.Column("revoked_at_ms", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_player_sessions")),
        sa.UniqueConstraint("hash", name=op.f("uq_player_sessions_hash")),
    )
    with op.batch_alter_table("player_sessions", schema=None) as batch_op:
        batch_op.create_index("ix_player_sessions_expires_at_ms", ["expires_at_ms"], unique=False)

    op.create_table(
        "rounds",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("game_id", sa.Text(), nullable=False),
        sa.Column("tournament_id", sa.Text(), nullable=True),
        sa.Column("player", sa.LargeBinary(length=20), nullable=False),
        sa.Column("player_id", sa.Text(), nullable=False),
        sa.Column("chart", sa.Text(), nullable=True),
        sa.Column("chart_hash", sa.LargeBinary(length=32), nullable=False),
        sa.Column("rules_hash", sa.LargeBinary(length=32), nullable=False),
        sa.Column("seed", sa.LargeBinary(length=32), nullable=False),
        sa.Column("seed_subject", sa.Text(), nullable=False),
        sa.Column("seed_commitment", sa.LargeBinary(length=32), nullable=False),
        sa.Column("chain_id", sa.BigInteger(), nullable=False),
        sa.Column("contract", sa.LargeBinary(length=20), nullable=False),
        sa.Column("needs_confirmation", sa.Boolean(), nullable=False),
        sa.Column("confirmation_timeout_s", sa.Integer(), nullable=False),
        sa.Column("issued_at_ms", sa.BigInteger(), nullable=False),
        sa.Column("expires_at_ms", sa.BigInteger(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("updated_at_ms", sa.BigInteger(), nullable=False),
        sa.Column("due_at_ms", sa.BigInteger(), nullable=True),
        sa.Column("reported_at_ms", sa.BigInteger(), nullable=True),
        sa.Column("claim_hash", sa.LargeBinary(length=32), nullable=True),
        sa.Column("submission_id", sa.Text(), nullable=True),
        sa.Column("score", sa.BigInteger(), nullable=True),
        sa.Column("said_valid", sa.Boolean(), nullable=True),
        sa.Column("said_score", sa.BigInteger(), nullable=True),
        sa.Column("said_at_ms", sa.BigInteger(), nullable=True),
        sa.Column("said_by", sa.Text(), nullable=True),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("confirmation_hash", sa.LargeBinary(length=32), nullable=True),
        sa.Column("first_evidence", sa.LargeBinary(length=32), nullable=True),
        sa.Column("first_level", sa.SmallInteger(), nullable=True),
        sa.CheckConstraint(
            "(due_at_ms IS NOT NULL) = (state IN ('active', 'reported', 'confirmed'))", name=op.f("ck_rounds_due")
        ),
        sa.CheckConstraint(
            "(reason IS NOT NULL) = (state IN ('invalidated', 'expired'))", name=op.f("ck_rounds_over_why")
        ),
        sa.CheckConstraint(
            "state IN ('active', 'reported', 'confirmed', 'accepted', 'invalidated', 'expired')",
            name=op.f("ck_rounds_state"),
        ),
        sa.CheckConstraint(
            "state NOT IN ('reported', 'accepted') OR submission_id IS NOT NULL", name=op.f("ck_rounds_reported")
        ),
        sa.CheckConstraint("(said_at_ms IS NULL) = (said_valid IS NULL)", name=op.f("ck_rounds_said")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_rounds")),
    )
    with op.batch_alter_table("rounds", schema=None) as batch_op:
        batch_op.create_index(
            "ix_rounds_due_at_ms",
            ["due_at_ms"],
            unique=False,
            sqlite_where=sa.text("due_at_ms IS NOT NULL"),
            postgresql_where=sa.text("due_at_ms IS NOT NULL"),
        )
        batch_op.create_index(
            "ix_rounds_game_id_player_issued_at_ms", ["game_id", "player", "issued_at_ms"], unique=False
        )
        batch_op.create_index("ix_rounds_tournament_id_player", ["tournament_id", "player"], unique=False)
        batch_op.create_index("uq_rounds_submission_id", ["submission_id"], unique=True)

    op.create_table(
        "seed_secrets",
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("secret", sa.LargeBinary(length=32), nullable=False),
        sa.Column("commitment", sa.LargeBinary(length=32), nullable=False),
        sa.Column("created_at_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("subject", name=op.f("pk_seed_secrets")),
    )
    op.create_table(
        "session_keys",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("player", sa.LargeBinary(length=20), nullable=False),
        sa.Column("address", sa.LargeBinary(length=20), nullable=False),
        sa.Column("scope", sa.Text(), nullable=False),
        sa.Column("digest", sa.LargeBinary(length=32), nullable=False),
        sa.Column("delegation", sa.LargeBinary(length=32), nullable=False),
        sa.Column("created_at_ms", sa.BigInteger(), nullable=False),
        sa.Column("expires_at_ms", sa.BigInteger(), nullable=False),
        sa.Column("revoked_at_ms", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_session_keys")),
        sa.UniqueConstraint("digest", name=op.f("uq_session_keys_digest")),
    )
    with op.batch_alter_table("session_keys", schema=None) as batch_op:
        batch_op.create_index("ix_session_keys_expires_at_ms", ["expires_at_ms"], unique=False)
        batch_op.create_index("ix_session_keys_player_address", ["player", "address"], unique=False)

    op.create_table(
        "sign_in_nonces",
        sa.Column("nonce", sa.Text(), nullable=False),
        sa.Column("expires_at_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("nonce", name=op.f("pk_sign_in_nonces")),
        sqlite_with_rowid=False,
    )
    with op.batch_alter_table("sign_in_nonces", schema=None) as batch_op:
        batch_op.create_index("ix_sign_in_nonces_expires_at_ms", ["expires_at_ms"], unique=False)

    op.create_table(
        "tournaments",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("game_id", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("starts_at_ms", sa.BigInteger(), nullable=False),
        sa.Column("ends_at_ms", sa.BigInteger(), nullable=True),
        sa.Column("attempts_max", sa.Integer(), nullable=True),
        sa.Column("capacity", sa.Integer(), nullable=True),
        sa.Column("require_confirmation", sa.Boolean(), nullable=False),
        sa.Column("confirmation_timeout_s", sa.Integer(), nullable=False),
        sa.Column("chart", sa.Text(), nullable=True),
        sa.Column("created_at_ms", sa.BigInteger(), nullable=False),
        sa.Column("created_by", sa.Text(), nullable=False),
        sa.Column("cancelled_at_ms", sa.BigInteger(), nullable=True),
        sa.Column("cancelled_by", sa.Text(), nullable=True),
        sa.Column("cancel_reason", sa.Text(), nullable=True),
        sa.CheckConstraint(
            "(cancelled_at_ms IS NULL) = (cancel_reason IS NULL)", name=op.f("ck_tournaments_cancelled_why")
        ),
        sa.CheckConstraint("ends_at_ms IS NULL OR ends_at_ms > starts_at_ms", name=op.f("ck_tournaments_lasts")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_tournaments")),
    )
    with op.batch_alter_table("tournaments", schema=None) as batch_op:
        batch_op.create_index("ix_tournaments_created_at_ms_id", ["created_at_ms", "id"], unique=False)

    op.create_table(
        "used_ivs",
        sa.Column("key_id", sa.Text(), nullable=False),
        sa.Column("iv", sa.LargeBinary(length=12), nullable=False),
        sa.Column("digest", sa.LargeBinary(length=32), nullable=False),
        sa.Column("used_at_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("key_id", "iv", name=op.f("pk_used_ivs")),
    )
    op.create_table(
        "used_signatures",
        sa.Column("digest", sa.LargeBinary(length=32), nullable=False),
        sa.Column("submission_id", sa.Text(), nullable=False),
        sa.Column("deadline_s", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("digest", name=op.f("pk_used_signatures")),
        sqlite_with_rowid=False,
    )
    with op.batch_alter_table("used_signatures", schema=None) as batch_op:
        batch_op.create_index("ix_used_signatures_deadline_s", ["deadline_s"], unique=False)


def downgrade() -> None:
    """Undo."""
    with op.batch_alter_table("used_signatures", schema=None) as batch_op:
        batch_op.drop_index("ix_used_signatures_deadline_s")

    op.drop_table("used_signatures")
    op.drop_table("used_ivs")
    with op.batch_alter_table("tournaments", schema=None) as batch_op:
        batch_op.drop_index("ix_tournaments_created_at_ms_id")

    op.drop_table("tournaments")
    with op.batch_alter_table("sign_in_nonces", schema=None) as batch_op:
        batch_op.drop_index("ix_sign_in_nonces_expires_at_ms")

    op.drop_table("sign_in_nonces")
    with op.batch_alter_table("session_keys", schema=None) as batch_op:
        batch_op.drop_index("ix_session_keys_player_address")
        batch_op.drop_index("ix_session_keys_expires_at_ms")

    op.drop_table("session_keys")
    op.drop_table("seed_secrets")
    with op.batch_alter_table("rounds", schema=None) as batch_op:
        batch_op.drop_index("uq_rounds_submission_id")
        batch_op.drop_index("ix_rounds_tournament_id_player")
        batch_op.drop_index("ix_rounds_game_id_player_issued_at_ms")
        batch_op.drop_index(
            "ix_rounds_due_at_ms",
            sqlite_where=sa.text("due_at_ms IS NOT NULL"),
            postgresql_where=sa.text("due_at_ms IS NOT NULL"),
        )

    op.drop_table("rounds")
    with op.batch_alter_table("player_sessions", schema=None) as batch_op:
        batch_op.drop_index("ix_player_sessions_expires_at_ms")

    op.drop_table("player_sessions")
    op.drop_table("game_versions")
    with op.batch_alter_table("encryption_keys", schema=None) as batch_op:
        batch_op.drop_index("ix_encryption_keys_game_id")

    op.drop_table("encryption_keys")
