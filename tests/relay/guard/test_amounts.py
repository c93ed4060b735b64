"""Amounts: one by one, and in the window, against a list that remembers everything."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.guard import amounts
from relay.guard.amounts import AMOUNT_MAX, Moved, added_up, allow, empty, record, too_large, unpack, usable
from relay.guard.limits import WINDOW_MS


@pytest.mark.parametrize("amount", [0, -1, AMOUNT_MAX + 1, True, 1.0, "1", None])
def test_what_is_no_amount(amount: object) -> None:
    assert not usable(amount)


def test_both_ends_are_amounts() -> None:
    assert usable(1)
    assert usable(AMOUNT_MAX)


def test_lines_are_added_up_before_they_are_looked_at() -> None:
    assert added_up([("gold", 3), ("gems", 1), ("gold", 4)]) == {"gold": 7, "gems": 1}
    assert added_up([("gold", 3), ("gold", 0)]) is None
    assert added_up([("gold", AMOUNT_MAX), ("gold", 1)]) is None
    assert added_up([]) == {}


def test_exactly_the_limit_passes() -> None:
    assert not too_large(1_000_000, 1_000_000)
    assert too_large(1_000_001, 1_000_000)


def test_the_window_is_filled_to_the_last_unit() -> None:
    """60 + 40 of 100, then not one more until the 60 are exactly 60.000 s old."""
    window = empty()
    record(window, 1_000, 60)
    record(window, 2_000, 40)
    assert allow(window, 2_000, 1, 100) == (False, 100, WINDOW_MS - 1_000)
    assert allow(window, 1_000 + WINDOW_MS - 1, 60, 100).admit is False
    assert allow(window, 1_000 + WINDOW_MS, 60, 100).admit is True
    assert allow(window, 1_000 + WINDOW_MS, 61, 100) == (False, 40, 1_000)
    assert allow(window, 1_000 + WINDOW_MS, 101, 100).free_in_ms is None


def test_a_clock_that_goes_back_stands_still() -> None:
    window = empty()
    record(window, 10_000, 5)
    record(window, 4_000, 5)
    assert (list(window.at_ms), list(window.amounts)) == ([10_000], [10])
    assert allow(window, 1_000, 1, 10).free_in_ms == WINDOW_MS


def test_sums_beyond_an_integer_of_the_ring_are_kept_apart() -> None:
    window = empty()
    record(window, 1, AMOUNT_MAX)
    record(window, 1, AMOUNT_MAX)
    assert allow(window, 1, 1, AMOUNT_MAX).moved == 2 * AMOUNT_MAX


@given(st.lists(st.tuples(st.integers(0, 30_000), st.integers(1, 60)), max_size=60), st.integers(1, 100))
def test_equal_to_a_naive_list(steps: list[tuple[int, int]], limit: int) -> None:
    """Any amounts at any times: the same decisions as adding up all earlier ones afresh each time."""
    window: Moved = empty()
    moved: list[tuple[int, int]] = []
    now_ms = 0
    for wait_ms, amount in steps:
        now_ms += wait_ms
        inside = sum(one for at, one in moved if now_ms - WINDOW_MS < at <= now_ms)
        found = allow(window, now_ms, amount, limit)
        assert (found.admit, found.moved) == (inside + amount <= limit, inside)
        if found.admit:
            record(window, now_ms, amount)
            moved.append((now_ms, amount))
        elif found.free_in_ms is None:
            assert amount > limit
        else:
            later = now_ms + found.free_in_ms
            assert sum(one for at, one in moved if later - WINDOW_MS < at) + amount <= limit
            assert sum(one for at, one in moved if later - 1 - WINDOW_MS < at) + amount > limit
        window = unpack(window.at_ms.tobytes(), window.amounts.tobytes())  # as the database keeps it


def test_a_window_that_nobody_used_is_empty() -> None:
    assert amounts.allow(empty(), 1, 5, 5) == (True, 0, 0)
