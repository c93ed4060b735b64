"""Settings: where they come from, in which order, and what they never show."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from indexer.config import IndexerSettings
from relay.cli_options import read_settings
from relay.config import Settings, settings
from relay.errors import StartupError


@pytest.fixture(autouse=True)
def clean(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No FAIRSCORE_* variable of the machine reaches these tests."""
    for name in Settings.model_fields:
        monkeypatch.delenv(f"FAIRSCORE_{name.upper()}", raising=False)
    monkeypatch.chdir(tmp_path)


def test_the_command_line_beats_the_environment_beats_the_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Four sources, one order."""
    file = tmp_path / "fairscore.toml"
    file.write_text("port = 1\nhost = '127.0.0.9'\nbatch_size = 7\n[games.other]\nruleset = 'streambeat-counts@1'\n")
    monkeypatch.setenv("FAIRSCORE_CONFIG", str(file))
    monkeypatch.setenv("FAIRSCORE_PORT", "2")
    monkeypatch.setenv("FAIRSCORE_BATCH_SIZE", "8")
    found = settings(batch_size=9, host=None)
    assert (found.port, found.host, found.batch_size) == (2, "127.0.0.9", 9)
    assert found.games == {"other": {"ruleset": "streambeat-counts@1"}}


def test_a_secret_comes_from_the_file_that_holds_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """FAIRSCORE_DATABASE_URL_FILE keeps the password out of the environment."""
    (tmp_path / "url").write_text("postgresql://me:hunter2@db/fairscore\n")
    monkeypatch.setenv("FAIRSCORE_DATABASE_URL_FILE", str(tmp_path / "url"))
    found = settings()
    assert found.database == "postgresql://me:hunter2@db/fairscore"
    assert "hunter2" not in repr(found)
    assert "hunter2" not in str(found)


@pytest.mark.parametrize("path", ["nowhere", "."])
def test_a_file_of_a_setting_that_cannot_be_read_is_said(monkeypatch: pytest.MonkeyPatch, path: str) -> None:
    """By the variable that names it."""
    monkeypatch.setenv("FAIRSCORE_RPC_URL_FILE", path)
    with pytest.raises(StartupError, match="FAIRSCORE_RPC_URL_FILE names"):
        settings()


def test_a_table_in_the_environment_is_json(monkeypatch: pytest.MonkeyPatch) -> None:
    """Anything else is a sentence of the command line, and quotes nothing of it."""
    monkeypatch.setenv("FAIRSCORE_WEBHOOKS", "{s3cret")
    with pytest.raises(StartupError, match="webhooks") as caught:
        read_settings()
    assert "s3cret" not in str(caught.value)


def test_defaults_need_nothing(tmp_path: Path) -> None:
    """Without any setting: embedded chain, SQLite under the working folder."""
    found = settings()
    assert found.embedded
    assert found.database == f"sqlite:///{tmp_path / '.fairscore' / 'fairscore.db'}"


def test_a_wrong_value_names_the_setting_and_not_the_value(monkeypatch: pytest.MonkeyPatch) -> None:
    """The message helps and leaks nothing."""
    monkeypatch.setenv("FAIRSCORE_PORT", "s3cret")
    with pytest.raises(ValidationError, match="port") as caught:
        settings()
    assert "s3cret" not in str(caught.value)


def test_a_missing_settings_file_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """A typo in FAIRSCORE_CONFIG must not silently mean "defaults"."""
    monkeypatch.setenv("FAIRSCORE_CONFIG", "nowhere.toml")
    with pytest.raises(StartupError, match=r"nowhere\.toml"):
        settings()


@pytest.mark.parametrize(("text", "said"), [("port = [", "not TOML"), ("portt = 5", "'portt' is no setting")])
def test_a_mistake_in_the_settings_file_is_said(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, text: str, said: str
) -> None:
    """Neither a broken file nor a name nobody reads is passed over in silence."""
    (tmp_path / "fairscore.toml").write_text(text)
    monkeypatch.setenv("FAIRSCORE_CONFIG", "fairscore.toml")
    with pytest.raises(StartupError, match=said):
        settings()


def test_one_file_serves_both_packages(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """What only the indexer reads is known to the relay by name."""
    assert Settings.elsewhere == set(IndexerSettings.model_fields) - set(Settings.model_fields)
    (tmp_path / "fairscore.toml").write_text("port = 5\nindexer_poll_ms = 7\n")
    monkeypatch.setenv("FAIRSCORE_CONFIG", "fairscore.toml")
    assert (settings().port, IndexerSettings().indexer_poll_ms) == (5, 7)


@pytest.mark.parametrize(
    "url", ["ftp://chain/t0ken", "http:///t0ken", "http://chain:99999/t0ken", "http://[::1/t0ken", "http://chain:t0ken"]
)
def test_the_chains_address_is_one(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    """Said at once, not after half a minute of trying, and without the token it may hold."""
    monkeypatch.setenv("FAIRSCORE_RPC_URL", f"http://good,{url}")
    with pytest.raises(ValidationError, match="http://") as caught:
        settings()
    assert "t0ken" not in str(caught.value)


def test_endpoints_that_announce_blocks_are_apart_from_those_that_are_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """WebSocket endpoints alone are not enough: said at once."""
    monkeypatch.setenv("FAIRSCORE_RPC_URL", "https://a/x, ws://b:8546 http://c wss://d")
    assert settings().rpc_urls == ["https://a/x", "http://c"]
    assert settings().head_urls == ["ws://b:8546", "wss://d"]
    assert not settings().embedded
    monkeypatch.setenv("FAIRSCORE_RPC_URL", "wss://chain/t0ken")
    with pytest.raises(ValidationError, match="only announce new blocks") as caught:
        settings()
    assert "t0ken" not in str(caught.value)


def test_settings_are_frozen() -> None:
    """Nothing changes them after the start."""
    with pytest.raises(ValidationError, match="frozen"):
        settings().port = 1  # type: ignore[misc]
