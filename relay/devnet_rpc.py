"""JSON-RPC 2.0 over the embedded chain: the methods wallets, libraries and explorers use, single and in batches.

Touches the node it is given and nothing else. Errors carry the codes and words of go-ethereum, revert data included.
"""

import json
import logging
from collections.abc import Callable, Sequence
from typing import Any

from eth_typing import Address

from relay.devnet_evm import Call, CallFailedError, RefusedTransactionError
from relay.devnet_json import (
    block_json,
    data,
    effective_gas_price,
    matching_logs,
    quantity,
    receipt_json,
    transaction_json,
)
from relay.devnet_node import Node
from relay.keccak import keccak

PARSE, INVALID_REQUEST, NO_METHOD, INVALID_PARAMS, INTERNAL, SERVER, REVERTED = (
    -32700,
    -32600,
    -32601,
    -32602,
    -32603,
    -32000,
    3,
)
log = logging.getLogger(__name__)

BATCH_MAX = 1000
TIP_WEI = 1_000_000_000
TAGS = {"latest", "pending", "safe", "finalized", "earliest"}

Params = Sequence[Any]


class RpcError(Exception):
    """An error answer: JSON-RPC code, message and, for a revert, its data."""

    def __init__(self, code: int, message: str, revert: bytes | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.revert = revert


class Rpc:
    """Dispatches calls; `METHODS` at the end of this module is the visible list."""

    def __init__(self, node: Node) -> None:
        self.node = node

    def handle(self, body: bytes) -> bytes | None:
        """Answer a request body (an object or a batch); None when every call in it was a notification."""
        try:
            request = json.loads(body)
        except (ValueError, RecursionError):
            return _dump(_failure(None, RpcError(PARSE, "parse error")))
        if isinstance(request, list):
            if not 0 < len(request) <= BATCH_MAX:
                return _dump(_failure(None, RpcError(INVALID_REQUEST, f"a batch has 1 to {BATCH_MAX} calls")))
            answers = [answer for call in request if (answer := self._answer(call)) is not None]
            return _dump(answers) if answers else None
        answer = self._answer(request)
        return None if answer is None else _dump(answer)

    def _answer(self, call: object) -> dict[str, Any] | None:
        if not isinstance(call, dict) or not isinstance(call.get("method"), str):
            return _failure(None, RpcError(INVALID_REQUEST, "invalid request"))
        identity = call.get("id")
        try:
            answer = {"jsonrpc": "2.0", "id": identity, "result": self._call(call["method"], call.get("params") or [])}
        except RpcError as error:
            answer = _failure(identity, error)
        return answer if "id" in call else None

    def _call(self, method: str, params: object) -> Any:  # a result is any JSON
        function = METHODS.get(method)
        if function is None:
            raise RpcError(NO_METHOD, f"the method {method} does not exist/is not available")
        if not isinstance(params, list):
            raise RpcError(INVALID_PARAMS, "non-array args")
        try:
            return function(self, params)
        except RpcError:
            raise
        except CallFailedError as error:
            raise RpcError(SERVER if error.data is None else REVERTED, str(error), error.data) from error
        except RefusedTransactionError as error:
            raise RpcError(SERVER, str(error)) from error
        except OSError as error:
            raise RpcError(INTERNAL, f"cannot write the journal: {error.strerror}") from error
        except Exception as error:
            log.exception("a call failed", extra={"method": method})
            raise RpcError(INTERNAL, "internal error") from error

    # Reading parameters.

    def block_number(self, tag: object, *, state: bool = False) -> int | None:
        """Height meant by a tag, number or EIP-1898 object; None when no such block exists.

        With `state` the unknown block is an error, as a balance of a missing block has no null answer.
        """
        head = self.node.chain.head.number
        number: int | None
        if isinstance(tag, dict):
            if "blockHash" in tag:
                number = self.node.chain.number_of.get(_bytes(tag["blockHash"], 32))
            else:
                number = self.block_number(tag.get("blockNumber"))
        elif tag in TAGS:
            special = {"earliest": 0, "safe": self.node.safe_number(), "finalized": self.node.finalized_number()}
            number = special.get(str(tag), head)
        else:
            number = _int(tag)
        if number is not None and number > head:
            number = None
        if number is None and state:
            raise RpcError(SERVER, "header not found")
        return number

    def _state_number(self, params: Params, position: int) -> int:
        number = self.block_number(_at(params, position, "latest"), state=True)
        return self.node.chain.head.number if number is None else number

    def _call_object(self, params: Params) -> Call:
        fields = _at(params, 0, None)
        if not isinstance(fields, dict):
            raise RpcError(INVALID_PARAMS, "missing value for required argument 0")
        payload = fields.get("input") or fields.get("data") or "0x"
        gas = fields.get("gas")
        limit = int(self.node.chain.head.header.gas_limit)
        return Call(
            sender=_bytes(fields.get("from") or "0x" + "00" * 20, 20),
            to=_bytes(fields["to"], 20) if fields.get("to") else b"",
            data=_bytes(payload, None),
            value=_int(fields.get("value") or "0x0"),
            gas=None if gas is None else min(max(_int(gas), 21_000), limit),
        )

    # Methods that need more than one line.

    def get_logs(self, params: Params) -> list[dict[str, Any]]:
        """eth_getLogs: by range or block hash, address or list, topics with nulls and alternatives."""
        query = _at(params, 0, None)
        if not isinstance(query, dict):
            raise RpcError(INVALID_PARAMS, "missing value for required argument 0")
        if "blockHash" in query:
            number = self.node.chain.number_of.get(_bytes(query["blockHash"], 32))
            if number is None:
                raise RpcError(SERVER, "unknown block")
            first = last = number
        else:
            head = self.node.chain.head.number
            first = self._range_end(query.get("fromBlock"))
            last = min(self._range_end(query.get("toBlock")), head)
            if first > self._range_end(query.get("toBlock")):
                raise RpcError(INVALID_PARAMS, "invalid block range params")
        addresses = _addresses(query.get("address"))
        topics = _topics(query.get("topics"))
        blocks = self.node.chain.blocks[first : last + 1]
        return [found for block in blocks for found in matching_logs(block, addresses, topics)]

    def _range_end(self, tag: object) -> int:
        if tag is None or (isinstance(tag, str) and tag in TAGS):
            return self.block_number(tag or "latest") or 0
        return _int(tag)

    def get_block(self, number: int | None, params: Params) -> dict[str, Any] | None:
        """A block by an already resolved height."""
        if number is None:
            return None
        return block_json(self.node.chain.blocks[number], full=bool(_at(params, 1, False)))

    def transaction(self, params: Params) -> dict[str, Any] | None:
        """eth_getTransactionByHash, the pool included."""
        key = _bytes(_at(params, 0, None), 32)
        if key in self.node.chain.position_of:
            number, index = self.node.chain.position_of[key]
            block = self.node.chain.blocks[number]
            return transaction_json(block.transactions[index], block, index)
        waiting = self.node.pool.by_hash.get(key)
        return None if waiting is None else transaction_json(waiting, None, None)

    def receipt(self, params: Params) -> dict[str, Any] | None:
        """eth_getTransactionReceipt; null while it waits in the pool."""
        found = self.node.chain.position_of.get(_bytes(_at(params, 0, None), 32))
        return None if found is None else receipt_json(self.node.chain.blocks[found[0]], found[1])

    def nonce(self, params: Params) -> str:
        """eth_getTransactionCount; `pending` counts what the pool holds."""
        address = _bytes(_at(params, 0, None), 20)
        if _at(params, 1, "latest") == "pending":
            return quantity(self.node.pending_nonce(address))
        state = self.node.chain.state(self._state_number(params, 1))
        return quantity(state.get_nonce(Address(address)))

    def account(self, params: Params, read: Callable[[Any, Address], Any], position: int = 1) -> Any:
        """A value of an account's state at the block named by parameter `position`."""
        address = Address(_bytes(_at(params, 0, None), 20))
        return read(self.node.chain.state(self._state_number(params, position)), address)

    def fee_history(self, params: Params) -> dict[str, Any]:
        """eth_feeHistory: base fees, gas use and the tips paid at the asked percentiles."""
        newest = self._state_number(params, 1)
        count = min(max(_int(_at(params, 0, "0x1")), 1), 1024, newest + 1)
        percentiles = _shares(_at(params, 2, None) or [])
        blocks = self.node.chain.blocks[newest - count + 1 : newest + 1]
        following = newest + 1
        head = self.node.chain.head.number
        next_fee = self.node.base_fee_next() if following > head else self.node.base_fee(following)
        history: dict[str, Any] = {
            "oldestBlock": quantity(newest - count + 1),
            "baseFeePerGas": [quantity(self.node.base_fee(block.number)) for block in blocks] + [quantity(next_fee)],
            "gasUsedRatio": [block.header.gas_used / block.header.gas_limit for block in blocks],
        }
        if percentiles:
            history["reward"] = []
            for block in blocks:
                tips = sorted(
                    effective_gas_price(item, block) - self.node.base_fee(block.number) for item in block.transactions
                ) or [0]
                picks = [tips[min(int(len(tips) * share / 100), len(tips) - 1)] for share in percentiles]
                history["reward"].append([quantity(tip) for tip in picks])
        return history


def _dump(document: object) -> bytes:
    return json.dumps(document, separators=(",", ":")).encode()


def _failure(identity: object, error: RpcError) -> dict[str, Any]:
    body: dict[str, Any] = {"code": error.code, "message": str(error)}
    if error.revert is not None:
        body["data"] = data(error.revert)
    return {"jsonrpc": "2.0", "id": identity, "error": body}


def _at(params: Params, position: int, default: object) -> Any:
    value = params[position] if position < len(params) else None
    return default if value is None else value


def _int(value: object) -> int:
    if isinstance(value, str) and value.startswith("0x") and len(value) <= 66:
        try:
            return int(value, 16)
        except ValueError:
            pass
    elif isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return value
    raise RpcError(INVALID_PARAMS, "invalid argument: expected a 0x hex quantity")


def _bytes(value: object, length: int | None) -> bytes:
    if isinstance(value, str) and value.startswith("0x"):
        try:
            decoded = bytes.fromhex(value[2:])
        except ValueError:
            decoded = None
        if decoded is not None and length in (None, len(decoded)):
            return decoded
    raise RpcError(INVALID_PARAMS, "invalid argument: expected 0x hex data" + (f" of {length} bytes" if length else ""))


def _shares(value: object) -> list[float]:
    if isinstance(value, list) and len(value) <= 100:
        shares = [float(item) for item in value if isinstance(item, int | float) and 0 <= item <= 100]
        if len(shares) == len(value):
            return shares
    raise RpcError(INVALID_PARAMS, "invalid reward percentiles: a list of numbers from 0 to 100")


def _addresses(value: object) -> frozenset[bytes] | None:
    if value is None:
        return None
    return frozenset(_bytes(item, 20) for item in (value if isinstance(value, list) else [value])) or None


def _topics(value: object) -> list[frozenset[int] | None]:
    if value is None:
        return []
    if not isinstance(value, list) or len(value) > 4:
        raise RpcError(INVALID_PARAMS, "invalid argument: topics is a list of at most 4")
    topics: list[frozenset[int] | None] = []
    for item in value:
        alternatives = item if isinstance(item, list) else [] if item is None else [item]
        wanted = frozenset(int.from_bytes(_bytes(topic, 32), "big") for topic in alternatives)
        topics.append(wanted or None)
    return topics


def _by_index(rpc: Rpc, number: int | None, params: Params) -> dict[str, Any] | None:
    index = _int(_at(params, 1, None))
    if number is None or index >= len(rpc.node.chain.blocks[number].transactions):
        return None
    block = rpc.node.chain.blocks[number]
    return transaction_json(block.transactions[index], block, index)


def _by_hash(rpc: Rpc, params: Params) -> int | None:
    return rpc.node.chain.number_of.get(_bytes(_at(params, 0, None), 32))


def _count(rpc: Rpc, number: int | None) -> str | None:
    return None if number is None else quantity(len(rpc.node.chain.blocks[number].transactions))


def _receipts(rpc: Rpc, number: int | None) -> list[dict[str, Any]] | None:
    if number is None:
        return None
    block = rpc.node.chain.blocks[number]
    return [receipt_json(block, index) for index in range(len(block.transactions))]


def _storage(rpc: Rpc, params: Params) -> str:
    slot = _int(_at(params, 1, None))
    value = rpc.account(params, lambda state, address: state.get_storage(address, slot), position=2)
    return data(int(value).to_bytes(32, "big"))


METHODS: dict[str, Callable[[Rpc, Params], Any]] = {
    "web3_clientVersion": lambda _rpc, _p: "fairscore-devnet/py-evm",
    "web3_sha3": lambda _rpc, p: data(keccak(_bytes(_at(p, 0, None), None))),
    "net_version": lambda rpc, _p: str(rpc.node.chain.chain_id),
    "net_listening": lambda _rpc, _p: True,
    "net_peerCount": lambda _rpc, _p: "0x0",
    "eth_chainId": lambda rpc, _p: quantity(rpc.node.chain.chain_id),
    "eth_syncing": lambda _rpc, _p: False,
    "eth_mining": lambda _rpc, _p: False,
    "eth_accounts": lambda _rpc, _p: [],
    "eth_blockNumber": lambda rpc, _p: quantity(rpc.node.chain.head.number),
    "eth_gasPrice": lambda rpc, _p: quantity(rpc.node.base_fee_next() + TIP_WEI),
    "eth_maxPriorityFeePerGas": lambda _rpc, _p: quantity(TIP_WEI),
    "eth_blobBaseFee": lambda _rpc, _p: "0x1",
    "eth_feeHistory": Rpc.fee_history,
    "eth_getBlockByNumber": lambda rpc, p: rpc.get_block(rpc.block_number(_at(p, 0, "latest")), p),
    "eth_getBlockByHash": lambda rpc, p: rpc.get_block(_by_hash(rpc, p), p),
    "eth_getBlockReceipts": lambda rpc, p: _receipts(rpc, rpc.block_number(_at(p, 0, "latest"))),
    "eth_getBlockTransactionCountByNumber": lambda rpc, p: _count(rpc, rpc.block_number(_at(p, 0, "latest"))),
    "eth_getBlockTransactionCountByHash": lambda rpc, p: _count(rpc, _by_hash(rpc, p)),
    "eth_getTransactionByBlockNumberAndIndex": lambda rpc, p: _by_index(rpc, rpc.block_number(_at(p, 0, "latest")), p),
    "eth_getTransactionByBlockHashAndIndex": lambda rpc, p: _by_index(rpc, _by_hash(rpc, p), p),
    "eth_getTransactionByHash": Rpc.transaction,
    "eth_getTransactionReceipt": Rpc.receipt,
    "eth_getTransactionCount": Rpc.nonce,
    "eth_getLogs": Rpc.get_logs,
    "eth_getBalance": lambda rpc, p: quantity(rpc.account(p, lambda state, address: state.get_balance(address))),
    "eth_getCode": lambda rpc, p: data(rpc.account(p, lambda state, address: state.get_code(address))),
    "eth_getStorageAt": _storage,
    "eth_call": lambda rpc, p: data(rpc.node.chain.call(rpc._call_object(p), rpc._state_number(p, 1))),
    "eth_estimateGas": lambda rpc, p: quantity(
        rpc.node.chain.estimate_gas(rpc._call_object(p), rpc._state_number(p, 1))
    ),
    "eth_sendRawTransaction": lambda rpc, p: data(rpc.node.accept(_bytes(_at(p, 0, None), None))),
}
