"""`streambeat-counts@1`: golden vectors, an independent oracle in fractions, a labelled corpus with its table."""

import json
import statistics
from fractions import Fraction
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.canonical import canonical
from relay.errors import PROBLEMS
from relay.keccak import keccak
from relay.rules.registry import bind
from relay.rules.ruleset import Context, RulesetError
from relay.rules.streambeat import RULESET, Counts
from relay.rules.verdict import Mode, Result, Verdict

VECTORS = Path(__file__).parents[2] / "vectors" / "streambeat"
COUNTS: list[dict[str, Any]] = json.loads((VECTORS / "counts.json").read_text())
CORPUS: list[dict[str, Any]] = json.loads((VECTORS / "corpus.json").read_text())
PLAYER = bytes(range(1, 21))
RULES = bind("streambeat-counts@1")


def judge(claim: Counts, scores: tuple[int, ...] = (), **parameters: object) -> Verdict:
    """Judge one play of the test's player."""
    rules = bind("streambeat-counts@1", parameters) if parameters else RULES
    return rules.judge(claim, Context(PLAYER, scores))


def results(verdict: Verdict) -> dict[str, str]:
    """Results by code."""
    return {check.code: str(check.result) for check in verdict.checks}


@pytest.mark.parametrize("vector", COUNTS, ids=lambda vector: vector["name"])
def test_vectors(vector: dict[str, Any]) -> None:
    """Each named vector: accepted or not, what is computed, and the results it is about."""
    verdict = judge(msgspec.convert(vector["claim"], Counts))
    found = results(verdict)
    assert (verdict.refusal is None) is vector["accepted"]
    assert verdict.score == vector["score"]
    assert {code: found[code] for code in vector["results"]} == vector["results"]
    assert len(found) == 10  # every applicable check runs, whatever fails


def oracle(claim: Counts, scores: tuple[int, ...]) -> dict[str, str]:
    """Say the same as the ruleset from the text of the design alone, in exact fractions."""
    multiplier = min(1 + Fraction(claim.combo) / 10, Fraction(50))
    expected = multiplier * (10 * claim.perfect + 5 * claim.good)
    hits, notes = claim.perfect + claim.good, claim.perfect + claim.good + claim.miss
    negative = min(claim.perfect, claim.good, claim.miss, claim.combo, claim.game_time) < 0
    said = {
        "PLAYER_INVALID": True,
        "COUNT_NEGATIVE": not negative,
        "SCORE_OUT_OF_BOUNDS": 0 <= claim.score <= 1_000_000,
        "GAME_TIME_TOO_SHORT": claim.game_time >= 10_000,
        "TOO_FEW_NOTES": notes >= 10,
        "COMBO_EXCEEDS_HITS": claim.combo <= hits,
        "SCORE_MISMATCH": abs(claim.score - expected) <= 1,
        "NOTES_EXCEED_TIME": notes <= 1 + Fraction(claim.game_time, 50),
    }
    found = {code: "pass" if holds else "fail" for code, holds in said.items()}
    ratio = None if notes < 100 else Fraction(claim.perfect, notes) > Fraction(985, 1000)
    found["PERFECT_RATIO_HIGH"] = {None: "insufficient_data", True: "flag", False: "pass"}[ratio]
    computable = claim.perfect >= 0 and claim.good >= 0 and claim.combo >= 0
    found["SCORE_SPIKE"] = "insufficient_data"
    if computable and len(scores) >= 10:
        values = [Fraction(score) for score in scores]
        median = statistics.median(values)
        mad = statistics.median([abs(value - median) for value in values])
        limit = median + 6 * Fraction(14826, 10000) * max(mad, median / 100)
        score = min(expected.numerator // expected.denominator, 1_000_000)
        found["SCORE_SPIKE"] = "flag" if score > limit else "pass"
    return found


COUNT = st.integers(-3, 300) | st.sampled_from([490, 491, 500, 600, 2000, 10**9, -(10**9)])


@st.composite
def claims(draw: st.DrawFn) -> Counts:
    """Plays near the truth: the score is the right one, or a little off, or anything."""
    perfect, good, miss, combo = (draw(COUNT) for _ in range(4))
    exact = min(10 + combo, 500) * (10 * perfect + 5 * good) // 10
    score = exact + draw(st.integers(-3, 3)) if draw(st.booleans()) else draw(st.integers(-5, 1_000_005))
    time_ms = draw(st.integers(-5, 40_000) | st.just(max(0, (perfect + good + miss - 1) * 50)))
    return Counts(score, perfect, good, miss, combo, time_ms)


@given(claims(), st.lists(st.integers(0, 3_000), max_size=50).map(tuple))
def test_equal_to_the_oracle(claim: Counts, scores: tuple[int, ...]) -> None:
    """Every check agrees with the oracle on every play."""
    verdict = judge(claim, scores)
    assert results(verdict) == oracle(claim, scores)
    accepted = all(result != "fail" for result in oracle(claim, scores).values())
    assert (verdict.refusal is None) is accepted


@given(st.integers(1, 400), st.lists(st.integers(0, 1_000_000), min_size=10, max_size=50).map(tuple))
def test_spike_limit_is_exact_at_its_edge(hits: int, scores: tuple[int, ...]) -> None:
    """The limit shown is the highest score that is not a spike."""
    check = next(c for c in judge(Counts(10 * hits, hits, 0, 0, 0, 60_000), scores).checks if c.code == "SCORE_SPIKE")
    limit = check.numbers["limit"]
    assert limit is not None
    assert (check.result is Result.FLAG) is (10 * hits > limit)


@pytest.mark.parametrize(
    ("claim", "scores", "parameters", "code", "reason"),
    [
        (Counts(50_000, 45, 12, 3, 42, 30_000), (), {"theoreticalMax": 12_000}, "SCORE_ABOVE_MAXIMUM",
         "Score exceeds theoretical maximum. Claimed: 50000, Max: 12000"),
        (Counts(19_700, 985, 1, 14, 10, 60_000), (), {"perfectPermilleMax": 980}, "PERFECT_RATIO_HIGH",
         "Suspicious perfect ratio: 98.5%"),
        (Counts(5420, 45, 12, 3, 42, 30_000), (), {}, "SCORE_MISMATCH",
         "Score mismatch. Claimed: 5420, Expected: 2652"),
        (Counts(30, 2, 1, 7, 1, 10_000), (), {}, "SCORE_MISMATCH", "Score mismatch. Claimed: 30, Expected: 27.5"),
        (Counts(2652, 45, 12, 3, 42, 30_000), (1000,) * 10, {}, "SCORE_SPIKE",
         "Score spike: 2652, Usual: 1000, Limit: 1088"),
    ],
)  # fmt: skip
def test_reasons(claim: Counts, scores: tuple[int, ...], parameters: dict[str, object], code: str, reason: str) -> None:
    """What people read is worded as promised."""
    check = next(check for check in judge(claim, scores, **parameters).checks if check.code == code)
    assert check.reason == reason


def test_switches() -> None:
    """The same violation refuses, flags, or is only written down."""
    claim = Counts(5420, 45, 12, 3, 42, 30_000)
    outcomes = {}
    for mode in Mode:
        rules = bind("streambeat-counts@1", {}, {"SCORE_MISMATCH": mode})
        verdict = rules.judge(claim, Context(PLAYER))
        line = next(c.document() for c in verdict.checks if c.code == "SCORE_MISMATCH")
        outcomes[mode] = (verdict.refusal is None, len(verdict.suspicions), line["result"], line.get("mode"))
    assert outcomes == {
        Mode.ENFORCE: (False, 0, "fail", None),
        Mode.FLAG: (True, 1, "flag", None),
        Mode.DRY_RUN: (True, 0, "fail", "dry_run"),
    }


def test_every_change_of_a_rule_changes_the_hash() -> None:
    """Parameters and switches are part of what is signed; the document's hash is over its canonical bytes."""
    hashes = {RULES.hash}
    for name, value in {"scoreMax": 1, "gameTimeMsMin": 1, "notesMin": 1, "tolerance": 2, "noteGapMsMin": 1,
                        "theoreticalMax": 1, "perfectPermilleMax": 1, "perfectNotesMin": 1, "spikeDeviations": 1,
                        "spikeScoresMin": 1}.items():  # fmt: skip
        hashes.add(bind("streambeat-counts@1", {name: value}).hash)
    hashes.add(bind("streambeat-counts@1", {}, {"SCORE_SPIKE": "dry_run"}).hash)
    assert len(hashes) == 12
    assert RULES.hash == keccak(canonical(RULES.document()))
    assert RULES.hash.hex() == (VECTORS / "default_rules_hash.txt").read_text().strip()


@pytest.mark.parametrize(
    ("ruleset", "parameters", "switches"),
    [
        ("no-such@1", {}, {}),
        ("streambeat-counts@1", {"speed": 1}, {}),
        ("streambeat-counts@1", {"tolerance": 1.5}, {}),
        ("streambeat-counts@1", {"tolerance": True}, {}),
        ("streambeat-counts@1", {"noteGapMsMin": 0}, {}),
        ("streambeat-counts@1", {}, {"NO_SUCH": "flag"}),
        ("streambeat-counts@1", {}, {"SCORE_SPIKE": "maybe"}),
    ],
)
def test_wrong_configuration_is_refused(ruleset: str, parameters: dict[str, object], switches: dict[str, str]) -> None:
    """At start, not at the first score."""
    with pytest.raises(RulesetError):
        bind(ruleset, parameters, switches)


def test_every_check_is_explained_and_statistics_start_as_flags() -> None:
    """A code is a page under /problems; what is improbable never refuses by default."""
    assert {rule.code for rule in RULESET.rules} <= set(PROBLEMS)
    flagged = {rule.code for rule in RULESET.rules if rule.mode is Mode.FLAG}
    assert flagged == {"PERFECT_RATIO_HIGH", "SCORE_SPIKE"}


def confusion() -> str:
    """Return the table of right and wrong judgements per check over the labelled corpus, in Markdown."""
    counted: dict[str, dict[str, int]] = {}
    for play in CORPUS:
        verdict = judge(msgspec.convert(play["claim"], Counts), tuple(play.get("history", ())),
                        **play.get("parameters", {}))  # fmt: skip
        raised = {check.code for check in verdict.checks if check.result in (Result.FAIL, Result.FLAG)}
        row = counted.setdefault(play["check"], dict.fromkeys(("tp", "fp", "tn", "fn"), 0))
        bad = play["label"] != "pass"
        row[("tp" if bad else "fp") if play["check"] in raised else ("fn" if bad else "tn")] += 1
    lines = ["| check | true positives | false positives | true negatives | false negatives |", "|---|--:|--:|--:|--:|"]
    lines += [f"| {code} | {r['tp']} | {r['fp']} | {r['tn']} | {r['fn']} |" for code, r in sorted(counted.items())]
    return "\n".join(lines) + "\n"


def test_the_published_table_is_what_the_corpus_gives() -> None:
    """`confusion.md` is regenerated here; every check has plays of both kinds."""
    assert confusion() == (VECTORS / "confusion.md").read_text()
    labels: dict[str, set[bool]] = {}
    for play in CORPUS:
        labels.setdefault(play["check"], set()).add(play["label"] == "pass")
    # PLAYER_INVALID is settled when the address is read; SIGNATURE_INVALID concludes nothing without a round.
    judged = {rule.code for rule in RULESET.rules} - {"PLAYER_INVALID", "SIGNATURE_INVALID"}
    assert {code for code, both in labels.items() if both == {True, False}} == judged
