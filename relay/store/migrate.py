"""Bring a package's tables to the version its code was written for.

Touches the database through Alembic. Each package has its own migrations folder and its own version table, so relay
and indexer can share one database or have one each.
"""

from importlib import import_module

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, text
from sqlalchemy.exc import DatabaseError, DBAPIError

from relay.store.engine import Database, StoreUnavailableError, unavailable

ADVISORY_LOCK = 0x6661697273636F72  # "fairscor": replicas that start together migrate one after the other


class SchemaVersionError(Exception):
    """The database is of another version than this program; the message says which way."""


def version_table(package: str) -> str:
    """Return the name of the table in which Alembic keeps the version of `package`."""
    return f"{package}_schema_version"


def current(connection: Connection, package: str) -> str | None:
    """Return the revision the database is at, None for an empty one."""
    context = MigrationContext.configure(connection, opts={"version_table": version_table(package)})
    return context.get_current_revision()


def head(package: str) -> str | None:
    """Return the newest revision this program knows."""
    return ScriptDirectory.from_config(configuration(package)).get_current_head()


def upgrade(database: Database, package: str) -> str | None:
    """Run every missing migration of `package` in one transaction; returns the revision reached.

    Raises:
        SchemaVersionError: the database was written by a newer program.
        StoreUnavailableError: it cannot be reached, or is not a database; with what to check.
    """
    try:
        return _upgrade(database, package)
    except DBAPIError as error:
        if not unavailable(error) and type(error) is not DatabaseError:  # the driver's own: the file is damaged
            raise
        reason = str(error.orig).strip().partition("\n")[0]
        raise StoreUnavailableError(f"the database cannot be used ({reason}): check FAIRSCORE_DATABASE_URL") from error


def _upgrade(database: Database, package: str) -> str | None:
    config = configuration(package)
    known = {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
    with database.write() as connection:
        if database.dialect == "postgresql":
            connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": ADVISORY_LOCK})
        at = current(connection, package)
        if at is not None and at not in known:
            raise SchemaVersionError(
                f"the database is at {package} revision {at}, which this program does not know: "
                "run the newer program, or restore the backup taken before its upgrade"
            )
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
        return current(connection, package)


def create(database: Database, package: str, why: str) -> str:
    """Write the migration from the database's schema to the declared one; returns its path. For developers."""
    config = configuration(package)
    with database.write() as connection:
        config.attributes["connection"] = connection
        count = len(list(ScriptDirectory.from_config(config).walk_revisions()))
        script = command.revision(config, why, autogenerate=True, rev_id=f"{count + 1:04d}")
    if script is None or isinstance(script, list):
        raise SchemaVersionError("expected one migration")
    return str(script.path)


def configuration(package: str) -> Config:
    """Return Alembic's configuration for `package` (`relay` or `indexer`), without any file of its own."""
    folder = import_module(f"{package}.store.migrations").__path__[0]
    config = Config()
    config.set_main_option("script_location", folder.replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    return config
