"""How following goes, and what readiness says about it.

Pure.
"""

from dataclasses import dataclass, field
from typing import NamedTuple

TROUBLED_S = 5.0  # with an error standing for this long it is no hiccup any more
SILENT_S = 30.0  # without a sensible answer of the provider for this long, nothing here is current
STALLED_S = 30.0  # without a new block for so long the connection is made anew, and readiness tells
BEHIND_BLOCKS = 64  # more than this between the chain's head and the checkpoint is not "live" any more


class Check(NamedTuple):
    """One line of readiness."""

    ok: bool
    detail: str


@dataclass(slots=True)
class Health:
    """What the follower knows about its own work; times are of its monotonic clock, in seconds."""

    head: int | None = None
    head_at_s: float = 0.0  # since when it is that one
    tip: int | None = None
    polled_at_s: float | None = None  # the last time the provider answered sensibly
    trouble: str = "has not reached the chain yet"  # empty: none
    broken: str = ""  # why events were refused; empty: they reproduce the contract's heads
    wrong_chain: str = ""
    deep: str = ""  # a reorganisation deeper than the kept blocks, until it is caught up with
    rebuilding: str = ""  # which board is being made anew, and how far
    reorganisations: int = 0
    broken_count: int = field(default=0, repr=False)

    def saw(self, head: int, now_s: float) -> None:
        """Note the provider's newest block."""
        if head != self.head:
            self.head, self.head_at_s = head, now_s

    def still_s(self, now_s: float) -> float:
        """Return the seconds without a new block: chains without blocks of their own are often still."""
        return 0.0 if self.head is None else now_s - self.head_at_s

    def progress(self, board: str, done: int, total: int) -> None:
        """Note how far the making anew of a board is."""
        self.rebuilding = f"making board {board} anew: {done} of {total} scores"

    def checks(self, now_s: float) -> dict[str, Check]:
        """Return readiness by name: identity of the chain, lag behind it, completeness of its events."""
        silent = self.polled_at_s is None or now_s - self.polled_at_s > SILENT_S
        behind = None if self.head is None or self.tip is None else max(self.head - self.tip, 0)
        lag = f"{behind} blocks behind block {self.head}" if behind is not None else "nothing read yet"
        still = f"no new block for {self.still_s(now_s):.0f} s" if self.still_s(now_s) > STALLED_S else ""
        troubled = bool(self.trouble) and self.polled_at_s is not None and now_s - self.polled_at_s > TROUBLED_S
        near = behind is not None and behind <= BEHIND_BLOCKS
        current = near and not (silent or troubled or self.deep)
        return {
            "indexer.chain": Check(
                not self.wrong_chain and behind is not None,
                self.wrong_chain or ("not compared yet" if behind is None else "the one the rows are of"),
            ),
            "indexer.lag": Check(
                current, "; ".join(part for part in (lag, still, self.rebuilding, self.deep, self.trouble) if part)
            ),
            "indexer.events": Check(not self.broken, self.broken or "they reproduce the contract's heads"),
        }
