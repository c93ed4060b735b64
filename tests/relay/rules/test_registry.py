"""Third parties add rulesets by entry point; what cannot judge strictly is refused."""

from importlib.metadata import EntryPoint
from typing import Any

import msgspec
import pytest

from relay.rules import registry
from relay.rules.ruleset import Context, Rule, Ruleset, RulesetError
from relay.rules.verdict import Finding, Mode, Parameters
from relay.strict_json import Request


class Laps(Request, frozen=True):
    score: int
    laps: int


class Loose(msgspec.Struct):
    score: int


class Nothing(Request, frozen=True):
    laps: int


class NoParameters(Parameters, frozen=True):
    pass


def ten_a_lap(claim: Laps) -> Finding:
    return claim.score != 10 * claim.laps, {"claimed": claim.score, "laps": claim.laps}, "Not ten a lap: {claimed}"


def ruleset(ruleset_id: str, claim: Any) -> Ruleset:
    """A ruleset of somebody else."""
    rules = (Rule("SCORE_MISMATCH", 1, Mode.ENFORCE, ten_a_lap),)
    return Ruleset(ruleset_id, 1, 1, claim, NoParameters, rules, lambda c, _p, _x: c, lambda c: 10 * c.laps)


GOOD = ruleset("laps@1", Laps)
LOOSE = ruleset("loose@1", Loose)
SCORELESS = ruleset("scoreless@1", Nothing)
NAMELESS = ruleset('na"me', Laps)
OBJECT = object()


@pytest.fixture(autouse=True)
def _installed(monkeypatch: pytest.MonkeyPatch) -> None:
    names = {"laps@1": "GOOD", "loose@1": "LOOSE", "scoreless@1": "SCORELESS", "other@1": "GOOD", "object@1": "OBJECT",
             'na"me': "NAMELESS"}  # fmt: skip
    found = {"GOOD": GOOD, "LOOSE": LOOSE, "SCORELESS": SCORELESS, "OBJECT": OBJECT, "NAMELESS": NAMELESS}

    class Entry:
        def __init__(self, name: str) -> None:
            self.name = name

        def load(self) -> object:
            return found[names[self.name]]

    def entry_points(*, group: str) -> list[Entry]:
        assert group == "fairscore.rulesets"
        return [Entry(name) for name in names]

    assert hasattr(EntryPoint, "load")  # what is imitated here
    monkeypatch.setattr(registry, "entry_points", entry_points)


def test_a_strangers_ruleset_judges() -> None:
    """By its id, through the same binding, with its own hash."""
    rules = registry.bind("laps@1")
    assert rules.judge(Laps(30, 3), Context(b"\x01" * 20)).refusal is None
    refusal = rules.judge(Laps(31, 3), Context(b"\x01" * 20)).refusal
    assert refusal is not None
    assert refusal.reason == "Not ten a lap: 31"
    assert rules.hash != registry.bind("streambeat-counts@1").hash


@pytest.mark.parametrize("ruleset_id", ["loose@1", "scoreless@1", "other@1", "object@1", 'na"me', "missing@1"])
def test_what_is_not_fit_is_refused(ruleset_id: str) -> None:
    """A loose claim, no score, another id, no ruleset at all, an id that would break the evidence's JSON."""
    with pytest.raises(RulesetError):
        registry.bind(ruleset_id)
