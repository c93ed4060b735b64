"""What to do with one nonce slot, given what the chain shows. The loop only obeys.

Pure. The life of a nonce:

    reserved ──sign──▶ live ──in a canonical block──▶ mined ──its block is final──▶ final
                       │  ▲                            │
                       │  └────its block left the chain┘
                       └──used at finality, none of ours, others agree──▶ foreign

Signing again (higher fees, or a *void* self-send that an operator asked for) leaves it live; every attempt stays
watched, and whichever is mined decides. Once a void is signed only the void is raised and sent. A final void, a final
failure and a foreign nonce release what the batch carried; nothing else does.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import TypeAlias

from relay.chain_types import Fees, Receipt
from relay.outbox.fees import Bid


class SlotState(Enum):
    """Where a nonce is."""

    RESERVED = "reserved"  # a batch is committed to it, nothing is signed
    LIVE = "live"  # an attempt is committed; it may have been broadcast
    MINED = "mined"  # an attempt is in a block that is not final
    FINAL = "final"
    FOREIGN = "foreign"


@dataclass(frozen=True, slots=True)
class Attempt:
    """A signed transaction of a slot. The raw bytes stay in the database until they are sent."""

    tx_hash: bytes
    bid: Bid
    gas_limit: int
    created_at_block: int
    void: bool = False  # a self-send of nothing, which only uses the nonce up


@dataclass(frozen=True, slots=True)
class Slot:
    """A nonce and what was committed to it; hash, number and block are set while it is mined."""

    nonce: int
    state: SlotState
    batch_id: int
    attempts: tuple[Attempt, ...]  # oldest first
    tx_hash: bytes | None = None
    block_number: int | None = None
    block_hash: bytes | None = None
    void_by: str | None = None  # who asked for it to be voided: an operator, or a revocation before anything was signed

    def attempt(self, tx_hash: bytes) -> Attempt:
        """The attempt with this hash."""
        return next(attempt for attempt in self.attempts if attempt.tx_hash == tx_hash)


@dataclass(frozen=True, slots=True)
class Sent:
    """When this process last broadcast an attempt: head number and its own clock (s)."""

    at_block: int
    at_s: float


@dataclass(frozen=True, slots=True)
class Seen:
    """One observation of the chain. `canonical`: block hashes by number, for every height that matters."""

    head: int
    finalized: int
    nonce: int  # next nonce of the key at the head
    nonce_final: int  # and at the finality point
    receipts: Mapping[bytes, Receipt]
    canonical: Mapping[int, bytes]
    market: Fees
    sent_at: Mapping[bytes, Sent]
    now_s: float  # of the clock in `sent_at`
    underpriced: Collection[bytes] = ()  # attempts whose fee a node refused, whatever the market says


@dataclass(frozen=True, slots=True)
class Policy:
    """Patience, made by `relay.outbox.pace` for the chain's pace.

    Some chains make no blocks without transactions, so sending again also goes by time.
    """

    resend_blocks: int = 2
    resend_s: float = 15.0
    bump_blocks: int = 3

    def resend_due(self, sent: Sent | None, head: int, now_s: float) -> bool:
        """Whether an attempt that is not mined should be broadcast (again)."""
        return sent is None or head - sent.at_block >= self.resend_blocks or now_s - sent.at_s >= self.resend_s


@dataclass(frozen=True, slots=True)
class Sign:
    """Make, commit and broadcast the first attempt: of the batch, or a void if that was asked for before."""


@dataclass(frozen=True, slots=True)
class Mine:
    """Record that this receipt's attempt is in a canonical block."""

    receipt: Receipt


@dataclass(frozen=True, slots=True)
class Unmine:
    """Its block is not canonical any more: live again."""


@dataclass(frozen=True, slots=True)
class Finalize:
    """Verify this receipt's logs once more and close the slot."""

    receipt: Receipt


@dataclass(frozen=True, slots=True)
class Estrange:
    """The nonce is used at the finality point and none of our attempts did it."""


@dataclass(frozen=True, slots=True)
class Send:
    """Broadcast the newest attempt (again)."""


@dataclass(frozen=True, slots=True)
class Raise:
    """Make, commit and broadcast an attempt with higher fees."""


@dataclass(frozen=True, slots=True)
class Void:
    """Make, commit and broadcast the first self-send of nothing, with higher fees than the newest attempt."""


@dataclass(frozen=True, slots=True)
class Wait:
    """Nothing to do."""


Action: TypeAlias = Sign | Mine | Unmine | Finalize | Estrange | Send | Raise | Void | Wait


def decide(slot: Slot, seen: Seen, policy: Policy) -> Action:
    """Return what to do with a slot that is not final.

    (1) reserved: sign. (2) mined, but its block left the chain: live again. (3) mined at or below the finality point
    and its receipt still there: finalize. (4) live with a canonical receipt: mined. (5) nonce used at finality, no
    receipt of ours: foreign. (6) to be voided: void. (7) first in line, stuck and underbid: raise. (8) not sent by this
    process, or not for a while: send. A receipt without its canonical block, or a nonce used but not finally, decides
    nothing.
    """
    if slot.state is SlotState.RESERVED:  # (1)
        return Sign()
    if slot.state is SlotState.MINED:
        return _decide_mined(slot, seen)
    return _decide_live(slot, seen, policy)


def _decide_live(slot: Slot, seen: Seen, policy: Policy) -> Action:
    known = [seen.receipts[attempt.tx_hash] for attempt in slot.attempts if attempt.tx_hash in seen.receipts]
    for receipt in known:  # (4)
        if seen.canonical.get(receipt.block_number) == receipt.block_hash:
            return Mine(receipt)
    if slot.nonce < seen.nonce:  # used, by whom is open until it is final
        return Estrange() if seen.nonce_final > slot.nonce and not known else Wait()  # (5)
    newest = slot.attempts[-1]
    if slot.void_by is not None and not newest.void:  # (6)
        return Void()
    stuck = slot.nonce == seen.nonce and seen.head - newest.created_at_block >= policy.bump_blocks
    if stuck and (newest.tx_hash in seen.underpriced or not newest.bid.covers(seen.market)):  # (7)
        return Raise()
    due = policy.resend_due(seen.sent_at.get(newest.tx_hash), seen.head, seen.now_s)
    return Send() if due else Wait()  # (8)


def _decide_mined(slot: Slot, seen: Seen) -> Action:
    number = slot.block_number if slot.block_number is not None else -1
    canonical = seen.canonical.get(number)
    if canonical is None:  # not asked for, or the endpoint lags: no news
        return Wait()
    if canonical != slot.block_hash:  # (2)
        return Unmine()
    receipt = seen.receipts.get(slot.tx_hash or b"")
    if number <= seen.finalized and receipt is not None and receipt.block_hash == slot.block_hash:  # (3)
        return Finalize(receipt)
    return Wait()


def worst_case(slots: Iterable[Slot]) -> int:
    """Wei that the transactions under way can cost: of each nonce the newest attempt, which has the highest fees."""
    return sum(slot.attempts[-1].bid.cost(slot.attempts[-1].gas_limit) for slot in slots if slot.attempts)
