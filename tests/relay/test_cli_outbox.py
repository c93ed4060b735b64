"""`fairscore outbox …`: what it prints, and that it changes the same rows as the API, with who and why."""

import asyncio
import json
import os
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest
from sqlalchemy import text

from relay.cli import main
from relay.keccak import checksum_address
from relay.store import migrate
from relay.store.engine import open_database
from tests.harness.fake_chain import FakeChain
from tests.harness.outboxes import CONTRACT, GAS_KEY, bench

ADDRESS = checksum_address(GAS_KEY.address)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A home whose database has three scores on their way and one parked."""
    folder = tmp_path / "home"
    folder.mkdir()
    url = f"sqlite:///{folder / 'fairscore.db'}"
    database = open_database(url)
    migrate.upgrade(database, "relay")
    database.close()

    async def send() -> None:
        async with bench(url) as b:
            await b.accept(4)
            outbox = b.outbox(FakeChain(CONTRACT))
            await outbox.step()
            with b.database.write() as c:
                c.execute(text("UPDATE submissions SET status = 'parked' WHERE round_id = 4"))
                c.execute(text("INSERT INTO history (submission_id, status, at_ms, detail) "
                               "SELECT id, 'parked', 1, 'RoundTaken' FROM submissions WHERE round_id = 4"))  # fmt: skip

    asyncio.run(send())
    return folder


class Ran(NamedTuple):
    """How a command ended, and what it printed."""

    returncode: int
    stdout: str
    stderr: str


Run = Callable[..., Ran]


@pytest.fixture
def outbox(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Run:
    """`outbox("show")` runs the command on the home, in this process: a start of Python costs a second each."""
    for name in [name for name in os.environ if name.startswith("FAIRSCORE_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("FAIRSCORE_HOME", str(tmp_path / "home"))

    def run(*arguments: str) -> Ran:
        capfd.readouterr()
        monkeypatch.setattr(sys, "argv", ["fairscore", "outbox", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        code = ended.value.code
        return Ran(code if isinstance(code, int) else 1, *capfd.readouterr())

    return run


def test_show(home: Path, outbox: Run) -> None:
    """States, keys with their transactions, parked scores; the same as JSON."""
    ran = outbox("show")
    assert ran.returncode == 0, ran.stderr
    assert re.search(r"sent +3", ran.stdout)
    assert re.search(r"parked +1", ran.stdout)
    assert ADDRESS in ran.stdout
    assert re.search(r"0 +live +4 scores", ran.stdout)
    assert "RoundTaken" in ran.stdout
    document = json.loads(outbox("show", "--json").stdout)
    (key,) = document["keys"]
    assert (key["address"], key["nextNonce"], key["balanceWei"]) == (ADDRESS, 1, None)
    (attempt,) = key["inFlight"][0]["attempts"]
    assert attempt["txHash"] in ran.stdout


def test_steering(home: Path, outbox: Run) -> None:
    """Each is told, shown, and on record with who and why."""
    said = {
        "pause": outbox("pause", ADDRESS, "--reason", "node upgrade"),
        "void": outbox("void", ADDRESS.lower(), "0", "--reason", "stuck"),
        "retry": outbox("retry", "sub_streambeat_00000004", "--reason", "fixed"),
    }
    for name, ran in said.items():
        assert ran.returncode == 0, (name, ran.stderr)
    shown = outbox("show")
    assert re.search(r"paused since \S+ by cli:\w+: node upgrade", shown.stdout)
    assert "live, to be voided" in shown.stdout
    assert re.search(r"accepted +1", shown.stdout)
    resumed = [outbox("resume", ADDRESS, "--reason", "done").stdout for _ in range(2)]
    assert "sends again" in resumed[0]
    assert "was not paused" in resumed[1]
    actions = json.loads(outbox("show", "--json").stdout)["actions"]
    assert [(one["action"], one["reason"]) for one in actions] == [
        ("resume", "done"), ("retry", "fixed"), ("void", "stuck"), ("pause", "node upgrade"),
    ]  # fmt: skip
    assert {one["actor"][:4] for one in actions} == {"cli:"}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("pause", "0x" + "11" * 20, "--reason", "x"), "sends nothing on chain 31337"),
        (("pause", "0x12", "--reason", "x"), "40 hexadecimal digits"),
        (("pause", ADDRESS, "--reason", " "), "--reason"),
        (("pause", ADDRESS), "--reason"),
        (("resume", ADDRESS, "--reason", "x", "--chain-id", "5"), "sends nothing on chain 5"),
        (("void", ADDRESS, "7", "--reason", "x"), "never reserved the nonce 7"),
        (("void", ADDRESS, "--reason", "x", "--", "-1"), "0"),
        (("retry", "sub_none", "--reason", "x"), "No submission"),
        (("retry", "sub_streambeat_00000001", "--reason", "x"), "this one is sent"),
    ],
)
def test_refusals(home: Path, outbox: Run, arguments: tuple[str, ...], words: str) -> None:
    """A sentence, exit code 2, no traceback, nothing on record."""
    ran = outbox(*arguments)
    assert ran.returncode == 2, ran.stdout + ran.stderr
    assert words in ran.stderr
    assert "Traceback" not in ran.stderr
    assert json.loads(outbox("show", "--json").stdout)["actions"] == []


def test_databases_that_are_not_ready(tmp_path: Path, outbox: Run) -> None:
    """An empty one, one of another version, and one that never sent: each says what to do."""
    empty = outbox("show")
    assert empty.returncode == 2
    assert "fairscore check" in empty.stderr
    database = open_database(f"sqlite:///{tmp_path / 'home' / 'fairscore.db'}")
    migrate.upgrade(database, "relay")
    database.close()
    silent = outbox("show")
    assert silent.returncode == 2
    assert "--chain-id" in silent.stderr
    assert re.search(r"accepted +0", outbox("show", "--chain-id", "1").stdout)
