"""The coarse shield: an allowance that fills steadily, in bounded memory; failures counted until there are many."""

from hypothesis import given
from hypothesis import strategies as st

from relay.guard import failures, shield
from relay.guard.failures import Failures, Subject
from relay.guard.shield import WINDOW_S, Shield


def test_a_minutes_allowance_at_once_then_steadily() -> None:
    """Sixty a minute: sixty at once, then one a second; the answer says how long to wait."""
    it = Shield(60)
    taken = [it.take("a", 0.0) for _ in range(61)]
    assert [one.admit for one in taken] == [True] * 60 + [False]
    assert [one.remaining for one in taken[:3]] == [59, 58, 57]
    assert (taken[59].remaining, round(taken[60].retry_s, 6)) == (0, 1.0)
    assert not it.take("a", 0.999).admit
    assert it.take("a", 1.0).admit
    assert not it.take("a", 1.0).admit
    assert it.take("b", 1.0).admit  # another's is its own


def test_without_a_limit_everything_is_taken_and_nothing_remembered() -> None:
    """0 means no limit."""
    it = Shield(0)
    assert all(it.take(str(number), 0.0).admit for number in range(100))
    assert len(it) == 0


@given(st.lists(st.integers(0, 5_000), min_size=1, max_size=300), st.integers(1, 100))
def test_never_more_than_two_allowances_a_minute(gaps_ms: list[int], per_minute: int) -> None:
    """In any minute at most what was saved up and what came since; refused requests consume nothing."""
    it, now_s, admitted = Shield(per_minute), 0.0, list[float]()
    for gap_ms in gaps_ms:
        now_s += gap_ms / 1000
        taken = it.take("a", now_s)
        if taken.admit:
            admitted.append(now_s)
        else:
            assert it.take("a", now_s + taken.retry_s + 1e-6).admit
            admitted.append(now_s + taken.retry_s + 1e-6)
            now_s = admitted[-1]
    for start in admitted:
        assert sum(start <= at_s < start + WINDOW_S for at_s in admitted) <= 2 * per_minute


def test_a_debt_is_bounded() -> None:
    """Costly requests can owe one allowance, so that a guesser waits a minute or two and not for ever."""
    it = Shield(100)
    for _ in range(50):
        it.take("a", 0.0, cost=20)
    refused = it.take("a", 0.0)
    assert not refused.admit
    assert refused.retry_s <= WINDOW_S + 1
    assert it.take("a", 2 * WINDOW_S).admit


def test_memory_is_bounded() -> None:
    """A flood from many addresses forgets the quiet ones first, then the oldest."""
    it = Shield(10)
    for number in range(shield.SUBJECTS_MAX + 10):
        it.take(f"{number}", number * 1e-6)
        assert len(it) <= shield.SUBJECTS_MAX
    assert not [it.take(f"{shield.SUBJECTS_MAX + 9}", 0.2) for _ in range(10)][-1].admit  # the newest are known


def test_failures_are_told_when_there_are_many() -> None:
    """Nineteen in a minute are a mistake; the twentieth tells of all, each further one of itself."""
    seen = Failures()
    for number in range(failures.SUSPICIOUS - 1):
        seen.count("1.2.3.4", "fs_live_sk_abcd", number / 10)
    assert seen.take() == {}
    seen.count("1.2.3.4", None, 3.0)
    assert seen.take() == {Subject("address", "1.2.3.4"): failures.SUSPICIOUS}
    seen.count("1.2.3.4", "fs_live_sk_abcd", 4.0)
    found = seen.take()
    assert found == {Subject("address", "1.2.3.4"): 1, Subject("prefix", "fs_live_sk_abcd"): failures.SUSPICIOUS}
    seen.give_back(found)
    assert seen.take() == found
    seen.count("1.2.3.4", None, 100.0)  # another minute begins
    assert seen.take() == {}
    assert seen.total == 2 + failures.SUSPICIOUS


def test_subjects_of_failures_are_bounded() -> None:
    """Whoever comes from many addresses costs no memory without bound."""
    seen = Failures()
    for number in range(failures.SUBJECTS_MAX * 2):
        seen.count(f"{number}", None, 0.0)
    assert len(seen._windows) <= failures.SUBJECTS_MAX
