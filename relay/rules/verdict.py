"""What a ruleset says about one play: every check with its numbers, and what follows from all of them.

Pure.
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import NamedTuple

import msgspec


class Mode(StrEnum):
    """What a violated check does, switched per game."""

    ENFORCE = "enforce"  # refuse
    FLAG = "flag"  # accept, and show it to the auditor
    DRY_RUN = "dry_run"  # write it into the evidence, do nothing


class Result(StrEnum):
    """Outcome of one check."""

    PASS = "pass"  # noqa: S105 - not a password
    FLAG = "flag"
    FAIL = "fail"
    INSUFFICIENT_DATA = "insufficient_data"


class Finding(NamedTuple):
    """What one check found: violated or not (None: too little data to say), the numbers compared, the reason.

    `reason` names numbers in braces; it is written out for a violation only, because nearly all checks pass.
    """

    violated: bool | None
    numbers: Mapping[str, int | None]
    reason: str = ""


class Check(NamedTuple):
    """One line of a verdict."""

    code: str
    result: Result
    version: int
    numbers: Mapping[str, int | None]
    reason: str
    mode: Mode

    def document(self) -> dict[str, object]:
        """Return the line as it stands in evidence and answers; `mode` only where it is not what the result says."""
        line: dict[str, object] = {"code": self.code, "result": self.result, "version": self.version, **self.numbers}
        if self.result is not _PASS:
            if self.reason:
                line["reason"] = self.reason
            if self.mode is Mode.DRY_RUN:
                line["mode"] = "dry_run"
        return line


class Verdict(NamedTuple):
    """All checks of one play, the score they computed (None: not computable) and the evidence level it deserves."""

    score: int | None
    level: int
    checks: tuple[Check, ...]

    @property
    def refusal(self) -> Check | None:
        """The first check that refuses the play, None when it is accepted."""
        for check in self.checks:
            if check.result is _FAIL and check.mode is Mode.ENFORCE:
                return check
        return None

    @property
    def failures(self) -> list[Check]:
        """Every check that refuses the play."""
        return [check for check in self.checks if check.result is _FAIL and check.mode is Mode.ENFORCE]

    @property
    def suspicions(self) -> list[Check]:
        """The checks that flag the play."""
        return [check for check in self.checks if check.result is _FLAG and check.mode is Mode.FLAG]


class Parameters(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """Base of a ruleset's parameters: integers with names, part of its hash."""


_PASS, _FLAG, _FAIL, _INSUFFICIENT = Result.PASS, Result.FLAG, Result.FAIL, Result.INSUFFICIENT_DATA


def judged(code: str, version: int, mode: Mode, finding: Finding) -> Check:
    """Return the check of `finding` under `mode`: violated is `fail` when enforced or dry, `flag` when flagged."""
    violated, numbers, reason = finding
    if violated:
        result = _FLAG if mode is Mode.FLAG else _FAIL
        return Check(code, result, version, numbers, reason.format_map(numbers), mode)
    return Check(code, _INSUFFICIENT if violated is None else _PASS, version, numbers, "", mode)
