"""A game is made while the system runs: rules on the chain, scores taken, ranked under its name, on its own boards."""

import json
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

from tests.harness.plays import play, player
from tests.harness.process import FAIRSCORE, Fairscore


def ask(server: Fairscore, method: str, path: str, body: Any = None, key: str = "") -> tuple[int, Any]:
    """One request; the answer, whatever its status."""
    headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {key}"} if key else {})
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(server.url + path, data, headers, method=method)
    try:
        with urllib.request.urlopen(request, timeout=60) as reply:
            return reply.status, json.load(reply)
    except urllib.error.HTTPError as refused:
        with refused:
            return refused.code, json.load(refused)


def until(server: Fairscore, path: str, wanted: Any, key: str = "") -> Any:
    """Ask until the answer is as wanted; fails after half a minute, saying what it was."""
    ends_s = time.monotonic() + 60
    while True:
        status, found = ask(server, "GET", path, key=key)
        if status == 200 and wanted(found):
            return found
        assert time.monotonic() < ends_s, (path, status, found)
        time.sleep(0.1)


def test_a_game_is_made_while_the_system_runs(tmp_path: Path) -> None:
    """Over HTTP and from the command line, and it is there after a restart."""
    home = tmp_path / "home"
    with (server := Fairscore(home)):
        keys = json.loads((home / "devnet.json").read_text())["keys"]
        admin = keys["admin"]
        assert ask(server, "GET", "/api/leaderboards/chess/default")[0] == 404
        settings = {"anonymousSubmit": True, "parameters": {"scoreMax": 500_000}}
        status, made = ask(server, "PUT", "/api/games/chess", settings, admin)
        assert status == 201
        # Its rules are on the contract: a relay that holds the admin's key published them.
        until(server, "/api/games/chess", lambda found: found["state"] == "active", admin)
        assert ask(server, "GET", "/api/games/chess/ruleset")[1]["hash"] == made["rulesHash"]
        until(server, "/api/leaderboards/chess/default", lambda found: found["rows"] == [])
        status, taken = ask(server, "POST", "/api/submit-score", {**play(1, player(1)), "gameId": "chess"})
        assert status in {200, 202}
        found = until(server, "/api/leaderboards/chess/default", lambda found: found["rows"])
        assert [row["submissionId"] for row in found["rows"]] == [taken["submissionId"]]
        assert ask(server, "PUT", "/api/boards/chess/weekly", {"season": "weekly"}, admin)[0] == 201
        until(server, "/api/leaderboards/chess/weekly", lambda found: found["total"] == 1)
        # Another process, the command line, changes it; this one follows.
        command = [str(FAIRSCORE), "games", "set", "chess", "anonymous_submit=false"]
        subprocess.run(command, check=True, env=server.environment, capture_output=True, timeout=60)
        until(server, "/api/games/chess", lambda found: found["version"] == 2 and found["state"] == "active", admin)
        body = {**play(2, player(2)), "gameId": "chess"}
        assert ask(server, "POST", "/api/submit-score", body)[0] == 401
        assert ask(server, "POST", "/api/submit-score", body, keys["client"])[0] in {200, 202}
    with server:
        until(server, "/api/games/chess", lambda found: found["state"] == "active", admin)
        until(server, "/api/leaderboards/chess/default", lambda found: found["total"] == 2)
