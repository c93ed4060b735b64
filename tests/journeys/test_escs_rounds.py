"""What a user of escs has today, against ``fairscore run``: their paths, bodies, header and ids, pasted literally."""

import json
import re
import subprocess
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.harness.process import Fairscore

# The example values of escs' own documentation.
TOURNAMENT = "5f0f7c60c9e95137883b55cc"
PLAYER = "5f158719c9e95137883b8b7c"
PLAY = {"score": 2652, "perfect": 45, "good": 12, "miss": 3, "combo": 42, "gameTime": 30_000}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fairscore]:
    """One first start in an empty home."""
    with Fairscore(tmp_path_factory.mktemp("escs") / "home") as running:
        yield running


def call(server: Fairscore, method: str, path: str, body: Any, *headers: str) -> tuple[int, Any]:
    """One request by curl."""
    flags = [flag for header in ("Content-Type: application/json", *headers) for flag in ("-H", header)]
    command = ["curl", "-s", "-w", "\n%{http_code}", "-X", method, server.url + path, *flags]
    ran = subprocess.run([*command, "-d", json.dumps(body)], capture_output=True, text=True, timeout=60, check=True)
    text, _, status = ran.stdout.rpartition("\n")
    return int(status), json.loads(text)


def start(server: Fairscore) -> Any:
    """Start a round."""
    status, told = call(server, "POST", f"/tournaments/{TOURNAMENT}/rounds", {"playerId": PLAYER})
    assert status == 201
    return told


def confirm(server: Fairscore, round_id: str, said: Any, secret: str | None = None) -> tuple[int, Any]:
    """The game's server says what it thinks."""
    known = json.loads((server.home / "devnet.json").read_text())["gameServerSecret"]
    path = f"/tournaments/{TOURNAMENT}/rounds/{round_id}/game-server-confirmation"
    return call(server, "PUT", path, said, f"escs-game-secret-key: {secret or known}")


def until(server: Fairscore, submission: str, status: str, timeout_s: float = 60) -> Any:
    """The submission when it has a status."""
    deadline = time.monotonic() + timeout_s
    while True:
        url = f"{server.url}/api/submissions/{submission}"
        shown = json.loads(subprocess.run(["curl", "-sf", url], capture_output=True, check=True).stdout)
        if shown["status"] == status:
            return shown
        assert time.monotonic() < deadline, shown
        time.sleep(0.05)


def test_start_end_and_confirmation(server: Fairscore) -> None:
    """The answer to the start has escs' fields, in escs' order; a confirmed score has level 2 and goes on chain."""
    told = start(server)
    assert list(told)[:8] == ["status", "isDeleted", "_id", "playerId", "tournamentId", "createdAt", "updatedAt", "__v"]
    assert (told["status"], told["playerId"], told["tournamentId"]) == ("active", PLAYER, TOURNAMENT)
    assert re.fullmatch(r"[0-9a-f]{24}", told["_id"])
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", told["createdAt"])
    assert confirm(server, told["_id"], {"isValid": True, "score": 2652})[1]["status"] == "confirmed"
    status, ended = call(server, "POST", f"/tournaments/{TOURNAMENT}/rounds/{told['_id']}/end", PLAY)
    assert (status, ended["status"], ended["evidenceLevel"]) == (200, "accepted", 2)
    assert until(server, ended["submissionId"], "included")["evidenceLevel"] == 2
    again = confirm(server, told["_id"], {"isValid": True, "score": 2652})
    assert (again[0], again[1]["status"]) == (200, "accepted")


@pytest.mark.parametrize("said", [{"isValid": True, "score": 2651}, {"isValid": False}])
def test_a_mismatch_and_false_take_the_score_back(server: Fairscore, said: Any) -> None:
    """After the score was accepted and sent: it is revoked, on chain too."""
    told = start(server)
    _, ended = call(server, "POST", f"/tournaments/{TOURNAMENT}/rounds/{told['_id']}/end", PLAY)
    assert ended["status"] == "accepted"
    until(server, ended["submissionId"], "included")
    status, shown = confirm(server, told["_id"], said)
    assert (status, shown["status"], shown["submissionStatus"]) == (200, "invalidated", "revoked")
    deadline = time.monotonic() + 60
    while (order := until(server, ended["submissionId"], "revoked")["revocation"])["txHash"] is None:
        assert time.monotonic() < deadline, order
        time.sleep(0.05)
    assert order["action"] == "revoke"


def test_a_wrong_secret_is_refused(server: Fairscore) -> None:
    """401, and the round is as it was."""
    told = start(server)
    assert confirm(server, told["_id"], {"isValid": False}, "generated-secret-of-another")[0] == 401
    assert confirm(server, told["_id"], {"isValid": True, "score": 2652})[0] == 200


def test_the_printed_line_plays_a_round(server: Fairscore) -> None:
    """The line that the terminal shows, pasted: started, reported, confirmed."""
    deadline = time.monotonic() + 60
    while (found := re.search(r"^\s*(T=\S+; R=.+)$", server.output(), re.MULTILINE)) is None:
        assert time.monotonic() < deadline, server.tail()
        time.sleep(0.05)
    command, folder = ["bash", "-c", found[1]], server.home.parent
    ran = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=60, check=True)
    first, second = (json.loads(part) for part in ran.stdout.replace("}{", "}\n{").splitlines())
    assert (first["status"], second["status"], second["evidenceLevel"]) == ("accepted", "accepted", 2)
