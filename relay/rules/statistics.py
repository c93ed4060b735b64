"""Robust statistics in exact integers: median and median absolute deviation without a float.

Pure.
"""

from collections.abc import Sequence
from typing import NamedTuple

MAD_TO_SIGMA = 14_826  # 1.4826 in ten-thousandths: a normal distribution's standard deviation per MAD


def twice_median(values: Sequence[int]) -> int:
    """Return 2 x the median of at least one value (an integer even where the median lies between two values)."""
    ordered = sorted(values)
    middle = len(ordered) // 2
    return 2 * ordered[middle] if len(ordered) % 2 else ordered[middle - 1] + ordered[middle]


class Spike(NamedTuple):
    """A limit as the fraction limit_num / 2,000,000, and 2 x the median it was built on."""

    limit_num: int
    median2: int

    def exceeded_by(self, score: int) -> bool:
        """Say whether `score` lies above the limit, exactly."""
        return score * LIMIT_DEN > self.limit_num

    @property
    def limit(self) -> int:
        """The limit rounded down: a whole score exceeds the exact limit iff it exceeds this."""
        return self.limit_num // LIMIT_DEN


LIMIT_DEN = 2_000_000


def spike_limit(scores: Sequence[int], deviations: int) -> Spike:
    """Return median + deviations x 1.4826 x MAD of `scores`, with the MAD at least 1 % of the median.

    Everything is scaled so that it stays whole: the median by 2, the deviations from it by 2, their median by 4,
    both sides of the floor by 200, and the factor by 10,000.
    """
    median2 = twice_median(scores)
    mad4 = twice_median([abs(2 * score - median2) for score in scores])
    mad200 = max(50 * mad4, median2)
    return Spike(1_000_000 * median2 + deviations * MAD_TO_SIGMA * mad200, median2)
