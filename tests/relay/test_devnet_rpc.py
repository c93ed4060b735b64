"""The embedded chain's JSON-RPC in this process: strict parameters, no crash whatever comes in, logs and calls."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from relay.devnet_journal import (
    BlockLine,
    GenesisLine,
    Journal,
    JournalError,
    TransactionLine,
    decode_line,
    encode_line,
)
from relay.devnet_node import Node
from relay.devnet_rpc import METHODS, Rpc
from relay.signer import LocalSigner

SIGNER = LocalSigner(b"\x09" * 32)
GENESIS = GenesisLine(1, 31337, 1_700_000_000, 30_000_000, 10**9, {"0x" + SIGNER.address.hex(): 10**24})
# Logs one word under the topics 0xaa and 0xbb when called without input, else reverts with the three bytes "no!".
CODE = bytes.fromhex("36601357600160005260bb60aa60206000a2005b626e6f216000526003601dfd")
INIT = bytes.fromhex(f"60{len(CODE):02x}80600b6000396000f3") + CODE


@pytest.fixture
def rpc(tmp_path: Path) -> Rpc:
    """A node with its journal, never mining by itself."""
    return Rpc(Node(Journal(tmp_path / "chain.journal"), GENESIS, lambda: 1_700_000_100.0))


def call(rpc: Rpc, method: str, *params: object) -> Any:
    """Result or error object of one call."""
    body = rpc.handle(json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": list(params)}).encode())
    assert body is not None
    document = json.loads(body)
    return document.get("result", document.get("error"))


def mine(rpc: Rpc) -> None:
    """One block with whatever waits."""
    asyncio.run(rpc.node._make_block(asyncio.sleep))


def send(rpc: Rpc, nonce: int, to: bytes | None, data: bytes = b"") -> str:
    """Send and mine; returns the hash."""
    fields = {"chainId": 31337, "nonce": nonce, "gas": 200_000, "to": to, "value": 0, "data": data,
              "maxFeePerGas": 10**10, "maxPriorityFeePerGas": 1}  # fmt: skip
    raw, tx_hash = SIGNER.sign_transaction(fields)
    assert call(rpc, "eth_sendRawTransaction", "0x" + raw.hex()) == "0x" + tx_hash.hex()
    mine(rpc)
    return "0x" + tx_hash.hex()


def test_logs_by_address_topics_alternatives_and_block(rpc: Rpc) -> None:
    created = call(rpc, "eth_getTransactionReceipt", send(rpc, 0, None, INIT))
    address = created["contractAddress"]
    assert call(rpc, "eth_getCode", address, "latest") == "0x" + CODE.hex()
    receipt = call(rpc, "eth_getTransactionReceipt", send(rpc, 1, bytes.fromhex(address[2:])))
    assert receipt["status"] == "0x1"
    aa, bb, cc = ("0x" + f"{number:064x}" for number in (0xAA, 0xBB, 0xCC))

    def found(**query: object) -> int:
        return len(call(rpc, "eth_getLogs", {"fromBlock": "0x0", **query}))

    assert found() == 1
    assert (
        found(address=address)
        == found(address=[SIGNER.address.hex().rjust(42, "0").replace("00", "0x", 1), address])
        == 1
    )
    assert found(topics=[aa]) == found(topics=[aa, bb]) == found(topics=[None, [cc, bb]]) == 1
    assert found(topics=[bb]) == found(topics=[aa, bb, None]) == found(topics=[[cc]]) == 0
    assert len(call(rpc, "eth_getLogs", {"blockHash": receipt["blockHash"]})) == 1
    assert call(rpc, "eth_getLogs", {"blockHash": aa})["code"] == -32000
    assert found(toBlock="0x0") == 0
    assert call(rpc, "eth_getLogs", {"fromBlock": "0x5", "toBlock": "0x1"})["code"] == -32602
    log = receipt["logs"][0]
    assert (log["topics"], log["data"], log["logIndex"]) == ([aa, bb], "0x" + f"{1:064x}", "0x0")
    estimate = int(call(rpc, "eth_estimateGas", {"to": address}), 16)
    assert estimate == int(receipt["gasUsed"], 16)
    refused = call(rpc, "eth_call", {"to": address, "data": "0x01"}, "latest")
    assert refused["code"] == 3
    assert refused["data"] == "0x" + b"no!".hex()
    assert call(rpc, "eth_call", {"to": address}, "0x0") == "0x"  # before it existed


def test_tags_and_blocks(rpc: Rpc) -> None:
    send(rpc, 0, bytes(20))
    head = call(rpc, "eth_getBlockByNumber", "latest", True)
    assert head["transactions"][0]["from"] == "0x" + SIGNER.address.hex()
    assert call(rpc, "eth_getBlockByHash", head["hash"], False)["number"] == head["number"]
    assert call(rpc, "eth_getBlockByNumber", "earliest", False)["number"] == "0x0"
    assert call(rpc, "eth_getBlockByNumber", "0x99", False) is None
    assert call(rpc, "eth_getBalance", "0x" + "00" * 20, "0x99")["message"] == "header not found"
    assert call(rpc, "eth_getTransactionCount", "0x" + SIGNER.address.hex(), {"blockHash": head["hash"]}) == "0x1"
    assert call(rpc, "eth_accounts") == []
    assert call(rpc, "eth_feeHistory", "0x2", "latest", [50])["oldestBlock"] == "0x0"
    assert call(rpc, "eth_feeHistory", "0x2", "latest", ["x"])["code"] == -32602


ODDITIES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.text(max_size=8),
    st.sampled_from(["latest", "0x1", "0x" + "00" * 20, "0x" + "11" * 32]),
    st.dictionaries(
        st.sampled_from(["to", "data", "fromBlock", "topics", "address", "gas", "value"]),
        st.one_of(st.none(), st.text(max_size=4), st.lists(st.integers(), max_size=5)),
        max_size=3,
    ),
)


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.sampled_from(sorted(METHODS)), st.lists(ODDITIES, max_size=3))
def test_whatever_comes_in_the_answer_is_json_rpc(rpc: Rpc, method: str, params: list[object]) -> None:
    body = rpc.handle(json.dumps({"id": 1, "method": method, "params": params}).encode())
    assert body is not None
    document = json.loads(body)
    assert ("result" in document) != ("error" in document)
    if "error" in document:
        assert document["error"]["code"] != -32603, document


@given(st.binary(max_size=200))
def test_a_line_survives_only_whole(raw: bytes) -> None:
    lines = (TransactionLine(raw), BlockLine(5, 9, bytes(32), (raw.ljust(32, b"\0")[:32],)), GENESIS)
    for line in lines:
        encoded = encode_line(line)
        assert encoded.endswith(b"\n")
        assert decode_line(encoded[:-1]) == line
        assert decode_line(encoded[:-2]) is None


def test_a_failed_write_leaves_no_torn_middle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import os

    journal = Journal(tmp_path / "chain.journal")
    journal.append([GENESIS])
    before = journal.path.read_bytes()
    real = os.write

    def full(fd: int, data: bytes) -> int:
        real(fd, bytes(data)[:7])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(OSError, match="No space"):
        journal.append([TransactionLine(b"x" * 100)])
    monkeypatch.undo()
    assert journal.path.read_bytes() == before
    journal.append([TransactionLine(b"y")])
    journal.close()
    again = Journal(tmp_path / "chain.journal")
    assert again.lines == [GENESIS, TransactionLine(b"y")]
    assert again.torn is None
    with pytest.raises(JournalError, match="in use"):
        Journal(tmp_path / "chain.journal", lock_wait_s=0.0)
    again.close()
