"""`fairscore games` and `fairscore keys rotate`: straight on the database, in sentences when refused."""

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from indexer.boards import BoardConfig
from indexer.events import Header
from indexer.state import Identity
from indexer.store import load
from relay.cli import app
from relay.contract import game_key
from relay.errors import StartupError
from relay.store import migrate
from relay.store.engine import open_database
from relay.store.keys import KeyInfo, KeyStore, digest, find

Command = Callable[..., Result]


@pytest.fixture
def command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Command:
    """`command("games", "list")` runs it on a home of this test's own."""
    monkeypatch.setenv("FAIRSCORE_HOME", str(tmp_path))
    monkeypatch.delenv("FAIRSCORE_CONFIG", raising=False)
    return lambda *arguments: CliRunner().invoke(app, list(arguments))


def test_a_game_is_set_shown_changed_and_listed(command: Command) -> None:
    """What is named changes, the rest stays; the same again is no new version; `show` is what the API shows."""
    assert command("games", "set", "chess", "anonymous_submit=true", "limits.submit-score=30").stdout.split() == [
        "chess:", "version", "1",
    ]  # fmt: skip
    changed = command("games", "set", "chess", "encryption=required", 'allowed_origins=["https://a.example"]')
    assert "version 2" in changed.stdout
    assert "unchanged, version 2" in command("games", "set", "chess", "limits.submit-score=30").stdout
    shown = json.loads(command("games", "show", "chess").stdout)
    assert shown["anonymousSubmit"] is True
    assert (shown["limits"], shown["encryption"]) == ({"submit-score": 30}, "required")
    origins = command("games", "origins", "chess", "--add", "https://b.example", "--remove", "https://a.example")
    assert origins.stdout.split() == ["https://b.example"]
    listed = command("games", "list").stdout
    assert "in the settings" in listed  # streambeat
    assert "version 3" in listed


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("games", "set", "streambeat", "anonymous_submit=true"), "the settings name the game"),
        (("games", "set", "chess", "ruleset=nothing@1"), "no ruleset named"),
        (("games", "set", "chess", "no_such=1"), "no setting named"),
        (("games", "set", "chess", "limits.submit-score=0"), "1 to 10000"),
        (("games", "set", "chess", "word"), "key=value"),
        (("games", "set", "no id"), "1 to 64 letters"),
        (("games", "show", "chess"), "fairscore games list"),
        (("games", "origins", "chess", "--add", "https://a.example"), "fairscore games list"),
    ],
)
def test_what_is_refused(command: Command, arguments: tuple[str, ...], said: str) -> None:
    """A sentence that says what to do, and nothing stored."""
    refused = command(*arguments)
    assert isinstance(refused.exception, StartupError)
    assert said in str(refused.exception)


def test_boards_are_set_listed_and_deleted(command: Command, tmp_path: Path) -> None:
    """Of a game that is indexed; what the settings name is left to them; each change is recorded."""
    command("games", "set", "chess")
    database = open_database(f"sqlite:///{tmp_path / 'fairscore.db'}")
    migrate.upgrade(database, "indexer")
    assert "no game 'chess' is indexed" in str(command("boards", "set", "chess", "weekly").exception)
    identity = Identity(31337, bytes(32), bytes(20), bytes(32))
    with database.write() as c:
        load.create(c, identity, Header(0, bytes(32), bytes(32), 0), 1)
        load.arrange(c, {game_key("chess"): (BoardConfig(),)})
    assert command("boards", "set", "chess", "weekly", "season=weekly", "operator=sum").stdout.split()[-1] == "created"
    assert (
        command("boards", "set", "chess", "weekly", "season=weekly", "operator=sum").stdout.split()[-1] == "unchanged"
    )
    rows = [line.split() for line in command("boards", "list").stdout.splitlines()[1:]]
    assert [row[:3] for row in rows] == [["chess", "default", "best"], ["chess", "weekly", "sum"]]
    for arguments, said in (
        (("set", "chess", "weekly", "season=sometimes"), "season"),
        (("set", "chess", "weekly", "colour=red"), "no setting named"),
        (("set", "chess", "default", "order=asc"), "configured in the indexer's settings"),
        (("set", "chess", "no name"), "1 to 64"),
        (("delete", "chess", "daily"), "no board with this name"),
    ):
        assert said in str(command("boards", *arguments).exception), arguments
    assert "deleted" in command("boards", "delete", "chess", "weekly").stdout
    assert len(command("boards", "list").stdout.splitlines()) == 2
    database.close()


def test_a_key_is_rotated(command: Command, tmp_path: Path) -> None:
    """The successor is printed once; both are valid until the overlap ends; a key that is none is refused."""
    old = command("keys", "create", "--role", "server", "--game", "chess", "--name", "build").stdout.splitlines()[0]
    new = command("keys", "rotate", old[:15], "--overlap-hours", "1").stdout.splitlines()[0]
    database = open_database(f"sqlite:///{tmp_path / 'fairscore.db'}")
    kept = {key.prefix: key for key in KeyStore(database).list()}
    assert (kept[new[:15]].role, kept[new[:15]].game_id, kept[new[:15]].name) == ("server", "chess", "build")
    ends_ms = kept[old[:15]].expires_at_ms
    assert ends_ms is not None
    for secret, at_ms, valid in ((old, ends_ms - 1, True), (old, ends_ms, False), (new, ends_ms, True)):
        assert (database.read_now(partial(_found, secret, at_ms)) is not None) is valid
    database.close()
    assert command("keys", "rotate", "fs_live_sk_none").exit_code == 2
    assert "until" in command("keys", "list").stdout


def _found(secret: str, at_ms: int, c: Any) -> KeyInfo | None:
    return find(c, digest(secret), at_ms)
