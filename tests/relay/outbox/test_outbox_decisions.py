"""The pure decisions of the outbox: batches, fees, pace, send errors, results."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.chain_types import Fees, Log, SendAnswer
from relay.contract import TOPICS, Record
from relay.contract_records import RECORD_SIZE
from relay.outbox.batches import CALLDATA_BYTES_MAX, BatchLimits, GasModel, Waiting, choose, due_in_ms
from relay.outbox.fees import Bid, affordable, bump, market_as, quote
from relay.outbox.pace import Pace, measure
from relay.outbox.results import Batch, read
from relay.outbox.send_errors import SendClass, classify
from relay.outbox.slots import Policy

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


@given(st.integers(1, 10**12), st.integers(0, 10**12), st.integers(0, 10**12), st.integers(0, 10**11))
def test_a_bump_is_the_greater_of_an_eighth_more_and_todays_quote_on_both_fields(
    fee: int, tip: int, base: int, usual: int
) -> None:
    old = Bid(max(fee, tip), tip)
    eighth_fee, eighth_tip = -(-old.fee_max * 9 // 8), -(-tip * 9 // 8)
    uncapped = bump(old, Fees(base, usual, 0), 10**30)
    assert uncapped is not None
    assert uncapped.tip_max == max(eighth_tip, usual, tip + 1)
    assert uncapped.fee_max == max(eighth_fee, 2 * base + usual, uncapped.tip_max, old.fee_max + 1)
    capped = bump(old, Fees(base, usual, 0), CAP)
    if uncapped.fee_max <= CAP:
        assert capped == uncapped
    elif capped is not None:
        assert capped.fee_max == CAP


def test_a_legacy_attempt_stays_legacy_and_the_cap_ends_bumping() -> None:
    assert bump(Bid(8 * GWEI, None), Fees(None, 0, GWEI), CAP) == Bid(9 * GWEI, None)
    assert bump(Bid(8 * GWEI, None), Fees(9 * GWEI, 2 * GWEI, 0), CAP) == Bid(20 * GWEI, None)
    assert bump(Bid(CAP, GWEI), Fees(GWEI, GWEI, 0), CAP) is None
    assert bump(Bid(8 * GWEI, 8 * GWEI), Fees(GWEI, GWEI, 0), 9 * GWEI) == Bid(9 * GWEI, 9 * GWEI)
    # between what nodes demand and what we would bid, the cap itself is worth sending
    assert bump(Bid(8 * GWEI, GWEI), Fees(GWEI, GWEI, 0), 8_900_000_000) == Bid(8_900_000_000, 1_125_000_000)
    assert bump(Bid(8 * GWEI, GWEI), Fees(GWEI, GWEI, 0), 8_700_000_000) is None
    assert bump(Bid(8 * GWEI, 8 * GWEI), Fees(GWEI, GWEI, 0), 8_700_000_000) is None


def test_the_kind_of_fees_can_be_asked_for() -> None:
    modern, old = Fees(GWEI, 2 * GWEI, 3 * GWEI), Fees(None, 0, 3 * GWEI)
    assert market_as(modern, "auto") == modern
    assert market_as(old, "auto") == old
    assert quote(market_as(modern, "legacy"), CAP) == Bid(3_300_000_000, None)
    assert quote(market_as(old, "legacy"), CAP) == Bid(3_300_000_000, None)
    assert market_as(modern, "eip1559") == modern
    assert quote(market_as(old, "eip1559"), CAP) == Bid(3 * GWEI, 3 * GWEI)


@pytest.mark.parametrize(
    ("balance", "reserved", "costs", "count"),
    [
        (10, 0, [5, 5, 5], 2),
        (10, 5, [5, 5], 1),
        (10, 11, [0], 0),
        (0, 0, [], 0),
        (4, 0, [5, 1], 0),
        (15, 0, [5] * 3, 3),
    ],
)
def test_as_many_batches_as_the_balance_covers_in_their_order(
    balance: int, reserved: int, costs: list[int], count: int
) -> None:
    assert affordable(balance, reserved, costs) == count


# --------------------------------------------------------------------- pace


@pytest.mark.parametrize(
    ("timestamps", "blocks", "seconds", "block_s"),
    [
        ([12 * n for n in range(21)], 0, 0.0, 12.0),  # Ethereum
        ([12 * n + (12 if n > 9 else 0) for n in range(21)], 0, 0.0, 12.0),  # with an empty slot
        (list(range(21)), 0, 0.0, 1.0),
        ([2 * n for n in range(21)], 0, 0.0, 2.0),
        (list(range(21)), 100, 10.0, 0.1),  # stamps rise by one per block whatever the clock says
        (list(range(21)), 9, 0.9, 1.0),  # too few to tell
        ([12 * n for n in range(21)], 20, 400.0, 12.0),  # a slow spell is no new pace
        ([n // 8 for n in range(21)], 0, 0.0, 0.05),  # sub-second blocks in whole seconds
        ([3600 * n for n in range(21)], 0, 0.0, 1.0),  # on demand
        ([0, 3600, 3601, 3601, 3602, 7200, 7201, 7202], 0, 0.0, 1.0),  # on demand, in bursts
        ([], 0, 0.0, 1.0),
        ([5], 0, 0.0, 1.0),
    ],
)
def test_the_pace_is_measured(timestamps: list[int], blocks: int, seconds: float, block_s: float) -> None:
    assert measure(timestamps, blocks, seconds).block_s == pytest.approx(block_s)


@pytest.mark.parametrize(
    ("block_s", "wait_ms", "poll_ms", "policy"),
    [
        (0.1, 250, 100, Policy(20, 15.0, 30)),
        (1.0, 1000, 250, Policy(2, 15.0, 3)),
        (2.0, 2000, 500, Policy(2, 15.0, 3)),
        (12.0, 12_000, 3000, Policy(2, 36.0, 3)),
    ],
)
def test_what_follows_from_the_pace(block_s: float, wait_ms: int, poll_ms: int, policy: Policy) -> None:
    assert Pace(block_s).wait_ms == wait_ms
    assert Pace(block_s).poll_ms == poll_ms
    assert Pace(block_s).policy == policy


@given(st.floats(0.05, 60))
def test_patience_holds_in_blocks_and_in_seconds(block_s: float) -> None:
    policy = Pace(block_s).policy
    assert policy.bump_blocks >= 3
    assert policy.bump_blocks * block_s >= 3.0 - 1e-9
    assert policy.resend_blocks >= 2
    assert policy.resend_blocks * block_s >= 2.0 - 1e-9
    assert policy.resend_s > 2 * block_s


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
        ("in-flight transaction limit reached for delegated accounts", SendClass.POOL_FULL),
        ("internal error", SendClass.AMBIGUOUS),
        ("", SendClass.AMBIGUOUS),
    ],
)
def test_nodes_word_it_differently(message: str, expected: SendClass) -> None:
    assert classify(SendAnswer(False, -32000, message)) is expected


def test_no_answer_is_ambiguous_whatever_the_text() -> None:
    assert classify(SendAnswer(False, None, "nonce too low")) is SendClass.AMBIGUOUS
    assert classify(SendAnswer(True)) is SendClass.ACCEPTED


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
