"""The indexer's tables.

Pure (schema only). Nothing here refers to the relay's tables: whoever trusts only the chain can fill these from it.
"""

from sqlalchemy import BigInteger, Column, Index, Integer, LargeBinary, MetaData, SmallInteger, Table, Text

NAMING = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s",
    "pk": "pk_%(table_name)s",
}
metadata = MetaData(naming_convention=NAMING)

FROM_FILE, FROM_API = "file", "api"  # where a board is configured

# An INTEGER primary key is SQLite's row id: scores are stored in the order of the chain without a second index.
Place = BigInteger().with_variant(Integer(), "sqlite")

chain = Table(
    "ix_chain",
    metadata,
    Column("id", SmallInteger, primary_key=True, autoincrement=False),  # one row, 1: which chain, and how far
    Column("chain_id", BigInteger, nullable=False),
    Column("genesis_hash", LargeBinary(32), nullable=False),
    Column("contract", LargeBinary(20), nullable=False),
    Column("code_hash", LargeBinary(32), nullable=False),
    Column("start_block", BigInteger, nullable=False),
    Column("tip_number", BigInteger, nullable=False),  # the checkpoint: moves in the commit of what it stands for
    Column("tip_hash", LargeBinary(32), nullable=False),
    Column("tip_time_s", BigInteger, nullable=False),
    Column("final_number", BigInteger, nullable=False),
    Column("verified_number", BigInteger, nullable=False),
    Column("verified_hash", LargeBinary(32), nullable=False),
    Column("epoch", BigInteger, nullable=False),
)

blocks = Table(
    "ix_blocks",
    metadata,
    Column("number", Place, primary_key=True, autoincrement=False),  # only the newest are kept
    Column("hash", LargeBinary(32), nullable=False),
    Column("parent_hash", LargeBinary(32), nullable=False),
    Column("time_s", BigInteger, nullable=False),
)

games = Table(
    "ix_games",
    metadata,
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("key", LargeBinary(32), nullable=False, unique=True),
    Column("head", LargeBinary(32), nullable=False),
    Column("recorded", BigInteger, nullable=False),
)

boards = Table(
    "ix_boards",
    metadata,
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("game", Integer, nullable=False),
    Column("name", Text, nullable=False),
    Column("seq", BigInteger, nullable=False),  # of the last stream message
    Column("config", Text, nullable=False, server_default=""),  # canonical JSON, see indexer.boards
    Column("origin", Text, nullable=False, server_default=FROM_FILE),
    Column("built", SmallInteger, nullable=False, server_default="0"),  # 0: its standings are to be made anew
)

scores = Table(
    "ix_scores",
    metadata,
    Column("place", Place, primary_key=True, autoincrement=False),  # see indexer.ordering.position
    Column("game", Integer, nullable=False),
    Column("round_id", BigInteger, nullable=False),
    Column("player", LargeBinary(20), nullable=False),
    Column("score", BigInteger, nullable=False),
    Column("evidence_hash", LargeBinary(32), nullable=False),
    Column("rules_hash", LargeBinary(32), nullable=False),
    Column("tx_hash", LargeBinary(32), nullable=False),
    Column("time_s", BigInteger, nullable=False),
    Column("submission_id", Text),
    Column("evidence_level", SmallInteger),  # null: its evidence was not found yet
    Column("disputed", SmallInteger, nullable=False, server_default="0"),  # 1: see indexer.doubt
    Column("invalid", SmallInteger, nullable=False, server_default="0"),  # 1: withdrawn by the last ruling on it
)
Index("uq_ix_scores_game_round_id", scores.c.game, scores.c.round_id, unique=True)
Index("ix_ix_scores_player_place", scores.c.player, scores.c.place)

oversized = Table(
    "ix_oversized",
    metadata,
    Column("place", Place, primary_key=True, autoincrement=False),  # scores of 2^63 and more: kept, never ranked
    Column("game", Integer, nullable=False),
    Column("round_id", Text, nullable=False),
    Column("player", LargeBinary(20), nullable=False),
    Column("score", Text, nullable=False),
    Column("evidence_hash", LargeBinary(32), nullable=False),
    Column("tx_hash", LargeBinary(32), nullable=False),
)

batches = Table(
    "ix_batches",
    metadata,
    Column("place", Place, primary_key=True, autoincrement=False),
    Column("game", Integer, nullable=False),
    Column("signer", LargeBinary(20), nullable=False),
    Column("records_hash", LargeBinary(32), nullable=False),
    Column("head", LargeBinary(32), nullable=False),
    Column("accepted", Integer, nullable=False),
    Column("tx_hash", LargeBinary(32), nullable=False),
    Column("block_hash", LargeBinary(32), nullable=False),  # never pruned: the common ancestor of a deep reorg
)

rulings = Table(
    "ix_rulings",
    metadata,
    Column("place", Place, primary_key=True, autoincrement=False),
    Column("game", Integer, nullable=False),
    Column("round_id", Text, nullable=False),  # a uint64 of the contract: may exceed BIGINT
    Column("invalid", SmallInteger, nullable=False),
    Column("auditor", LargeBinary(20), nullable=False),
    Column("reason_hash", LargeBinary(32), nullable=False),
    Column("head", LargeBinary(32), nullable=False),
    Column("tx_hash", LargeBinary(32), nullable=False),
    Column("block_hash", LargeBinary(32), nullable=False),
)
Index("ix_ix_rulings_game_round_id_place", rulings.c.game, rulings.c.round_id, rulings.c.place)

standings = Table(
    "ix_standings",
    metadata,
    Column("board", Integer, primary_key=True, autoincrement=False),
    Column("season_s", BigInteger, primary_key=True, autoincrement=False),  # start of the season, unix seconds
    Column("player", LargeBinary(20), primary_key=True),
    Column("value", BigInteger, nullable=False),  # what the board's operator makes of the player's scores
    Column("place", BigInteger, nullable=False),  # of the score that made it so
    sqlite_with_rowid=False,
)

stream = Table(
    "ix_stream",
    metadata,
    Column("board", Integer, primary_key=True),
    Column("seq", BigInteger, primary_key=True),
    Column("at_ms", BigInteger, nullable=False),
    Column("kind", Text, nullable=False),
    Column("body", LargeBinary, nullable=False),  # the message's JSON, encoded once
    sqlite_with_rowid=False,
)
