"""The tables of doubt: how far scores were compared with their evidence, and which of them are not sound.

Pure (schema only). The queries are in `indexer.store.doubt`.
"""

from sqlalchemy import BigInteger, Column, Integer, LargeBinary, SmallInteger, Table, Text

from indexer.store.tables import Place, metadata

doubt = Table(
    "ix_doubt",
    metadata,
    Column("id", SmallInteger, primary_key=True, autoincrement=False),  # one row, 1
    Column("place", BigInteger, nullable=False),  # every score up to here was compared with its evidence
    Column("unwound", BigInteger, nullable=False),  # how often the chain went back: a comparison begun before is void
)

doubts = Table(
    "ix_doubts",
    metadata,
    Column("place", Place, primary_key=True, autoincrement=False),  # of a score that is not sound, or not yet
    Column("game", Integer, nullable=False),
    Column("player", LargeBinary(20), nullable=False),
    Column("code", Text, nullable=False),
    Column("disputed", SmallInteger, nullable=False),  # 0: within its grace period
    Column("since_ms", BigInteger, nullable=False),
    Column("looked_ms", BigInteger, nullable=False),
)

proofs = Table(
    "ix_proofs",
    metadata,
    Column("mark", Place, primary_key=True, autoincrement=False),  # the first eight bytes of an evidence hash
    Column("place", BigInteger, nullable=False),  # of the first score that named it
)

attestors = Table(
    "ix_attestors",
    metadata,
    Column("address", LargeBinary(20), primary_key=True),  # a relay of this database signs, or signed, with its key
    Column("since_ms", BigInteger, nullable=False),
)
