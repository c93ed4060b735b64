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
        "ix_batches",
        sa.Column("place", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=False),
        sa.Column("game", sa.Integer(), nullable=False),
        sa.Column("signer", sa.LargeBinary(length=20), nullable=False),
        sa.Column("records_hash", sa.LargeBinary(length=32), nullable=False),
        sa.Column("head", sa.LargeBinary(length=32), nullable=False),
        sa.Column("accepted", sa.Integer(), nullable=False),
        sa.Column("tx_hash", sa.LargeBinary(length=32), nullable=False),
        sa.Column("block_hash", sa.LargeBinary(length=32), nullable=False),
        sa.PrimaryKeyConstraint("place", name=op.f("pk_ix_batches")),
    )
    op.create_table(
        "ix_blocks",
        sa.Column("number", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=False),
        sa.Column("hash", sa.LargeBinary(length=32), nullable=False),
        sa.Column("parent_hash", sa.LargeBinary(length=32), nullable=False),
        sa.Column("time_s", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("number", name=op.f("pk_ix_blocks")),
    )
    op.create_table(
        "ix_boards",
        sa.Column("number", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("game", sa.Integer(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("number", name=op.f("pk_ix_boards")),
    )
    op.create_table(
        "ix_chain",
        sa.Column("id", sa.SmallInteger(), autoincrement=False, nullable=False),
        sa.Column("chain_id", sa.BigInteger(), nullable=False),
        sa.Column("genesis_hash", sa.LargeBinary(length=32), nullable=False),
        sa.Column("contract", sa.LargeBinary(length=20), nullable=False),
        sa.Column("code_hash", sa.LargeBinary(length=32), nullable=False),
        sa.Column("start_block", sa.BigInteger(), nullable=False),
        sa.Column("tip_number", sa.BigInteger(), nullable=False),
        sa.Column("tip_hash", sa.LargeBinary(length=32), nullable=False),
        sa.Column("tip_time_s", sa.BigInteger(), nullable=False),
        sa.Column("final_number", sa.BigInteger(), nullable=False),
        sa.Column("verified_number", sa.BigInteger(), nullable=False),
        sa.Column("verified_hash", sa.LargeBinary(length=32), nullable=False),
        sa.Column("epoch", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_ix_chain")),
    )
    op.create_table(
        "ix_games",
        sa.Column("number", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("key", sa.LargeBinary(length=32), nullable=False),
        sa.Column("head", sa.LargeBinary(length=32), nullable=False),
        sa.Column("recorded", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("number", name=op.f("pk_ix_games")),
        sa.UniqueConstraint("key", name=op.f("uq_ix_games_key")),
    )
    op.create_table(
        "ix_oversized",
        sa.Column("place", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=False),
        sa.Column("game", sa.Integer(), nullable=False),
        sa.Column("round_id", sa.Text(), nullable=False),
        sa.Column("player", sa.LargeBinary(length=20), nullable=False),
        sa.Column("score", sa.Text(), nullable=False),
        sa.Column("evidence_hash", sa.LargeBinary(length=32), nullable=False),
        sa.Column("tx_hash", sa.LargeBinary(length=32), nullable=False),
        sa.PrimaryKeyConstraint("place", name=op.f("pk_ix_oversized")),
    )
    op.create_table(
        "ix_rulings",
        sa.Column("place", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=False),
        sa.Column("game", sa.Integer(), nullable=False),
        sa.Column("round_id", sa.Text(), nullable=False),
        sa.Column("invalid", sa.SmallInteger(), nullable=False),
        sa.Column("auditor", sa.LargeBinary(length=20), nullable=False),
        sa.Column("reason_hash", sa.LargeBinary(length=32), nullable=False),
        sa.Column("head", sa.LargeBinary(length=32), nullable=False),
        sa.Column("tx_hash", sa.LargeBinary(length=32), nullable=False),
        sa.Column("block_hash", sa.LargeBinary(length=32), nullable=False),
        sa.PrimaryKeyConstraint("place", name=op.f("pk_ix_rulings")),
    )
    with op.batch_alter_table("ix_rulings", schema=None) as batch_op:
        batch_op.create_index("ix_ix_rulings_game_round_id_place", ["game", "round_id", "place"], unique=False)

    op.create_table(
        "ix_scores",
        sa.Column("place", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=False),
        sa.Column("game", sa.Integer(), nullable=False),
        sa.Column("round_id", sa.BigInteger(), nullable=False),
        sa.Column("player", sa.LargeBinary(length=20), nullable=False),
        sa.Column("score", sa.BigInteger(), nullable=False),
        sa.Column("evidence_hash", sa.LargeBinary(length=32), nullable=False),
        sa.Column("rules_hash", sa.LargeBinary(length=32), nullable=False),
        sa.Column("tx_hash", sa.LargeBinary(length=32), nullable=False),
        sa.Column("time_s", sa.BigInteger(), nullable=False),
        sa.Column("submission_id", sa.Text(), nullable=True),
        sa.Column("evidence_level", sa.SmallInteger(), nullable=True),
        sa.Column("invalid", sa.SmallInteger(), server_default="0", nullable=False),
        sa.PrimaryKeyConstraint("place", name=op.f("pk_ix_scores")),
    )
    with op.batch_alter_table("ix_scores", schema=None) as batch_op:
        batch_op.create_index("ix_ix_scores_player_place", ["player", "place"], unique=False)
        batch_op.create_index("uq_ix_scores_game_round_id", ["game", "round_id"], unique=True)

    op.create_table(
        "ix_standings",
        sa.Column("board", sa.Integer(), nullable=False),
        sa.Column("player", sa.LargeBinary(length=20), nullable=False),
        sa.Column("score", sa.BigInteger(), nullable=False),
        sa.Column("place", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("board", "player", name=op.f("pk_ix_standings")),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "ix_stream",
        sa.Column("board", sa.Integer(), nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.Column("at_ms", sa.BigInteger(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("board", "seq", name=op.f("pk_ix_stream")),
        sqlite_with_rowid=False,
    )


def downgrade() -> None:
    """Undo."""
    op.drop_table("ix_stream")
    op.drop_table("ix_standings")
    with op.batch_alter_table("ix_scores", schema=None) as batch_op:
        batch_op.drop_index("uq_ix_scores_game_round_id")
        batch_op.drop_index("ix_ix_scores_player_place")

    op.drop_table("ix_scores")
    with op.batch_alter_table("ix_rulings", schema=None) as batch_op:
        batch_op.drop_index("ix_ix_rulings_game_round_id_place")

    op.drop_table("ix_rulings")
    op.drop_table("ix_oversized")
    op.drop_table("ix_games")
    op.drop_table("ix_chain")
    op.drop_table("ix_boards")
    op.drop_table("ix_blocks")
    op.drop_table("ix_batches")
