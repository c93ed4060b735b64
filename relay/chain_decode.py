"""Raw JSON-RPC results as typed values, and values as JSON-RPC parameters.

Pure. Source: the Ethereum execution API. A result of another form is no usable answer: ChainUnavailableError.
"""

from collections.abc import Callable
from typing import Any, TypeAlias, TypeVar

from relay.chain_types import Block, ChainUnavailableError, Log, Receipt

Tag: TypeAlias = int | str
T = TypeVar("T")


def hex_of(value: bytes) -> str:
    """Bytes as a parameter."""
    return "0x" + value.hex()


def tag_of(tag: Tag) -> str:
    """A block number or tag as a parameter."""
    return hex(tag) if isinstance(tag, int) else tag


def number_of(raw: object) -> int:
    """A quantity."""
    return _decoded(_number, raw)


def data_of(raw: object) -> bytes:
    """Unformatted data."""
    return _decoded(_bytes, raw)


def block_of(raw: object, number: int | None = None) -> Block:
    """A block's header; where `number` was asked for, of that block."""
    block = _decoded(_block, raw)
    if number is not None and block.number != number:
        raise ChainUnavailableError("answered another block than the one asked for")
    return block


def log_of(raw: object) -> Log:
    """One event log."""
    return _decoded(_log, raw)


def receipt_of(raw: object, tx_hash: bytes) -> Receipt | None:
    """The receipt of this transaction; None while it is not in a block."""
    receipt = _decoded(_receipt, raw)
    if receipt is not None and receipt.tx_hash != tx_hash:
        raise ChainUnavailableError("answered another transaction's receipt")
    return receipt


def _decoded(read: Callable[[Any], T], raw: object) -> T:
    try:
        return read(raw)
    except (KeyError, TypeError, ValueError, AttributeError):
        raise ChainUnavailableError("not an answer of the Ethereum execution API") from None


def _number(raw: str) -> int:
    return int(raw, 16)


def _bytes(raw: str) -> bytes:
    if not raw.startswith("0x"):
        raise ValueError("no hex data")
    return bytes.fromhex(raw[2:])


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


def _receipt(raw: dict[str, Any] | None) -> Receipt | None:
    if raw is None or raw.get("blockHash") is None:
        return None
    created = raw.get("contractAddress")
    return Receipt(
        tx_hash=_bytes(raw["transactionHash"]),
        block_number=int(raw["blockNumber"], 16),
        block_hash=_bytes(raw["blockHash"]),
        succeeded=int(raw.get("status", "0x1"), 16) == 1,
        gas_used=int(raw["gasUsed"], 16),
        logs=tuple(_log(log) for log in raw["logs"]),
        contract=_bytes(created) if created else None,
    )
