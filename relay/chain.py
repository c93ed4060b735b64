"""The chain as the relay uses it: typed values over raw JSON-RPC; the only web3 of this package.

Touches one RPC endpoint. Answers are decoded by hand from the raw JSON (web3's formatters cost several times more on
the hot path); nothing is retried here, because what a failed send means is decided in `relay.outbox`.
"""

import logging
from collections.abc import Sequence
from typing import Any, TypeAlias, cast

from aiohttp import ClientError, ClientResponseError, ClientTimeout
from web3 import AsyncHTTPProvider, AsyncWeb3
from web3.types import RPCEndpoint

from relay.chain_types import Block, ChainAnswerError, ChainUnavailableError, Fees, Log, Receipt, SendAnswer

logging.getLogger("web3.providers").setLevel(logging.WARNING)  # it logs the endpoint's URL, which can hold a token

BATCH_CALLS_MAX = 50  # below what public endpoints allow
Tag: TypeAlias = int | str


class Chain:
    """One endpoint. Every method raises ChainUnavailableError or ChainAnswerError, except `send_raw`, which answers."""

    def __init__(self, rpc_url: str, timeout_s: float = 10.0) -> None:
        provider = AsyncHTTPProvider(
            rpc_url, request_kwargs={"timeout": ClientTimeout(total=timeout_s)}, exception_retry_configuration=None
        )
        self._web3: AsyncWeb3[AsyncHTTPProvider] = AsyncWeb3(provider)

    async def close(self) -> None:
        """Close the connections."""
        await self._web3.provider.disconnect()

    async def request(self, method: str, *params: object) -> Any:  # a result is any JSON
        """One call; returns its `result`."""
        return _result(await self._transport(self._web3.provider.make_request(RPCEndpoint(method), list(params))))

    async def batch(self, calls: Sequence[tuple[str, Sequence[object]]]) -> list[Any]:
        """Several calls in order, in as few HTTP requests as the limit allows; the first error is raised."""
        results: list[Any] = []
        for start in range(0, len(calls), BATCH_CALLS_MAX):
            part = [(RPCEndpoint(method), list(params)) for method, params in calls[start : start + BATCH_CALLS_MAX]]
            answers = await self._transport(self._web3.provider.make_batch_request(part))
            if not isinstance(answers, list):  # an endpoint without batches answers one error object
                answers = [await self._transport(self._web3.provider.make_request(*call)) for call in part]
            results += [_result(answer) for answer in answers]
        return results

    async def _transport(self, call: Any) -> Any:
        try:
            return await call
        except ClientResponseError as error:
            raise ChainUnavailableError(f"HTTP {error.status}") from None  # its text would show the URL
        except (ClientError, TimeoutError, ValueError, KeyError, OSError) as error:
            raise ChainUnavailableError(type(error).__name__) from None

    async def chain_id(self) -> int:
        """The endpoint's chain id (EIP-155)."""
        return int(await self.request("eth_chainId"), 16)

    async def block(self, tag: Tag) -> Block | None:
        """A block by number or tag; None when the endpoint does not have it."""
        raw = await self.request("eth_getBlockByNumber", _tag(tag), False)
        return None if raw is None else _block(raw)

    async def head(self) -> Block:
        """The newest block."""
        block = await self.block("latest")
        if block is None:
            raise ChainUnavailableError("no latest block")
        return block

    async def blocks(self, numbers: Sequence[int]) -> list[Block | None]:
        """Blocks by number, in order."""
        found = await self.batch([("eth_getBlockByNumber", (_tag(number), False)) for number in numbers])
        return [None if raw is None else _block(raw) for raw in found]

    async def finalized(self, confirmations: int, head: Block) -> int:
        """Highest final block number: `confirmations` below the head, or for 0 the chain's `finalized` tag.

        A chain that does not know the tag counts as final 12 blocks below the head.
        """
        if confirmations == 0:
            try:
                block = await self.block("finalized")
            except ChainAnswerError:
                block = None
            if block is not None:
                return block.number
            confirmations = 12
        return max(0, head.number - confirmations)

    async def nonce(self, address: bytes, tag: Tag = "latest") -> int:
        """Next nonce of the account as of `tag`."""
        return int(await self.request("eth_getTransactionCount", _hex(address), _tag(tag)), 16)

    async def balance(self, address: bytes) -> int:
        """Balance in wei."""
        return int(await self.request("eth_getBalance", _hex(address), "latest"), 16)

    async def code(self, address: bytes) -> bytes:
        """Code at the address; empty for a plain account."""
        return _bytes(await self.request("eth_getCode", _hex(address), "latest"))

    async def fees(self) -> Fees:
        """The fee market as of the latest block."""
        head = await self.head()
        price = int(await self.request("eth_gasPrice"), 16)
        if head.base_fee is None:
            return Fees(None, 0, price)
        try:
            tip = int(await self.request("eth_maxPriorityFeePerGas"), 16)
        except ChainAnswerError:  # not every node knows the method
            tip = max(price - head.base_fee, 0)
        return Fees(head.base_fee, tip, price)

    async def call(self, to: bytes, data: bytes, sender: bytes | None = None) -> bytes:
        """eth_call at the latest block; ChainAnswerError.revert holds the revert data."""
        fields = {"to": _hex(to), "data": _hex(data)} | ({"from": _hex(sender)} if sender else {})
        return _bytes(await self.request("eth_call", fields, "latest"))

    async def estimate_gas(self, sender: bytes, to: bytes | None, data: bytes) -> int:
        """Gas limit with which the call succeeds; a revert raises ChainAnswerError."""
        fields = {"from": _hex(sender), "data": _hex(data)} | ({"to": _hex(to)} if to else {})
        return int(await self.request("eth_estimateGas", fields), 16)

    async def receipts(self, hashes: Sequence[bytes]) -> list[Receipt | None]:
        """Receipts in the order of the hashes; None for a transaction that is not mined."""
        found = await self.batch([("eth_getTransactionReceipt", (_hex(item),)) for item in hashes])
        return [None if raw is None or raw.get("blockHash") is None else _receipt(raw) for raw in found]

    async def logs(
        self,
        address: bytes,
        topics: Sequence[bytes | Sequence[bytes] | None],
        first: int,
        last: int | None = None,
    ) -> list[Log]:
        """Logs of the contract in the blocks first..last (None: the latest)."""
        wanted = [None if item is None else _hex(item) if isinstance(item, bytes) else [_hex(one) for one in item]
                  for item in topics]  # fmt: skip
        query = {
            "address": _hex(address),
            "topics": wanted,
            "fromBlock": _tag(first),
            "toBlock": "latest" if last is None else _tag(last),
        }
        return [_log(raw) for raw in await self.request("eth_getLogs", query)]

    async def send_raw(self, raw: bytes) -> SendAnswer:
        """Broadcast once, without any retry; never raises for what the endpoint does."""
        try:
            await self.request("eth_sendRawTransaction", _hex(raw))
        except ChainAnswerError as error:
            return SendAnswer(False, error.code, error.message)
        except ChainUnavailableError as error:
            return SendAnswer(False, None, str(error))
        return SendAnswer(True)


def _result(answer: Any) -> Any:
    if not isinstance(answer, dict):
        raise ChainUnavailableError("not a JSON-RPC answer")
    if answer.get("error") is None:
        if "result" not in answer:
            raise ChainUnavailableError("not a JSON-RPC answer")
        return answer["result"]
    error = answer["error"]
    if not isinstance(error, dict):
        raise ChainAnswerError(0, str(error)[:300], None)
    code = error.get("code")
    if code in (-32005, 429):  # "limit exceeded" inside HTTP 200 is a refusal to answer, not an answer
        raise ChainUnavailableError("rate limited")
    raise ChainAnswerError(
        code if isinstance(code, int) else 0, str(error.get("message", ""))[:300], _revert_data(error.get("data"))
    )


def _revert_data(data: object) -> bytes | None:
    """Revert data as nodes give it: hex text (geth, anvil), or inside an object (Hardhat, Ganache)."""
    if isinstance(data, dict):
        data = data.get("data")
    if isinstance(data, str) and data.startswith("0x"):
        try:
            return bytes.fromhex(data[2:])
        except ValueError:
            return None
    return None


def _hex(value: bytes) -> str:
    return "0x" + value.hex()


def _bytes(value: str) -> bytes:
    return bytes.fromhex(value[2:])


def _tag(tag: Tag) -> str:
    return hex(tag) if isinstance(tag, int) else tag


def _block(raw: dict[str, Any]) -> Block:
    base = raw.get("baseFeePerGas")
    return Block(
        number=int(raw["number"], 16),
        hash=_bytes(raw["hash"]),
        parent_hash=_bytes(raw["parentHash"]),
        timestamp=int(raw["timestamp"], 16),
        base_fee=None if base is None else int(base, 16),
        gas_limit=int(raw["gasLimit"], 16),
    )


def _log(raw: dict[str, Any]) -> Log:
    return Log(
        address=_bytes(raw["address"]),
        topics=tuple(_bytes(topic) for topic in raw["topics"]),
        data=_bytes(raw["data"]),
        block_number=int(raw["blockNumber"], 16),
        block_hash=_bytes(raw["blockHash"]),
        tx_hash=_bytes(raw["transactionHash"]),
        index=int(raw["logIndex"], 16),
    )


def _receipt(raw: dict[str, Any]) -> Receipt:
    created = raw.get("contractAddress")
    return Receipt(
        tx_hash=_bytes(raw["transactionHash"]),
        block_number=int(raw["blockNumber"], 16),
        block_hash=_bytes(raw["blockHash"]),
        succeeded=int(cast("str", raw.get("status", "0x1")), 16) == 1,
        gas_used=int(raw["gasUsed"], 16),
        logs=tuple(_log(log) for log in raw["logs"]),
        contract=_bytes(created) if created else None,
    )
