"""Which flags one decision opens.

Pure. Storing them, one open flag per (game, player, action, code), is `relay.store.flags`.
"""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from relay.flag_kinds import FlagKind, kind
from relay.rules.verdict import Check, Verdict


class Flag(NamedTuple):
    """A flag to be opened, or raised by one occurrence if it is open already."""

    game_id: str
    player_id: str | None
    action: str
    code: str
    severity: str
    reason: str
    subject_type: str
    subject_id: str
    context: Mapping[str, object]
    together: str | None = None  # names several players whom it is about together; None: one, or none

    @property
    def about(self) -> str:
        """Whom one open flag is about."""
        return self.together or self.player_id or f"{self.subject_type}:{self.subject_id}"


def of_verdict(game_id: str, player_id: str, action: str, submission_id: str, verdict: Verdict) -> list[Flag]:
    """Return a flag per suspicious check: all that flagged, or, when refused, the suspicious ones that failed."""
    checks: list[tuple[Check, bool]] = [(check, False) for check in verdict.suspicions]
    if verdict.refusal is not None:
        checks += [(check, True) for check in verdict.failures]
    return [
        _flag(game_id, player_id, action, submission_id, check, found)
        for check, refused in checks
        if (found := kind(check.code, refused=refused)) is not None
    ]


def of_limit(game_id: str, player_id: str, action: str, attempts: int, limit: int) -> Flag:
    """Return the flag of an attempt above the limit; its text shows all attempts of the window."""
    context = {"action": action, "count": attempts, "limit": limit}
    reason = f"Rate limit exceeded: {action} ({attempts}/{limit} per minute)"
    found = kind("RATE_LIMITED", refused=True)
    severity = found.severity if found else "warning"
    return Flag(game_id, player_id, action, "RATE_LIMITED", severity, reason, "player", player_id, context)


def merged(flags: Iterable[Flag]) -> list[tuple[Flag, int]]:
    """Return the newest of the flags that share one open flag, with how many there were, in a fixed order of keys."""
    newest: dict[tuple[str, str, str, str], tuple[Flag, int]] = {}
    for flag in flags:
        key = (flag.game_id, flag.about, flag.action, flag.code)
        newest[key] = (flag, newest[key][1] + 1 if key in newest else 1)
    return [newest[key] for key in sorted(newest)]


def _flag(game_id: str, player_id: str, action: str, submission_id: str, check: Check, found: FlagKind) -> Flag:
    context = {"action": action, "submissionId": submission_id, **check.numbers}
    reason = check.reason
    return Flag(game_id, player_id, action, check.code, found.severity, reason, "submission", submission_id, context)
