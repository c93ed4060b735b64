"""`fairscore encryption`: keys are rotated and retired, no secret is printed, an unknown game or key is refused."""

from contextlib import closing
from pathlib import Path

import pytest
from typer.testing import CliRunner

from relay.cli import app
from relay.errors import StartupError
from relay.store import encryption
from relay.store.engine import open_database

RUNNER = CliRunner(env={"COLUMNS": "60", "NO_COLOR": "1"})


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty home with the default game."""
    monkeypatch.setenv("FAIRSCORE_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def run(*arguments: str) -> str:
    done = RUNNER.invoke(app, ["encryption", *arguments], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.output


def test_keys_are_rotated_and_retired_without_showing_one(home: Path) -> None:
    first = run("rotate", "streambeat").split()[0]
    second = run("rotate", "streambeat").split()[0]
    assert f"{first} opens no report any more" in run("retire", "streambeat", first)
    shown = run("list", "streambeat")
    assert shown.index(second) < shown.index(first)
    with closing(open_database(f"sqlite:///{home / 'fairscore.db'}")) as database, database.write() as c:
        key = encryption.current(c, "streambeat", 1)
        assert encryption.secret(c, "streambeat", first) is None
    assert key.id == second
    assert key.secret.hex() not in shown


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("list", "nope"), "no game 'nope'"),
        (("rotate", "nope"), "no game 'nope'"),
        (("retire", "streambeat", "ek_nope"), "has no key ek_nope"),
    ],
    ids=["list", "rotate", "retire"],
)
def test_what_is_not_there_is_refused(arguments: tuple[str, ...], said: str) -> None:
    done = RUNNER.invoke(app, ["encryption", *arguments])
    assert isinstance(done.exception, StartupError)
    assert said in str(done.exception)
