"""An operator's day on a real running system: look, pause by command line, see it wait, resume by HTTP, look again."""

import json
import time
import urllib.request
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from tests.harness.plays import play, player
from tests.harness.process import Fairscore
from tests.relay.test_check import fairscore


def ask(server: Fairscore, method: str, path: str, key: str, body: object = None) -> Any:
    """One request with a key."""
    raw = None if body is None else json.dumps(body).encode()
    headers = {"authorization": f"Bearer {key}", "content-type": "application/json"}
    request = urllib.request.Request(server.url + path, raw, headers, method=method)
    with urllib.request.urlopen(request, timeout=60) as answer:
        return json.load(answer)


def until(holds: Callable[[], bool], timeout_s: float = 60) -> None:
    """Wait until it holds."""
    deadline = time.monotonic() + timeout_s
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def gauge(server: Fairscore, name: str, **labels: str) -> float:
    """One sample of /metrics."""
    with urllib.request.urlopen(f"{server.url}/metrics", timeout=60) as answer:
        page = answer.read().decode()
    samples = [one for family in text_string_to_metric_families(page) for one in family.samples]
    (found,) = [one.value for one in samples if one.name == name and labels.items() <= one.labels.items()]
    return float(found)


def test_pause_and_resume_on_a_running_system(tmp_path: Path) -> None:
    """While paused, scores are accepted and wait; nothing is lost; every surface shows the same."""
    home = tmp_path / "home"
    with Fairscore(home) as server:
        keys = json.loads((home / "devnet.json").read_text())["keys"]

        def shown() -> Any:
            return ask(server, "GET", "/api/outbox", keys["admin"])

        serial = count(1)

        def submit() -> Any:
            return ask(server, "POST", "/api/submit-score", keys["server"], play(next(serial), player(1)))

        first = submit()["submissionId"]
        until(lambda: bool(server.get(f"/api/submissions/{first}")["status"] in {"included", "final"}))
        scorer = next(key for key in shown()["keys"] if "scores" in key["carries"])
        address = scorer["address"]
        assert scorer["leads"]
        assert scorer["here"]
        assert int(scorer["balanceWei"]) > 0
        assert [one["healthy"] for one in shown()["providers"]] == [True]

        said = fairscore(home, "outbox", "pause", address, "--reason", "node upgrade")
        assert said.returncode == 0, said.stderr
        until(lambda: "paused" in server.get("/health/ready")["checks"])
        until(lambda: gauge(server, "fairscore_outbox_paused", key=address) == 1)
        second = submit()["submissionId"]
        time.sleep(2)
        assert server.get(f"/api/submissions/{second}")["status"] == "accepted"
        until(lambda: gauge(server, "fairscore_outbox_depth", state="accepted") == 1)
        waiting = next(one for one in shown()["states"] if one["state"] == "accepted")
        assert waiting["count"] == 1
        assert waiting["oldestAgeS"] >= 1

        ask(server, "POST", f"/api/outbox/keys/{address}/resume", keys["admin"], {"reason": "upgraded"})
        until(lambda: bool(server.get(f"/api/submissions/{second}")["status"] in {"included", "final"}))
        until(lambda: gauge(server, "fairscore_outbox_paused", key=address) == 0)
        assert gauge(server, "fairscore_outbox_attempts_total", key=address) >= 2
        acted = [(one["action"], one["reason"]) for one in shown()["actions"]]
        assert acted == [("resume", "upgraded"), ("pause", "node upgrade")]
        printed = fairscore(home, "outbox", "show").stdout
        assert address in printed
        assert "upgraded" in printed
