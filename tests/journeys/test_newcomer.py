"""A newcomer's first minutes with ``fairscore run``: what it prints is pasted literally (embedded chain, SQLite)."""

import json
import re
import signal
import stat
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from eth_account import Account
from eth_account.messages import encode_typed_data
from eth_utils.crypto import keccak

from tests.harness.process import Fairscore
from tests.harness.rpc import decode_score, rpc, scores_on_chain
from tests.harness.sse import Stream

BOARD = "/api/leaderboards/streambeat/default"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fairscore]:
    """One first start in an empty home, shared by the tests that leave it running."""
    with Fairscore(tmp_path_factory.mktemp("newcomer") / "home") as running:
        yield running


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Fairscore]:
    """A server of the test's own, to stop and start at will."""
    with Fairscore(tmp_path / "home") as running:
        yield running


def printed_curls(server: Fairscore, start: int = 1) -> tuple[str, str]:
    """The two curl lines of the nth start, as a person would paste them; they are printed once it is ready."""
    deadline = time.monotonic() + 60
    while True:
        lines = re.findall(r"^\s*(curl .+?)\s*$", server.output(), re.MULTILINE)
        if len(lines) >= 2 * start:
            assert len(lines) == 2 * start
            return lines[-2], lines[-1]
        assert time.monotonic() < deadline, server.tail()
        time.sleep(0.02)


def paste(line: str) -> dict[str, Any]:
    """Run a line in bash; the JSON of its answer, whether or not the line also shows headers."""
    ran = subprocess.run(["bash", "-c", line], capture_output=True, text=True, timeout=60, check=True)
    body: dict[str, Any] = json.loads(ran.stdout[ran.stdout.index("{") : ran.stdout.rindex("}") + 1])
    return body


def until_included(server: Fairscore, submission: str, timeout_s: float = 60) -> dict[str, Any]:
    """The submission's document as soon as its score is in a block."""
    deadline = time.monotonic() + timeout_s
    while True:
        document: dict[str, Any] = server.get(f"/api/submissions/{submission}")
        if document["status"] in {"included", "final"}:
            return document
        assert time.monotonic() < deadline, f"{document['status']} after {timeout_s} s\n{server.tail()}"
        time.sleep(0.05)


def check_receipt(receipt: dict[str, Any]) -> None:
    """The receipt verifies with eth-account alone, and says what its signed record says."""
    signable = encode_typed_data(full_message=receipt["typedData"])
    assert Account.recover_message(signable, signature=receipt["signature"]) == receipt["signer"]
    record = bytes.fromhex(receipt["typedData"]["message"]["records"].removeprefix("0x"))
    assert len(record) == 72
    assert "0x" + record[:20].hex() == receipt["player"].lower()
    assert int.from_bytes(record[20:32], "big") == receipt["score"]
    assert int.from_bytes(record[32:40], "big") == receipt["roundId"]
    assert "0x" + record[40:].hex() == receipt["evidenceHash"]


def test_the_terminal_shows_where_to_go(server: Fairscore) -> None:
    """Page, documentation and two curl lines are printed and answer."""
    assert all(server.url in line for line in printed_curls(server))
    assert f"{server.url}/docs" in server.output()
    for path in ("/", "/docs", "/fairscore.js", "/openapi.json"):
        assert subprocess.run(["curl", "-sf", server.url + path], capture_output=True, timeout=60, check=True).stdout


def test_the_printed_curl_goes_from_play_to_live_board(server: Fairscore) -> None:
    """202 or 200 with a receipt; within 5 s on chain; then on the board; a listener saw it arrive."""
    board = f"{server.url}{BOARD}/stream"
    with Stream(board) as stream:
        assert stream.content_type.startswith("text/event-stream")
        stream.wait(lambda event: event.kind == "snapshot")
        answer = paste(printed_curls(server)[0])
        assert answer["success"] is True
        assert answer["validated"] is True
        assert answer["status"] in {"accepted", "queued", "sent", "included", "final"}
        assert answer["evidenceLevel"] == 1
        receipt = answer["receipt"]
        check_receipt(receipt)
        assert receipt["score"] == answer["score"]

        document = until_included(server, answer["submissionId"])
        mined = rpc(f"{server.url}/devnet/rpc", "eth_getTransactionReceipt", document["txHash"])
        assert int(mined["status"], 16) == 1
        devnet = json.loads((server.home / "devnet.json").read_text())
        ours = [log for log in mined["logs"] if len(log["topics"]) == 4]
        score = next(found for found in map(decode_score, ours) if found.round_id == receipt["roundId"])
        assert (score.player, score.score) == (receipt["player"], receipt["score"])
        assert (score.evidence_hash, score.rules_hash) == (receipt["evidenceHash"], receipt["rulesHash"])
        assert score.game == "0x" + keccak(text="streambeat").hex()
        assert mined["to"].lower() == devnet["contract"].lower()

        wanted = receipt["player"]
        seen = stream.wait(lambda event: event.kind == "score" and event.data["player"] == wanted)
        moved = stream.wait(lambda event: event.kind == "standing" and event.data["player"] == wanted)
        assert seen.data["score"] == receipt["score"]
        assert seen.data["txHash"] == document["txHash"]
        assert moved.data["rank"] == 1
        kinds = [event.kind for event in stream.events]
        assert kinds.index("snapshot") < kinds.index("score")
        sequences = [int(event.id.rpartition("-")[2]) for event in stream.events]
        assert sequences == list(range(sequences[0], sequences[0] + len(sequences)))

    board_rows = server.get("/api/leaderboard")
    assert board_rows["success"] is True
    row = next(row for row in board_rows["leaderboard"] if row["player"] == wanted)
    assert (row["rank"], row["score"], row["txHash"]) == (1, receipt["score"], document["txHash"])
    assert row["submissionId"] == answer["submissionId"]
    assert row["evidenceLevel"] == 1


def test_evidence_is_what_its_hash_says(server: Fairscore) -> None:
    """The bytes under /api/evidence hash to their address and name the submission; the rules are published on chain."""
    answer = paste(printed_curls(server)[0])
    body = subprocess.run(
        ["curl", "-sf", f"{server.url}/api/evidence/{answer['evidenceHash']}"], capture_output=True, check=True
    ).stdout
    assert "0x" + keccak(body).hex() == answer["evidenceHash"]
    assert json.loads(body)["submissionId"] == answer["submissionId"]
    rules = server.get("/api/games/streambeat/ruleset")
    assert rules["hash"] == answer["receipt"]["rulesHash"]


def test_the_printed_cheat_is_refused(server: Fairscore) -> None:
    """The second curl line gets a verdict with its checks, and the player stays off the board."""
    before = scores_on_chain(f"{server.url}/devnet/rpc", contract(server))
    problem = paste(printed_curls(server)[1])
    assert problem["success"] is False
    assert problem["error"] == "Score validation failed"
    assert problem["code"] == "SCORE_MISMATCH"
    assert problem["status"] == 422
    assert problem["reason"]
    assert {check["code"]: check["result"] for check in problem["checks"]}["SCORE_MISMATCH"] == "fail"
    assert scores_on_chain(f"{server.url}/devnet/rpc", contract(server))[: len(before)] == before


def test_a_score_becomes_final(server: Fairscore) -> None:
    """Within seconds the submission and the board's row say `final`, and the stream said so too."""
    with Stream(f"{server.url}{BOARD}/stream") as stream:
        answer = paste(printed_curls(server)[0].replace("30000}", "30001}"))  # a play of its own, not a retry
        until_included(server, answer["submissionId"])
        deadline = time.monotonic() + 60
        while server.get(f"/api/submissions/{answer['submissionId']}")["status"] != "final":
            assert time.monotonic() < deadline, server.tail()
            time.sleep(0.1)
        wanted = f"streambeat:{answer['receipt']['roundId']}"
        stream.wait(lambda event: event.kind == "final" and wanted in event.data["scoreIds"])
        assert server.get(f"/api/scores/{wanted}")["status"] == "final"


def contract(server: Fairscore) -> str:
    """The contract's address, as scripts find it."""
    return str(json.loads((server.home / "devnet.json").read_text())["contract"])


def test_devnet_json_is_for_scripts_only(server: Fairscore) -> None:
    """Its shape is fixed, its mode is 0600, and what it says is true."""
    file = server.home / "devnet.json"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    devnet = json.loads(file.read_text())
    assert set(devnet) == {"url", "rpcUrl", "chainId", "contract", "gameId", "keys", "gameServerSecret"}
    assert set(devnet["keys"]) == {"admin", "server", "client", "auditor"}
    assert devnet["url"] == server.url
    assert devnet["gameId"] == "streambeat"
    assert int(rpc(devnet["rpcUrl"], "eth_chainId"), 16) == devnet["chainId"]
    assert len(rpc(devnet["rpcUrl"], "eth_getCode", devnet["contract"], "latest")) > 1000
    for role, prefix in (("admin", "ad"), ("server", "sk"), ("client", "pk"), ("auditor", "au")):
        assert devnet["keys"][role].startswith(f"fs_live_{prefix}_")
    assert devnet["gameServerSecret"]


def test_a_restart_keeps_scores_ranks_and_chain(own: Fairscore) -> None:
    """Stop, start: the same blocks, the same rows; and the next score continues them."""
    first = paste(printed_curls(own)[0])
    until_included(own, first["submissionId"])
    deadline = time.monotonic() + 60
    while own.get(f"/api/submissions/{first['submissionId']}")["status"] != "final":
        assert time.monotonic() < deadline, own.tail()
        time.sleep(0.1)
    devnet_rpc = f"{own.url}/devnet/rpc"
    head = int(rpc(devnet_rpc, "eth_blockNumber"), 16)
    blocks = [rpc(devnet_rpc, "eth_getBlockByNumber", hex(number), False)["hash"] for number in range(head + 1)]
    deadline = time.monotonic() + 60
    while (rows := own.get("/api/leaderboard")["leaderboard"])[0]["status"] != "final":  # the indexer follows
        assert time.monotonic() < deadline, rows
        time.sleep(0.1)
    own.stop()
    own.start()
    again = [rpc(devnet_rpc, "eth_getBlockByNumber", hex(number), False)["hash"] for number in range(head + 1)]
    assert again == blocks
    assert own.get("/api/leaderboard")["leaderboard"] == rows
    assert own.get(f"/api/submissions/{first['submissionId']}")["status"] == "final"
    second = paste(printed_curls(own, start=2)[0])
    assert second["receipt"]["roundId"] > first["receipt"]["roundId"]
    until_included(own, second["submissionId"])
    assert len(scores_on_chain(devnet_rpc, contract(own))) == second["receipt"]["roundId"]


def test_the_stream_resumes_where_it_stopped(own: Fairscore) -> None:
    """Last-Event-ID continues after that event, without a repeat and without a gap, also after a restart."""
    board = f"{own.url}{BOARD}/stream"
    with Stream(board) as stream:
        snapshot = stream.wait(lambda event: event.kind == "snapshot")
    answer = paste(printed_curls(own)[0])
    until_included(own, answer["submissionId"])
    for restart in (False, True):
        if restart:
            own.stop()
            own.start()
        with Stream(board, last_event_id=snapshot.id) as resumed:
            resumed.wait(lambda event: event.kind == "score")
            first = resumed.events[0]
            assert first.kind != "snapshot"
            assert int(first.id.rpartition("-")[2]) == int(snapshot.id.rpartition("-")[2]) + 1


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["ctrl-c", "sigterm"])
def test_it_stops_with_open_streams(own: Fairscore, number: signal.Signals) -> None:
    """Open streams do not hold the process; it leaves nothing behind that holds its home."""
    streams = [Stream(f"{own.url}{BOARD}/stream") for _ in range(5)]
    for stream in streams:
        stream.wait(lambda event: event.kind == "snapshot")
    own.stop(number)
    assert own.running.returncode in {0, 130, 143, -signal.SIGINT, -signal.SIGTERM}
    assert "Traceback" not in own.output()
    for stream in streams:
        stream.close()
    own.start()
    assert own.get("/api/leaderboard")["success"] is True


def test_a_second_process_on_the_same_home_is_refused(own: Fairscore) -> None:
    """Two embedded chains cannot write one journal: the second start ends with a sentence, not with damage."""
    second = Fairscore(own.home)
    second.launch()
    try:
        assert second.running.wait(60) != 0
        assert "Traceback" not in second.output()
    finally:
        second.cleanup()
    assert own.get("/health/ready")
