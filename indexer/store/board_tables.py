"""Tables of how boards come about: which one is being made anew, and who changed what.

Pure (schema only). The queries are in `indexer.store.rebuild` and `indexer.store.board_admin`.
"""

from sqlalchemy import BigInteger, Column, Integer, Table, Text

from indexer.store.tables import Place, metadata

# A row while a board is being made: whoever holds it refreshes it, so that a second process waits, and takes over only
# from one that died.
builds = Table(
    "ix_builds",
    metadata,
    Column("board", Integer, primary_key=True, autoincrement=False),
    Column("builder", Text, nullable=False),
    Column("touched_at_ms", BigInteger, nullable=False),
    Column("done", BigInteger, nullable=False),  # scores
    Column("total", BigInteger, nullable=False),
)

# Append-only, written in the same commit as the change. Its last number is the version of all boards' configuration:
# every process looks at it.
board_changes = Table(
    "ix_board_changes",
    metadata,
    Column("seq", Place, primary_key=True, autoincrement=True),
    Column("at_ms", BigInteger, nullable=False),
    Column("actor", Text, nullable=False),  # id of an API key
    Column("action", Text, nullable=False),  # created, changed, deleted
    Column("board", Integer, nullable=False),  # its number, never given to another board
    Column("game", Integer, nullable=False),
    Column("name", Text, nullable=False),
    Column("config", Text, nullable=False),  # after the change; of a deleted board, before it
    Column("reason", Text, nullable=False),
)
