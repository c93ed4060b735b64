"""The embedded chain's process: `python -m relay.devnet_server --journal FILE`, JSON-RPC over HTTP on loopback.

Touches the journal, one loopback socket and its standard streams. py-evm would stall its parent's event loop for
hundreds of milliseconds a batch, so it has a process of its own; it ends when its standard input does, so it never
outlives its parent. One JSON line on standard output says where it listens, or why it does not.
"""

import argparse
import asyncio
import gc
import json
import logging
import os
import socket
import sys
import threading
import time
from collections.abc import Awaitable, Callable, MutableMapping
from pathlib import Path
from typing import Any

import uvicorn
from eth_hash.backends import pysha3
from eth_hash.main import Keccak256

from relay.devnet_journal import GenesisLine, Journal, JournalError
from relay.devnet_node import Node
from relay.devnet_rpc import Rpc

BODY_BYTES_MAX = 8 * 1024 * 1024
CORS = [
    (b"access-control-allow-origin", b"*"),
    (b"access-control-allow-methods", b"POST, OPTIONS"),
    (b"access-control-allow-headers", b"content-type"),
    (b"access-control-max-age", b"86400"),
]

Message = MutableMapping[str, Any]
log = logging.getLogger(__name__)


class RpcApp:
    """The ASGI application: POST a call or a batch to any path; OPTIONS for browsers."""

    def __init__(self, rpc: Rpc) -> None:
        self._rpc = rpc

    async def __call__(
        self, scope: Message, receive: Callable[[], Awaitable[Message]], send: Callable[[Message], Awaitable[None]]
    ) -> None:
        """ASGI 3 entry point (HTTP only)."""
        if scope["type"] != "http":
            return None
        if scope["method"] == "OPTIONS":
            return await _reply(send, 204, b"")
        if scope["method"] != "POST":
            return await _reply(send, 405, b'{"error":"POST JSON-RPC 2.0 here"}')
        body = await read_body(receive, BODY_BYTES_MAX)
        if body is None:
            return await _reply(send, 413, b'{"error":"request body too large"}')
        answer = self._rpc.handle(body)
        return await _reply(send, 200 if answer is not None else 204, answer or b"")


async def read_body(receive: Callable[[], Awaitable[Message]], limit: int) -> bytes | None:
    """Read the whole request body; None when it is longer than `limit` bytes."""
    chunks: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        chunk = message.get("body", b"")
        size += len(chunk)
        if size > limit:
            return None
        chunks.append(chunk)
        if not message.get("more_body", False):
            return b"".join(chunks)


async def _reply(send: Callable[[Message], Awaitable[None]], status: int, body: bytes) -> None:
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode()), *CORS]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def use_fast_keccak() -> None:
    """Make py-evm hash with pysha3: eth-hash would choose pycryptodome by itself, six times slower."""
    from eth_hash import auto  # noqa: PLC0415 - patched here and nowhere else

    # Everyone has imported the one object `keccak`, so its insides are exchanged, not the name.
    fast = Keccak256(pysha3.backend)
    auto.keccak._backend = pysha3.backend
    auto.keccak.hasher = fast.hasher
    auto.keccak.preimage = fast.preimage


def exit_with_parent() -> None:
    """End this process as soon as standard input ends: the parent closed it, or died."""

    def watch() -> None:
        while sys.stdin.buffer.read(4096):
            pass
        os._exit(0)  # nothing to save: whatever was answered is in the journal already

    threading.Thread(target=watch, name="parent-watch", daemon=True).start()


async def serve(node: Node, listener: socket.socket, announce: Callable[[], None]) -> None:
    """Serve and mine until cancelled; an error of the miner (a full disk) ends both."""
    config = uvicorn.Config(
        RpcApp(Rpc(node)),
        log_level="warning",
        access_log=False,
        lifespan="off",
        loop="uvloop",
        http="httptools",
        timeout_keep_alive=600,
    )
    server = uvicorn.Server(config)
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    mining = asyncio.create_task(node.mine_forever())
    announce()
    await asyncio.wait({serving, mining}, return_when=asyncio.FIRST_COMPLETED)
    if mining.done():
        mining.result()


def main(arguments: list[str] | None = None) -> int:
    """Run the process; returns its exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--journal", type=Path, required=True)
    parser.add_argument("--port", type=int, default=0, help="to listen on; 0: any that is free")
    parser.add_argument("--chain-id", type=int, default=31337)
    parser.add_argument("--lock-wait-s", type=float, default=10.0)
    parser.add_argument("--fund", nargs="*", default=[], metavar="ADDRESS", help="accounts of the genesis block")
    options = parser.parse_args(arguments)
    exit_with_parent()
    use_fast_keccak()
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr)
    genesis = GenesisLine(
        version=1,
        chain_id=options.chain_id,
        timestamp=int(time.time()) - 1,
        gas_limit=30_000_000,
        base_fee=1_000_000_000,
        alloc={address.lower(): 10**24 for address in options.fund},
    )
    started = time.perf_counter()
    try:
        journal = Journal(options.journal, options.lock_wait_s)
        node = Node(journal, genesis, time.time)
        listener = socket.create_server(("127.0.0.1", options.port))
    except (JournalError, OSError) as error:
        print(json.dumps({"error": str(error)}), flush=True)
        return 1
    gc.freeze()

    def announce() -> None:
        ready = {
            "rpcUrl": f"http://127.0.0.1:{listener.getsockname()[1]}",
            "chainId": options.chain_id,
            "blockNumber": node.chain.head.number,
            "rebuiltInMs": round((time.perf_counter() - started) * 1000),
            "notice": journal.torn,
        }
        print(json.dumps(ready), flush=True)

    with asyncio.Runner() as runner:
        runner.run(serve(node, listener, announce))
    return 1


if __name__ == "__main__":
    code = main()
    sys.stdout.flush()
    os._exit(code)  # the interpreter's own end would stumble over the thread that still reads standard input
