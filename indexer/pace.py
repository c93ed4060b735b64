"""How often the chain is asked for news: by its own pace, seldom while somebody announces its blocks.

Pure. Announcements only say when to ask: nothing in them is believed.
"""

from collections.abc import Sequence

from indexer.events import Header

NO_BLOCK = -1
QUICK_S = (0.05, 1.0)  # a tenth of the block time, within these
SELDOM_S = (1.0, 5.0)  # two blocks' time, within these: announcements can fail silently


class Pace:
    """The pause between two questions, in seconds."""

    def __init__(self, fixed_s: float = 0.0) -> None:
        """`fixed_s`: what the operator wants; 0: by the chain's pace."""
        self._fixed_s = fixed_s
        self._block_s = 1.0
        self._announced = NO_BLOCK

    def took(self, headers: Sequence[Header]) -> None:
        """Learn the block time from blocks that follow each other."""
        blocks = headers[-1].number - headers[0].number
        if blocks:
            measured_s = (headers[-1].time_s - headers[0].time_s) / blocks
            self._block_s += (measured_s - self._block_s) / 4

    def announced(self, block: int) -> None:
        """Hear of a new block, or of news that have no number."""
        if block != NO_BLOCK:
            self._announced = block

    def pause_s(self, head: int | None, *, subscribed: bool) -> float:
        """Return how long to wait, where `head` is the newest block seen and somebody announces blocks, or not.

        A block that was announced and not seen yet is asked for soon: providers do not hear of it all at once.
        """
        if self._fixed_s:
            return self._fixed_s
        if subscribed and head is not None and self._announced <= head:
            return _within(self._block_s * 2, SELDOM_S)
        return _within(self._block_s / 10, QUICK_S)


def _within(value: float, bounds: tuple[float, float]) -> float:
    return min(max(value, bounds[0]), bounds[1])
