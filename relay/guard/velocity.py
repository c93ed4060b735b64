"""Velocity: who is granted many times what the others are, within an hour.

Pure. Compared is with the median of the *other* active players: a mean that includes the player can never be exceeded
tenfold in a game of ten players or fewer, and one exploit would raise the bar for the next.
"""

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from relay.flag_kinds import ECONOMY_KINDS
from relay.guard.flags import Flag

CODE = "GRANT_VELOCITY"
ACTION = "grant"
WINDOW_MS = 3_600_000
OTHERS_MIN = 20  # fewer active players say nothing about what is usual
OWN_MIN = 1_000  # beneath it nothing is worth an auditor's time


class Velocity(NamedTuple):
    """One player's grants of a currency against the others'. `result`: pass, flag or insufficient_data."""

    result: str
    own: int
    others: int  # how many other players were granted some
    median2: int  # 2 x the median of their sums, an integer even where it lies between two; 0 without others


def judge(sums: Mapping[str, int], players: Sequence[str], multiplier: int) -> dict[str, Velocity]:
    """Judge `players` by what everybody was granted of one currency in the window, `sums` by player.

    A player is flagged iff own sum > multiplier x median of the others' sums, exactly.
    """
    ordered = sorted(sums.values())
    return {player: _judge(ordered, sums.get(player, 0), player in sums, multiplier) for player in players}


def _judge(ordered: Sequence[int], own: int, counted: bool, multiplier: int) -> Velocity:
    others = len(ordered) - counted
    without = bisect_left(ordered, own) if counted else len(ordered)  # the place of the player's own sum
    median2 = _other(ordered, without, (others - 1) // 2) + _other(ordered, without, others // 2) if others else 0
    if own < OWN_MIN or others < OTHERS_MIN:
        return Velocity("insufficient_data", own, others, median2)
    return Velocity("flag" if 2 * own > multiplier * median2 else "pass", own, others, median2)


def _other(ordered: Sequence[int], without: int, index: int) -> int:
    """Return the `index`-th value of `ordered` as if the one at `without` were not there."""
    return ordered[index] if index < without else ordered[index + 1]


def flag(game_id: str, player_id: str, currency_id: str, found: Velocity, multiplier: int, transaction_id: str) -> Flag:
    """Return the flag of a player whose grants stand out; `transaction_id` is the newest of them."""
    half = ".5" if found.median2 % 2 else ""
    median = f"{found.median2 // 2}{half}"
    reason = (
        f"Grant velocity: {player_id} was granted {found.own} {currency_id} in 60 min, more than {multiplier} times "
        f"the median of {found.others} others ({median})"
    )
    context = {
        "action": ACTION, "currencyId": currency_id, "windowSeconds": WINDOW_MS // 1000, "granted": found.own,
        "others": found.others, "twiceMedian": found.median2, "multiplier": multiplier,
    }  # fmt: skip
    severity = ECONOMY_KINDS[CODE].severity
    return Flag(game_id, player_id, ACTION, CODE, severity, reason, "transaction", transaction_id, context)
