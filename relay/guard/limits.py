"""The exact sliding window: at time t, admit iff fewer than `limit` admitted events lie in (t - window, t].

Pure. State is two rings of epoch milliseconds, oldest first, kept as packed int64 in one row per player and action.
"""

from array import array
from typing import NamedTuple

WINDOW_MS = 60_000
REFUSED_MAX = 1_000  # refused attempts remembered; beyond it the count in a flag's text stops growing


class Window(NamedTuple):
    """What is remembered of one player and action."""

    admitted: "array[int]"
    refused: "array[int]"


class Decision(NamedTuple):
    """What follows for one attempt."""

    admit: bool
    attempts: int  # admitted + refused in the window + this one: what a flag's text shows
    remaining: int  # how many more would be admitted now
    reset_ms: int  # until the oldest admitted event leaves the window


def empty() -> Window:
    """Return the window of somebody never seen."""
    return Window(array("q"), array("q"))


def unpack(admitted: bytes, refused: bytes) -> Window:
    """Return the window of two packed rings."""
    return Window(array("q", admitted), array("q", refused))


def attempt(window: Window, now_ms: int, limit: int, window_ms: int = WINDOW_MS) -> Decision:
    """Decide one attempt and record it in `window` (which is changed).

    An event exactly `window_ms` old no longer counts. Refused attempts do not consume. A clock that went back counts
    as standing still, so that the rings stay sorted.
    """
    admitted, refused = window
    now_ms = max(now_ms, admitted[-1] if admitted else now_ms, refused[-1] if refused else now_ms)
    _forget(admitted, now_ms - window_ms)
    _forget(refused, now_ms - window_ms)
    attempts = len(admitted) + len(refused) + 1
    admit = len(admitted) < limit
    if admit:
        admitted.append(now_ms)
    elif len(refused) < REFUSED_MAX:
        refused.append(now_ms)
    # After a limit was lowered more than `limit` may be inside: the next is admitted when fewer than it are left.
    leaves = admitted[max(0, len(admitted) - limit)]
    return Decision(admit, attempts, max(0, limit - len(admitted)), leaves + window_ms - now_ms)


def withdraw(window: Window, decision: Decision) -> Decision:
    """Take back the admission just given, because another limit refuses the attempt: it counts as refused."""
    at_ms = window.admitted.pop()
    if len(window.refused) < REFUSED_MAX:
        window.refused.append(at_ms)
    return decision._replace(admit=False, remaining=decision.remaining + 1)


def _forget(ring: "array[int]", until_ms: int) -> None:
    gone = 0
    for at_ms in ring:
        if at_ms > until_ms:
            break
        gone += 1
    if gone:
        del ring[:gone]
