"""Which events may be under way at the same time, and how far everything is settled.

Pure. Events of one submission are delivered one after another; those of different submissions side by side.
"""

from collections import deque
from collections.abc import Iterable

from relay.webhooks.messages import Event


class Order:
    """Fresh events, read in the order of their sequence, until each is delivered or set aside."""

    def __init__(self, position: int) -> None:
        """Everything up to sequence `position` is settled already."""
        self.read_to = position
        self._open: dict[int, Event] = {}  # by sequence, oldest first
        self._later: dict[str, deque[Event]] = {}  # submissions with an event under way or ready: what comes after it
        self._ready: deque[Event] = deque()

    def __len__(self) -> int:
        return len(self._open)

    @property
    def position(self) -> int:
        """The sequence up to which every event was delivered or set aside."""
        return next(iter(self._open)) - 1 if self._open else self.read_to

    @property
    def oldest_at_ms(self) -> int | None:
        """When the oldest unsettled event happened, None if there is none."""
        return next(iter(self._open.values())).at_ms if self._open else None

    def take(self, events: Iterable[Event], read_to: int) -> None:
        """Add events in their order; they are all there are up to `read_to` that this hook wants."""
        for event in events:
            self._open[event.seq] = event
            waiting = self._later.get(event.submission_id)
            if waiting is None:
                self._later[event.submission_id] = deque()
                self._ready.append(event)
            else:
                waiting.append(event)
        self.read_to = read_to

    def start(self) -> Event | None:
        """Return the next event that may be sent now, None if every one waits for another."""
        return self._ready.popleft() if self._ready else None

    def delivered(self, event: Event) -> None:
        """Settle an event that was started; the next of its submission may start."""
        del self._open[event.seq]
        later = self._later[event.submission_id]
        if later:
            self._ready.append(later.popleft())
        else:
            del self._later[event.submission_id]

    def set_aside(self, event: Event) -> list[Event]:
        """Settle an event that was started and failed, and with it the later ones of its submission; returns those."""
        held = list(self._later.pop(event.submission_id))
        for each in (event, *held):
            del self._open[each.seq]
        return held
