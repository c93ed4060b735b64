"""The table of leases: which of several indexers writes.

Pure (schema only). The queries are in `indexer.store.leases`.
"""

from sqlalchemy import BigInteger, Column, Table, Text

from indexer.store.tables import metadata

leases = Table(
    "ix_leases",
    metadata,
    Column("name", Text, primary_key=True),
    Column("holder", Text, nullable=False),
    Column("epoch", BigInteger, nullable=False),  # rises whenever the lease changes hands
    Column("expires_at_ms", BigInteger, nullable=False),  # by the database's clock
)
