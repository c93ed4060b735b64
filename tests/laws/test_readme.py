"""The README is true: its commands run, its answers have the shape it shows, its settings are the settings."""

import json
import re
import subprocess
import time
from pathlib import Path

import pytest
from pydantic.fields import FieldInfo

from indexer.config import IndexerSettings
from relay.config import Settings
from tests.harness.process import FAIRSCORE, Fairscore

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text()
OPERATING = (ROOT / ".github" / "OPERATING.md").read_text()
COMMANDS = re.findall(r"^\$ (.+?)(?:\s{2,}#.*)?$", README, re.MULTILINE)
GROUPS = {"games", "indexer", "keys", "outbox", "roles", "webhooks"}
EXAMPLES = [json.loads(block) for block in re.findall(r"```json\n(.*?)```", README, re.DOTALL)]


def fields() -> dict[str, FieldInfo]:
    """Every setting of both packages."""
    return {**IndexerSettings.model_fields, **Settings.model_fields}


def test_it_is_short() -> None:
    """A README that nobody reads helps nobody."""
    assert README.count("\n") <= 150


def test_every_setting_is_documented_as_it_is() -> None:
    """One row per setting, in the README or in the operator's guide, with its default and its description."""
    tables = [text[text.index("| setting |") :] for text in (README, OPERATING)]
    found = [row for table in tables for row in re.findall(r"^\| `(\w+)` \| (.+ \| .+) \|$", table, re.MULTILINE)]
    rows = dict(found)
    assert len(rows) == len(found)
    expected = {}
    for name, field in fields().items():
        default = field.get_default(call_default_factory=True)
        shown = "-" if default in (None, "", {}, ()) else f"`{default}`"
        expected[name] = f"{shown} | {field.description}"
    del expected["config"]
    assert rows == expected


def test_the_table_of_roles_is_the_one_that_is_tested() -> None:
    """tests/relay/api/test_authorisation.py holds every operation against that file."""
    assert (ROOT / "tests" / "vectors" / "roles.md").read_text().strip() in README


def test_every_command_exists() -> None:
    """Each `fairscore` and `make` line names a command that is there."""
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    for command in COMMANDS:
        words = command.split()
        if words[0] == "make":
            assert words[1] in targets
        elif words[0] == "fairscore":
            arguments = [word for word in words[1:] if not word.startswith("-")][: 2 if words[1] in GROUPS else 1]
            helped = subprocess.run([FAIRSCORE, *arguments, "--help"], capture_output=True, text=True, check=True)
            for option in re.findall(r"--[a-z-]+", command):
                assert option in helped.stdout
        else:
            assert words[0] == "curl"


def same_shape(shown: object, real: object) -> None:
    """Every key the README shows is there with a value of the same type; what it shortens ends with an ellipsis."""
    if isinstance(shown, dict):
        assert isinstance(real, dict)
        for key, value in shown.items():
            assert key in real, key
            same_shape(value, real[key])
    elif not (isinstance(shown, str) and shown.endswith("…")) and not isinstance(shown, list):
        assert type(shown) is type(real)


@pytest.fixture
def server(tmp_path: Path) -> Fairscore:
    """`fairscore run`, as `make run` starts it."""
    return Fairscore(tmp_path / "home")


def test_the_quick_start_works(server: Fairscore) -> None:
    """The curl line answers as shown, with the same score; the board then has the row shown."""
    line = next(command for command in COMMANDS if command.startswith("curl"))
    accepted, row, refused = EXAMPLES
    with server:
        paste = line.replace("http://127.0.0.1:8000", server.url)
        answer = json.loads(subprocess.run(["bash", "-c", paste], capture_output=True, check=True).stdout)
        same_shape(accepted, answer)
        assert (answer["score"], answer["validated"]) == (accepted["score"], accepted["validated"])
        cheat = paste.replace('"score":2652', '"score":5420')
        problem = json.loads(subprocess.run(["bash", "-c", cheat], capture_output=True, check=True).stdout)
        same_shape(refused, problem)
        assert (problem["code"], problem["reason"]) == (refused["code"], refused["reason"])
        deadline = time.monotonic() + 60
        while not (board := server.get("/api/leaderboard")["leaderboard"]):
            assert time.monotonic() < deadline, server.tail()
            time.sleep(0.1)
        same_shape(row, board[0])
        panel = server.output()
    for name in ("leaderboard", "API", "contract", "chain id", "JSON-RPC", "API keys"):
        assert f"  {name}" in README
        assert f"  {name}" in panel
