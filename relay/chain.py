"""The chain as the relay uses it, over one endpoint: typed values from raw JSON-RPC.

Touches one RPC endpoint. Answers are decoded by hand (web3's formatters cost several times more on the hot path);
nothing is retried here, because what a failed send means is decided in `relay.outbox`. Several endpoints are one chain
in `relay.chain_pool`.
"""

from collections.abc import Sequence
from typing import Any, TypeAlias

from relay.chain_decode import Tag, block_of, data_of, hex_of, log_of, number_of, receipt_of, tag_of
from relay.chain_http import Call, HttpRpc
from relay.chain_limits import SIZE_STATUSES, EndpointLimits, narrower, range_refused, troubled
from relay.chain_types import Block, ChainAnswerError, ChainUnavailableError, Fees, Log, Look, Receipt, SendAnswer

Topic: TypeAlias = bytes | Sequence[bytes] | None

FINAL_WITHOUT_TAG = 12  # blocks below the head, on chains without the `finalized` tag


class Chain:
    """One endpoint. Every method raises ChainUnavailableError or ChainAnswerError, except `send_raw`, which answers."""

    def __init__(self, rpc_url: str, timeout_s: float = 10.0, limits: EndpointLimits = EndpointLimits()) -> None:  # noqa: B008 - frozen
        self._rpc = HttpRpc(rpc_url, timeout_s, limits)
        self._has_tag = False  # it showed a `finalized` block
        self._span: int | None = None  # blocks of logs at once, after the endpoint refused more

    async def close(self) -> None:
        """Close the connections."""
        await self._rpc.close()

    async def request(self, method: str, *params: object) -> Any:  # a result is any JSON
        """One call; returns its `result`."""
        return await self._rpc.request(method, params)

    async def batch(self, calls: Sequence[Call]) -> list[Any]:
        """Several calls, answered in order, in as few HTTP requests as allowed; the first error is raised."""
        results = await self._rpc.batch(calls)
        for result in results:
            if isinstance(result, ChainAnswerError):
                raise result
        return results

    async def look(self, heights: Sequence[int]) -> Look:
        """What this endpoint shows of the chain, in one request: its id, its head, its blocks at these heights."""
        calls: list[Call] = [("eth_chainId", ()), ("eth_getBlockByNumber", ("latest", False))]
        calls += [("eth_getBlockByNumber", (tag_of(height), False)) for height in heights]
        chain_id, head, *found = await self.batch(calls)
        blocks = [None if raw is None else block_of(raw, height) for height, raw in zip(heights, found, strict=True)]
        return Look(number_of(chain_id), block_of(head), {block.number: block.hash for block in blocks if block})

    async def chain_id(self) -> int:
        """The endpoint's chain id (EIP-155)."""
        return number_of(await self.request("eth_chainId"))

    async def block(self, tag: Tag) -> Block | None:
        """A block by number or tag; None when the endpoint does not have it."""
        raw = await self.request("eth_getBlockByNumber", tag_of(tag), False)
        return None if raw is None else block_of(raw, tag if isinstance(tag, int) else None)

    async def head(self) -> Block:
        """The newest block."""
        block = await self.block("latest")
        if block is None:
            raise ChainUnavailableError("no latest block")
        return block

    async def blocks(self, numbers: Sequence[int]) -> list[Block | None]:
        """Blocks by number, in order."""
        found = await self.batch([("eth_getBlockByNumber", (tag_of(number), False)) for number in numbers])
        return [None if raw is None else block_of(raw, number) for number, raw in zip(numbers, found, strict=True)]

    async def finalized(self, confirmations: int, head: Block) -> int:
        """Highest final block number: `confirmations` below the head, or for 0 the chain's `finalized` tag.

        A chain that never knew the tag counts as final 12 blocks below the head.
        """
        if confirmations == 0:
            try:
                block = await self.block("finalized")
            except ChainAnswerError as error:
                if self._has_tag or troubled(error):
                    raise
                block = None
            if block is not None:
                self._has_tag = True
                return block.number
            if self._has_tag:  # it had one: twelve blocks are not as good
                raise ChainUnavailableError("no finalized block now")
            confirmations = FINAL_WITHOUT_TAG
        return max(0, head.number - confirmations)

    async def nonce(self, address: bytes, tag: Tag = "latest") -> int:
        """Next nonce of the account as of `tag`."""
        return number_of(await self.request("eth_getTransactionCount", hex_of(address), tag_of(tag)))

    async def balance(self, address: bytes) -> int:
        """Balance in wei."""
        return number_of(await self.request("eth_getBalance", hex_of(address), "latest"))

    async def code(self, address: bytes) -> bytes:
        """Code at the address; empty for a plain account."""
        return data_of(await self.request("eth_getCode", hex_of(address), "latest"))

    async def fees(self) -> Fees:
        """The fee market as of the latest block."""
        asked: tuple[Call, ...] = (
            ("eth_getBlockByNumber", ("latest", False)),
            ("eth_gasPrice", ()),
            ("eth_maxPriorityFeePerGas", ()),
        )
        raw_head, raw_price, raw_tip = await self._rpc.batch(asked)
        for answer in (raw_head, raw_price):
            if isinstance(answer, ChainAnswerError):
                raise answer
        base, price = block_of(raw_head).base_fee, number_of(raw_price)
        if base is None:
            return Fees(None, 0, price)
        if isinstance(raw_tip, ChainAnswerError):  # not every node knows the method
            return Fees(base, max(price - base, 0), price)
        return Fees(base, number_of(raw_tip), price)

    async def call(self, to: bytes, data: bytes, sender: bytes | None = None, gas: int | None = None) -> bytes:
        """eth_call at the latest block, of at most `gas`; ChainAnswerError.revert holds the revert data."""
        fields = {"to": hex_of(to), "data": hex_of(data)} | ({"from": hex_of(sender)} if sender else {})
        fields |= {"gas": hex(gas)} if gas is not None else {}
        return data_of(await self.request("eth_call", fields, "latest"))

    async def calls(self, to: bytes, data: Sequence[bytes]) -> list[bytes]:
        """Several eth_calls at the latest block, in order; the first error is raised."""
        wanted: list[Call] = [("eth_call", ({"to": hex_of(to), "data": hex_of(one)}, "latest")) for one in data]
        return [data_of(raw) for raw in await self.batch(wanted)]

    async def estimate_gas(self, sender: bytes, to: bytes | None, data: bytes) -> int:
        """Gas limit with which the call succeeds; a revert raises ChainAnswerError."""
        fields = {"from": hex_of(sender), "data": hex_of(data)} | ({"to": hex_of(to)} if to else {})
        return number_of(await self.request("eth_estimateGas", fields))

    async def receipts(self, hashes: Sequence[bytes]) -> list[Receipt | None]:
        """Receipts in the order of the hashes; None for a transaction that is not mined."""
        found = await self.batch([("eth_getTransactionReceipt", (hex_of(item),)) for item in hashes])
        return [receipt_of(raw, tx_hash) for tx_hash, raw in zip(hashes, found, strict=True)]

    async def logs(self, address: bytes, topics: Sequence[Topic], first: int, last: int | None = None) -> list[Log]:
        """Logs of the contract in the blocks first..last (None: the latest), in as many parts as the endpoint wants."""
        if self._span is None:
            try:
                return await self._logs(address, topics, first, last)
            except (ChainAnswerError, ChainUnavailableError) as error:
                why = _too_wide(error)
                last = (await self.head()).number if last is None else last
                if why is None or last <= first:
                    raise
                self._span = narrower(last - first + 1, why)
        elif last is None:
            last = (await self.head()).number
        found: list[Log] = []
        while first <= last:
            until = min(last, first + self._span - 1)
            try:
                found += await self._logs(address, topics, first, until)
            except (ChainAnswerError, ChainUnavailableError) as error:
                why = _too_wide(error)
                if why is None or until == first:
                    raise
                self._span = narrower(until - first + 1, why)
            else:
                first = until + 1
        return found

    async def _logs(self, address: bytes, topics: Sequence[Topic], first: int, last: int | None) -> list[Log]:
        wanted = [
            None if one is None else hex_of(one) if isinstance(one, bytes) else [hex_of(each) for each in one]
            for one in topics
        ]
        query = {
            "address": hex_of(address),
            "topics": wanted,
            "fromBlock": tag_of(first),
            "toBlock": "latest" if last is None else tag_of(last),
        }
        raw = await self.request("eth_getLogs", query)
        if not isinstance(raw, list):
            raise ChainUnavailableError("not a list of logs")
        return [log_of(one) for one in raw]

    async def send_raw(self, raw: bytes) -> SendAnswer:
        """Broadcast once, without any retry; never raises for what the endpoint does."""
        try:
            await self.request("eth_sendRawTransaction", hex_of(raw))
        except ChainAnswerError as error:
            return SendAnswer(False, error.code, error.message)
        except ChainUnavailableError as error:
            return SendAnswer(False, None, str(error))
        return SendAnswer(True)

    async def confirm_absent(self, address: bytes, hashes: Sequence[bytes], nonce: int, block: int) -> bool:  # noqa: ARG002 - see below
        """One endpoint is its own second opinion; `relay.chain_pool` asks others."""
        return True

    async def confirm_failed(self, tx_hash: bytes, block_hash: bytes) -> bool:  # noqa: ARG002 - as above
        """One endpoint is its own second opinion."""
        return True


def _too_wide(error: ChainAnswerError | ChainUnavailableError) -> str | None:
    """What an endpoint says when it refuses a range of logs for its width; None for any other failure."""
    if isinstance(error, ChainAnswerError):
        return error.message if range_refused(error.code, error.message) else None
    return str(error) if error.status in SIZE_STATUSES else None
