"""Which season a moment belongs to: boundaries are exact seconds in UTC, the first belonging to the new season.

Pure. Moments are block times in unix seconds, so every indexer of the chain comes to the same seasons.
"""

from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from cronsim import CronSim, CronSimError

NEVER = "never"
NAMED = (NEVER, "daily", "weekly", "monthly")
DAY = timedelta(days=1)
LAST_S = 250_246_627_199  # 9899-12-31T23:59:59Z: datetime ends in 9999, and a season's end must be a moment, too


class SeasonRuleError(ValueError):
    """A season rule that is none."""


class Season(NamedTuple):
    """A stretch of time `start_s` ≤ t < `end_s` (unix seconds; None: without end) and the name clients know it by."""

    start_s: int
    end_s: int | None
    name: str

    def has(self, time_s: int) -> bool:
        """Whether a moment belongs to this season."""
        return self.start_s <= time_s and (self.end_s is None or time_s < self.end_s)


ALL_TIME = Season(0, None, "all")


class Calendar:
    """The seasons of one rule: `never`, `daily`, `weekly` (from Monday, ISO 8601), `monthly`, or five cron fields."""

    def __init__(self, rule: str) -> None:
        """Raises SeasonRuleError."""
        self.rule = rule
        self._last = ALL_TIME
        if rule not in NAMED:
            try:
                next(CronSim(rule, datetime(2026, 1, 1, tzinfo=UTC)))
            except (CronSimError, StopIteration):
                raise SeasonRuleError(
                    f"{rule!r} is no season: never, daily, weekly, monthly, or five cron fields (UTC)"
                ) from None
            if len(rule.split()) != 5:
                raise SeasonRuleError(f"{rule!r} has not five cron fields: minute hour day month weekday")
        if rule != NEVER:
            self._last = self._season(0)

    def at(self, time_s: int) -> Season:
        """Return the season of a moment. Moments come in order, so the last answer is nearly always the next."""
        last = self._last  # once: a commit's thread and the event loop ask at the same time
        if not last.has(time_s):
            last = self._last = self._season(min(max(time_s, 0), LAST_S))
        return last

    def named(self, name: str) -> Season | None:
        """Return the season with this name, None if this calendar has none such."""
        start = _start_of(self.rule, name)
        if start is None:
            return None
        season = self.at(int(start.timestamp()))
        return season if season.name == name else None

    def _season(self, time_s: int) -> Season:
        if self.rule == NEVER:
            return ALL_TIME
        moment = datetime.fromtimestamp(time_s, UTC)
        day = moment.replace(hour=0, minute=0, second=0)
        match self.rule:
            case "daily":
                start, end, name = day, day + DAY, f"{day:%Y-%m-%d}"
            case "weekly":
                start = day - day.weekday() * DAY
                end, name = start + 7 * DAY, f"{start:%G-W%V}"
            case "monthly":
                start = day.replace(day=1)
                end, name = (start + 31 * DAY).replace(day=1), f"{day:%Y-%m}"
            case _:
                # The minute under way may itself be a boundary: the search starts behind it.
                start = _fire(self.rule, moment + timedelta(minutes=1), back=True)
                end = _fire(self.rule, moment, back=False)
                name = f"{start:%Y-%m-%dT%H:%MZ}"
        return Season(int(start.timestamp()), int(end.timestamp()), name)


def _fire(rule: str, after: datetime, *, back: bool) -> datetime:
    return next(CronSim(rule, after.replace(second=0), reverse=back))


def _start_of(rule: str, name: str) -> datetime | None:
    forms = {"daily": "%Y-%m-%d", "weekly": "%G-W%V", "monthly": "%Y-%m"}
    try:
        if rule == NEVER:
            return datetime.fromtimestamp(0, UTC) if name == ALL_TIME.name else None
        if rule == "weekly":
            return datetime.strptime(f"{name}-1", "%G-W%V-%u").replace(tzinfo=UTC)
        return datetime.strptime(name, forms.get(rule, "%Y-%m-%dT%H:%MZ")).replace(tzinfo=UTC)
    except ValueError:
        return None
