"""What readiness says of the follower, by what the follower knows."""

import pytest

from indexer.health import SILENT_S, TROUBLED_S, Health

NOW = 1_000.0


@pytest.mark.parametrize(
    ("trouble", "age_s", "ok"),
    [
        ("", 0.0, True),
        ("", SILENT_S + 1, False),
        ("header not found", TROUBLED_S - 1, True),  # a hiccup
        ("another chain answers", TROUBLED_S + 1, False),
    ],
)
def test_a_standing_error_is_not_ready_long_before_silence_is(trouble: str, age_s: float, ok: bool) -> None:
    """One failed poll says nothing; five seconds of them mean that what is served is not current."""
    health = Health(head=9, tip=9, polled_at_s=NOW - age_s, trouble=trouble)
    check = health.checks(NOW)["indexer.lag"]
    assert check.ok is ok
    assert trouble in check.detail
