"""The same journey on anvil with blocks of 1 s and PostgreSQL, keys in files; in one process and in two."""

import json
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from eth_account import Account
from eth_account.messages import encode_typed_data

from tests.harness.nodes import Node, anvil, operator
from tests.harness.plays import play, player
from tests.harness.ports import free_port
from tests.harness.process import FAIRSCORE, Fairscore
from tests.harness.rpc import rpc, scores_on_chain, standings
from tests.harness.sse import Stream

BOARD = "/api/leaderboards/streambeat/default"


@pytest.fixture
def node() -> Iterator[Node]:
    """A chain of its own for each test, blocks of 1 s."""
    with anvil("--block-time", "1") as running:
        yield running


@pytest.fixture
def settings(node: Node, postgres_url: str, tmp_path: Path) -> dict[str, str]:
    """What an operator sets: RPC, database, three key files."""
    return operator(tmp_path / "keys", node.url, postgres_url)


def submit(server: Fairscore, serial: int, prefer: str = "wait=30") -> dict[str, Any]:
    """One honest play; the relay's answer."""
    body = json.dumps(play(serial, player(serial))).encode()
    headers = {"Content-Type": "application/json", "Prefer": prefer}
    asked = urllib.request.Request(f"{server.url}/api/submit-score", body, headers)
    with urllib.request.urlopen(asked, timeout=60) as answer:
        document: dict[str, Any] = json.load(answer)
    return document


def contract_of(answer: dict[str, Any]) -> str:
    """The contract a receipt was signed for."""
    return str(answer["receipt"]["typedData"]["domain"]["verifyingContract"])


def check_receipt(answer: dict[str, Any]) -> None:
    """The receipt verifies with eth-account alone."""
    receipt = answer["receipt"]
    signable = encode_typed_data(full_message=receipt["typedData"])
    assert Account.recover_message(signable, signature=receipt["signature"]) == receipt["signer"]


def wait_for_board(reader: Fairscore, expected: list[tuple[int, str, int]]) -> None:
    """The indexer's board equals a recomputation from the chain's events."""
    deadline = time.monotonic() + 60
    while True:
        rows = [(row["rank"], row["player"], row["score"]) for row in reader.get(f"{BOARD}?limit=100")["rows"]]
        if rows == expected:
            return
        assert time.monotonic() < deadline, (rows, expected)
        time.sleep(0.1)


def test_run_on_a_real_chain(node: Node, settings: dict[str, str], tmp_path: Path) -> None:
    """`fairscore run` deploys, records, ranks and streams; a restart finds its contract in FAIRSCORE_HOME."""
    with Fairscore(tmp_path / "home", settings=settings) as server:
        with Stream(f"{server.url}{BOARD}/stream") as stream:
            stream.wait(lambda event: event.kind == "snapshot")
            answer = submit(server, 1)
            check_receipt(answer)
            assert answer["status"] in {"included", "final"}
            seen = stream.wait(lambda event: event.kind == "score")
            assert (seen.data["player"], seen.data["score"]) == (player(1), answer["score"])
        contract = contract_of(answer)
        chain = scores_on_chain(node.url, contract)
        assert [(score.player, score.score, score.tx_hash) for score in chain] == [
            (player(1), answer["score"], answer["txHash"])
        ]
        server.stop()
        code_before = rpc(node.url, "eth_getTransactionCount", Account.from_key(admin_key(settings)).address, "latest")
        server.start()
        again = submit(server, 2)
        assert contract_of(again) == contract
        code_after = rpc(node.url, "eth_getTransactionCount", Account.from_key(admin_key(settings)).address, "latest")
        assert code_after == code_before, "a restart with a remembered contract has nothing to deploy or publish"
        wait_for_board(server, standings(scores_on_chain(node.url, contract)))
        remembered = [file for file in (tmp_path / "home").rglob("*") if file.is_file() and contract_in(file, contract)]
        assert remembered


def contract_in(file: Path, contract: str) -> bool:
    """Whether a file of the home names the contract."""
    return contract.lower() in file.read_text(errors="ignore").lower()


def admin_key(settings: dict[str, str]) -> str:
    """The admin's key."""
    return Path(settings["FAIRSCORE_ADMIN_KEY_FILE"]).read_text().strip()


def test_relay_and_indexer_as_two_processes(node: Node, settings: dict[str, str], tmp_path: Path) -> None:
    """Same settings, two commands: scores go in at one port and come out ranked at the other."""
    indexer_port = free_port()
    settings |= {"FAIRSCORE_INDEXER_PORT": str(indexer_port)}
    with (
        Fairscore(tmp_path / "home", "relay", settings=settings) as relay,
        Fairscore(tmp_path / "home", "indexer", settings=settings, port=indexer_port) as indexer,
        Stream(f"{indexer.url}{BOARD}/stream") as stream,
    ):
        stream.wait(lambda event: event.kind == "snapshot")
        answers = [submit(relay, serial, "respond-async") for serial in range(10, 30)]
        for answer in answers:
            check_receipt(answer)
        best = max(answer["score"] for answer in answers)
        stream.wait(lambda event: event.kind == "standing" and event.data["score"] == best)
        deadline = time.monotonic() + 60
        contract = contract_of(answers[0])
        while len(scores_on_chain(node.url, contract)) < len(answers):
            assert time.monotonic() < deadline, relay.tail()
            time.sleep(0.2)
        wait_for_board(indexer, standings(scores_on_chain(node.url, contract)))
        row = indexer.get(f"{BOARD}/players/{answers[0]['receipt']['player']}")
        assert row["submissionId"] == answers[0]["submissionId"], "evidence names the submission"
        # Either can go and come back while the other works on.
        indexer.kill()
        late = submit(relay, 31)
        indexer.start()
        wait_for_board(indexer, standings(scores_on_chain(node.url, contract)))
        assert late["status"] in {"included", "final"}
        relay.stop()
        indexer.stop()


def without_keys(settings: dict[str, str]) -> dict[str, str]:
    """The operator's settings less the key files."""
    return {name: value for name, value in settings.items() if not name.endswith("_KEY_FILE")}


@pytest.mark.parametrize("command", ["run", "relay"])
def test_development_keys_work_on_a_development_chain(settings: dict[str, str], tmp_path: Path, command: str) -> None:
    """`--dev-keys` needs no key file on chain id 31337."""
    settings = without_keys(settings)
    with Fairscore(tmp_path / "home", command, "--dev-keys", settings=settings) as server:
        assert submit(server, 5)["status"] in {"included", "final"}


def test_development_keys_are_refused_elsewhere(postgres_url: str, tmp_path: Path) -> None:
    """On any other chain id the start fails with a reason, before a single transaction."""
    with anvil("--chain-id", "31338") as other:
        settings = without_keys(operator(tmp_path / "keys", other.url, postgres_url))
        server = Fairscore(tmp_path / "home", "run", "--dev-keys", settings=settings)
        server.launch()
        try:
            assert server.running.wait(60) != 0
        finally:
            server.cleanup()
        assert "31337" in server.output()
        assert "Traceback" not in server.output()
        assert int(rpc(other.url, "eth_blockNumber"), 16) == 0


def test_no_keys_is_said_plainly(settings: dict[str, str], tmp_path: Path) -> None:
    """A real chain without keys: the start names the missing settings and prints no trace."""
    settings = without_keys(settings)
    environment = Fairscore(tmp_path / "home", settings=settings).environment
    ran = subprocess.run([FAIRSCORE, "run"], env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert ran.returncode != 0
    assert "FAIRSCORE_ATTESTATION_KEY_FILE" in ran.stdout + ran.stderr
    assert "Traceback" not in ran.stdout + ran.stderr
