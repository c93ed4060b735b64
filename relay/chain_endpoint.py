"""What a pool needs of one endpoint.

Pure (types only).
"""

from collections.abc import Sequence
from typing import Protocol

from relay.chain_types import Block, Fees, Log, Look, Receipt, SendAnswer


class Endpoint(Protocol):
    """What the pool needs of one endpoint (`relay.chain.Chain`)."""

    async def close(self) -> None:
        """Close the connections."""

    async def look(self, heights: Sequence[int]) -> Look:
        """Chain id, head, and hashes at these heights."""

    async def chain_id(self) -> int:
        """EIP-155 id."""

    async def block(self, tag: int | str) -> Block | None:
        """A block by number or tag."""

    async def head(self) -> Block:
        """Newest block."""

    async def blocks(self, numbers: Sequence[int]) -> list[Block | None]:
        """Blocks by number."""

    async def finalized(self, confirmations: int, head: Block) -> int:
        """Highest final block number."""

    async def nonce(self, address: bytes, tag: int | str = "latest") -> int:
        """Next nonce."""

    async def balance(self, address: bytes) -> int:
        """Wei."""

    async def code(self, address: bytes) -> bytes:
        """Code."""

    async def fees(self) -> Fees:
        """Fee market."""

    async def call(self, to: bytes, data: bytes, sender: bytes | None = None, gas: int | None = None) -> bytes:
        """eth_call."""

    async def calls(self, to: bytes, data: Sequence[bytes]) -> list[bytes]:
        """Several eth_calls."""

    async def estimate_gas(self, sender: bytes, to: bytes | None, data: bytes) -> int:
        """eth_estimateGas."""

    async def receipts(self, hashes: Sequence[bytes]) -> list[Receipt | None]:
        """Receipts by hash."""

    async def logs(
        self, address: bytes, topics: Sequence[bytes | Sequence[bytes] | None], first: int, last: int | None = None
    ) -> list[Log]:
        """eth_getLogs."""

    async def send_raw(self, raw: bytes) -> SendAnswer:
        """eth_sendRawTransaction."""
