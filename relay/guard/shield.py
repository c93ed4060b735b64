"""The coarse shield before everything: so many requests a minute from one address or with one key, in one process.

Pure. It keeps a flood from costing database and signatures; what a player may do is decided exactly elsewhere
(`relay.guard.limits`). One number per subject: the generic cell rate algorithm (ITU-T I.371), which is a token bucket
that holds a minute's allowance and fills steadily.
"""

from typing import NamedTuple

WINDOW_S = 60.0
SUBJECTS_MAX = 100_000  # beyond, those that have been quiet are forgotten, then the oldest


class Taken(NamedTuple):
    """What follows for one request: whether it is taken, how many more would be, and after how many seconds."""

    admit: bool
    remaining: int
    full_s: float  # until the whole allowance is there again
    retry_s: float  # until this request would be taken, 0 when it is


class Shield:
    """An allowance of `per_minute` requests for each subject; 0: without limit."""

    def __init__(self, per_minute: int) -> None:
        self.per_minute = per_minute
        self._every_s = WINDOW_S / per_minute if per_minute else 0.0
        self._empty_until_s: dict[str, float] = {}  # when each subject's allowance would be whole again

    def __len__(self) -> int:
        """How many subjects are remembered."""
        return len(self._empty_until_s)

    def take(self, subject: str, now_s: float, cost: int = 1) -> Taken:
        """Take `cost` requests out of a subject's allowance if one is left, else nothing.

        More than is left can be owed, up to one allowance: whoever guesses keys waits for that.
        """
        if not self.per_minute:
            return Taken(True, 0, 0.0, 0.0)
        at_s = max(self._empty_until_s.get(subject, 0.0), now_s)
        retry_s = at_s + self._every_s - WINDOW_S - now_s
        if retry_s > 1e-9:
            return Taken(False, 0, at_s - now_s, retry_s)
        at_s = min(at_s + cost * self._every_s, now_s + 2 * WINDOW_S)
        if len(self._empty_until_s) >= SUBJECTS_MAX and subject not in self._empty_until_s:
            self._forget(now_s)
        self._empty_until_s[subject] = at_s
        left = int((WINDOW_S - (at_s - now_s)) / self._every_s + 1e-6)
        return Taken(True, max(0, left), at_s - now_s, 0.0)

    def _forget(self, now_s: float) -> None:
        kept = [(subject, at_s) for subject, at_s in self._empty_until_s.items() if at_s > now_s]
        self._empty_until_s = dict(kept[-SUBJECTS_MAX // 2 :])
