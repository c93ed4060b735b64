"""The sliding window against a list that remembers everything."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.guard.limits import REFUSED_MAX, WINDOW_MS, attempt, empty, unpack
from relay.guard.recent import RECENT_MS, find, remember


def test_the_sixtieth_passes_and_the_sixty_first_does_not() -> None:
    """Limit 60: sixty in one instant, then refused until the first is exactly 60.000 s old."""
    window = empty()
    decisions = [attempt(window, 1_000, 60) for _ in range(62)]
    assert [decision.admit for decision in decisions] == [True] * 60 + [False] * 2
    assert [decisions[59].attempts, decisions[60].attempts, decisions[61].attempts] == [60, 61, 62]
    assert not attempt(window, 1_000 + WINDOW_MS - 1, 60).admit
    assert attempt(window, 1_000 + WINDOW_MS, 60).admit


@given(
    st.lists(st.tuples(st.integers(0, 30_000), st.integers(1, 5)), max_size=60),
    st.integers(1, 5),
)
def test_equal_to_a_naive_list(steps: list[tuple[int, int]], limit: int) -> None:
    """Any arrivals: the same decisions and counts as counting all earlier events afresh each time."""
    window = empty()
    admitted: list[int] = []
    refused: list[int] = []
    now_ms = 0
    for wait_ms, burst in steps:
        now_ms += wait_ms
        for _ in range(burst):
            inside = [at for at in admitted if now_ms - WINDOW_MS < at <= now_ms]
            also = [at for at in refused if now_ms - WINDOW_MS < at <= now_ms]
            decision = attempt(window, now_ms, limit)
            assert decision.admit == (len(inside) < limit)
            assert decision.attempts == len(inside) + len(also) + 1
            (admitted if decision.admit else refused).append(now_ms)
            assert decision.remaining == limit - len([at for at in admitted if now_ms - WINDOW_MS < at])
            if not decision.admit:
                leaves = min(inside) + WINDOW_MS
                assert decision.reset_ms == leaves - now_ms
            window = unpack(window.admitted.tobytes(), window.refused.tobytes())  # as the database keeps it


def test_a_clock_that_goes_back_stands_still() -> None:
    """The ring stays sorted, and nothing is admitted twice."""
    window = empty()
    assert attempt(window, 10_000, 1).admit
    assert not attempt(window, 5_000, 1).admit
    assert list(window.admitted) == sorted(window.admitted)


def test_a_lowered_limit_counts_from_the_newest() -> None:
    """Five inside, limit now two: admitted again when only one of the five is left."""
    window = empty()
    for at_ms in (0, 1_000, 2_000, 3_000, 4_000):
        attempt(window, at_ms, 5)
    decision = attempt(window, 5_000, 2)
    assert not decision.admit
    assert decision.reset_ms == 3_000 + WINDOW_MS - 5_000
    assert attempt(window, 5_000 + decision.reset_ms, 2).admit


def test_refusals_are_bounded() -> None:
    """A flood does not grow the row."""
    window = empty()
    for _ in range(REFUSED_MAX + 50):
        attempt(window, 1, 1)
    assert len(window.refused) == REFUSED_MAX
    assert len(window.admitted) == 1


@pytest.mark.parametrize(("age_ms", "found"), [(0, True), (RECENT_MS - 1, True), (RECENT_MS, False)])
def test_claims_are_remembered_for_a_minute(age_ms: int, *, found: bool) -> None:
    """A claim exactly 60 s old is a new play."""
    claims = remember(b"", b"\x01" * 32, "0" * 25 + "a", 1_000)
    claims = remember(claims, b"\x02" * 32, "0" * 25 + "b", 1_000)
    assert (find(claims, b"\x01" * 32, 1_000 + age_ms) == "0" * 25 + "a") is found
    assert find(claims, b"\x03" * 32, 1_000) is None


def test_old_claims_are_forgotten() -> None:
    """The row holds one minute only."""
    claims = b""
    for number in range(100):
        claims = remember(claims, bytes([number]) * 32, "0" * 26, number * 1_000)
    assert len(claims) == 50 * 60
