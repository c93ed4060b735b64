"""The pure decisions of the outbox: batches, fees, send errors, slots, results."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.chain_types import Fees, Log, Receipt, SendAnswer
from relay.contract import TOPICS, Record
from relay.contract_records import RECORD_SIZE
from relay.outbox.batches import CALLDATA_BYTES_MAX, BatchLimits, GasModel, Waiting, choose, due_in_ms
from relay.outbox.fees import Bid, bump, quote
from relay.outbox.results import Batch, read
from relay.outbox.send_errors import SendClass, classify
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
    Wait,
    decide,
)

GWEI = 10**9
CAP = 500 * GWEI

# ------------------------------------------------------------------ batches


def waiting(number: int, game: str = "a", rules: bytes = b"r", at_ms: int = 0) -> Waiting:
    return Waiting(f"sub_{game}{number}", game, rules, bytes(20), 1, number, bytes(32), at_ms)


def test_a_full_batch_is_due_at_once_and_the_rest_when_the_oldest_has_waited() -> None:
    scores = [waiting(number, at_ms=1000 + number) for number in range(5)]
    wait_ms = 250
    assert [len(batch) for batch in choose(scores, 1004, wait_ms, 2, 16)] == [2, 2]
    assert [len(batch) for batch in choose(scores, 1253, wait_ms, 2, 16)] == [2, 2]
    assert [len(batch) for batch in choose(scores, 1254, wait_ms, 2, 16)] == [2, 2, 1]
    assert due_in_ms(scores[4:], 1004, wait_ms) == 250
    assert due_in_ms(scores[4:], 9999, wait_ms) == 0
    assert due_in_ms([], 0, wait_ms) is None


@given(st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from([b"r", b"s"]), st.integers(0, 999)), max_size=60))
def test_batches_partition_their_groups(drawn: list[tuple[str, bytes, int]]) -> None:
    scores = [waiting(number, game, rules, at) for number, (game, rules, at) in enumerate(drawn)]
    batches = choose(scores, 10_000, 0, 7, 1000)
    assert sorted(score.submission_id for batch in batches for score in batch) == sorted(
        s.submission_id for s in scores
    )
    for batch in batches:
        assert 1 <= len(batch) <= 7
        assert len({(score.game_id, score.rules_hash) for score in batch}) == 1
    oldest = [min(score.accepted_at_ms for score in batch) for batch in batches]
    assert oldest == sorted(oldest)
    assert len(choose(scores, 10_000, 0, 7, 2)) <= 2


def test_capacity_is_the_least_of_setting_contract_gas_and_calldata() -> None:
    assert BatchLimits(100, 0).capacity(30_000_000) == 100
    assert BatchLimits(9999, 0).capacity(30_000_000) == 500
    assert BatchLimits(500, 0, GasModel(100_000, 100_000)).capacity(30_000_000) == 166  # EIP-7825 below the block
    assert BatchLimits(500, 0).capacity(1_000_000) == 153
    assert BatchLimits(500, 0).capacity(1) == 1
    assert 500 * RECORD_SIZE < CALLDATA_BYTES_MAX


# --------------------------------------------------------------------- fees


def test_a_quote_survives_six_full_blocks() -> None:
    assert quote(Fees(10 * GWEI, 2 * GWEI, 0), CAP) == Bid(22 * GWEI, 2 * GWEI)
    assert quote(Fees(10 * GWEI, 2 * GWEI, 0), 5 * GWEI) == Bid(5 * GWEI, 2 * GWEI)
    assert quote(Fees(None, 0, 10 * GWEI), CAP) == Bid(11 * GWEI, None)


@given(st.integers(0, 10**12), st.integers(0, 10**11), st.integers(0, 10**12), st.integers(0, 10**11))
def test_a_bump_is_always_enough_for_a_node_and_never_above_the_cap(fee: int, tip: int, base: int, usual: int) -> None:
    old = Bid(max(fee, tip), tip)
    new = bump(old, Fees(base, usual, 0), CAP)
    if new is None:
        assert max(old.fee_max * 9 // 8, 2 * base + usual, old.tip_max or 0) + 1 >= min(CAP, old.fee_max)
        return
    assert new.tip_max is not None
    assert new.fee_max <= CAP
    assert new.fee_max * 100 >= old.fee_max * 110
    assert new.tip_max * 100 >= tip * 110
    assert new.fee_max > old.fee_max
    assert new.tip_max > tip
    assert new.tip_max <= new.fee_max


def test_a_legacy_attempt_stays_legacy_and_the_cap_ends_bumping() -> None:
    assert bump(Bid(8 * GWEI, None), Fees(None, 0, GWEI), CAP) == Bid(9 * GWEI, None)
    assert bump(Bid(CAP, GWEI), Fees(GWEI, GWEI, 0), CAP) is None
    assert bump(Bid(8 * GWEI, 8 * GWEI), Fees(GWEI, GWEI, 0), 9 * GWEI) == Bid(9 * GWEI, 9 * GWEI)


def test_what_covers_the_market() -> None:
    assert Bid(3 * GWEI, GWEI).covers(Fees(GWEI, GWEI, 0))
    assert not Bid(3 * GWEI, GWEI).covers(Fees(4 * GWEI, GWEI, 0))
    assert not Bid(3 * GWEI, GWEI).covers(Fees(3 * GWEI, GWEI, 0))
    assert Bid(5, None).covers(Fees(None, 0, 5))
    assert not Bid(4, None).covers(Fees(None, 0, 5))


# -------------------------------------------------------------- send errors


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ("already known", SendClass.ALREADY_KNOWN),
        ("ALREADY_EXISTS: already known", SendClass.ALREADY_KNOWN),
        ("AlreadyKnown", SendClass.ALREADY_KNOWN),
        ("Known transaction", SendClass.ALREADY_KNOWN),
        ("transaction already imported", SendClass.ALREADY_KNOWN),
        ("nonce too low: next nonce 7, tx nonce 3", SendClass.NONCE_TOO_LOW),
        ("OldNonce, Current nonce: 5, nonce of rejected tx: 4", SendClass.NONCE_TOO_LOW),
        ("Nonce too high", SendClass.NONCE_TOO_HIGH),
        ("replacement transaction underpriced", SendClass.UNDERPRICED),
        ("transaction underpriced: tip needed 25, tip permitted 1", SendClass.UNDERPRICED),
        ("max fee per gas less than block base fee: address 0x…", SendClass.UNDERPRICED),
        ("insufficient funds for gas * price + value: balance 0", SendClass.INSUFFICIENT_FUNDS),
        ("Sender doesn't have enough funds to send tx", SendClass.INSUFFICIENT_FUNDS),
        ("txpool is full", SendClass.POOL_FULL),
        ("invalid chain id for signer: have 1 want 2", SendClass.NEVER_VALID),
        ("exceeds block gas limit", SendClass.NEVER_VALID),
        ("intrinsic gas too low: gas 1, minimum needed 21000", SendClass.NEVER_VALID),
        ("internal error", SendClass.AMBIGUOUS),
        ("", SendClass.AMBIGUOUS),
    ],
)
def test_nodes_word_it_differently(message: str, expected: SendClass) -> None:
    assert classify(SendAnswer(False, -32000, message)) is expected


def test_no_answer_is_ambiguous_whatever_the_text() -> None:
    assert classify(SendAnswer(False, None, "nonce too low")) is SendClass.AMBIGUOUS
    assert classify(SendAnswer(True)) is SendClass.ACCEPTED


# -------------------------------------------------------------------- slots

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


# ------------------------------------------------------------------ results

GAME, RULES, CONTRACT = b"g" * 32, b"r" * 32, b"c" * 20
RECORDS = tuple(Record(bytes([n]) * 20, 100 + n, n, bytes([n]) * 32) for n in range(1, 5))
BATCH = Batch(GAME, RULES, ("a", "b", "c", "d"), RECORDS)


def score_log(
    record: Record, tx: bytes = b"t", rules: bytes = RULES, address: bytes = CONTRACT, game: bytes = GAME
) -> Log:
    topics = (TOPICS["ScoreSubmitted"], game, bytes(12) + record.player, record.round_id.to_bytes(32, "big"))
    return Log(address, topics, record.score.to_bytes(32, "big") + record.evidence_hash + rules, 5, b"h", tx, 0)


def test_results_tell_own_others_and_contradictions_apart() -> None:
    own = [score_log(RECORDS[0])]
    others = [score_log(RECORDS[1], b"u", rules=b"s" * 32), score_log(RECORDS[2]._replace(score=1), b"u")]
    result = read(BATCH, CONTRACT, own, others)
    assert result.recorded == (0,)
    assert [(found.position, found.tx_hash) for found in result.elsewhere] == [(1, b"u")]
    assert result.contradicted == (2,)
    assert result.missing == (3,)


@pytest.mark.parametrize(
    "told",
    [
        RECORDS[0]._replace(player=b"z" * 20),
        RECORDS[0]._replace(score=9),
        RECORDS[0]._replace(evidence_hash=b"z" * 32),
    ],
)
def test_a_log_with_other_values_never_counts(told: Record) -> None:
    assert read(BATCH, CONTRACT, [score_log(told)]).contradicted == (0,)


def test_logs_of_other_contracts_games_and_events_are_nothing() -> None:
    logs = [
        score_log(RECORDS[0], address=b"x" * 20),
        score_log(RECORDS[0], game=b"x" * 32),
        replace(score_log(RECORDS[0]), topics=(TOPICS["BatchAccepted"], GAME, bytes(32), (1).to_bytes(32, "big"))),
        replace(score_log(RECORDS[0]), data=b""),
    ]
    assert read(BATCH, CONTRACT, logs).missing == (0, 1, 2, 3)
