"""What a ruleset says about one play: every check with its numbers, and what follows from all of them.

Pure.
"""

from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import Any, NamedTuple

import msgspec

from relay.canonical import canonical


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


# What one check found: violated or not (None: too little data to say), the numbers compared, the reason. The reason
# may name numbers in braces; it is written out for a violation only, because nearly all checks pass. A plain tuple:
# ten of them are made for every play.
Finding = tuple[bool | None, Mapping[str, int], str]


class Check(NamedTuple):
    """One line of a verdict."""

    code: str
    result: Result
    version: int
    numbers: Mapping[str, Any]
    reason: str
    mode: Mode

    def document(self) -> dict[str, object]:
        """Return the line as it stands in evidence and answers; `mode` only where it is not what the result says."""
        line: dict[str, object] = {"code": self.code, "result": self.result, "version": self.version, **self.numbers}
        if self.result is not Result.PASS:
            if self.reason:
                line["reason"] = self.reason
            if self.mode is Mode.DRY_RUN:
                line["mode"] = "dry_run"
        return line


class Row:
    """One check of a bound ruleset, with the texts of the lines it writes when nothing is wrong."""

    __slots__ = ("_lines", "check", "code", "mode", "version")

    def __init__(self, code: str, version: int, mode: Mode, check: Callable[[Any], Finding | None]) -> None:
        self.code = code
        self.version = version
        self.mode = mode
        self.check = check
        self._lines: dict[tuple[object, ...], str] = {}

    def judged(self, finding: Finding) -> Check:
        """Return the line of `finding`: violated is `fail` when enforced or dry, `flag` when flagged."""
        violated, numbers, reason = finding
        if violated:
            result = Result.FLAG if self.mode is Mode.FLAG else Result.FAIL
            return Check(self.code, result, self.version, numbers, reason.format_map(numbers), self.mode)
        result = Result.INSUFFICIENT_DATA if violated is None else Result.PASS
        return Check(self.code, result, self.version, numbers, "", self.mode)

    def line(self, finding: Finding) -> str:
        """Return the canonical JSON of the line; from a template, made once, unless there is a reason to write."""
        violated, numbers, _ = finding
        if violated:
            return canonical(self.judged(finding).document()).decode()
        key = (violated, *numbers)
        template = self._lines.get(key)
        if template is None:
            marks = {name: f"%({name})d" for name in numbers}
            template = canonical(self.judged((violated, marks, "")).document()).decode()  # type: ignore[arg-type]
            for mark in marks.values():
                template = template.replace(f'"{mark}"', mark)
            self._lines[key] = template
        return template % numbers


class Verdict:
    """All checks of one play, the score they computed (None: not computable) and the evidence level it deserves."""

    __slots__ = ("findings", "level", "score", "violated")

    def __init__(self, score: int | None, level: int, findings: list[tuple[Row, Finding]], *, violated: bool) -> None:
        self.score = score
        self.level = level
        self.findings = findings
        self.violated = violated  # some check is; if not, nothing below needs to look

    @property
    def checks(self) -> list[Check]:
        """Every line."""
        return [row.judged(finding) for row, finding in self.findings]

    @property
    def failures(self) -> list[Check]:
        """The checks that refuse the play."""
        if not self.violated:
            return []
        return [check for check in self.checks if check.result is Result.FAIL and check.mode is Mode.ENFORCE]

    @property
    def suspicions(self) -> list[Check]:
        """The checks that flag the play."""
        if not self.violated:
            return []
        return [check for check in self.checks if check.result is Result.FLAG and check.mode is Mode.FLAG]

    @property
    def refusal(self) -> Check | None:
        """The first check that refuses the play, None when it is accepted."""
        return next(iter(self.failures), None)

    def lines(self) -> str:
        """Return all lines as a canonical JSON array."""
        return f"[{','.join([row.line(finding) for row, finding in self.findings])}]"


class Parameters(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """Base of a ruleset's parameters: integers with names, part of its hash."""
