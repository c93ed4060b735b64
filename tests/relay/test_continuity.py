"""A database that does not know its contract's scores is refused before it promises anything."""

import asyncio
import json
import urllib.request
from pathlib import Path

import pytest

from relay.continuity import check
from relay.contract import encode_call, game_key
from relay.errors import StartupError
from tests.harness.plays import player
from tests.harness.process import Fairscore, ProcessError

CONTRACT = b"\x01" * 20
PLAY = {"score": 2652, "perfect": 45, "good": 12, "miss": 3, "combo": 42, "gameTime": 30000}


class Recorded:
    """A contract that has recorded some rounds of one game."""

    def __init__(self, game_id: str, rounds: set[int]) -> None:
        self._calls = {encode_call("isRecorded", game_key(game_id), round_id) for round_id in rounds}

    async def call(self, to: bytes, data: bytes, sender: bytes | None = None) -> bytes:
        """Answer `isRecorded`."""
        assert (to, sender) == (CONTRACT, None)
        return (data in self._calls).to_bytes(32)


def checked(recorded: set[int], *following: int) -> None:
    """Check a contract with `recorded` rounds; the database says `following` as next rounds, one after the other."""
    said = list(following)

    async def next_round(_: str) -> int:
        return said.pop(0) if len(said) > 1 else said[0]

    asyncio.run(check(Recorded("g", recorded), CONTRACT, ["other", "g"], next_round))


def test_what_is_known_may_be_recorded() -> None:
    """Nothing recorded, everything known recorded, something known not recorded yet."""
    checked(set(), 1)
    checked({1, 2, 3}, 4)
    checked({1, 3}, 9)


@pytest.mark.parametrize(("recorded", "following"), [({1}, 1), ({1, 2, 3}, 2), ({7}, 1), ({*range(100, 9000)}, 40)])
def test_a_round_that_would_be_given_again_is_refused(recorded: set[int], following: int) -> None:
    """A new database, an old copy, one with parked rounds, one whose last batches were lost with it."""
    with pytest.raises(StartupError, match="of game g"):
        checked(recorded, following)


def test_another_process_may_be_ahead() -> None:
    """What was given and recorded while we looked is known when we look again."""
    checked({5}, 5, 5, 6)


def test_a_forgotten_contract_is_not_deployed_again(tmp_path: Path) -> None:
    """The database knows which contract is its own; another one would cost money and orphan its scores."""
    running = Fairscore(tmp_path / "home")
    with running:
        info = json.loads((tmp_path / "home" / "devnet.json").read_text())
        running.stop()
        (tmp_path / "home" / "contracts.json").unlink()
        journal = (tmp_path / "home" / "chain.journal").read_bytes()
        with pytest.raises(ProcessError, match=f"FAIRSCORE_CONTRACT={info['contract']}"):
            running.start()
        assert (tmp_path / "home" / "chain.journal").read_bytes().startswith(journal)
        assert "deploying" not in running.output().rpartition("Fairscore is ready")[2]
        running.environment["FAIRSCORE_CONTRACT"] = info["contract"]
        running.start()


def test_another_chain_under_the_same_database_is_refused_before_anything_is_sent(tmp_path: Path) -> None:
    """Its genesis block tells it from the one the database was written for."""
    running = Fairscore(tmp_path / "home")
    with running:
        running.stop()
        (tmp_path / "home" / "chain.journal").unlink()
        with pytest.raises(ProcessError, match="this database was written for"):
            running.start()
        assert "deploying" not in running.output().rpartition("Fairscore is ready")[2]


def test_a_lost_database_is_noticed(tmp_path: Path) -> None:
    """The system says what to do instead of accepting scores that its contract would skip."""
    running = Fairscore(tmp_path / "home")
    with running:
        body = json.dumps({"playerAddress": player(1), "scoreData": PLAY}).encode()
        headers = {"Content-Type": "application/json", "Prefer": "wait=20"}
        with urllib.request.urlopen(
            urllib.request.Request(f"{running.url}/api/submit-score", body, headers), timeout=30
        ) as answer:
            assert answer.status == 200
        running.stop()
        for file in (tmp_path / "home").glob("fairscore.db*"):
            file.unlink()
        with pytest.raises(ProcessError, match=r"holds round 1 of game streambeat"):
            running.start()
        assert running.running.returncode == 2
        assert "Traceback" not in running.output()
