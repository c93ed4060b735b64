"""A thief of the attestation key writes scores into the contract: flagged, disputed on the board, told to auditors.

Everything is real: anvil, relay, indexer. The thief signs with eth-account and sends through an account of anvil's.
"""

import json
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from eth_abi.abi import encode
from eth_account import Account
from eth_utils.crypto import keccak

from relay.store.engine import open_database
from relay.store.keys import KeyStore
from tests.harness.nodes import DEVELOPMENT_KEYS, Node, anvil, operator
from tests.harness.plays import play, player
from tests.harness.process import Fairscore
from tests.harness.rpc import rpc
from tests.harness.sse import Stream

BOARD = "/api/leaderboards/streambeat/default"
GRACE_S = 2
ROUNDS = iter(range(900_000, 999_999))


@pytest.fixture
def node() -> Iterator[Node]:
    """A chain with blocks of 1 s."""
    with anvil("--block-time", "1") as running:
        yield running


def auditor_key(url: str) -> str:
    """An API key with the auditor's role."""
    database = open_database(url)
    try:
        return KeyStore(database).create("auditor").secret
    finally:
        database.close()


def ask(server: Fairscore, path: str, key: str, method: str = "GET", body: object = None) -> Any:
    """The answer to a request that must be taken."""
    headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
    data = None if body is None else json.dumps(body).encode()
    asked = urllib.request.Request(server.url + path, data, headers, method=method)
    with urllib.request.urlopen(asked, timeout=60) as answer:
        return json.load(answer)


def submit(server: Fairscore, serial: int, of: int) -> dict[str, Any]:
    """One honest play."""
    headers = {"Content-Type": "application/json", "Prefer": "wait=30"}
    asked = urllib.request.Request(
        server.url + "/api/submit-score", json.dumps(play(serial, player(of))).encode(), headers
    )
    with urllib.request.urlopen(asked, timeout=60) as answer:
        document: dict[str, Any] = json.load(answer)
    return document


def send(node: Node, sender: str, to: str, data: bytes) -> None:
    """Mine a call from one of the node's own accounts."""
    call = {"from": sender, "to": to, "data": "0x" + data.hex(), "gas": hex(1_000_000)}
    sent = rpc(node.url, "eth_sendTransaction", call)
    deadline = time.monotonic() + 60
    while (receipt := rpc(node.url, "eth_getTransactionReceipt", sent)) is None:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert int(receipt["status"], 16) == 1


def forge(node: Node, receipt: dict[str, Any], of: str, score: int, evidence: bytes, key: str) -> int:
    """Record a score that no relay computed; returns its round."""
    round_id = next(ROUNDS)
    packed = bytes.fromhex(of[2:]) + score.to_bytes(12, "big") + round_id.to_bytes(8, "big") + evidence
    typed = json.loads(json.dumps(receipt["typedData"]))
    typed["message"]["records"] = "0x" + packed.hex()
    signature = Account.sign_typed_data(key, full_message=typed).signature
    message = typed["message"]
    values: list[Any] = [bytes.fromhex(message[name][2:]) for name in ("gameId", "rulesHash")]
    values += [int(message["deadline"]), packed, bytes(signature)]
    selector = keccak(text="submitScores(bytes32,bytes32,uint64,bytes,bytes)")[:4]
    data = selector + encode(["bytes32", "bytes32", "uint64", "bytes", "bytes"], values)
    send(node, rpc(node.url, "eth_accounts")[8], typed["domain"]["verifyingContract"], data)
    return round_id


def until_flagged(server: Fairscore, key: str, code: str, score_id: str, timeout_s: float = 60) -> dict[str, Any]:
    """The open critical flag about a score, as soon as there is one."""
    deadline = time.monotonic() + timeout_s
    while True:
        for flag in ask(server, "/api/audit-flags?severity=critical&status=open", key)["flags"]:
            if flag["code"] == code and flag["subject"] == {"type": "score", "id": score_id}:
                return dict(flag)
        assert time.monotonic() < deadline, f"{code} of {score_id} is not flagged after {timeout_s} s"
        time.sleep(0.05)


@pytest.mark.parametrize("database", ["sqlite_url", "postgres_url"])
def test_forged_scores_are_flagged_and_disputed(
    node: Node, tmp_path: Path, request: pytest.FixtureRequest, database: str
) -> None:
    url = request.getfixturevalue(database)
    settings = operator(tmp_path / "keys", node.url, url) | {"FAIRSCORE_EVIDENCE_GRACE_S": str(GRACE_S)}
    with Fairscore(tmp_path / "home", settings=settings) as server, Stream(f"{server.url}{BOARD}/stream") as stream:
        key = auditor_key(url)
        honest = submit(server, 1, 1)
        receipt, stolen = honest["receipt"], DEVELOPMENT_KEYS[1]

        def row(of: str) -> dict[str, Any]:
            return next(dict(row) for row in server.get(f"{BOARD}?limit=10")["rows"] if row["player"] == of)

        # Evidence of somebody else's score: contradicted as soon as it is read.
        copied = bytes.fromhex(honest["evidenceHash"][2:])
        round_id = forge(node, receipt, player(7), 999_999, copied, stolen)
        mined = time.monotonic()
        flag = until_flagged(server, key, "EVIDENCE_MISMATCH", f"streambeat:{round_id}")
        print(f"evidence of another score: flagged {time.monotonic() - mined:.2f} s after its block was seen")
        assert flag["severity"] == "critical"
        assert flag["playerId"] == player(7).lower()
        assert flag["context"]["submissionId"] == honest["submissionId"]
        shown = stream.wait(lambda e: e.kind == "standing" and e.data["player"] == player(7) and e.data["disputed"])
        assert shown.data["rank"] == 1
        assert row(player(7))["disputed"] is True
        assert server.get(f"/api/scores/streambeat:{round_id}")["disputed"] is True

        # A hash of nothing: disputed when the grace is over.
        round_id = forge(node, receipt, player(8), 888_888, keccak(text="nothing"), stolen)
        mined = time.monotonic()
        until_flagged(server, key, "EVIDENCE_MISSING", f"streambeat:{round_id}", GRACE_S + 60)
        print(f"evidence missing, grace {GRACE_S} s: flagged {time.monotonic() - mined:.2f} s after its block was seen")
        stream.wait(lambda e: e.kind == "standing" and e.data["player"] == player(8) and e.data["disputed"])
        assert row(player(8))["disputed"] is True

        # The honest score again, under another round: its evidence counts once.
        round_id = forge(node, receipt, player(1), honest["score"], copied, stolen)
        until_flagged(server, key, "EVIDENCE_REUSED", f"streambeat:{round_id}")

        assert row(player(1))["disputed"] is False
        deadline = time.monotonic() + 60
        counted = "0 scores wait for their evidence, 3 are disputed"
        while (found := server.get("/health")["checks"]["indexer.doubt"]["detail"]) != counted:
            assert time.monotonic() < deadline, found
            time.sleep(0.1)


def test_a_signer_that_the_contract_takes_is_not_one_we_know(node: Node, tmp_path: Path, sqlite_url: str) -> None:
    """A stolen admin key gives the role to a key of the thief's own: the contract takes it, doubt does not."""
    settings = operator(tmp_path / "keys", node.url, sqlite_url)
    with Fairscore(tmp_path / "home", settings=settings) as server:
        key = auditor_key(sqlite_url)
        honest = submit(server, 1, 1)
        contract = honest["receipt"]["typedData"]["domain"]["verifyingContract"]
        thief = Account.from_key(b"\x77" * 32)
        role = keccak(text="SIGNER_ROLE")
        grant = keccak(text="grantRole(bytes32,address)")[:4] + encode(["bytes32", "address"], [role, thief.address])
        send(node, rpc(node.url, "eth_accounts")[0], contract, grant)
        copied = bytes.fromhex(honest["evidenceHash"][2:])
        round_id = forge(node, honest["receipt"], player(1), honest["score"], copied, "0x" + "77" * 32)
        flag = until_flagged(server, key, "SIGNER_UNKNOWN", f"streambeat:{round_id}")
        assert flag["context"]["signer"] == thief.address
        assert server.get(f"{BOARD}?limit=10")["rows"][0]["disputed"] is False  # the first of two equal scores stands
