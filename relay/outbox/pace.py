"""How fast a chain makes blocks, and how patient a sender on it should be.

Pure. Blocks measure patience (a transaction can only be mined in one), but on a chain with ten blocks a second three of
them are no time at all: each patience holds in blocks and in seconds.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from relay.outbox.slots import Policy

SAMPLE_BLOCKS = 20
OBSERVED_BLOCKS_MIN = 10
ON_DEMAND_S = 20.0  # chains that take longer make blocks when there are transactions, and soon then
BLOCK_S_MIN, BLOCK_S_DEFAULT = 0.05, 1.0
WAIT_S_MIN, WAIT_S_MAX = 0.25, 12.0
POLLS_PER_BLOCK = 4
POLL_S_MIN, POLL_S_MAX = 0.1, 3.0
RESEND_BLOCKS, RESEND_S_MIN, RESEND_S = 2, 2.0, 15.0
BUMP_BLOCKS, BUMP_S_MIN = 3, 3.0


@dataclass(frozen=True, slots=True)
class Pace:
    """A chain's time between blocks in seconds, and what follows from it."""

    block_s: float = BLOCK_S_DEFAULT

    @property
    def wait_ms(self) -> int:
        """How long a score waits for company: a block's time, for until then nothing would come of sending it."""
        return round(1000 * min(max(self.block_s, WAIT_S_MIN), WAIT_S_MAX))

    @property
    def poll_ms(self) -> int:
        """How often to ask for news."""
        return round(1000 * min(max(self.block_s / POLLS_PER_BLOCK, POLL_S_MIN), POLL_S_MAX))

    @property
    def policy(self) -> Policy:
        """When to send again and when to raise fees."""
        return Policy(
            resend_blocks=max(RESEND_BLOCKS, math.ceil(RESEND_S_MIN / self.block_s)),
            resend_s=max(RESEND_S, (RESEND_BLOCKS + 1) * self.block_s),
            bump_blocks=max(BUMP_BLOCKS, math.ceil(BUMP_S_MIN / self.block_s)),
        )


def measure(timestamps: Sequence[int], observed_blocks: int = 0, observed_s: float = 0.0) -> Pace:
    """Return the pace of a chain from its newest blocks' timestamps (unix seconds, oldest first).

    The largest quarter of the gaps is left out: they are empty slots, or idle time of a chain that makes blocks on
    demand. Timestamps are whole seconds, and some nodes let them rise by one per block however fast those come, so what
    was observed by an own clock (blocks in seconds) is believed where it is faster.
    """
    gaps = sorted(max(0, later - earlier) for earlier, later in pairwise(timestamps))
    kept = gaps[: max(1, len(gaps) - len(gaps) // 4)]
    block_s = sum(kept) / len(kept) if kept else BLOCK_S_DEFAULT
    if block_s > ON_DEMAND_S:
        block_s = BLOCK_S_DEFAULT
    if observed_blocks >= OBSERVED_BLOCKS_MIN:
        block_s = min(block_s, observed_s / observed_blocks)
    return Pace(max(BLOCK_S_MIN, block_s))
