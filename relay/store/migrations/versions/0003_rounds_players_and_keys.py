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
        "session_keys",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("player", sa.LargeBinary(length=20), nullable=False),
        sa.Column("address", sa.LargeBinary(length=20), nullable=False),
        sa.Column("scope", sa.Text(), nullable=False),
        sa.Column("delegation", sa.LargeBinary(length=32), nullable=False),
        sa.Column("created_at_ms", sa.BigInteger(), nullable=False),
        sa.Column("expires_at_ms", sa.BigInteger(), nullable=False),
        sa.Column("revoked_at_ms", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_session_keys")),
        sa.UniqueConstraint("delegation", name=op.f("uq_session_keys_delegation")),
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
    with op.batch_alter_table("sign_in_nonces", schema=None) as batch_op:
        batch_op.drop_index("ix_sign_in_nonces_expires_at_ms")

    op.drop_table("sign_in_nonces")
    with op.batch_alter_table("session_keys", schema=None) as batch_op:
        batch_op.drop_index("ix_session_keys_player_address")
        batch_op.drop_index("ix_session_keys_expires_at_ms")

    op.drop_table("session_keys")
    with op.batch_alter_table("player_sessions", schema=None) as batch_op:
        batch_op.drop_index("ix_player_sessions_expires_at_ms")

    op.drop_table("player_sessions")
    op.drop_table("game_versions")
    with op.batch_alter_table("encryption_keys", schema=None) as batch_op:
        batch_op.drop_index("ix_encryption_keys_game_id")

    op.drop_table("encryption_keys")
