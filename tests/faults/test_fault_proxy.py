"""The fault proxy does what its faults say, and nothing while it is honest."""

import json
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.conftest import Anvil
from tests.harness.fault_proxy import (
    BAD_GATEWAY,
    DELAY,
    DROPPED_ANSWER,
    DROPPED_REQUEST,
    ERRORS,
    EVERY,
    FLIPPED_STATUS,
    LOST_SEND,
    MISSING_LOGS,
    MISSING_RECEIPT,
    STALE_HEAD,
    TOO_MANY,
    UNAVAILABLE,
    UNHEARD_SEND,
    WRONG_CHAIN,
    WRONG_RECEIPT,
    FaultProxy,
    Manners,
    always,
    fault_proxy,
    script,
    seeded,
)
from tests.harness.rpc import RpcError, rpc

RICH, OTHER = "0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266", "0x70997970C51812dc3A010C7d01b50e0d17dc79C8"
# Bytecode that makes one empty log and returns nothing: PUSH0-free, for every hardfork.
LOGGING_INIT = "0x60006000a0"


@pytest.fixture
def proxy(anvil: Anvil) -> Iterator[FaultProxy]:
    """A proxy in front of an anvil that mines only when told to."""
    with fault_proxy(anvil.url) as running:
        yield running


def send(url: str, data: str = "0x") -> str:
    """A transaction of an account that anvil signs for; its hash."""
    fields = {"from": RICH, "value": "0x0", "gas": "0x30000", "data": data} | ({} if data != "0x" else {"to": OTHER})
    return str(rpc(url, "eth_sendTransaction", fields))


def mined(anvil: Anvil) -> str:
    """A mined transaction with one log; its hash."""
    tx_hash = send(anvil.url, LOGGING_INIT)
    anvil.rpc("anvil_mine", "0x1")
    return tx_hash


def test_an_honest_proxy_changes_nothing(anvil: Anvil, proxy: FaultProxy) -> None:
    """Single calls and batches, results and errors."""
    tx_hash = mined(anvil)
    for method, params in (("eth_getTransactionReceipt", [tx_hash]), ("eth_chainId", []), ("eth_gasPrice", [])):
        assert rpc(proxy.url, method, *params) == anvil.rpc(method, *params)
    with pytest.raises(RpcError):
        rpc(proxy.url, "no_such_method")
    assert [one["result"] for one in batch(proxy.url, 2)] == [anvil.rpc("eth_chainId")] * 2
    assert not proxy.met
    assert proxy.asked["eth_chainId"] == 3


def batch(url: str, count: int) -> Any:
    """The raw answer to a batch of calls."""
    calls = [{"jsonrpc": "2.0", "id": number, "method": "eth_chainId", "params": []} for number in range(count)]
    asked = urllib.request.Request(url, json.dumps(calls).encode(), {"Content-Type": "application/json"})
    with urllib.request.urlopen(asked, timeout=60) as answer:
        return json.load(answer)


@pytest.mark.parametrize("fault", [TOO_MANY, UNAVAILABLE, BAD_GATEWAY], ids=lambda fault: fault.name)
def test_http_errors(proxy: FaultProxy, fault: Any) -> None:
    """The status, and how long to wait where it says so."""
    proxy.plan = always(fault)
    with pytest.raises(urllib.error.HTTPError) as refused:
        rpc(proxy.url, "eth_chainId")
    assert refused.value.code == fault.status
    assert (refused.value.headers.get("Retry-After") == "1") == (fault is TOO_MANY)
    refused.value.close()


@pytest.mark.parametrize(
    ("fault", "arrives"),
    [(DROPPED_REQUEST, False), (DROPPED_ANSWER, True), (LOST_SEND, False), (UNHEARD_SEND, True)],
    ids=lambda value: getattr(value, "name", ""),
)
def test_connections_that_break(anvil: Anvil, proxy: FaultProxy, fault: Any, arrives: bool) -> None:
    """The caller hears nothing; the node did, or did not."""
    signed = anvil.rpc("eth_signTransaction", transfer(anvil))
    proxy.plan = always(fault)
    with pytest.raises(OSError, match=r"closed|reset"):
        rpc(proxy.url, "eth_sendRawTransaction", signed)
    anvil.rpc("anvil_mine", "0x1")
    assert (anvil.rpc("eth_getTransactionCount", RICH, "latest") == "0x1") == arrives
    assert proxy.met[fault.name] == 1


def transfer(anvil: Anvil) -> dict[str, str]:
    """All fields of a transaction that anvil can sign."""
    price = str(anvil.rpc("eth_gasPrice"))
    return {"from": RICH, "to": OTHER, "value": "0x1", "gas": "0x5208", "gasPrice": price, "nonce": "0x0"}


def test_a_delay_and_an_error(proxy: FaultProxy) -> None:
    """Late but true; at once but no result."""
    proxy.plan = script(DELAY, ERRORS)
    started = time.monotonic()
    assert rpc(proxy.url, "eth_chainId") == "0x7a69"
    assert time.monotonic() - started >= DELAY.delay_s
    with pytest.raises(RpcError, match="internal error"):
        rpc(proxy.url, "eth_chainId")
    assert rpc(proxy.url, "eth_chainId") == "0x7a69"


def test_a_node_that_lags_is_behind_in_everything(anvil: Anvil, proxy: FaultProxy) -> None:
    """Head, blocks, nonces, receipts and logs are those of three blocks ago."""
    tx_hash = mined(anvil)
    anvil.rpc("anvil_mine", "0x1")
    head = int(str(anvil.rpc("eth_blockNumber")), 16)
    proxy.plan = always(STALE_HEAD)
    assert rpc(proxy.url, "eth_blockNumber") == "0x0"
    assert rpc(proxy.url, "eth_getBlockByNumber", "latest", False)["number"] == "0x0"
    assert rpc(proxy.url, "eth_getBlockByNumber", hex(head), False) is None
    assert rpc(proxy.url, "eth_getTransactionCount", RICH, "latest") == "0x0"
    assert rpc(proxy.url, "eth_getTransactionReceipt", tx_hash) is None
    assert rpc(proxy.url, "eth_getLogs", {"fromBlock": "0x0", "toBlock": "latest"}) == []
    anvil.rpc("anvil_mine", "0x3")
    assert rpc(proxy.url, "eth_getTransactionReceipt", tx_hash)["transactionHash"] == tx_hash
    proxy.plan = always(WRONG_CHAIN)
    assert rpc(proxy.url, "eth_chainId") == "0x1"
    assert int(rpc(proxy.url, "eth_blockNumber"), 16) == head + 3


Told = Callable[[Any, Any], bool]


@pytest.mark.parametrize(
    ("fault", "told"),
    [
        (WRONG_RECEIPT, lambda true, said: said == true | {"blockHash": said["blockHash"]} != true),
        (FLIPPED_STATUS, lambda true, said: (true["status"], said["status"], said["logs"]) == ("0x1", "0x0", [])),
        (MISSING_RECEIPT, lambda _true, said: said is None),
        (MISSING_LOGS, lambda true, said: said == true | {"logs": []} != true),
    ],
    ids=lambda value: getattr(value, "name", ""),
)
def test_lies_about_a_receipt(anvil: Anvil, proxy: FaultProxy, fault: Any, told: Told) -> None:
    """What is told differs from the truth in what the fault's name says; other methods are left alone."""
    tx_hash = mined(anvil)
    true: Any = anvil.rpc("eth_getTransactionReceipt", tx_hash)
    assert len(true["logs"]) == 1
    proxy.plan = always(fault)
    assert told(true, rpc(proxy.url, "eth_getTransactionReceipt", tx_hash))
    assert rpc(proxy.url, "eth_getTransactionByHash", tx_hash)["hash"] == tx_hash
    assert proxy.met[fault.name] == 1


def test_manners(proxy: FaultProxy) -> None:
    """Batches, tags, ranges and rates are refused as endpoints refuse them."""
    proxy.manners = Manners(batch_max=2, knows_finalized=False, logs_blocks_max=10)
    assert len(batch(proxy.url, 2)) == 2
    assert "batch" in batch(proxy.url, 3)["error"]["message"]
    with pytest.raises(RpcError, match="tag"):
        rpc(proxy.url, "eth_getBlockByNumber", "finalized", False)
    assert rpc(proxy.url, "eth_getLogs", {"fromBlock": "0x0", "toBlock": "0x9"}) == []
    for wide in ({"fromBlock": "0x0", "toBlock": "0xa"}, {"fromBlock": "0x0", "toBlock": "latest"}):
        with pytest.raises(RpcError, match="range"):
            rpc(proxy.url, "eth_getLogs", wide)
    proxy.manners = Manners(per_second=0)
    with pytest.raises(urllib.error.HTTPError) as refused:
        rpc(proxy.url, "eth_chainId")
    assert refused.value.code == 429
    refused.value.close()


def test_a_seed_decides(proxy: FaultProxy) -> None:
    """The same seed meets the same faults in the same places, about as many as asked for; another seed others."""

    def met(seed: int) -> list[str | None]:
        plan = seeded(seed, 0.25, *EVERY)
        calls = [[{"method": "eth_chainId"}], [{"method": "eth_getTransactionReceipt"}]] * 200
        return [None if fault is None else fault.name for fault in map(plan, calls)]

    assert met(1) == met(1) != met(2)
    assert 0.18 < sum(name is not None for name in met(1)) / 400 < 0.32
    assert len(set(met(1))) > 8
