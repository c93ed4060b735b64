"""The schedule of retries, exhaustively."""

import pytest

from relay.webhooks.retries import (
    GIVE_UP_MS,
    JITTER,
    PROBE_MAX_MS,
    PROBE_MS,
    RETRY_AFTER_MAX_MS,
    WAITS_MS,
    next_try_ms,
    probe_ms,
)

DAY_MS = 86_400_000
CHANCES = (0.0, 0.25, 0.5, 0.75, 0.999999)


def test_the_schedule_is_the_specifications() -> None:
    """5 s, 5 min, 30 min, 2 h, 5 h, 10 h, 14 h, 20 h, 24 h: ten tries in a little over three days."""
    assert WAITS_MS == (5_000, 300_000, 1_800_000, 7_200_000, 18_000_000, 36_000_000, 50_400_000, 72_000_000, DAY_MS)
    assert 3 * DAY_MS < GIVE_UP_MS < 4 * DAY_MS


@pytest.mark.parametrize("chance", CHANCES)
@pytest.mark.parametrize("attempts", range(1, 15))
def test_every_wait_is_scattered_around_its_place_in_the_schedule(attempts: int, chance: float) -> None:
    now_ms = 1_000_000
    due_ms = next_try_ms(attempts, now_ms, now_ms, chance)
    wait_ms = WAITS_MS[min(attempts, len(WAITS_MS)) - 1]
    assert due_ms is not None
    assert wait_ms * (1 - JITTER) <= due_ms - now_ms <= wait_ms * (1 + JITTER)


@pytest.mark.parametrize("chance", CHANCES)
def test_a_receiver_that_never_takes_it_hears_it_about_ten_times(chance: float) -> None:
    now_ms, attempts = 0, 1
    while (due_ms := next_try_ms(attempts, 0, now_ms, chance)) is not None:
        assert due_ms > now_ms
        now_ms, attempts = due_ms, attempts + 1
    assert 10 <= attempts <= 12
    assert GIVE_UP_MS <= now_ms <= GIVE_UP_MS + WAITS_MS[0]


@pytest.mark.parametrize(
    ("asked_ms", "least_ms"), [(0, 4_000), (60_000, 60_000), (10 * DAY_MS, RETRY_AFTER_MAX_MS), (1, 4_000)]
)
def test_a_receiver_may_ask_for_more_time_but_not_for_ever(asked_ms: int, least_ms: int) -> None:
    due_ms = next_try_ms(1, 0, 0, 0.0, asked_ms)
    assert due_ms == least_ms


def test_an_event_is_given_up_by_the_time_since_its_first_try() -> None:
    assert next_try_ms(1, 0, GIVE_UP_MS, 0.5) is None
    assert next_try_ms(99, 0, GIVE_UP_MS - 1, 0.5) is not None


def test_a_receiver_that_is_out_is_tried_ever_more_rarely() -> None:
    waits = [probe_ms(probes, 0.5) for probes in range(12)]
    assert waits == sorted(waits)
    assert (waits[0], waits[-1]) == (PROBE_MS, PROBE_MAX_MS)
    assert probe_ms(10_000, 0.5) == PROBE_MAX_MS
