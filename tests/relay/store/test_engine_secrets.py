"""What a database may give away: the text of an error, the file itself."""

from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from relay.store.engine import open_database


def test_no_error_shows_the_values_of_a_statement(database_url: str) -> None:
    """Errors that nobody expected are logged, and statements carry the secrets of keys and seeds."""
    database = open_database(database_url)
    try:
        with pytest.raises(DBAPIError) as caught, database.write() as c:
            c.execute(text("INSERT INTO nowhere VALUES (:secret)"), {"secret": "a key to payloads"})
        assert "a key to payloads" not in str(caught.value) + repr(caught.value)
    finally:
        database.close()


def test_a_new_file_is_its_owners_alone(tmp_path: Path) -> None:
    """The folder may be open to others where FAIRSCORE_DATABASE_URL names one; the log beside the file is not, too."""
    file = tmp_path / "fairscore.db"
    database = open_database(f"sqlite:///{file}")
    try:
        with database.write() as c:
            c.execute(text("CREATE TABLE t (x INTEGER)"))
        modes = {found.name: found.stat().st_mode & 0o777 for found in tmp_path.iterdir()}
        assert modes == dict.fromkeys(modes, 0o600)
        assert {"fairscore.db", "fairscore.db-wal"} <= set(modes)
    finally:
        database.close()


def test_a_file_that_is_there_keeps_its_mode(tmp_path: Path) -> None:
    """Its operator chose it, for a backup in another account say."""
    file = tmp_path / "fairscore.db"
    file.touch()
    file.chmod(0o640)
    open_database(f"sqlite:///{file}").close()
    assert file.stat().st_mode & 0o777 == 0o640
