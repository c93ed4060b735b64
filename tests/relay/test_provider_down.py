"""`fairscore` with several RPC endpoints, some of them dead, as processes over a real anvil."""

import json
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.harness.fault_proxy import DROPPED_REQUEST, always, fault_proxy, honest
from tests.harness.nodes import Node, anvil, operator
from tests.harness.plays import play, player
from tests.harness.process import Fairscore
from tests.harness.rpc import scores_on_chain

TOKEN = "s3cret-token"
DEAD = f"http://127.0.0.1:1/{TOKEN}"


@pytest.fixture
def node() -> Iterator[Node]:
    """A chain with blocks of 1 s."""
    with anvil("--block-time", "1") as running:
        yield running


def submit(server: Fairscore, serial: int) -> dict[str, Any]:
    """One honest play; the relay's answer once it is on the chain."""
    body = json.dumps(play(serial, player(serial))).encode()
    headers = {"Content-Type": "application/json", "Prefer": "wait=30"}
    asked = urllib.request.Request(f"{server.url}/api/submit-score", body, headers)
    with urllib.request.urlopen(asked, timeout=40) as answer:
        document: dict[str, Any] = json.load(answer)
    return document


def chain_line(server: Fairscore) -> str:
    """What readiness says about the chain."""
    return json.dumps(server.get("/health/ready"))


def wait_for(server: Fairscore, text: str, *, there: bool) -> None:
    """Until readiness says (or no longer says) this."""
    deadline = time.monotonic() + 60
    while (text in chain_line(server)) is not there:
        assert time.monotonic() < deadline, chain_line(server)
        time.sleep(0.2)


@pytest.mark.parametrize("command", ["run", "relay"])
def test_a_dead_first_endpoint(command: str, node: Node, sqlite_url: str, tmp_path: Path) -> None:
    """It starts, deploys, records, is ready, and says which endpoint it does without; never the token in its URL."""
    settings = operator(tmp_path / "keys", f"{DEAD}, {node.url}", sqlite_url)
    with Fairscore(tmp_path / "home", command, settings=settings) as server:
        answer = submit(server, 1)
        assert answer["status"] in {"included", "final"}
        contract = answer["receipt"]["typedData"]["domain"]["verifyingContract"]
        assert [score.player for score in scores_on_chain(node.url, contract)] == [player(1)]
        assert "; 127.0.0.1:1: " in chain_line(server)
        assert "127.0.0.1:1" in server.output()
        assert TOKEN not in chain_line(server) + server.output()


def test_an_endpoint_that_goes_and_comes_back(node: Node, sqlite_url: str, tmp_path: Path) -> None:
    """The relay works on over the other one, stays ready, and uses the first again when it answers."""
    with fault_proxy(node.url) as first:
        settings = operator(tmp_path / "keys", f"{first.url},{node.url}", sqlite_url)
        name = first.url.removeprefix("http://")
        with Fairscore(tmp_path / "home", "relay", settings=settings) as server:
            assert submit(server, 1)["status"] in {"included", "final"}
            assert name not in chain_line(server)
            first.plan = always(DROPPED_REQUEST)
            assert submit(server, 2)["status"] in {"included", "final"}
            wait_for(server, f"; {name}: ", there=True)
            first.plan = honest
            wait_for(server, name, there=False)
            asked = first.asked["eth_sendRawTransaction"]
            assert submit(server, 3)["status"] in {"included", "final"}
            assert first.asked["eth_sendRawTransaction"] > asked


def test_another_chain_among_the_endpoints(node: Node, sqlite_url: str, tmp_path: Path) -> None:
    """An endpoint of another chain is named and never sent to."""
    with anvil("--chain-id", "31338") as other, fault_proxy(other.url) as wrong:
        settings = operator(tmp_path / "keys", f"{node.url} {wrong.url}", sqlite_url)
        with Fairscore(tmp_path / "home", "relay", settings=settings) as server:
            assert submit(server, 1)["status"] in {"included", "final"}
            assert "it is on chain 31338, not 31337" in chain_line(server)
            assert wrong.asked["eth_sendRawTransaction"] == 0
