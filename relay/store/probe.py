"""What a database is like, without changing anything in it: reachable, writable, of which version, of which chain.

Touches the database in one read transaction.
"""

from typing import NamedTuple

from sqlalchemy import Connection, select, text

from relay.store import controls, migrate
from relay.store.controls import Pause
from relay.store.engine import Database
from relay.store.migrate import Version
from relay.store.outbox_leases import Key
from relay.store.outbox_tables import chain_identities, leases

PACKAGES = ("relay", "indexer")


class ChainIdentity(NamedTuple):
    """A chain this database was written for."""

    chain_id: int
    genesis: bytes
    contract: bytes


class Probe(NamedTuple):
    """What was found. `clock_ms`: the database's; `chains` and `paused` are empty where the version is another."""

    clock_ms: int
    read_only: bool
    versions: dict[str, Version]
    chains: list[ChainIdentity]
    paused: dict[bytes, Pause]


def probe(database: Database) -> Probe:
    """Look at a database.

    Raises:
        StoreUnavailableError: it cannot be reached, or is not a database; with what to check.
    """
    with migrate.explained():
        return database.read_now(lambda c: _probe(c, database))


def _probe(c: Connection, database: Database) -> Probe:
    versions = {package: migrate.version(c, package) for package in PACKAGES}
    chains: list[ChainIdentity] = []
    paused: dict[bytes, Pause] = {}
    if versions["relay"].current:
        i = chain_identities.c
        found = c.execute(select(i.chain_id, i.genesis_hash, i.contract).order_by(i.chain_id)).all()
        chains = [ChainIdentity(chain_id, bytes(genesis), bytes(contract)) for chain_id, genesis, contract in found]
        keys = [Key(*row) for row in c.execute(select(leases.c.chain_id, leases.c.signer)).all()]
        paused = {bytes(key.signer): pause for key in keys if (pause := controls.paused(c, key)) is not None}
    return Probe(database.now_ms(c), _read_only(c, database), versions, chains, paused)


def _read_only(c: Connection, database: Database) -> bool:
    """Whether changes are refused: a replica, or a setting of the server or of the role."""
    if database.dialect == "sqlite":
        return False
    return str(c.scalar(text("SELECT current_setting('transaction_read_only')"))) == "on"
