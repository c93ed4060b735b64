"""Which events may be under way together, and how far everything is settled: exhaustively, and at random."""

import random

from hypothesis import given
from hypothesis import strategies as st

from relay.webhooks.messages import Event
from relay.webhooks.order import Order


def event(seq: int, submission: str) -> Event:
    """An event; only its number and its submission matter here."""
    return Event(seq, submission, "sent", seq, None, "streambeat", bytes(20), 1, None, None, None, None)


def started(order: Order) -> list[int]:
    """Start everything that may start; returns the sequences."""
    found: list[int] = []
    while (each := order.start()) is not None:
        found.append(each.seq)
    return found


def test_one_event_of_a_submission_at_a_time() -> None:
    order = Order(10)
    events = {seq: event(seq, name) for seq, name in ((11, "a"), (12, "b"), (14, "a"), (15, "a"))}
    order.take(events.values(), 20)
    assert started(order) == [11, 12]
    order.delivered(events[11])
    assert started(order) == [14]
    assert order.position == 11
    order.delivered(events[12])
    assert order.position == 13
    order.delivered(events[14])
    assert (started(order), order.position) == ([15], 14)
    order.delivered(events[15])
    assert (order.position, len(order), order.oldest_at_ms) == (20, 0, None)


def test_a_failure_sets_only_its_own_submission_aside() -> None:
    order = Order(0)
    events = {seq: event(seq, name) for seq, name in ((1, "a"), (2, "b"), (3, "a"), (4, "b"))}
    order.take(events.values(), 4)
    assert started(order) == [1, 2]
    assert order.set_aside(events[1]) == [events[3]]
    assert order.position == 1
    order.delivered(events[2])
    assert started(order) == [4]
    assert order.position == 3
    order.take([event(5, "a")], 5)  # whoever sets aside must hold this one back; here it is new
    assert started(order) == [5]


@given(st.lists(st.sampled_from("abcd"), max_size=40), st.integers(0, 2**32))
def test_whatever_happens_each_event_is_settled_once_and_in_order(names: list[str], seed: int) -> None:
    """The position never passes an event that is neither delivered nor set aside, and ends at the last one read."""
    chance = random.Random(seed)
    order, pending = Order(0), [event(seq, name) for seq, name in enumerate(names, 1)]
    under_way: list[Event] = []
    settled: list[int] = []
    stories: dict[str, list[int]] = {}
    read = 0
    while pending[read:] or under_way or len(order):
        if pending[read:] and chance.random() < 0.5:
            size = chance.randint(1, 8)
            page = pending[read : read + size]
            order.take(page, page[-1].seq)
            read += len(page)
        while (each := order.start()) is not None:
            assert each.submission_id not in {other.submission_id for other in under_way}
            under_way.append(each)
        if not under_way:
            continue
        done = under_way.pop(chance.randrange(len(under_way)))
        stories.setdefault(done.submission_id, []).append(done.seq)
        if chance.random() < 0.5:
            order.delivered(done)
            settled.append(done.seq)
        else:
            settled += [done.seq, *(held.seq for held in order.set_aside(done))]
        unsettled = [each.seq for each in pending[:read] if each.seq not in settled]
        assert order.position == (min(unsettled) - 1 if unsettled else order.read_to)
    assert sorted(settled) == list(range(1, len(names) + 1))
    assert all(story == sorted(story) for story in stories.values())
