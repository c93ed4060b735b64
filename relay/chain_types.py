"""What the chain answers, as values, and how asking it can fail.

Pure. `relay.chain` fills these from JSON-RPC; the outbox, its tests and its simulated chain speak them.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple


class ChainError(Exception):
    """Something about the chain went wrong.

    ChainError
    ├── ChainUnavailableError   no usable answer: connection, timeout, HTTP 429 or 5xx, not JSON-RPC
    └── ChainAnswerError        the node answered with an error
    """


class ChainUnavailableError(ChainError):
    """No usable answer from the endpoint. Says the kind of failure only: an RPC URL can hold a token.

    `status` is the HTTP status where that was the failure; `retry_after_s` how long it asks to be left alone.
    """

    def __init__(self, message: str, *, status: int | None = None, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.retry_after_s = retry_after_s


class ChainAnswerError(ChainError):
    """A JSON-RPC error. `revert` is the revert data of a call that reverted, else None."""

    def __init__(self, code: int, message: str, revert: bytes | None) -> None:
        super().__init__(f"{message} ({code})")
        self.code = code
        self.message = message
        self.revert = revert


@dataclass(frozen=True, slots=True)
class Block:
    """A block's header; `timestamp` in unix seconds, `base_fee` in wei per gas (None before EIP-1559)."""

    number: int
    hash: bytes
    parent_hash: bytes
    timestamp: int
    base_fee: int | None
    gas_limit: int


@dataclass(frozen=True, slots=True)
class Look:
    """What an endpoint shows of its chain: id (EIP-155), newest block, hashes at the heights asked for that it has."""

    chain_id: int
    head: Block
    hashes: Mapping[int, bytes]


@dataclass(frozen=True, slots=True)
class Log:
    """One event log with where it is."""

    address: bytes
    topics: tuple[bytes, ...]
    data: bytes
    block_number: int
    block_hash: bytes
    tx_hash: bytes
    index: int


@dataclass(frozen=True, slots=True)
class Receipt:
    """A mined transaction: `succeeded` is its status, `contract` the address it created."""

    tx_hash: bytes
    block_number: int
    block_hash: bytes
    succeeded: bool
    gas_used: int
    logs: tuple[Log, ...]
    contract: bytes | None


@dataclass(frozen=True, slots=True)
class Fees:
    """Fee market now, wei per gas: `base` and `tip` (EIP-1559), or `base` None and `price` (legacy)."""

    base: int | None
    tip: int
    price: int


@dataclass(frozen=True, slots=True)
class SendAnswer:
    """What an endpoint said to eth_sendRawTransaction; it never decides what becomes of the transaction.

    `accepted`: it returned a hash. Else `code` and `message` of its error, or `code` None when no answer came.
    `by`: where several providers were asked, what each of them said, by its name.
    """

    accepted: bool
    code: int | None = None
    message: str = ""
    by: tuple[tuple[str, "SendAnswer"], ...] = ()


class ProviderState(NamedTuple):
    """A provider as operators see it: `host:port`, whether it is used, newest block seen there, why it is not used.

    `lag_blocks`: how far its head was behind the best one when all were last looked at; None when not known.
    """

    name: str
    healthy: bool
    head: int | None
    lag_blocks: int | None
    reason: str
