"""Which decisions open which flags."""

import pytest

from relay.errors import PROBLEMS
from relay.flag_kinds import FLAG_KINDS
from relay.guard.flags import merged, of_limit, of_verdict
from relay.rules.registry import bind
from relay.rules.ruleset import Context
from relay.rules.streambeat import Counts

PLAYER = b"\x01" * 20


def codes(claim: Counts, switches: dict[str, str] | None = None, scores: tuple[int, ...] = ()) -> set[str]:
    """Codes of the flags that a play opens."""
    verdict = bind("streambeat-counts@1", {}, switches).judge(claim, Context(PLAYER, scores))
    return {flag.code for flag in of_verdict("g", "0x01", "submit-score", "sub_1", verdict)}


def test_every_kind_is_explained_to_clients_too() -> None:
    """A flag's code is a problem's code."""
    assert set(FLAG_KINDS) <= set(PROBLEMS)


@pytest.mark.parametrize(
    ("claim", "switches", "expected"),
    [
        (Counts(2652, 45, 12, 3, 42, 30_000), {}, set()),
        (Counts(5420, 45, 12, 3, 42, 30_000), {}, {"SCORE_MISMATCH"}),
        (Counts(2652, 45, 12, 3, 42, 9_000), {}, set()),  # honest players quit early
        (Counts(20_000, 200, 0, 0, 90, 30_000), {}, {"PERFECT_RATIO_HIGH"}),
        (Counts(2652, 45, 12, 3, 42, 9_000), {"GAME_TIME_TOO_SHORT": "flag"}, {"GAME_TIME_TOO_SHORT"}),
        (Counts(5420, 45, 12, 3, 42, 30_000), {"SCORE_MISMATCH": "dry_run"}, set()),
    ],
)
def test_flags_of_verdicts(claim: Counts, switches: dict[str, str], expected: set[str]) -> None:
    """Flagged checks, and failures that no honest client sends."""
    assert codes(claim, switches) == expected


def test_limit_text_and_merging() -> None:
    """The text of the README of the economy guard; many attempts are one flag."""
    flags = [of_limit("g", "0x01", "submit-score", count, 60) for count in (61, 62)]
    assert flags[1].reason == "Rate limit exceeded: submit-score (62/60 per minute)"
    assert flags[1].context == {"action": "submit-score", "count": 62, "limit": 60}
    assert merged(flags) == [(flags[1], 2)]
