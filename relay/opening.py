"""The database that the settings name, opened for a command: keys, migrations, webhooks, the outbox.

Touches the home folder and the database, and imports nothing of the chain: these commands answer at once.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from relay.config import Settings
from relay.errors import StartupError
from relay.home import prepare
from relay.store import migrate
from relay.store.engine import Database, StoreUnavailableError, open_database
from relay.store.keys import KeyStore

PACKAGES = ("relay", "indexer")


def migrate_once(settings: Settings, why: str) -> list[str]:
    """Upgrade both packages' tables, or with `why` write a migration for each; returns what was done, a line each."""
    with opened(settings) as database:
        if why:
            return [f"wrote {migrate.create(database, package, why)}" for package in PACKAGES]
        return [f"{package}: revision {migrate.upgrade(database, package)}" for package in PACKAGES]


@contextmanager
def key_store(settings: Settings) -> Iterator[KeyStore]:
    """Open the store of API keys in a database of the right version."""
    with migrated(settings) as database:
        yield KeyStore(database)


@contextmanager
def migrated(settings: Settings) -> Iterator[Database]:
    """Open the settings' database, at this program's version.

    Raises:
        StartupError: as `opened`.
    """
    with opened(settings) as database:
        migrate.upgrade(database, "relay")
        yield database


@contextmanager
def opened(settings: Settings) -> Iterator[Database]:
    """Open the settings' database.

    Raises:
        StartupError: it is out of reach, of a kind not supported, or of a newer version.
    """
    prepare(settings.home)
    try:
        database = open_database(settings.database)
    except ValueError as wrong:
        raise StartupError(str(wrong)) from None
    try:
        yield database
    except (StoreUnavailableError, migrate.SchemaVersionError) as refusal:
        raise StartupError(str(refusal)) from None
    finally:
        database.close()
