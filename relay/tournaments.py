"""Tournaments: when rounds of one can be started, and when its standings are final.

Pure.
"""

from enum import StrEnum
from typing import NamedTuple

from relay.rounds import Refuse


class Phase(StrEnum):
    """Where a tournament is."""

    SCHEDULED = "scheduled"
    OPEN = "open"
    ENDED = "ended"
    CANCELLED = "cancelled"


OVER = (Phase.ENDED, Phase.CANCELLED)


class Tournament(NamedTuple):
    """A tournament as it is stored. Times in epoch ms; None: without end, without limit."""

    id: str
    game_id: str
    name: str
    starts_at_ms: int
    ends_at_ms: int | None
    attempts_max: int | None
    capacity: int | None
    require_confirmation: bool
    confirmation_timeout_s: int
    chart: str | None
    created_at_ms: int
    created_by: str
    cancelled_at_ms: int | None = None
    cancelled_by: str | None = None
    cancel_reason: str | None = None

    def terms(self) -> tuple[object, ...]:
        """What makes it this tournament: two with the same terms are the same one asked for twice."""
        return self[:3] + self[4:10]

    def phase(self, now_ms: int) -> Phase:
        """Return where it is at a time."""
        if self.cancelled_at_ms is not None:
            return Phase.CANCELLED
        if now_ms < self.starts_at_ms:
            return Phase.SCHEDULED
        return Phase.ENDED if self.ends_at_ms is not None and now_ms >= self.ends_at_ms else Phase.OPEN


class Standing(NamedTuple):
    """A player's best score that counts."""

    player: bytes
    player_id: str
    round_id: str
    score: int
    received_at_ms: int
    submission_id: str
    evidence_level: int
    status: str
    tx_hash: bytes | None


def entry(
    found: Tournament, now_ms: int, chart: str | None, *, attempts: int, players: int, known: bool
) -> Refuse | None:
    """Say why a round cannot be started: `attempts` of this player before, `players` so far, `known` among them.

    (1) it is open, (2) on its chart, (3) a place is left, (4) an attempt is left.
    """
    phase = found.phase(now_ms)
    if phase is not Phase.OPEN:  # (1)
        return Refuse("TOURNAMENT_NOT_OPEN", f"The tournament is {phase.value}: rounds are started while it is open.")
    if chart is not None and chart != found.chart:  # (2)
        return Refuse("ROUND_WRONG_CHART", "The tournament is played on another chart.")
    if found.capacity is not None and not known and players >= found.capacity:  # (3)
        return Refuse("TOURNAMENT_FULL", f"The tournament has its {found.capacity} players.")
    if found.attempts_max is not None and attempts >= found.attempts_max:  # (4)
        return Refuse("ATTEMPTS_EXHAUSTED", f"The player has used all attempts ({found.attempts_max}).")
    return None


def final(found: Tournament, unresolved: int, now_ms: int) -> bool:
    """Whether standings change only if a score is revoked: it is over, and no round waits for anything."""
    return found.phase(now_ms) in OVER and not unresolved
