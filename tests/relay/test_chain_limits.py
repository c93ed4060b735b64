"""What endpoints allow: refusals in the words providers use, the steady rate, Retry-After."""

from email.utils import formatdate

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from relay.chain_limits import (
    RETRY_AFTER_S_MAX,
    EndpointLimits,
    batch_refused,
    narrower,
    pace,
    range_refused,
    rate_limited,
    retry_after_s,
    troubled,
)
from relay.chain_types import ChainAnswerError

RANGES = [
    (-32005, "query returned more than 10000 results"),
    (-32005, "query exceeds max block range 50"),
    (-32602, "range 1000000 exceeds limit of 10000"),
    (-32602, "Log response size exceeded. Please reduce query block range."),
    (-32614, "eth_getLogs is limited to a 10,000 range"),
    (-32000, "block range is too wide"),
    (-32000, "exceed maximum block range: 5000"),
    (-32600, "range 9009594 is bigger than range limit 2000"),
]
RATES = [
    (429, "slow down"),
    (-32005, "limit exceeded"),
    (-32005, "daily request count exceeded, request rate limited"),
    (-32005, "project ID request rate exceeded"),
    (-32000, "Too Many Requests"),
    (-32029, "Too Many Requests"),
    (-32000, "Your app has exceeded its compute units per second capacity"),
    (-32000, "rate limit exceeded"),
]
OTHERS = [
    (3, "execution reverted"),
    (-32000, "nonce too low"),
    (-32000, "txpool is full"),
    (-32000, "account limit exceeded"),
    (-32601, "the method does not exist"),
]


@pytest.mark.parametrize(("code", "message"), RANGES)
def test_refused_ranges(code: int, message: str) -> None:
    assert range_refused(code, message)
    assert not rate_limited(code, message)


@pytest.mark.parametrize(("code", "message"), RATES)
def test_rate_limits_are_no_answers(code: int, message: str) -> None:
    assert rate_limited(code, message)
    assert not range_refused(code, message)


@pytest.mark.parametrize(("code", "message"), OTHERS)
def test_other_errors_are_neither(code: int, message: str) -> None:
    assert not rate_limited(code, message)
    assert not range_refused(code, message)
    assert not batch_refused(message)


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (ChainAnswerError(-32603, "internal error", None), True),
        (ChainAnswerError(-32603, "Internal JSON-RPC error.", None), True),
        (ChainAnswerError(-32000, "header not found", None), True),
        (ChainAnswerError(-32000, "missing trie node 1234", None), True),
        (ChainAnswerError(-32000, "request timed out", None), True),
        (ChainAnswerError(-32603, "execution reverted", None), False),
        (
            ChainAnswerError(-32603, "VM Exception while processing transaction: reverted with custom error", None),
            False,
        ),
        (ChainAnswerError(-32603, "error", b"\x01\x02\x03\x04"), False),
        (ChainAnswerError(3, "execution reverted: internal error", b"\x08"), False),
        (ChainAnswerError(-32603, "EVM error OutOfGas", None), False),
        (ChainAnswerError(-32603, "EVM error MemoryOOG", None), False),
        (ChainAnswerError(-32000, "out of gas", None), False),
        (ChainAnswerError(-32000, "invalid opcode: INVALID", None), False),
        (ChainAnswerError(-32015, "VM execution error: stack underflow (0 <=> 2)", None), False),
        (ChainAnswerError(-32000, "invalid jump destination", None), False),
        (ChainAnswerError(-32000, "insufficient funds", None), False),
        (ChainAnswerError(-32601, "the method does not exist", None), False),
    ],
)
def test_the_endpoint_s_own_trouble(error: ChainAnswerError, expected: bool) -> None:
    assert troubled(error) is expected


@pytest.mark.parametrize("message", ["batch too large", "Batch size exceeds 10", "The batch request was too large",
                                     "batch of more than 7 calls", "response too large"])  # fmt: skip
def test_refused_batches(message: str) -> None:
    assert batch_refused(message)


@pytest.mark.parametrize(
    ("span", "message", "expected"),
    [
        (1_000_000, "range 1000000 exceeds limit of 10000", 10_000),
        (1_000_000, "eth_getLogs is limited to a 10,000 range", 10_000),
        (9_009_594, "range 9009594 is bigger than range limit 2000", 2_000),
        (100, "block range is too wide", 50),
        (8_000, "query returned more than 10000 results", 4_000),
        (5_000, "from 0x10 to 0x9999: at most 4999", 2_500),
        (1, "no", 1),
    ],
)
def test_the_next_range(span: int, message: str, expected: int) -> None:
    assert narrower(span, message) == expected


@settings(deadline=None)
@given(st.integers(1, 2**40), st.text(max_size=60))
def test_ranges_at_least_halve_until_one_block(span: int, message: str) -> None:
    assert 1 <= narrower(span, message) <= max(1, span // 2)


@settings(deadline=None)
@given(st.floats(0.5, 1000), st.lists(st.tuples(st.floats(0, 2), st.integers(1, 50)), min_size=1, max_size=60))
def test_a_steady_rate_is_never_exceeded(per_s: float, requests: list[tuple[float, int]]) -> None:
    now, due, sent = 0.0, 0.0, list[tuple[float, int]]()
    for pause, calls in requests:
        now += pause
        due, wait = pace(due, now, calls, per_s)
        assert wait >= 0
        now += wait
        sent.append((now, calls))
    for first in range(len(sent)):
        calls = sum(count for at, count in sent[first:-1])
        assert calls <= (sent[-1][0] - sent[first][0]) * per_s * 1.000001 + 0.000001


def test_a_batch_is_no_larger_than_a_second_s_worth() -> None:
    assert EndpointLimits().batch_start == 50
    assert EndpointLimits(50, 10).batch_start == 10
    assert EndpointLimits(50, 0.5).batch_start == 1
    assert EndpointLimits(5, 1000).batch_start == 5


NOW_S = 1_800_000_000.0


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (None, None), ("", None), ("0", 0.0), ("7", 7.0), (" 30 ", 30.0), ("999999", RETRY_AFTER_S_MAX),
        ("soon", None), ("-5", None), ("1.5", None), ("²", None),
        (formatdate(NOW_S + 40, usegmt=True), 40.0), (formatdate(NOW_S - 40, usegmt=True), 0.0),
        (formatdate(NOW_S + 10**6, usegmt=True), RETRY_AFTER_S_MAX),
    ],
)  # fmt: skip
def test_retry_after(header: str | None, expected: float | None) -> None:
    assert retry_after_s(header, NOW_S) == expected
