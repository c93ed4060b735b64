"""What one key's outbox counts while it runs: plain numbers, which `relay.api.outbox_metrics` shows to Prometheus.

Pure. Every call is O(1) and belongs to the event loop of the outbox. Counters begin at 0 with the process, as
Prometheus expects of a restarted target; what must survive a restart is in the database.
"""

from bisect import bisect_left
from collections import Counter
from collections.abc import Sequence

BATCH_SIZES = (1, 2, 5, 10, 20, 50, 100, 200, 500)
GAS_PER_SCORE = (4_000, 4_250, 4_500, 4_750, 5_000, 5_500, 6_000, 8_000, 12_000, 20_000, 40_000, 80_000)
REORG_DEPTHS = (1, 2, 3, 4, 6, 8, 12, 16, 32, 64)


class Histogram:
    """Observations sorted into buckets; each bucket counts what is at most its bound."""

    def __init__(self, bounds: Sequence[float]) -> None:
        """`bounds` rise; a last bucket without a bound is added."""
        self.bounds = tuple(bounds)
        self.counts = [0] * (len(self.bounds) + 1)
        self.total = 0.0

    def observe(self, value: float) -> None:
        """Count one observation."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value

    def cumulative(self) -> list[tuple[str, int]]:
        """Return (bound, observations at most it) as Prometheus wants them, ending with +Inf."""
        found, running = [], 0
        for bound, count in zip((*map(str, map(float, self.bounds)), "+Inf"), self.counts, strict=True):
            running += count
            found.append((bound, running))
        return found


class Meter:
    """The counters of one key. `balance_wei` and `reserved_wei` are None until the chain was asked."""

    def __init__(self) -> None:
        self.sends: Counter[tuple[str, str]] = Counter()  # (provider, class of its answer)
        self.attempts = 0
        self.bumps = 0
        self.voids = 0
        self.fee_caps = 0
        self.foreign_nonces = 0
        self.failures = 0
        self.reorgs = Histogram(REORG_DEPTHS)
        self.batch_sizes = Histogram(BATCH_SIZES)
        self.gas_per_score = Histogram(GAS_PER_SCORE)
        self.gas_used = 0
        self.scores_paid = 0
        self.balance_wei: int | None = None
        self.reserved_wei: int | None = None

    def sent(self, provider: str, send_class: str) -> None:
        """A provider answered a broadcast; `send_class` is the value of a `send_errors.SendClass`."""
        self.sends[provider, send_class] += 1

    def attempt(self) -> None:
        """A transaction was signed and committed (first ones, replacements and voids)."""
        self.attempts += 1

    def bumped(self) -> None:
        """A stuck transaction was replaced by one with higher fees."""
        self.bumps += 1

    def voided(self) -> None:
        """A first self-send was signed in place of a batch, as an operator asked."""
        self.voids += 1

    def fee_capped(self) -> None:
        """A stuck transaction could not be raised: its fees are at the cap."""
        self.fee_caps += 1

    def foreign(self) -> None:
        """A nonce of the key was used by someone else, for good."""
        self.foreign_nonces += 1

    def failed(self) -> None:
        """A final transaction of ours has status 0."""
        self.failures += 1

    def reorged(self, depth: int) -> None:
        """A mined transaction is live again; `depth`: blocks from its block to the head that was seen then."""
        self.reorgs.observe(max(1, depth))

    def batch(self, size: int) -> None:
        """A batch of `size` scores (or other records) was sealed."""
        self.batch_sizes.observe(size)

    def gas(self, used: int, scores: int) -> None:
        """A final transaction used `used` gas and recorded `scores` scores."""
        self.gas_used += used
        self.scores_paid += scores
        if scores:
            self.gas_per_score.observe(used / scores)

    def funds(self, balance_wei: int, reserved_wei: int) -> None:
        """The account's balance, and the worst case of everything under way."""
        self.balance_wei, self.reserved_wei = balance_wei, reserved_wei
