"""What the guard found about a submission that it admitted, as lines of the verdict.

Pure. They come after the ruleset's lines and are no part of its hash: they speak of other submissions, not of the play.
"""

from relay.guard.recent import RECENT_MS
from relay.rules.verdict import Finding, Mode, Row

_DUPLICATE = Row("DUPLICATE_SUBMISSION", 1, Mode.ENFORCE, lambda _: None)
_LIMITED = Row("RATE_LIMITED", 1, Mode.ENFORCE, lambda _: None)


def admitted(count: int, limit: int, *, keyed: bool) -> list[tuple[Row, Finding]]:
    """Return the lines of the `count`-th submission of `limit` in the window.

    With an idempotency key the key says what is a retry, and likeness to an earlier claim is not looked at.
    """
    lines: list[tuple[Row, Finding]] = []
    if not keyed:
        lines.append((_DUPLICATE, (False, {"windowMs": RECENT_MS}, "")))
    lines.append((_LIMITED, (False, {"admitted": count, "limit": limit}, "")))
    return lines
