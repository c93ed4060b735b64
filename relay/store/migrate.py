"""Bring a package's tables to the version its code was written for.

Touches the database through Alembic. Each package has its own migrations folder and its own version table, so relay
and indexer can share one database or have one each.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import NamedTuple

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


class Version(NamedTuple):
    """Where a database is (`at`, None: empty) and where this program would bring it (`head`).

    `missing`: how many migrations lie between; None: the database is of a newer program.
    """

    at: str | None
    head: str | None
    missing: int | None

    @property
    def current(self) -> bool:
        """Whether it is of this program's version."""
        return self.missing == 0


def version(connection: Connection, package: str) -> Version:
    """Return the version of the database, which is only looked at."""
    scripts = ScriptDirectory.from_config(configuration(package))
    newest_first = [script.revision for script in scripts.walk_revisions()]
    at = current(connection, package)
    if at is None:
        missing: int | None = len(newest_first)
    else:
        missing = newest_first.index(at) if at in newest_first else None
    return Version(at, scripts.get_current_head(), missing)


@contextmanager
def explained() -> Iterator[None]:
    """Turn what a driver says of a database that cannot be used into a sentence of what to check.

    Raises:
        StoreUnavailableError: it cannot be reached, or is not a database.
    """
    try:
        yield
    except StoreUnavailableError as error:
        cause = error.__cause__
        raise _unusable(cause if isinstance(cause, DBAPIError) else error) from error
    except DBAPIError as error:
        if not unavailable(error) and type(error) is not DatabaseError:  # the driver's own: the file is damaged
            raise
        raise _unusable(error) from error


def _unusable(error: Exception) -> StoreUnavailableError:
    reason = str(getattr(error, "orig", error)).strip().partition("\n")[0]
    return StoreUnavailableError(f"the database cannot be used ({reason}): check FAIRSCORE_DATABASE_URL")


def upgrade(database: Database, package: str) -> str | None:
    """Run every missing migration of `package` in one transaction; returns the revision reached.

    Raises:
        SchemaVersionError: the database was written by a newer program.
        StoreUnavailableError: it cannot be reached, or is not a database; with what to check.
    """
    with explained():
        return _upgrade(database, package)


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
