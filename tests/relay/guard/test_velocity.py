"""Velocity against the definition, and the edges of what can be judged."""

from statistics import median

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.guard.velocity import OTHERS_MIN, OWN_MIN, flag, judge

MANY = {f"p{number}": 100 for number in range(OTHERS_MIN)}


@pytest.mark.parametrize(
    ("own", "expected"),
    [(999, "insufficient_data"), (1_000, "pass"), (1_001, "flag")],
)
def test_ten_times_the_median_passes_and_one_more_does_not(own: int, expected: str) -> None:
    assert judge({**MANY, "me": own}, ["me"], 10)["me"].result == expected


def test_nineteen_others_say_nothing() -> None:
    few = dict(list(MANY.items())[1:])
    assert judge({**few, "me": 10**9}, ["me"], 10)["me"] == ("insufficient_data", 10**9, OTHERS_MIN - 1, 200)


def test_the_players_own_sum_is_no_part_of_the_bar() -> None:
    """One of 21 with all the money is found at any multiple below 21; a mean that includes him never finds more."""
    sums = {**MANY, "me": 10**6}
    assert judge(sums, ["me"], 5_000)["me"].result == "flag"
    assert 21 * sum(sums.values()) / len(sums) > sums["me"]


def test_alone_and_unknown() -> None:
    assert judge({"me": 5_000}, ["me", "nobody"], 10) == {
        "me": ("insufficient_data", 5_000, 0, 0),
        "nobody": ("insufficient_data", 0, 1, 10_000),
    }


@given(st.lists(st.integers(1, 3_000), min_size=1, max_size=45), st.integers(1, 12))
def test_equal_to_the_definition(sums: list[int], multiplier: int) -> None:
    """Each player against the median of all the others, taken out one at a time."""
    by_player = {f"p{number}": total for number, total in enumerate(sums)}
    for player, found in judge(by_player, list(by_player), multiplier).items():
        others = [total for other, total in by_player.items() if other != player]
        assert found.others == len(others)
        if len(others) < OTHERS_MIN or by_player[player] < OWN_MIN:
            assert found.result == "insufficient_data"
        else:
            assert found.median2 == 2 * median(others)
            assert (found.result == "flag") == (by_player[player] > multiplier * median(others))


def test_the_text_of_the_flag() -> None:
    sums = {**MANY, "p0": 101, "me": 12_000}
    del sums["p1"]
    sums["q"] = 102
    found = judge(sums, ["me"], 10)["me"]
    raised = flag("g", "me", "gold", found, 10, "txn_1")
    assert raised.reason == (
        "Grant velocity: me was granted 12000 gold in 60 min, more than 10 times the median of 20 others (100)"
    )
    assert (raised.severity, raised.code, raised.subject_id) == ("warning", "GRANT_VELOCITY", "txn_1")
    assert flag("g", "me", "gold", found._replace(median2=201), 10, "txn_1").reason.endswith("(100.5)")
