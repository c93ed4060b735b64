"""How much may be moved: in one operation, and by one player, action and currency within a minute.

Pure. The window is the one of `relay.guard.limits`, (t - 60 s, t], with amounts in place of counts: a ring of epoch
milliseconds and a ring of amounts, oldest first, kept as packed int64 in one row. Deciding and recording are apart,
because only what was executed counts: a purchase that fails for want of money must not use up the allowance.
"""

from array import array
from collections.abc import Iterable
from typing import NamedTuple

from relay.canonical import INTEGER_MAX
from relay.guard.limits import WINDOW_MS

AMOUNT_MAX = INTEGER_MAX


class Moved(NamedTuple):
    """What one player moved of one currency by one action; both rings are equally long."""

    at_ms: "array[int]"
    amounts: "array[int]"


class Allowance(NamedTuple):
    """What follows for one more amount."""

    admit: bool
    moved: int  # in the window, without this one
    free_in_ms: int | None  # until this amount would be admitted: 0, if it is now; None: never, it exceeds the limit


def usable(amount: object) -> bool:
    """Whether `amount` is an integer from 1 to 2^53-1 (a boolean is none)."""
    return type(amount) is int and 1 <= amount <= AMOUNT_MAX


def added_up(lines: Iterable[tuple[str, int]]) -> dict[str, int] | None:
    """Return the amount per currency of all lines together; None where a line or a sum is not usable."""
    total: dict[str, int] = {}
    for currency_id, amount in lines:
        if not usable(amount):
            return None
        total[currency_id] = total.get(currency_id, 0) + amount
    return total if all(map(usable, total.values())) else None


def too_large(amount: int, limit: int) -> bool:
    """Whether one operation moves more than `limit`; exactly the limit passes."""
    return amount > limit


def empty() -> Moved:
    """Return the window of somebody who moved nothing."""
    return Moved(array("q"), array("q"))


def unpack(at_ms: bytes, amounts: bytes) -> Moved:
    """Return the window of two packed rings."""
    return Moved(array("q", at_ms), array("q", amounts))


def allow(window: Moved, now_ms: int, amount: int, limit: int) -> Allowance:
    """Decide one more amount, without recording it; forgets what is 60.000 s old or older.

    A clock that went back counts as standing still.
    """
    now_ms = _forget(window, now_ms)
    moved = sum(window.amounts)
    if moved + amount <= limit:
        return Allowance(admit=True, moved=moved, free_in_ms=0)
    return Allowance(False, moved, _free_in_ms(window, now_ms, moved + amount - limit))


def record(window: Moved, now_ms: int, amount: int) -> None:
    """Record an amount that was moved; those of one millisecond are one."""
    now_ms = _forget(window, now_ms)
    if window.at_ms and window.at_ms[-1] == now_ms and window.amounts[-1] + amount <= AMOUNT_MAX:
        window.amounts[-1] += amount
    else:
        window.at_ms.append(now_ms)
        window.amounts.append(amount)


def _free_in_ms(window: Moved, now_ms: int, excess: int) -> int | None:
    """Return when enough has left the window."""
    for at_ms, amount in zip(window.at_ms, window.amounts, strict=True):
        excess -= amount
        if excess <= 0:
            return at_ms + WINDOW_MS - now_ms
    return None


def _forget(window: Moved, now_ms: int) -> int:
    """Drop what has left the window; returns the time, never before the newest event."""
    now_ms = max(now_ms, window.at_ms[-1]) if window.at_ms else now_ms
    gone = 0
    for at_ms in window.at_ms:
        if at_ms > now_ms - WINDOW_MS:
            break
        gone += 1
    if gone:
        del window.at_ms[:gone]
        del window.amounts[:gone]
    return now_ms
