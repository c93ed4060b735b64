"""The chain client against a server that misbehaves: what is an answer, what is none, and what is never shown."""

import asyncio
import json
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest

from relay.chain import Chain
from relay.chain_limits import EndpointLimits
from relay.chain_types import Block, ChainAnswerError, ChainUnavailableError, Fees, SendAnswer

TOKEN = "s3cret-token"
Answer = Callable[[Any], tuple[int, bytes]]


@contextmanager
def endpoint(answer: Answer) -> Iterator[str]:
    """A real HTTP server that answers whatever the test says."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            request = json.loads(self.rfile.read(int(self.headers["content-length"])))
            status, body = answer(request)
            self.send_response(status)
            self.send_header("content-length", str(len(body)))
            self.send_header("content-type", "application/json")
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
            """Stay silent."""

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/{TOKEN}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def ask(answer: Answer, job: Callable[[Chain], Awaitable[Any]]) -> Any:
    """Run one job against such a server."""

    async def run(url: str) -> Any:
        chain = Chain(url, timeout_s=1.0)
        try:
            return await job(chain)
        finally:
            await chain.close()

    with endpoint(answer) as url:
        return asyncio.run(run(url))


def result(value: object) -> Answer:
    """Always the same result."""
    return lambda request: (200, json.dumps({"jsonrpc": "2.0", "id": request["id"], "result": value}).encode())


def error(code: int, message: str, data: object = None) -> Answer:
    """Always the same error."""
    body = {"code": code, "message": message} | ({} if data is None else {"data": data})
    return lambda request: (200, json.dumps({"jsonrpc": "2.0", "id": request["id"], "error": body}).encode())


@pytest.mark.parametrize(
    "answer",
    [
        lambda _: (429, b"{}"),
        lambda _: (503, b"<html>"),
        lambda _: (200, b"<html>not json"),
        lambda _: (200, b'{"jsonrpc":"2.0","id":1}'),
        lambda _: (200, b'"text"'),
        error(-32005, "daily request count exceeded"),
        error(429, "slow down"),
    ],
)
def test_no_usable_answer_is_unavailable_and_never_shows_the_url(answer: Answer) -> None:
    with pytest.raises(ChainUnavailableError) as raised:
        ask(answer, Chain.chain_id)
    assert TOKEN not in str(raised.value)
    assert raised.value.__cause__ is None
    sent = ask(answer, lambda chain: chain.send_raw(b"\x01"))
    assert not sent.accepted
    assert sent.code is None


def test_nobody_there() -> None:
    async def run() -> None:
        chain = Chain(f"http://127.0.0.1:1/{TOKEN}", timeout_s=1.0)
        with pytest.raises(ChainUnavailableError):
            await chain.chain_id()
        await chain.close()

    asyncio.run(run())


@pytest.mark.parametrize("data", ["0x08c379a0", {"data": "0x08c379a0"}])
def test_revert_data_in_each_node_s_shape(data: object) -> None:
    with pytest.raises(ChainAnswerError) as raised:
        ask(error(3, "execution reverted", data), lambda chain: chain.call(bytes(20), b""))
    assert raised.value.revert == bytes.fromhex("08c379a0")
    assert raised.value.code == 3


def test_a_send_is_made_once_and_answers_instead_of_raising() -> None:
    asked = []

    def answer(request: Any) -> tuple[int, bytes]:
        asked.append(request)
        return 500, b""

    assert ask(answer, lambda chain: chain.send_raw(b"\x01\x02")) == SendAnswer(False, None, "HTTP 500")
    assert [(call["method"], call["params"]) for call in asked] == [("eth_sendRawTransaction", ["0x0102"])]
    assert ask(result("0x" + "00" * 32), lambda chain: chain.send_raw(b"\x01")) == SendAnswer(True)
    refused = ask(error(-32000, "nonce too low"), lambda chain: chain.send_raw(b"\x01"))
    assert refused == SendAnswer(False, -32000, "nonce too low")


def test_batches_are_cut_to_size_and_replaced_where_an_endpoint_has_none() -> None:
    sizes: list[int] = []

    def many(request: Any) -> tuple[int, bytes]:
        sizes.append(len(request))
        return 200, json.dumps([{"jsonrpc": "2.0", "id": call["id"], "result": None} for call in request]).encode()

    assert ask(many, lambda chain: chain.receipts([bytes(32)] * 120)) == [None] * 120
    assert sizes == [EndpointLimits().batch_calls] * 2 + [20]

    def single(request: Any) -> tuple[int, bytes]:
        if isinstance(request, list):
            return 200, b'{"jsonrpc":"2.0","id":null,"error":{"code":-32600,"message":"no batches"}}'
        return 200, json.dumps({"jsonrpc": "2.0", "id": request["id"], "result": None}).encode()

    assert ask(single, lambda chain: chain.receipts([bytes(32)] * 3)) == [None] * 3


def test_a_chain_without_the_finalized_tag_and_without_base_fees() -> None:
    head = {
        "number": "0x64", "hash": "0x" + "01" * 32, "parentHash": "0x" + "02" * 32, "timestamp": "0x5",
        "gasLimit": "0x1c9c380",
    }  # fmt: skip

    def answer(request: Any) -> tuple[int, bytes]:
        if isinstance(request, list):
            return 200, b"[" + b",".join(answer(call)[1] for call in request) + b"]"
        if request["params"][:1] == ["finalized"]:
            return error(-32602, "unknown tag")(request)
        if request["method"] == "eth_maxPriorityFeePerGas":
            return error(-32601, "no such method")(request)
        return result("0x7" if request["method"] == "eth_gasPrice" else head)(request)

    block = Block(100, b"\x01" * 32, b"\x02" * 32, 5, None, 30_000_000)
    assert ask(answer, Chain.head) == block
    assert ask(answer, lambda chain: chain.finalized(0, block)) == 88
    assert ask(answer, lambda chain: chain.finalized(3, block)) == 97
    assert ask(answer, Chain.fees) == Fees(None, 0, 7)


BLOCK = {
    "number": "0x5", "hash": "0x" + "01" * 32, "parentHash": "0x" + "02" * 32, "timestamp": "0x5",
    "gasLimit": "0x1c9c380", "baseFeePerGas": "0x7",
}  # fmt: skip
RECEIPT: dict[str, Any] = {
    "transactionHash": "0x" + "0a" * 32, "blockNumber": "0x5", "blockHash": "0x" + "01" * 32, "status": "0x1",
    "gasUsed": "0x5208", "logs": [], "contractAddress": None,
}  # fmt: skip


@pytest.mark.parametrize("bad", ["text", 5, [], {}, BLOCK | {"number": None}, BLOCK | {"hash": "01"},
                                 BLOCK | {"timestamp": "later"}, {**BLOCK, "gasLimit": 5}])  # fmt: skip
def test_a_result_of_another_form_is_no_answer(bad: object) -> None:
    with pytest.raises(ChainUnavailableError):
        ask(result(bad), Chain.head)


@pytest.mark.parametrize(
    "job",
    [
        lambda chain: chain.block(6),
        lambda chain: chain.blocks([6]),
        lambda chain: chain.look([5, 6]),
    ],
)
def test_another_block_than_the_one_asked_for_is_no_answer(job: Callable[[Chain], Awaitable[Any]]) -> None:
    def answer(request: Any) -> tuple[int, bytes]:
        if isinstance(request, list):
            return 200, b"[" + b",".join(answer(call)[1] for call in request) + b"]"
        return result("0x1" if request["method"] == "eth_chainId" else BLOCK)(request)

    with pytest.raises(ChainUnavailableError, match="another block"):
        ask(answer, job)


def test_another_transaction_s_receipt_is_no_answer() -> None:
    assert ask(result(RECEIPT), lambda chain: chain.receipts([b"\x0a" * 32]))[0].gas_used == 21_000
    with pytest.raises(ChainUnavailableError, match="another transaction"):
        ask(result(RECEIPT), lambda chain: chain.receipts([b"\x0b" * 32]))
    assert ask(result(RECEIPT | {"blockHash": None}), lambda chain: chain.receipts([b"\x0a" * 32])) == [None]


def nonces(request: Any) -> list[dict[str, Any]]:
    """Each call of a batch answered with the tag it asked for."""
    return [{"jsonrpc": "2.0", "id": call["id"], "result": call["params"][1]} for call in request]


CALLS = [("eth_getTransactionCount", ("0x", hex(number))) for number in range(9)]


def test_answers_of_a_batch_belong_to_their_calls_in_whatever_order_they_come() -> None:
    def shuffled(request: Any) -> tuple[int, bytes]:
        return 200, json.dumps(nonces(request)[::-1]).encode()

    assert ask(shuffled, lambda chain: chain.batch(CALLS)) == [hex(number) for number in range(9)]


@pytest.mark.parametrize(
    "spoil",
    [
        lambda found: found[:-1],
        lambda found: found[:1] * 9,
        lambda found: [None, *found[1:]],
        lambda found: [one | {"id": None} for one in found],
    ],
)
def test_a_batch_answered_in_part_is_no_answer(spoil: Callable[[Any], Any]) -> None:
    with pytest.raises(ChainUnavailableError, match="in part"):
        ask(lambda request: (200, json.dumps(spoil(nonces(request))).encode()), lambda chain: chain.batch(CALLS))


@pytest.mark.parametrize(
    "refusal",
    [
        (413, b"<html>too large"),
        (400, b'{"error":{"code":-32600,"message":"no"}}'),
        (200, b'{"jsonrpc":"2.0","id":null,"error":{"code":-32600,"message":"Invalid Request"}}'),
        (200, b'[{"jsonrpc":"2.0","id":0,"error":{"code":-32600,"message":"batch too large"}}]'),
        (200, b'[{"jsonrpc":"2.0","id":null,"error":{"code":-32011,"message":"The batch request was too large"}}]'),
    ],
)
def test_a_batch_that_is_refused_is_halved_until_it_is_taken(refusal: tuple[int, bytes]) -> None:
    sizes: list[int] = []

    def answer(request: Any) -> tuple[int, bytes]:
        if not isinstance(request, list):
            return 200, json.dumps(nonces([request])[0]).encode()
        sizes.append(len(request))
        return refusal if len(request) > 3 else (200, json.dumps(nonces(request)).encode())

    assert ask(answer, lambda chain: chain.batch(CALLS)) == [hex(number) for number in range(9)]
    assert sizes == [9, 4, 2, 2, 2, 2]


def test_an_error_in_a_batch_is_the_error_of_its_call() -> None:
    def answer(request: Any) -> tuple[int, bytes]:
        found = nonces(request)
        found[4] = {"jsonrpc": "2.0", "id": request[4]["id"], "error": {"code": -32000, "message": "no such state"}}
        return 200, json.dumps(found).encode()

    with pytest.raises(ChainAnswerError, match="no such state"):
        ask(answer, lambda chain: chain.batch(CALLS))


def test_a_refusal_with_an_http_error_is_read() -> None:
    body = b'{"jsonrpc":"2.0","id":1,"error":{"code":-32614,"message":"eth_getLogs is limited to a 10 range"}}'
    asked: list[tuple[int, int]] = []

    def answer(request: Any) -> tuple[int, bytes]:
        query = request["params"][0]
        first, last = int(query["fromBlock"], 16), int(query["toBlock"], 16)
        asked.append((first, last))
        return (413, body) if last - first >= 10 else result([])(request)

    assert ask(answer, lambda chain: chain.logs(bytes(20), [], 0, 34)) == []
    assert asked == [(0, 34), (0, 9), (10, 19), (20, 29), (30, 34)]


@pytest.mark.parametrize("status", [401, 403, 404, 500, 502])
def test_other_http_errors_are_no_answers(status: int) -> None:
    with pytest.raises(ChainUnavailableError, match=f"HTTP {status}"):
        ask(lambda _: (status, b"{}"), Chain.chain_id)
