"""What one webhook's delivery counts.

Pure.
"""

from dataclasses import dataclass


@dataclass(slots=True)
class Tally:
    """Counters since the start of this process, and where the hook stands while this process delivers it."""

    delivered: int = 0
    failed: int = 0  # attempts
    waiting: int = 0  # events to be tried again, or held behind one of their submission
    dead: int = 0  # events given up
    position: int = 0
    leading: bool = False
