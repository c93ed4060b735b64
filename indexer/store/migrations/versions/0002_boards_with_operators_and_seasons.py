"""boards with operators and seasons.

Standings are made of the scores: the table is dropped, and every board is made anew at the next start.
"""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    op.add_column("ix_boards", sa.Column("config", sa.Text(), server_default="", nullable=False))
    op.add_column("ix_boards", sa.Column("origin", sa.Text(), server_default="file", nullable=False))
    op.add_column("ix_boards", sa.Column("built", sa.SmallInteger(), server_default="0", nullable=False))
    op.drop_table("ix_standings")
    op.create_table(
        "ix_standings",
        sa.Column("board", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("season_s", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("player", sa.LargeBinary(length=20), nullable=False),
        sa.Column("value", sa.BigInteger(), nullable=False),
        sa.Column("place", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("board", "season_s", "player", name=op.f("pk_ix_standings")),
        sqlite_with_rowid=False,
    )


def downgrade() -> None:
    """Undo: an older program makes its standings anew by reading the chain again."""
    op.drop_table("ix_standings")
    op.create_table(
        "ix_standings",
        sa.Column("board", sa.Integer(), nullable=False),
        sa.Column("player", sa.LargeBinary(length=20), nullable=False),
        sa.Column("score", sa.BigInteger(), nullable=False),
        sa.Column("place", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("board", "player", name=op.f("pk_ix_standings")),
        sqlite_with_rowid=False,
    )
    for column in ("built", "origin", "config"):
        op.drop_column("ix_boards", column)
