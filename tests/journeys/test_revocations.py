"""A score taken back and put back, end to end: relay, contract on anvil, indexer, board and stream, all real."""

import json
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from eth_abi.abi import encode
from eth_utils.crypto import keccak

from relay.store.engine import open_database
from relay.store.keys import KeyStore
from tests.harness.nodes import DEVELOPMENT_KEYS, Node, anvil, operator
from tests.harness.plays import play, player
from tests.harness.process import Fairscore
from tests.harness.rpc import rpc
from tests.harness.sse import Stream

BOARD = "/api/leaderboards/streambeat/default"


@pytest.fixture
def node() -> Iterator[Node]:
    """A chain with blocks of 1 s."""
    with anvil("--block-time", "1") as running:
        yield running


def settings(node: Node, url: str, folder: Path, **more: str) -> dict[str, str]:
    """What an operator sets, with an auditor's key of its own."""
    file = folder / "auditor.key"
    found = operator(folder, node.url, url) | {"FAIRSCORE_AUDITOR_KEY_FILE": str(file)} | more
    file.write_text(DEVELOPMENT_KEYS[3] + "\n")
    file.chmod(0o600)
    return found


def api_key(url: str) -> str:
    """A key with the auditor's role."""
    database = open_database(url)
    try:
        return KeyStore(database).create("auditor").secret
    finally:
        database.close()


def post(server: Fairscore, path: str, body: object, **headers: str) -> dict[str, Any]:
    """The answer to a POST that must be taken."""
    named = {"Content-Type": "application/json"} | headers
    asked = urllib.request.Request(server.url + path, json.dumps(body).encode(), named)
    with urllib.request.urlopen(asked, timeout=60) as answer:
        document: dict[str, Any] = json.load(answer)
    return document


def submit(server: Fairscore, serial: int, of: int, prefer: str) -> dict[str, Any]:
    """One honest play of a player."""
    return post(server, "/api/submit-score", play(serial, player(of)), Prefer=prefer)


def until(holds: Callable[[], bool], what: str, timeout_s: float = 60) -> None:
    """Wait until it holds."""
    deadline = time.monotonic() + timeout_s
    while not holds():
        assert time.monotonic() < deadline, what
        time.sleep(0.2)


def is_invalidated(node: Node, answer: dict[str, Any]) -> bool:
    """The contract's own word, asked without the product's code."""
    receipt = answer["receipt"]
    game, contract = keccak(text=receipt["gameId"]), receipt["typedData"]["domain"]["verifyingContract"]
    data = keccak(text="isInvalidated(bytes32,uint64)")[:4] + encode(["bytes32", "uint64"], [game, receipt["roundId"]])
    return int(rpc(node.url, "eth_call", {"to": contract, "data": "0x" + data.hex()}, "latest"), 16) == 1


def test_revoked_and_reinstated(node: Node, postgres_url: str, tmp_path: Path) -> None:
    """Final, revoked: the next best takes over and the stream retracts; reinstated: it is back at its place."""
    with (
        Fairscore(tmp_path / "home", settings=settings(node, postgres_url, tmp_path / "keys")) as server,
        Stream(f"{server.url}{BOARD}/stream") as stream,
    ):
        auditor = {"Authorization": f"Bearer {api_key(postgres_url)}"}
        answers = [submit(server, serial, of, "respond-async") for serial, of in ((1, 1), (2, 1), (3, 1), (4, 2))]
        mine = sorted(answers[:3], key=lambda answer: -answer["score"])
        best, second = mine[0], next(answer for answer in mine[1:] if answer["score"] < mine[0]["score"])

        def look(answer: dict[str, Any]) -> dict[str, Any]:
            document: dict[str, Any] = server.get(f"/api/submissions/{answer['submissionId']}")
            return document

        def board() -> dict[str, int]:
            return {row["player"]: row["score"] for row in server.get(f"{BOARD}?limit=10")["rows"]}

        until(lambda: all(look(answer)["status"] == "final" for answer in answers), "the scores are final")
        until(lambda: board().get(player(1)) == best["score"], "the best one is on the board")
        path = f"/api/submissions/{best['submissionId']}"

        answered = post(server, f"{path}/revoke", {"reason": "two screens"}, **auditor)
        assert answered["status"] == "revoked"
        retracted = stream.wait(lambda event: event.kind == "retract")
        assert retracted.data["player"] == player(1)
        assert retracted.data["reason"] == "invalidated"
        until(lambda: look(best)["revocation"]["status"] == "final", "the revocation is final")
        assert is_invalidated(node, best)
        expected = {player(1): second["score"], player(2): answers[3]["score"]}
        until(lambda: board() == expected, "the next best one took its place")
        order = look(best)["revocation"]
        evidence = server.get(f"/api/evidence/{order['reasonHash']}")
        assert [one["reason"] for one in evidence["orders"]] == ["two screens"]
        receipt = rpc(node.url, "eth_getTransactionReceipt", order["txHash"])
        assert order["reasonHash"][2:] in receipt["logs"][0]["data"]

        post(server, f"{path}/reinstate", {"reason": "it was a television"}, **auditor)
        until(lambda: look(best)["status"] == "final", "it is reinstated")
        assert not is_invalidated(node, best)
        until(lambda: board().get(player(1)) == best["score"], "it is back on the board")
        assert not is_invalidated(node, second)


def test_a_receipt_carried_in_spite_of_the_revocation(node: Node, postgres_url: str, tmp_path: Path) -> None:
    """Revoked before it was sent: the relay never sends it; the player does, and it is invalidated."""
    patient = settings(node, postgres_url, tmp_path / "keys", FAIRSCORE_BATCH_WAIT_MS="10000")
    with Fairscore(tmp_path / "home", settings=patient) as server:
        auditor = {"Authorization": f"Bearer {api_key(postgres_url)}"}
        answer = submit(server, 7, 3, "respond-async")
        path = f"/api/submissions/{answer['submissionId']}"
        assert post(server, f"{path}/revoke", {"reason": "cheating"}, **auditor)["status"] == "revoked"
        time.sleep(12)  # longer than a score waits for company
        waiting = server.get(path)
        assert (waiting["status"], waiting["txHash"], waiting["attempts"]) == ("revoked", None, [])
        assert "receipt can be carried" in waiting["revocation"]["detail"]
        assert "revocations" in server.get("/health")["checks"]

        message = answer["receipt"]["typedData"]["message"]
        types = ["bytes32", "bytes32", "uint64", "bytes", "bytes"]
        values = [message["gameId"], message["rulesHash"], message["deadline"], message["records"]]
        call = [value if isinstance(value, int) else bytes.fromhex(value[2:]) for value in values]
        call.append(bytes.fromhex(answer["receipt"]["signature"][2:]))
        data = keccak(text="submitScores(bytes32,bytes32,uint64,bytes,bytes)")[:4] + encode(types, call)
        contract = answer["receipt"]["typedData"]["domain"]["verifyingContract"]
        account = rpc(node.url, "eth_accounts")[9]
        sent = {"from": account, "to": contract, "data": "0x" + data.hex(), "gas": hex(500_000)}
        carried = rpc(node.url, "eth_sendTransaction", sent)
        until(lambda: is_invalidated(node, answer), "it is invalidated on the contract")
        until(lambda: bool(server.get(path)["revocation"]["status"] == "final"), "the revocation is final")
        assert server.get(path)["txHash"] == carried
        until(lambda: server.get(f"{BOARD}?limit=10")["rows"] == [], "it is off the board")
