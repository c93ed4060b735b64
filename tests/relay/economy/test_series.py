"""Steps of a chart: where they end, what belongs to which, and what earlier levels were."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.economy.series import KEPT_MS, MINUTE_S, WINDOWS, Level, Steps, Window, counts, levels

NOW = 1_700_000_123_456


@pytest.mark.parametrize("name", WINDOWS)
def test_steps_end_on_multiples_and_the_last_ends_now(name: str) -> None:
    window = WINDOWS[name]
    steps, step_ms = Steps(window, NOW), window.step_s * 1_000
    ends = steps.ends_ms
    assert len(ends) == window.steps
    assert ends[-1] == NOW
    assert all(end % step_ms == 0 for end in ends[:-1])
    assert [b - a for a, b in zip([steps.first_ms, *ends[:-2]], ends[:-1], strict=True)] == [step_ms] * (len(ends) - 1)
    assert 0 < NOW - ends[-2] <= step_ms
    assert window.step_s % window.grain_s == 0
    assert window.grain_s != MINUTE_S or window.steps * step_ms < KEPT_MS


@given(st.sampled_from(sorted(WINDOWS)), st.integers(0, 2**41), st.integers(0, 2**20))
def test_a_count_belongs_to_the_step_it_began_in(name: str, now_ms: int, ago: int) -> None:
    """Whatever time it is; a count of the minute that has begun belongs to the last step."""
    window = WINDOWS[name]
    steps, grain_ms = Steps(window, now_ms), window.grain_s * 1_000
    began = (now_ms // grain_ms - ago % (window.steps * window.step_s // window.grain_s)) * grain_ms
    number = steps.number(began)
    bounds = [steps.first_ms, *steps.ends_ms]
    if began >= steps.first_ms:
        assert 0 <= number < window.steps
        assert bounds[number] <= began <= bounds[number + 1]
    assert steps.number(now_ms + 3_600_000) == window.steps - 1  # a clock that was set back meanwhile


@given(st.lists(st.tuples(*[st.integers(-50, 50)] * 4), min_size=3, max_size=3))
def test_levels_lead_back_by_what_was_counted(changes: list[tuple[int, int, int, int]]) -> None:
    """Told forwards from any beginning they are the same."""
    steps, at = Steps(Window(3, 60, 60), NOW), Level(100, 20, 3, 7)
    told = []
    for change in changes:
        at = Level(*(a + b for a, b in zip(at, change, strict=True)))
        told.append(at)
    found = levels(steps, told[-1], {number: Level(*change) for number, change in enumerate(changes) if any(change)})
    assert found == told
    assert all(one.minted == one.burned + one.taxed + one.escrowed + one.circulating for one in found)


def test_counts_are_added_up_and_ordered_by_how_often() -> None:
    steps = Steps(Window(3, 60, 60), NOW)
    found = counts(steps, [("spend", 0, 2), ("grant", 2, 5), ("spend", 0, 1), ("craft", 1, 3)])
    assert found == [("grant", [0, 0, 5]), ("craft", [0, 3, 0]), ("spend", [3, 0, 0])]
