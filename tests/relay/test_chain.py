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
