"""The one shape of all rulesets, and a ruleset bound to a game's parameters.

Pure. A ruleset is parameters + `judge(play) -> score and findings`; binding it to parameters and switches gives the
document whose hash stands in every attestation.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import msgspec

from relay.canonical import canonical
from relay.keccak import keccak
from relay.rules.verdict import Finding, Mode, Parameters, Row, Verdict
from relay.strict_json import Request


class RulesetError(ValueError):
    """A game names a ruleset, parameter or switch that does not exist."""


class Context(NamedTuple):
    """What a ruleset may know beside the claim: the player and the player's accepted scores, oldest first."""

    player: bytes
    scores: Sequence[int] = ()
    signed: bool = False  # a player's signature came with the claim, and nothing was concluded from it


class Rule(NamedTuple):
    """One row of a ruleset's table: stable code, version of the check, what a violation does by default, the check."""

    code: str
    version: int
    mode: Mode
    check: Callable[[Any], Finding | None]  # None: not applicable to this play, not listed


class Ruleset(NamedTuple):
    """A family of checks over one type of claim.

    `prepare` turns claim, parameters and context into what the checks read; `score` recomputes from the same.
    """

    id: str
    version: int
    level: int
    claim: type[Request]
    parameters: type[Parameters]
    rules: tuple[Rule, ...]
    prepare: Callable[[Any, Any, Context], Any]
    score: Callable[[Any], int | None]
    takes_replay: bool = False


class BoundRuleset:
    """A ruleset with one game's parameters and switches: what judges, and what is hashed."""

    def __init__(self, ruleset: Ruleset, parameters: Mapping[str, object], switches: Mapping[str, str]) -> None:
        """Raises RulesetError for an unknown parameter, a value of the wrong type, an unknown code or mode."""
        self.ruleset = ruleset
        try:
            self.parameters = msgspec.convert(dict(parameters), ruleset.parameters)
        except msgspec.ValidationError as error:
            raise RulesetError(f"{ruleset.id}: {error}") from None
        known = {rule.code for rule in ruleset.rules}
        if unknown := sorted(set(switches) - known):
            raise RulesetError(f"{ruleset.id} has no check named {', '.join(unknown)}")
        if wrong := sorted(set(switches.values()) - set(Mode)):
            raise RulesetError(f"{', '.join(wrong)} is not one of enforce, flag, dry_run")
        self.modes = {rule.code: Mode(switches.get(rule.code, rule.mode)) for rule in ruleset.rules}
        self._table = tuple(Row(rule.code, rule.version, self.modes[rule.code], rule.check) for rule in ruleset.rules)
        self.body = canonical(self.document())
        self.hash = keccak(self.body)
        self.hash_text = "0x" + self.hash.hex()

    def document(self) -> dict[str, object]:
        """Return what is hashed: id, version, every parameter, every check with its version and switch."""
        return {
            "type": "fairscore-ruleset@1",
            "id": self.ruleset.id,
            "version": self.ruleset.version,
            "evidenceLevel": self.ruleset.level,
            "parameters": msgspec.to_builtins(self.parameters),
            "checks": [
                {"code": rule.code, "version": rule.version, "mode": self.modes[rule.code].value}
                for rule in self.ruleset.rules
            ],
        }

    def judge(self, claim: Request, context: Context) -> Verdict:
        """Run every applicable check; no stop at the first failure, so that a verdict says all that is wrong."""
        play = self.ruleset.prepare(claim, self.parameters, context)
        findings: list[tuple[Row, Finding]] = []
        violated = False
        for row in self._table:
            finding = row.check(play)
            if finding is not None:
                findings.append((row, finding))
                if finding[0]:
                    violated = True
        return Verdict(self.ruleset.score(play), self.ruleset.level, findings, violated=violated)
