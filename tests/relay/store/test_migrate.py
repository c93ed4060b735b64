"""Migrations and declarations agree on both databases, and a newer database is refused."""

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import MetaData, text

from indexer.store.schema import metadata as indexer_metadata
from relay.store import migrate
from relay.store.engine import open_database
from relay.store.schema import metadata as relay_metadata

PACKAGES = {"relay": relay_metadata, "indexer": indexer_metadata}


@pytest.mark.parametrize("package", PACKAGES)
def test_migrations_reach_exactly_the_declared_schema(database_url: str, package: str) -> None:
    """Nothing is declared that no migration creates, and nothing the other way round."""
    database = open_database(database_url)
    metadata: MetaData = PACKAGES[package]
    assert migrate.upgrade(database, package) == migrate.head(package)
    with database.engine.connect() as connection:
        options = {
            "version_table": migrate.version_table(package),
            "include_name": lambda name, kind, _parents: kind != "table" or name in metadata.tables,
        }
        difference = compare_metadata(MigrationContext.configure(connection, opts=options), metadata)
    database.close()
    assert difference == []


def test_both_packages_share_one_database_and_upgrading_twice_changes_nothing(database_url: str) -> None:
    """Relay and indexer keep their versions apart; a second start finds nothing to do."""
    database = open_database(database_url)
    first = [migrate.upgrade(database, package) for package in PACKAGES]
    assert first == [migrate.upgrade(database, package) for package in PACKAGES]
    database.close()


def test_a_database_from_the_future_is_refused(database_url: str) -> None:
    """An older program must not write to what a newer one laid out."""
    database = open_database(database_url)
    migrate.upgrade(database, "relay")
    with database.write() as connection:
        connection.execute(text("UPDATE relay_schema_version SET version_num = 'ffff'"))
    with pytest.raises(migrate.SchemaVersionError, match="newer program"):
        migrate.upgrade(database, "relay")
    database.close()
