"""What happened in an economy over time: equal steps up to now, levels at their ends and counts in them.

Pure. Steps end on multiples of their length (UTC), but the last ends now. A currency's level is known now, and its
changes were counted by minute and by hour: each earlier level is what the later changes lead back to.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

MINUTE_S, HOUR_S = 60, 3_600


class Window(NamedTuple):
    """How far back a chart goes: so many steps of so many seconds; added up from counts by `grain_s`."""

    steps: int
    step_s: int
    grain_s: int


WINDOWS: Mapping[str, Window] = {
    "1h": Window(60, 60, MINUTE_S),
    "6h": Window(72, 300, MINUTE_S),
    "24h": Window(96, 900, MINUTE_S),
    "7d": Window(84, 7_200, HOUR_S),
    "30d": Window(120, 21_600, HOUR_S),
}
KEPT_MS = 2 * 86_400_000  # how long counts by minute are needed: longer than any window that is added up from them


class Level(NamedTuple):
    """Of one currency: brought into being, and where it is. minted = burned + taxed + escrowed + circulating."""

    minted: int = 0
    burned: int = 0
    taxed: int = 0
    escrowed: int = 0

    @property
    def circulating(self) -> int:
        """What players have and can use."""
        return self.minted - self.burned - self.taxed - self.escrowed

    def before(self, change: "Level") -> "Level":
        """Return the level before a change."""
        return Level(*(now - gained for now, gained in zip(self, change, strict=True)))


class Steps(NamedTuple):
    """The steps of a window that ends now, by number from 0, the oldest."""

    window: Window
    now_ms: int

    @property
    def first_ms(self) -> int:
        """Where the first step begins."""
        step_ms = self.window.step_s * 1_000
        return (self.now_ms // step_ms - self.window.steps + 1) * step_ms

    @property
    def ends_ms(self) -> list[int]:
        """Where each ends, ascending."""
        step_ms = self.window.step_s * 1_000
        return [self.first_ms + number * step_ms for number in range(1, self.window.steps)] + [self.now_ms]

    def number(self, at_ms: int) -> int:
        """Return which step a count that began at `at_ms` belongs to; what is later than now belongs to the last."""
        return min((at_ms - self.first_ms) // (self.window.step_s * 1_000), self.window.steps - 1)


def levels(steps: Steps, now: Level, changes: Mapping[int, Level]) -> list[Level]:
    """Return a currency's level at the end of each step; `changes` by the step's number, absent where there is none."""
    found = [now]
    for number in range(steps.window.steps - 1, 0, -1):
        change = changes.get(number)
        found.append(found[-1] if change is None else found[-1].before(change))
    return found[::-1]


def counts(steps: Steps, found: Iterable[tuple[str, int, int]]) -> list[tuple[str, Sequence[int]]]:
    """Return how often each name occurred in each step, most frequent first, from (name, step's number, times)."""
    by_name: dict[str, list[int]] = {}
    for name, number, times in found:
        by_name.setdefault(name, [0] * steps.window.steps)[number] += times
    return sorted(by_name.items(), key=lambda one: (-sum(one[1]), one[0]))
