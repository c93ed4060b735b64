"""`streambeat-counts@1`: a StreamBeat score recomputed from the counts the client reports (evidence level 1).

Pure: integers only. Level 1 means just that: the counts themselves are the client's word.
"""

from typing import Annotated

from msgspec import Meta

from relay.canonical import INTEGER_MAX
from relay.rules.ruleset import Context, Rule, Ruleset
from relay.rules.statistics import spike_limit
from relay.rules.verdict import Finding, Mode, Parameters
from relay.strict_json import Request

COUNT_MAX = 10**9  # a product of two counts must stay below 2^53
SCORE_LIMIT = 10**12  # so must ten times a spike's limit

Whole = Annotated[int, Meta(ge=-INTEGER_MAX, le=INTEGER_MAX)]  # negatives are judged, not malformed
Count = Annotated[int, Meta(ge=-COUNT_MAX, le=COUNT_MAX)]
Positive = Annotated[int, Meta(ge=1, le=INTEGER_MAX)]
Natural = Annotated[int, Meta(ge=0, le=INTEGER_MAX)]

TENTHS_BASE = 10  # multiplier 1.0
TENTHS_CAP = 500  # multiplier 50.0
PERFECT_POINTS = 10
GOOD_POINTS = 5


class Counts(Request, frozen=True):
    """The play as the client reports it: the claimed score, how the notes were hit, the game time in ms."""

    score: Whole
    perfect: Count
    good: Count
    miss: Count
    combo: Count
    game_time: Annotated[int, Meta(ge=-INTEGER_MAX, le=INTEGER_MAX, description="milliseconds")]


class StreambeatParameters(Parameters, frozen=True):
    """Everything an operator may tune; part of the ruleset's hash."""

    score_max: Annotated[int, Meta(ge=0, le=SCORE_LIMIT)] = 1_000_000
    game_time_ms_min: Natural = 10_000
    notes_min: Natural = 10
    tolerance: Natural = 1
    note_gap_ms_min: Positive = 50
    theoretical_max: Annotated[int, Meta(ge=0, le=INTEGER_MAX)] | None = None
    perfect_permille_max: Annotated[int, Meta(ge=0, le=1000)] = 985
    perfect_notes_min: Positive = 100
    spike_deviations: Positive = 6
    spike_scores_min: Positive = 10


class Play:
    """A claim with what several checks need of it, computed once."""

    __slots__ = ("claim", "context", "expected10", "hits", "limits", "notes")

    def __init__(self, claim: Counts, limits: StreambeatParameters, context: Context) -> None:
        self.claim = claim
        self.limits = limits
        self.context = context
        self.hits = claim.perfect + claim.good
        self.notes = self.hits + claim.miss
        multiplier10 = min(TENTHS_BASE + claim.combo, TENTHS_CAP)
        self.expected10 = multiplier10 * (PERFECT_POINTS * claim.perfect + GOOD_POINTS * claim.good)


def computed_score(play: Play) -> int | None:
    """Return the recomputed score, None where a count is negative; never above the game's highest score."""
    claim = play.claim
    if claim.perfect < 0 or claim.good < 0 or claim.combo < 0:
        return None
    return min(play.expected10 // 10, play.limits.score_max)


def player_invalid(play: Play) -> Finding:
    """20 bytes, not zero; the checksum is a property of the text, judged when that was read."""
    player = play.context.player
    return len(player) != 20 or not any(player), {"bytes": len(player)}, "Player address is not valid."


def count_negative(play: Play) -> Finding:
    """Each count ≥ 0."""
    claim = play.claim
    lowest = min(claim.perfect, claim.good, claim.miss, claim.combo, claim.game_time)
    return lowest < 0, {"lowest": lowest}, "Counts cannot be negative: {lowest}"


def score_out_of_bounds(play: Play) -> Finding:
    """0 ≤ score ≤ highest score, both ends allowed."""
    score, highest = play.claim.score, play.limits.score_max
    reason = "Score out of bounds. Claimed: {claimed}, Allowed: 0 to {max}"
    return not 0 <= score <= highest, {"claimed": score, "max": highest}, reason


def game_time_too_short(play: Play) -> Finding:
    """Game time ≥ the shortest time; exactly that long passes."""
    time_ms, least = play.claim.game_time, play.limits.game_time_ms_min
    return time_ms < least, {"gameTime": time_ms, "min": least}, "Game too short: {gameTime} ms, Min: {min} ms"


def too_few_notes(play: Play) -> Finding:
    """Perfect + good + miss ≥ the fewest notes."""
    notes, least = play.notes, play.limits.notes_min
    return notes < least, {"notes": notes, "min": least}, "Too few notes: {notes}, Min: {min}"


def combo_exceeds_hits(play: Play) -> Finding:
    """Combo ≤ perfect + good."""
    combo, hits = play.claim.combo, play.hits
    return combo > hits, {"combo": combo, "hits": hits}, "Combo exceeds hits. Combo: {combo}, Hits: {hits}"


def score_mismatch(play: Play) -> Finding:
    """abs(10 x score - expected10) ≤ 10 x tolerance."""
    claimed, expected10, tolerance = play.claim.score, play.expected10, play.limits.tolerance
    numbers = {"claimed": claimed, "expected10": expected10, "tolerance": tolerance}
    if abs(10 * claimed - expected10) <= 10 * tolerance:
        return False, numbers, ""
    return True, numbers, f"Score mismatch. Claimed: {claimed}, Expected: {_tenths(expected10)}"


def notes_exceed_time(play: Play) -> Finding:
    """Notes ≤ 1 + gameTime / least gap between notes."""
    notes, time_ms, gap = play.notes, play.claim.game_time, play.limits.note_gap_ms_min
    numbers = {"notes": notes, "gameTime": time_ms, "minGap": gap}
    return (notes - 1) * gap > time_ms, numbers, "Too many notes for the time: {notes} in {gameTime} ms"


def score_above_maximum(play: Play) -> Finding | None:
    """Score ≤ the registered maximum; not applicable where none is registered."""
    score, highest = play.claim.score, play.limits.theoretical_max
    if highest is None:
        return None
    reason = "Score exceeds theoretical maximum. Claimed: {claimed}, Max: {max}"
    return score > highest, {"claimed": score, "max": highest}, reason


def perfect_ratio_high(play: Play) -> Finding:
    """Perfect / notes ≤ 0.985, judged from 100 notes on."""
    perfect, notes, limits = play.claim.perfect, play.notes, play.limits
    numbers = {"perfect": perfect, "notes": notes, "maxPermille": limits.perfect_permille_max}
    if notes < limits.perfect_notes_min:
        return None, numbers, ""
    if 1000 * perfect <= limits.perfect_permille_max * notes:
        return False, numbers, ""
    permille = (2000 * perfect + notes) // (2 * notes)  # rounded half up
    return True, numbers, f"Suspicious perfect ratio: {permille // 10}.{permille % 10}%"


def score_spike(play: Play) -> Finding:
    """Score ≤ median + 6 x 1.4826 x MAD of the player's last 50 accepted, judged from 10 of them on."""
    scores, limits = play.context.scores, play.limits
    score = computed_score(play)
    if score is None or len(scores) < limits.spike_scores_min:
        return None, {"scores": len(scores), "min": limits.spike_scores_min}, ""
    spike = spike_limit(scores, limits.spike_deviations)
    numbers = {"score": score, "limit": spike.limit, "scores": len(scores)}
    if not spike.exceeded_by(score):
        return False, numbers, ""
    return True, numbers, f"Score spike: {score}, Usual: {_halves(spike.median2)}, Limit: {spike.limit}"


def signature_unverified(play: Play) -> Finding | None:
    """A player's signature binds a round; without one it is kept in the evidence, and nothing is concluded from it."""
    return (None, {}, "") if play.context.signed else None


def _tenths(value10: int) -> str:
    sign, value = ("-", -value10) if value10 < 0 else ("", value10)
    return f"{sign}{value // 10}.{value % 10}" if value % 10 else f"{sign}{value // 10}"


def _halves(value2: int) -> str:
    return f"{value2 // 2}.5" if value2 % 2 else str(value2 // 2)


RULESET = Ruleset(
    id="streambeat-counts@1",
    version=1,
    level=1,
    claim=Counts,
    parameters=StreambeatParameters,
    rules=(
        Rule("PLAYER_INVALID", 1, Mode.ENFORCE, player_invalid),
        Rule("COUNT_NEGATIVE", 1, Mode.ENFORCE, count_negative),
        Rule("SCORE_OUT_OF_BOUNDS", 1, Mode.ENFORCE, score_out_of_bounds),
        Rule("GAME_TIME_TOO_SHORT", 1, Mode.ENFORCE, game_time_too_short),
        Rule("TOO_FEW_NOTES", 1, Mode.ENFORCE, too_few_notes),
        Rule("COMBO_EXCEEDS_HITS", 1, Mode.ENFORCE, combo_exceeds_hits),
        Rule("SCORE_MISMATCH", 1, Mode.ENFORCE, score_mismatch),
        Rule("NOTES_EXCEED_TIME", 1, Mode.ENFORCE, notes_exceed_time),
        Rule("SCORE_ABOVE_MAXIMUM", 1, Mode.ENFORCE, score_above_maximum),
        Rule("PERFECT_RATIO_HIGH", 1, Mode.FLAG, perfect_ratio_high),
        Rule("SCORE_SPIKE", 1, Mode.FLAG, score_spike),
        Rule("SIGNATURE_INVALID", 1, Mode.ENFORCE, signature_unverified),
    ),
    prepare=Play,
    score=computed_score,
)

__all__ = ["RULESET", "Counts", "StreambeatParameters", "computed_score"]
