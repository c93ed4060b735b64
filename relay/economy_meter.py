"""What the economy counts while it runs: plain numbers, which `relay.api.economy_metrics` shows to Prometheus.

Pure. Every call is O(1) and belongs to the event loop of the economy's intake. Counters begin at 0 with the process, as
Prometheus expects of a restarted target; what charts over time need is in the database (`relay.store.tallies`).
"""

from collections import Counter

from relay.outbox.meter import Histogram

GROUP_SIZES = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000)
OK = "ok"  # outcome of what took effect; the others are the codes of refusals


class EconomyMeter:
    """The counters of one process."""

    def __init__(self) -> None:
        self.operations: Counter[tuple[str, str]] = Counter()  # (action, outcome)
        self.replays = 0
        self.groups = Histogram(GROUP_SIZES)

    def operation(self, action: str, outcome: str) -> None:
        """An operation was decided: `ok`, or why not."""
        self.operations[action, outcome] += 1

    def replayed(self) -> None:
        """A request was answered by what its idempotency key keeps."""
        self.replays += 1

    def group(self, size: int) -> None:
        """So many operations were made durable by one commit."""
        self.groups.observe(size)
