"""What `fairscore check` finds: one line per thing that was looked at, and what to do where it fails.

Pure.
"""

from collections.abc import Iterable
from enum import Enum
from typing import NamedTuple


class State(Enum):
    """How a check ended."""

    OK = "ok"
    NOTE = "note"  # works, and an operator should know
    FAILED = "failed"
    SKIPPED = "skipped"  # could not be looked at, because another one failed


class Finding(NamedTuple):
    """One check: what it is about, how it ended, what was seen, and what to do (empty where there is nothing to do)."""

    check: str
    state: State
    seen: str
    todo: str = ""


def ok(check: str, seen: str) -> Finding:
    """It is as it must be."""
    return Finding(check, State.OK, seen)


def note(check: str, seen: str, todo: str = "") -> Finding:
    """It works, but."""
    return Finding(check, State.NOTE, seen, todo)


def failed(check: str, seen: str, todo: str) -> Finding:
    """It does not work until something is done."""
    return Finding(check, State.FAILED, seen, todo)


def skipped(check: str, needs: str) -> Finding:
    """It needs something else to work first."""
    return Finding(check, State.SKIPPED, f"not looked at: it needs {needs}")


def passed(findings: Iterable[Finding]) -> bool:
    """Whether nothing failed."""
    return not any(finding.state is State.FAILED for finding in findings)
