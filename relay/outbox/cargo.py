"""What a transaction carries: everything that differs between scores, moderation and anchors, and nothing else.

Pure (types only). Slots, fees, send errors, leases and attempts are blind to it. A cargo plans, packs and reads; its
rows move inside the commit that moves the slot, as a `Move` handed to the store.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Generic, Protocol, TypeVar

from relay.chain_types import Block, Receipt
from relay.store.outbox import Move, Sealed, StoredBatch

T = TypeVar("T")

News = tuple[Sequence[str], str, bytes | None]
"""Submissions that changed, their status now, and the transaction that carries them."""


@dataclass(frozen=True, slots=True)
class Effect:
    """What a slot's change means for its cargo: rows to move in the same commit, and what to tell after it."""

    move: Move
    news: tuple[News, ...] = ()


@dataclass(frozen=True, slots=True)
class Unproven:
    """Why a batch in a final block cannot be called final yet: a sentence for the operator."""

    why: str


@dataclass(frozen=True, slots=True)
class Due(Generic[T]):
    """Plans to seal now, oldest first. `wait_ms`: until the oldest item that waits is due; None: nothing waits.

    `effect`: what became clear of waiting items while choosing. `trouble`: what is in the way of those that are due.
    """

    plans: Sequence[Sequence[T]]
    wait_ms: int | None
    effect: Effect | None = None
    trouble: str | None = None


@dataclass(frozen=True, slots=True)
class Release:
    """What becomes of a batch whose nonce is closed without it.

    `complete`: others did all of it. `by`: the transactions that did some of it, as final logs show.
    """

    effect: Effect
    complete: bool
    by: frozenset[bytes] = frozenset()


class Refusal(Enum):
    """What a revert of the contract is about."""

    EVERYTHING = "everything"  # paused, a role is missing: no plan would pass, nothing is wrong with the items
    DONE = "done"  # nothing of it is left to do: somebody else did it
    ITEM = "item"  # one of its items spoils it


class Cargo(Protocol[T]):
    """One kind of cargo; a plan is a sequence of its items, which can be halved."""

    @property
    def kind(self) -> str:
        """Name in `batches.kind`."""

    async def due(self, head: Block, slots_free: int, wait_ms: int) -> Due[T]:
        """Choose what to seal now into at most `slots_free` batches; `wait_ms`: how long an item waits for company."""

    def seal(self, plan: Sequence[T], head: Block) -> Sealed:
        """Fix the calldata of a plan (and sign it, where it is signed). Runs on a thread."""

    def queued(self, sealed: Sealed) -> Sequence[News]:
        """What to tell once it is sealed."""

    def gas_limit(self, size: int) -> int:
        """Upper bound of the gas of a batch of so many items, under Ethereum's prices."""

    def refusal(self, reason: str) -> Refusal:
        """What a revert with this name is about."""

    async def done_elsewhere(self, plan: Sequence[T], finalized: int) -> Effect:
        """Take over what final logs say about a plan of which nothing is left to do."""

    def park(self, item: T, reason: str) -> Effect:
        """Set an item aside that the contract refuses by itself."""

    def sent(self, batch: StoredBatch, tx_hash: bytes) -> Effect:
        """Its first transaction is signed and committed."""

    async def included(self, batch: StoredBatch, receipt: Receipt) -> Effect:
        """Its transaction succeeded in a block that is not final."""

    def unmined(self, batch: StoredBatch) -> Effect:
        """That block left the chain."""

    async def final(self, batch: StoredBatch, receipt: Receipt, finalized: int) -> Effect | Unproven:
        """Its transaction succeeded in a final block: verify the receipt's logs against the calldata once more."""

    async def released(self, batch: StoredBatch, reason: str, finalized: int, *, blamed: bool) -> Release | Unproven:
        """Its nonce is closed for good without it: what the contract lacks of it waits again, for this `reason`.

        `blamed`: the chain executed it and it failed, for all we know because of what is in it.
        """
