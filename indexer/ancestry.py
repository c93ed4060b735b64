"""Asks the chain where it and we parted, and whether it is ours at all.

Touches the chain through the `Headers` it is handed; the comparisons are in `indexer.reorg`.
"""

from collections.abc import Sequence
from typing import Protocol

from indexer.chain import MalformedError
from indexer.events import Header, Mark
from indexer.reorg import common_ancestor, windows
from indexer.state import Identity


class ChainIdentityError(Exception):
    """Behind the URL is another chain, or another contract, than the one the stored rows are of."""


class Headers(Protocol):
    """What comparing two chains needs."""

    async def headers(self, numbers: Sequence[int]) -> list[Header | None]:
        """Return blocks by number, None for each the provider does not have."""


async def ancestor_of(chain: Headers, ours: Sequence[Mark]) -> Mark | None:
    """Return the newest of our blocks (newest first) that the chain has too; None if it has none of them."""
    for window in windows(ours):
        headers = await chain.headers([mark.number for mark in window])
        theirs = {header.number: header.hash for header in headers if header is not None}
        found = common_ancestor(window, theirs)
        if found is not None:
            return found
    return None


async def block_before(chain: Headers, start_block: int) -> Header:
    """Return the block after which indexing begins.

    Raises:
        MalformedError: the provider does not have it (a node that pruned, or a start block in the future).
    """
    number = max(start_block - 1, 0)
    found = (await chain.headers([number]))[0]
    if found is None:
        raise MalformedError(f"the provider does not have block {number}, from which to start")
    return found


def demand_same(stored: Identity, found: Identity) -> None:
    """Demand that two identities are one.

    Raises:
        ChainIdentityError: they are not; the message names what differs and what to do.
    """
    for name, ours, theirs in zip(Identity._fields, stored, found, strict=True):
        if ours != theirs:
            shown = [f"0x{value.hex()}" if isinstance(value, bytes) else str(value) for value in (ours, theirs)]
            raise ChainIdentityError(
                f"the database follows another chain or contract: {name} is {shown[0]} there and {shown[1]} behind the "
                "RPC URL; nothing was changed. Use the chain it belongs to, or another database"
            )
