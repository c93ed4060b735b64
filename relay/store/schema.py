"""Every table of the relay, imported so that the shared MetaData knows them all.

Pure. Migrations and tests take the schema from here.
"""

from relay.store import (
    catalog_tables,
    checkpoint_tables,
    control_tables,
    economy_tables,
    encryption_tables,
    flag_tables,
    game_tables,
    guard_tables,
    outbox_tables,
    revocation_tables,
    round_tables,
    session_tables,
    tables,
    tally_tables,
    webhook_tables,
)
from relay.store.metadata import metadata

__all__ = [
    "catalog_tables",
    "checkpoint_tables",
    "control_tables",
    "economy_tables",
    "encryption_tables",
    "flag_tables",
    "game_tables",
    "guard_tables",
    "metadata",
    "outbox_tables",
    "revocation_tables",
    "round_tables",
    "session_tables",
    "tables",
    "tally_tables",
    "webhook_tables",
]
