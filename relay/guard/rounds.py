"""What a round says about its report, as lines of the verdict: the server's clock, and the game server's word.

Pure. They come after the ruleset's lines and are no part of its hash: they speak of the round, not of the play. A game
switches the checks of the clock as it does those of its ruleset.
"""

from collections.abc import Mapping
from typing import NamedTuple

from relay.rules.ruleset import RulesetError
from relay.rules.verdict import Finding, Mode, Row

SLACK_MS = 250  # between a client's clock and its request's arrival
DRIFT_PERCENT = 125
ROUND_MODES = {"TIMING_IMPLAUSIBLE": Mode.ENFORCE, "WALL_CLOCK_TOO_SHORT": Mode.ENFORCE, "WALL_CLOCK_DRIFT": Mode.FLAG}


class Clocks(NamedTuple):
    """How long a play took: on our clock from start to report, and as it claims; None where it does not say (ms)."""

    wall_ms: int
    game_time_ms: int | None
    last_event_ms: int | None


Lines = list[tuple[Row, Finding]]
Modes = Mapping[str, Mode]
_ROWS = {(code, mode): Row(code, 1, mode, lambda _: None) for code in ROUND_MODES for mode in Mode}
_MISMATCH = Row("BACKEND_SCORE_MISMATCH", 1, Mode.ENFORCE, lambda _: None)


def round_modes(switches: Mapping[str, str]) -> dict[str, Mode]:
    """Return the mode of each check, switched by a game.

    Raises:
        RulesetError: one that does not exist.
    """
    chosen = {code: mode for code, mode in switches.items() if code in ROUND_MODES}
    if wrong := sorted(set(chosen.values()) - set(Mode)):
        raise RulesetError(f"{', '.join(wrong)} is not one of enforce, flag, dry_run")
    return {**ROUND_MODES, **{code: Mode(mode) for code, mode in chosen.items()}}


def clocks_of(claim: object, wall_ms: int) -> Clocks:
    """Return the clocks of a claim: of its `game_time`, and of the last of its `replay`'s events where it has one."""
    events = getattr(getattr(claim, "replay", None), "events", None)
    last = events[-1][0] if events else None
    game_time = getattr(claim, "game_time", None)
    return Clocks(wall_ms, game_time if isinstance(game_time, int) else None, last)


def clock_lines(clocks: Clocks, modes: Modes) -> Lines:
    """Return the lines about time. A play cannot be longer than its round; one much shorter was paused, or is none."""
    wall, claimed, last = clocks
    found: list[tuple[str, Finding]] = []
    if claimed is not None:
        reason = "Timing implausible: {gameTime} ms claimed, {wallClock} ms since the round's start"
        numbers = {"gameTime": claimed, "wallClock": wall, "slack": SLACK_MS}
        found.append(("TIMING_IMPLAUSIBLE", (claimed > wall + SLACK_MS, numbers, reason)))
    if last is not None:
        reason = "Wall clock too short: last event at {lastEvent} ms, {wallClock} ms since the round's start"
        numbers = {"lastEvent": last, "wallClock": wall, "slack": SLACK_MS}
        found.append(("WALL_CLOCK_TOO_SHORT", (wall < last - SLACK_MS, numbers, reason)))
    played = last if claimed is None else claimed
    if played is not None:
        reason = "Wall clock drift: {wallClock} ms for a play of {played} ms"
        numbers = {"played": played, "wallClock": wall, "maxPercent": DRIFT_PERCENT}
        found.append(("WALL_CLOCK_DRIFT", (100 * wall > DRIFT_PERCENT * played, numbers, reason)))
    return [(_ROWS[code, modes[code]], finding) for code, finding in found]


def confirmed_lines(reported: int, confirmed: int) -> Lines:
    """Return the line that compares the report with what the game's server said before it."""
    numbers = {"claimed": reported, "confirmed": confirmed}
    reason = "Score mismatch with the game server. Claimed: {claimed}, Confirmed: {confirmed}"
    return [(_MISMATCH, (reported != confirmed, numbers, reason))]
