"""doubt and streams."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    op.create_table(
        "ix_attestors",
        sa.Column("address", sa.LargeBinary(length=20), nullable=False),
        sa.Column("since_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("address", name=op.f("pk_ix_attestors")),
    )
    op.create_table(
        "ix_board_changes",
        sa.Column("seq", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("at_ms", sa.BigInteger(), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("action", sa.Text(), nullable=False),
        sa.Column("board", sa.Integer(), nullable=False),
        sa.Column("game", sa.Integer(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("config", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("seq", name=op.f("pk_ix_board_changes")),
    )
    op.create_table(
        "ix_builds",
        sa.Column("board", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("builder", sa.Text(), nullable=False),
        sa.Column("touched_at_ms", sa.BigInteger(), nullable=False),
        sa.Column("done", sa.BigInteger(), nullable=False),
        sa.Column("total", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("board", name=op.f("pk_ix_builds")),
    )
    op.create_table(
        "ix_doubt",
        sa.Column("id", sa.SmallInteger(), autoincrement=False, nullable=False),
        sa.Column("place", sa.BigInteger(), nullable=False),
        sa.Column("unwound", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_ix_doubt")),
    )
    op.create_table(
        "ix_doubts",
        sa.Column("place", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=False),
        sa.Column("game", sa.Integer(), nullable=False),
        sa.Column("player", sa.LargeBinary(length=20), nullable=False),
        sa.Column("code", sa.Text(), nullable=False),
        sa.Column("disputed", sa.SmallInteger(), nullable=False),
        sa.Column("since_ms", sa.BigInteger(), nullable=False),
        sa.Column("looked_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("place", name=op.f("pk_ix_doubts")),
    )
    op.create_table(
        "ix_leases",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("holder", sa.Text(), nullable=False),
        sa.Column("epoch", sa.BigInteger(), nullable=False),
        sa.Column("expires_at_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_ix_leases")),
    )
    op.create_table(
        "ix_proofs",
        sa.Column("mark", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=False),
        sa.Column("place", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("mark", name=op.f("pk_ix_proofs")),
    )
    with op.batch_alter_table("ix_scores", schema=None) as batch_op:
        batch_op.add_column(sa.Column("disputed", sa.SmallInteger(), server_default="0", nullable=False))


def downgrade() -> None:
    """Undo."""
    with op.batch_alter_table("ix_scores", schema=None) as batch_op:
        batch_op.drop_column("disputed")

    op.drop_table("ix_proofs")
    op.drop_table("ix_leases")
    op.drop_table("ix_doubts")
    op.drop_table("ix_doubt")
    op.drop_table("ix_builds")
    op.drop_table("ix_board_changes")
    op.drop_table("ix_attestors")
