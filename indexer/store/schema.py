"""Every table of the indexer.

Pure. Migrations and tests take the schema from here.
"""

from indexer.store import board_tables, doubt_tables, lease_tables, tables
from indexer.store.tables import metadata

__all__ = ["board_tables", "doubt_tables", "lease_tables", "metadata", "tables"]
