"""Asks the chain where it and we parted, how far back that is, and whether it is ours at all.

Touches chain and store through what it is handed; the comparisons are in `indexer.reorg`.
"""

import logging
from collections.abc import Sequence
from typing import Protocol

from indexer.chain import MalformedError, UnreachableError
from indexer.events import Header, Mark
from indexer.health import Health
from indexer.reorg import common_ancestor, windows
from indexer.state import GENESIS_HEAD, Identity, State

log = logging.getLogger(__name__)


class ChainIdentityError(Exception):
    """Behind the URL is another chain, or another contract, than the one the stored rows are of."""


class Headers(Protocol):
    """What comparing two chains needs."""

    async def headers(self, numbers: Sequence[int]) -> list[Header | None]:
        """Return blocks by number, None for each the provider does not have."""


class Answers(Headers, Protocol):
    """What going back needs of the chain."""

    async def heads(self, games: Sequence[bytes], block: int) -> dict[bytes, bytes] | None:
        """Return the contract's own heads after a block, None where that state is not at hand."""

    async def confirms(self, mark: Mark) -> bool | None:
        """Return whether others have this block, too, if there are others; None where they cannot be asked."""


class Past(Protocol):
    """What going back needs of the database."""

    async def event_marks(self, below: int) -> list[Mark]:
        """Return the blocks under a number that had events, newest first."""


class Alarm(Protocol):
    """Whoever opens audit flags about the chain itself."""

    async def __call__(self, state: State, code: str, reason: str) -> None:
        """Open one for every game."""


async def no_alarm(state: State, code: str, reason: str) -> None:
    """Open no flag."""


class Retreat:
    """How far to go back, and what must be proved or told before."""

    def __init__(self, chain: Answers, store: Past, health: Health, alarm: Alarm) -> None:
        self._chain, self._store, self._health, self._alarm = chain, store, health, alarm

    async def ancestor(self, state: State) -> Mark:
        """Return the newest block that is ours and the chain's.

        Where it is none of the kept ones we are not ready until the new branch is caught up with: older blocks are
        known by hash only if they had events, and everything after the last common one of these is read again.
        """
        found = await ancestor_of(self._chain, state.marks())
        if found is not None:
            return found
        oldest = min(state.recent, default=state.tip.number + 1)
        deep = f"a reorganisation deeper than block {oldest}, the oldest kept"
        if self._health.deep != deep:
            self._health.deep = deep
            log.error("%s: reading again from the last common block", deep)
            await self._alarm(state, "REORG_DEEP", f"{deep[0].upper()}{deep[1:]}")
        older = await ancestor_of(self._chain, await self._store.event_marks(oldest))
        return older or (await block_before(self._chain, state.start_block)).mark  # of the same chain: see identity

    async def past_finality(self, state: State, other: Header) -> None:
        """Give up a final block only if the chain really did: one provider's word is not enough where there are more.

        Raises:
            MalformedError: another provider has the final block.
            UnreachableError: no other can be asked.
        """
        known = await self._chain.confirms(other.mark)
        if not known:
            what = f"the provider shows another block {other.number}, though block {state.final_block} was final"
            if known is None:
                raise UnreachableError(f"{what}, and no second provider can be asked")
            raise MalformedError(f"{what}, and a second provider contradicts it")
        reason = f"Blocks after {other.number - 1} were replaced, although block {state.final_block} was final"
        log.error("%s", reason)
        await self._alarm(state, "FINALITY_BROKEN", reason)

    async def lacking(self, state: State, strange: Sequence[bytes]) -> Mark | None:
        """Return where to read again from, if it is we who lack an event: who left it out we cannot know any more.

        `strange`: games of which an event was refused and that we do not know.
        """
        if state.verified < state.tip:  # the contract's heads were not at hand since
            here = (await self._chain.headers([state.verified.number]))[0]
            return state.verified if here is not None and here.hash == state.verified.hash else None
        heads = await self._chain.heads(strange, state.tip.number) if strange else None
        if heads is None or all(head == GENESIS_HEAD for head in heads.values()):
            return None
        return (await block_before(self._chain, state.start_block)).mark


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
