"""What the outbox decides about one nonce: each rule by itself, and every state with every observation."""

from collections.abc import Iterator
from dataclasses import replace
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.chain_types import Fees, Receipt
from relay.outbox.fees import Bid
from relay.outbox.slots import (
    Attempt,
    Estrange,
    Finalize,
    Mine,
    Policy,
    Raise,
    Seen,
    Send,
    Sent,
    Sign,
    Slot,
    SlotState,
    Unmine,
    Void,
    Wait,
    decide,
    worst_case,
)

GWEI = 10**9

HASH = b"\x01" * 32
BLOCK = b"\x0b" * 32
LIVE = Slot(7, SlotState.LIVE, 1, (Attempt(HASH, Bid(3 * GWEI, GWEI), 100_000, 10),))
RECEIPT = Receipt(HASH, 12, BLOCK, True, 1, (), None)
MINED = replace(LIVE, state=SlotState.MINED, tx_hash=HASH, block_number=12, block_hash=BLOCK)
MARKET = Fees(GWEI, GWEI, 0)
SEEN = Seen(20, 14, 7, 0, {}, {}, MARKET, {HASH: Sent(20, 5.0)}, 5.0)


@pytest.mark.parametrize(
    ("slot", "seen", "expected"),
    [
        (replace(LIVE, state=SlotState.RESERVED, attempts=()), SEEN, Sign()),
        (LIVE, SEEN, Wait()),
        (LIVE, replace(SEEN, sent_at={}), Send()),
        (LIVE, replace(SEEN, head=22), Send()),
        (LIVE, replace(SEEN, now_s=20.0), Send()),
        (LIVE, replace(SEEN, head=21, now_s=19.0), Wait()),
        (LIVE, replace(SEEN, market=Fees(9 * GWEI, GWEI, 0)), Raise()),
        (LIVE, replace(SEEN, head=12, market=Fees(9 * GWEI, GWEI, 0)), Wait()),  # not stuck yet
        (LIVE, replace(SEEN, nonce=6, market=Fees(9 * GWEI, GWEI, 0)), Wait()),  # not first in line
        (LIVE, replace(SEEN, receipts={HASH: RECEIPT}, canonical={12: BLOCK}), Mine(RECEIPT)),
        (LIVE, replace(SEEN, nonce=8, receipts={HASH: RECEIPT}, canonical={12: b"other"}), Wait()),
        (LIVE, replace(SEEN, nonce=8, nonce_final=8, receipts={HASH: RECEIPT}), Wait()),  # a receipt is no stranger
        (LIVE, replace(SEEN, nonce=8), Wait()),  # used, but not finally
        (LIVE, replace(SEEN, nonce=8, nonce_final=8), Estrange()),
        (MINED, SEEN, Wait()),  # its height was not answered
        (MINED, replace(SEEN, canonical={12: b"other"}), Unmine()),
        (MINED, replace(SEEN, canonical={12: BLOCK}), Wait()),  # no receipt fetched now
        (MINED, replace(SEEN, canonical={12: BLOCK}, receipts={HASH: RECEIPT}), Finalize(RECEIPT)),
        (MINED, replace(SEEN, finalized=11, canonical={12: BLOCK}, receipts={HASH: RECEIPT}), Wait()),
        (MINED, replace(SEEN, canonical={12: BLOCK}, receipts={HASH: replace(RECEIPT, block_hash=b"x")}), Wait()),
    ],
)
def test_what_to_do_with_a_slot(slot: Slot, seen: Seen, expected: object) -> None:
    assert decide(slot, seen, Policy()) == expected


VOID_HASH = b"\x02" * 32
ASKED = replace(LIVE, void_by="ops")
VOIDED = replace(ASKED, attempts=(*LIVE.attempts, Attempt(VOID_HASH, Bid(4 * GWEI, 2 * GWEI), 21_000, 10, void=True)))
VOID_SEEN = replace(SEEN, sent_at={VOID_HASH: Sent(20, 5.0), HASH: Sent(20, 5.0)})
VOID_RECEIPT = replace(RECEIPT, tx_hash=VOID_HASH)


@pytest.mark.parametrize(
    ("slot", "seen", "expected"),
    [
        (replace(ASKED, state=SlotState.RESERVED, attempts=()), SEEN, Sign()),
        (ASKED, SEEN, Void()),
        (ASKED, replace(SEEN, nonce=6), Void()),  # at once, not only when it is stuck or first in line
        (ASKED, replace(SEEN, receipts={HASH: RECEIPT}, canonical={12: BLOCK}), Mine(RECEIPT)),  # the batch was faster
        (ASKED, replace(SEEN, nonce=8), Wait()),  # used: by what will be seen
        (ASKED, replace(SEEN, nonce=8, nonce_final=8), Estrange()),
        (VOIDED, VOID_SEEN, Wait()),
        (VOIDED, replace(VOID_SEEN, sent_at={HASH: Sent(20, 5.0)}), Send()),  # the void, not the batch
        (VOIDED, replace(VOID_SEEN, market=Fees(9 * GWEI, GWEI, 0)), Raise()),
        (VOIDED, replace(VOID_SEEN, receipts={VOID_HASH: VOID_RECEIPT}, canonical={12: BLOCK}), Mine(VOID_RECEIPT)),
        (VOIDED, replace(VOID_SEEN, receipts={HASH: RECEIPT}, canonical={12: BLOCK}), Mine(RECEIPT)),
    ],
)
def test_what_to_do_with_a_slot_that_is_to_be_voided(slot: Slot, seen: Seen, expected: object) -> None:
    assert decide(slot, seen, Policy()) == expected


def test_a_fee_that_a_node_refused_is_raised_although_the_market_would_take_it() -> None:
    refused = replace(SEEN, underpriced={HASH})
    assert decide(LIVE, refused, Policy()) == Raise()
    assert decide(LIVE, replace(refused, head=12), Policy()) == Wait()  # but not before it is stuck
    assert decide(LIVE, replace(SEEN, underpriced={b"another"}), Policy()) == Wait()


def observations() -> Iterator[Seen]:
    """Every combination of what can be seen of one nonce: nonces, receipt, canonical block, finality, age, market."""
    for nonce, final_nonce, receipts, canonical, finalized, head, market, sent in product(
        (6, 7, 8),
        (7, 8),
        ({}, {HASH: RECEIPT}, {HASH: replace(RECEIPT, block_hash=b"x")}),
        ({}, {12: BLOCK}, {12: b"other"}),
        (11, 12),
        (12, 20),
        (MARKET, Fees(9 * GWEI, GWEI, 0)),
        ({}, {HASH: Sent(20, 5.0)}),
    ):
        yield Seen(head, finalized, nonce, final_nonce, receipts, canonical, market, sent, 5.0)


def oracle(slot: Slot, seen: Seen) -> type:
    """The same decisions as a table of conditions, each written out by itself."""
    receipt = seen.receipts.get(HASH)
    if slot.state is SlotState.RESERVED:
        return Sign
    if slot.state is SlotState.MINED:
        gone = 12 in seen.canonical and seen.canonical[12] != BLOCK
        proved = seen.canonical.get(12) == BLOCK and receipt is not None and receipt.block_hash == BLOCK
        return Unmine if gone else Finalize if proved and seen.finalized >= 12 else Wait
    if receipt is not None and seen.canonical.get(12) == receipt.block_hash:
        return Mine
    return oracle_unmined(slot, seen, receipt)


def oracle_unmined(slot: Slot, seen: Seen, receipt: Receipt | None) -> type:
    """Live, and no canonical block holds it."""
    if seen.nonce > 7:
        return Estrange if seen.nonce_final > 7 and receipt is None else Wait
    if slot.void_by is not None:
        return Void
    if seen.nonce == 7 and seen.head - 10 >= 3 and seen.market.base == 9 * GWEI:
        return Raise
    return Wait if HASH in seen.sent_at and seen.head - 20 < 2 else Send


@pytest.mark.parametrize("slot", [replace(LIVE, state=SlotState.RESERVED, attempts=()), LIVE, ASKED, MINED],
                         ids=["reserved", "live", "asked", "mined"])  # fmt: skip
def test_every_state_with_every_observation(slot: Slot) -> None:
    seen = list(observations())
    assert len(seen) == 3 * 2 * 3 * 3 * 2 * 2 * 2 * 2
    decided = [type(decide(slot, one, Policy())) for one in seen]
    assert decided == [oracle(slot, one) for one in seen]


@given(st.sampled_from([LIVE, ASKED, VOIDED, MINED]), st.sampled_from(list(observations())))
def test_no_observation_gives_up_a_nonce_that_ours_may_have_used(slot: Slot, seen: Seen) -> None:
    action = decide(slot, seen, Policy())
    if isinstance(action, Estrange):
        assert seen.nonce_final > slot.nonce
        assert not any(attempt.tx_hash in seen.receipts for attempt in slot.attempts)
    if isinstance(action, Finalize):
        assert seen.canonical[12] == action.receipt.block_hash
        assert action.receipt.block_number <= seen.finalized
    if isinstance(action, Mine):
        assert seen.canonical[action.receipt.block_number] == action.receipt.block_hash


def test_the_worst_case_is_the_newest_attempt_of_each_nonce() -> None:
    reserved = replace(LIVE, state=SlotState.RESERVED, attempts=())
    assert worst_case([LIVE, VOIDED, reserved]) == 3 * GWEI * 100_000 + 4 * GWEI * 21_000
