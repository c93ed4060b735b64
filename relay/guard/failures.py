"""Failed authentications: counted by address and by key prefix, until there are enough for an auditor's look.

Pure: the clock is handed in. What is counted here is written as flags, some seconds later, by `relay.api.shields`.
"""

from typing import NamedTuple

from relay.flag_kinds import OPERATION_KINDS
from relay.guard.flags import Flag

CODE = "AUTHENTICATION_FAILED"
ACTION = "authenticate"
WINDOW_S = 60.0
SUSPICIOUS = 20  # within a minute: more than a person with the wrong key tries
SUBJECTS_MAX = 10_000


class Subject(NamedTuple):
    """Where failures come from (`address`), or what they are like (`prefix` of a key)."""

    type: str
    id: str


class Failures:
    """Counts failures per subject and minute. `total` counts all since the start."""

    def __init__(self) -> None:
        self.total = 0
        self._windows: dict[Subject, tuple[float, int]] = {}  # when the minute began, how many since
        self._suspicious: dict[Subject, int] = {}

    def count(self, address: str | None, prefix: str | None, now_s: float) -> None:
        """Count one failure."""
        self.total += 1
        if address is not None:
            self._count(Subject("address", address), now_s)
        if prefix is not None:
            self._count(Subject("prefix", prefix), now_s)

    def take(self) -> dict[Subject, int]:
        """Return how many suspicious failures came since the last time, by subject."""
        found, self._suspicious = self._suspicious, {}
        return found

    def give_back(self, found: dict[Subject, int]) -> None:
        """Count again what was taken and could not be written."""
        for subject, times in found.items():
            self._suspicious[subject] = self._suspicious.get(subject, 0) + times

    def _count(self, subject: Subject, now_s: float) -> None:
        began_s, times = self._windows.get(subject, (now_s, 0))
        if now_s - began_s >= WINDOW_S:
            began_s, times = now_s, 0
        if len(self._windows) >= SUBJECTS_MAX and subject not in self._windows:
            self._windows = {one: w for one, w in self._windows.items() if now_s - w[0] < WINDOW_S}
            if len(self._windows) >= SUBJECTS_MAX:
                self._windows.clear()
        self._windows[subject] = (began_s, times + 1)
        if times + 1 >= SUSPICIOUS:
            came = SUSPICIOUS if times + 1 == SUSPICIOUS else 1
            self._suspicious[subject] = self._suspicious.get(subject, 0) + came


def flag_of_address(address: str, times: int) -> Flag:
    """Return the flag of an address; it is of no game."""
    return _flag("", "address", address, f"Failed authentications from {address}: {times} in a short time", times)


def flag_of_key(key_id: str, prefix: str, game_id: str | None, state: str, times: int) -> Flag:
    """Return the flag of a key that somebody tries without being let in: guessed at, expired, or revoked."""
    reason = f"Failed authentications with keys like {prefix}… (now {state}): {times} in a short time"
    return _flag(game_id or "", "key", key_id, reason, times)


def _flag(game_id: str, kind: str, subject: str, reason: str, times: int) -> Flag:
    context = {"action": ACTION, "failures": times, "windowSeconds": int(WINDOW_S)}
    severity = OPERATION_KINDS[CODE].severity
    return Flag(game_id, None, ACTION, CODE, severity, reason, kind, subject, context)
