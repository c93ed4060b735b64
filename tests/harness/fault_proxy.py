"""A JSON-RPC proxy in front of a real node that misbehaves as real endpoints do, by script or by seed.

Touches loopback HTTP; runs on a thread of its own. A `Fault` is one way to misbehave, a `Plan` says which one a request
meets, `Manners` are what an endpoint refuses always. The node behind it stays honest: tests ask it what really is.
"""

import asyncio
import json
import random
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

from aiohttp import ClientSession, ClientTimeout, web

Call = dict[str, Any]
Lie = Callable[[str, list[Any], Any], Any]
"""(method, params, true result) -> the result the caller gets."""

BLOCK_TAGS = ("latest", "pending", "safe")
RECEIPTS = frozenset({"eth_getTransactionReceipt"})
RECEIPTS_AND_LOGS = RECEIPTS | {"eth_getLogs"}
CODE_INTERNAL, CODE_INVALID, CODE_LIMIT = -32603, -32600, -32005


@dataclass(frozen=True)
class Fault:
    """One way to misbehave. `methods`: only requests with one of these meet it; None: every request.

    `forwarded`, `answered`: whether the request reaches the node, and its answer the caller. `status`: an HTTP error
    in place of the answer. `error`: a JSON-RPC error in place of every result. `lag_blocks`: the node is that far
    behind, in everything it says. `lie`: what becomes of a true result.
    """

    name: str
    methods: frozenset[str] | None = None
    delay_s: float = 0.0
    forwarded: bool = True
    answered: bool = True
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    error: tuple[int, str] | None = None
    lag_blocks: int = 0
    lie: Lie | None = None

    def meets(self, calls: Sequence[Call]) -> bool:
        """Whether a request with these calls can meet it."""
        return self.methods is None or any(call.get("method") in self.methods for call in calls)


def _another_block(_method: str, _params: list[Any], result: Any) -> Any:
    return result and result | {"blockHash": "0x" + "fe" * 32}


def _flipped(_method: str, _params: list[Any], result: Any) -> Any:
    if not result:
        return result
    failed = result["status"] == "0x1"
    return result | ({"status": "0x0", "logs": []} if failed else {"status": "0x1"})


def _no_logs(method: str, _params: list[Any], result: Any) -> Any:
    if method == "eth_getLogs":
        return []
    return result and result | {"logs": []}


DELAY = Fault("delay", delay_s=0.3)
DROPPED_REQUEST = Fault("dropped request", forwarded=False, answered=False)
DROPPED_ANSWER = Fault("dropped answer", answered=False)
TOO_MANY = Fault("429", forwarded=False, status=429, headers={"Retry-After": "1"})
UNAVAILABLE = Fault("503", forwarded=False, status=503)
BAD_GATEWAY = Fault("502 after it was done", status=502)
STALE_HEAD = Fault("stale head", lag_blocks=3)
WRONG_RECEIPT = Fault("wrong receipt", methods=RECEIPTS, lie=_another_block)
FLIPPED_STATUS = Fault("flipped status", methods=RECEIPTS, lie=_flipped)
MISSING_RECEIPT = Fault("missing receipt", methods=RECEIPTS, lie=lambda *_: None)
MISSING_LOGS = Fault("missing logs", methods=RECEIPTS_AND_LOGS, lie=_no_logs)
WRONG_CHAIN = Fault("wrong chain id", methods=frozenset({"eth_chainId"}), lie=lambda *_: "0x1")
ERRORS = Fault("error for everything", forwarded=False, error=(CODE_INTERNAL, "internal error"))
LOST_SEND = Fault("lost send", methods=frozenset({"eth_sendRawTransaction"}), forwarded=False, answered=False)
UNHEARD_SEND = Fault("unheard send", methods=frozenset({"eth_sendRawTransaction"}), answered=False)

EVERY = (
    DELAY, DROPPED_REQUEST, DROPPED_ANSWER, TOO_MANY, UNAVAILABLE, BAD_GATEWAY, STALE_HEAD, WRONG_RECEIPT,
    FLIPPED_STATUS, MISSING_RECEIPT, MISSING_LOGS, WRONG_CHAIN, ERRORS, LOST_SEND, UNHEARD_SEND,
)  # fmt: skip

Plan = Callable[[Sequence[Call]], Fault | None]
"""Which fault a request with these calls meets, if any."""


def honest(_calls: Sequence[Call]) -> Fault | None:
    """Pass everything."""
    return None


def always(fault: Fault) -> Plan:
    """Every request that can meet it does."""
    return lambda calls: fault if fault.meets(calls) else None


def script(*steps: Fault | None) -> Plan:
    """One step after another, each for the next request that can meet it (None: any one passes); then honest."""
    left = list(steps)

    def plan(calls: Sequence[Call]) -> Fault | None:
        if left and (left[0] is None or left[0].meets(calls)):
            return left.pop(0)
        return None

    return plan


def seeded(seed: int, share: float, *faults: Fault) -> Plan:
    """A share of the requests meets one of the faults.

    Which, follows from the seed, the request's first method and how many of those came before: it does not depend on
    how requests of different kinds interleave.
    """
    met: Counter[str] = Counter()

    def plan(calls: Sequence[Call]) -> Fault | None:
        method = str(calls[0].get("method")) if calls else ""
        met[method] += 1
        chance = random.Random(f"{seed} {method} {met[method]}")
        possible = [fault for fault in faults if fault.meets(calls)]
        return chance.choice(possible) if possible and chance.random() < share else None

    return plan


@dataclass(frozen=True)
class Manners:
    """What an endpoint refuses on principle. `batch_max`: calls per HTTP request, 0: no batches at all, None: any."""

    batch_max: int | None = None
    logs_blocks_max: int | None = None
    knows_finalized: bool = True
    per_second: int | None = None  # HTTP requests, else 429

    def refusal(self, call: Call) -> tuple[int, str] | None:
        """The JSON-RPC error a call gets, None: it is served."""
        params = call.get("params") or []
        if not self.knows_finalized and any(param in {"finalized", "safe"} for param in params if _is_text(param)):
            return -32602, "invalid block tag"
        if self.logs_blocks_max is not None and call.get("method") == "eth_getLogs":
            first, last = params[0].get("fromBlock", "latest"), params[0].get("toBlock", "latest")
            # An open end is refused too: how far it reaches is not known to the caller.
            if not (_is_number(first) and _is_number(last)) or int(last, 16) - int(first, 16) >= self.logs_blocks_max:
                return CODE_LIMIT, f"query exceeds max block range {self.logs_blocks_max}"
        return None


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _is_number(value: object) -> bool:
    return isinstance(value, str) and value.startswith("0x")


class FaultProxy:
    """The proxy; `plan` and `manners` may be replaced at any time. `met` counts faults by name, `asked` methods."""

    def __init__(self, node_url: str) -> None:
        self.node_url = node_url
        self.url = ""
        self.plan: Plan = honest
        self.manners = Manners()
        self.met: Counter[str] = Counter()
        self.asked: Counter[str] = Counter()
        self.largest_batch = 0
        self._second: tuple[int, int] = (0, 0)  # the second it is, requests in it
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self._end = asyncio.Event()
        self._thread = threading.Thread(target=self._serve, name="fault-proxy", daemon=True)

    def start(self) -> None:
        """Listen on a free port of loopback."""
        self._thread.start()
        if not self._ready.wait(60):
            raise RuntimeError("the fault proxy did not start")

    def stop(self) -> None:
        """Close every connection and end the thread."""
        self._loop.call_soon_threadsafe(self._end.set)
        self._thread.join(60)

    def _serve(self) -> None:
        try:
            self._loop.run_until_complete(self._main())
        finally:
            self._loop.close()

    async def _main(self) -> None:
        app = web.Application(client_max_size=64 * 1024 * 1024)
        app.router.add_post("/{tail:.*}", self._handle)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0)
        async with ClientSession(timeout=ClientTimeout(total=60)) as self._node:
            await runner.setup()
            site = web.TCPSite(runner, "127.0.0.1", 0)
            await site.start()
            host, port = runner.addresses[0][:2]
            self.url = f"http://{host}:{port}"
            self._ready.set()
            await self._end.wait()
            await runner.cleanup()

    # ------------------------------------------------------------------- one request

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        body = json.loads(await request.read())
        calls: list[Call] = body if isinstance(body, list) else [body]
        self.asked.update(str(call.get("method")) for call in calls)
        if self._over_rate():
            self.met["rate limit"] += 1
            return web.json_response({"error": "too many requests"}, status=429)
        if isinstance(body, list) and self.manners.batch_max is not None and len(body) > self.manners.batch_max:
            self.met["batch refused"] += 1
            refused = {"code": CODE_INVALID, "message": f"batch of more than {self.manners.batch_max} calls"}
            return web.json_response({"jsonrpc": "2.0", "id": None, "error": refused})
        self.largest_batch = max(self.largest_batch, len(body) if isinstance(body, list) else 0)
        fault = self.plan(calls)
        if fault is not None:
            self.met[fault.name] += 1
        answers = await self._answers(calls, fault or Fault("none"))
        if fault is not None and not fault.answered:
            if request.transport is not None:
                request.transport.abort()
            return web.Response()
        if fault is not None and fault.status != 200:
            return web.json_response({"error": fault.name}, status=fault.status, headers=dict(fault.headers))
        return web.json_response(answers if isinstance(body, list) else answers[0])

    def _over_rate(self) -> bool:
        if self.manners.per_second is None:
            return False
        second = int(self._loop.time())
        self._second = (second, self._second[1] + 1 if self._second[0] == second else 1)
        return self._second[1] > self.manners.per_second

    async def _answers(self, calls: Sequence[Call], fault: Fault) -> list[dict[str, Any]]:
        """What the node says, or is made to say."""
        if fault.delay_s:
            with suppress(TimeoutError):
                async with asyncio.timeout(fault.delay_s):
                    await self._end.wait()  # a proxy that ends does not keep its test waiting
        if not fault.forwarded:
            return [_error(call, *(fault.error or (CODE_INTERNAL, fault.name))) for call in calls]
        head = await self._head() - fault.lag_blocks if fault.lag_blocks else None
        return [await self._answer(call, fault, head) for call in calls]

    async def _answer(self, call: Call, fault: Fault, head: int | None) -> dict[str, Any]:
        refusal = self.manners.refusal(call)
        if refusal is not None:
            self.met["refused call"] += 1
            return _error(call, *refusal)
        if fault.error is not None:
            return _error(call, *fault.error)
        method, params = str(call.get("method")), list(call.get("params") or [])
        answer = await self._ask(call | {"params": params if head is None else _as_of(params, head)})
        if "result" in answer and head is not None:
            answer["result"] = _known_at(method, params, answer["result"], max(head, 0))
        if "result" in answer and fault.lie and (fault.methods is None or method in fault.methods):
            answer["result"] = fault.lie(method, params, answer["result"])
        return answer

    async def _head(self) -> int:
        asked = {"jsonrpc": "2.0", "id": 1, "method": "eth_blockNumber", "params": []}
        return int((await self._ask(asked))["result"], 16)

    async def _ask(self, call: Call) -> dict[str, Any]:
        async with self._node.post(self.node_url, json=call) as answer:
            found: dict[str, Any] = await answer.json()
            return found


def _error(call: Call, code: int, message: str) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": call.get("id"), "error": {"code": code, "message": message}}


def _as_of(params: list[Any], head: int) -> list[Any]:
    """The same question about the state at `head`."""
    number = hex(max(head, 0))
    found = [number if isinstance(param, str) and param in BLOCK_TAGS else param for param in params]
    return [
        param | {"toBlock": number} if isinstance(param, dict) and param.get("toBlock") in BLOCK_TAGS else param
        for param in found
    ]


def _known_at(method: str, params: list[Any], result: Any, head: int) -> Any:
    """What a node whose newest block is `head` would answer in place of this result."""
    if method == "eth_blockNumber":
        return hex(head)
    if method == "eth_getBlockByNumber" and _is_number(params[0]) and int(params[0], 16) > head:
        return None
    if method in RECEIPTS and result and int(result["blockNumber"], 16) > head:
        return None
    if method == "eth_getLogs":
        return [log for log in result if int(log["blockNumber"], 16) <= head]
    return result


@contextmanager
def fault_proxy(node_url: str) -> Iterator[FaultProxy]:
    """A proxy in front of a node; honest until it is told otherwise."""
    proxy = FaultProxy(node_url)
    proxy.start()
    try:
        yield proxy
    finally:
        proxy.stop()
