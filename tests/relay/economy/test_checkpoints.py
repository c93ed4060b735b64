"""When a checkpoint is due, and what anchors on the chain are to a ledger."""

import pytest

from relay.contract import EconomyAnchored
from relay.contract_anchors import Anchored
from relay.economy.checkpoints import Cadence, Checkpoint, Comparison, compare, first_disproved, is_due
from relay.economy.merkle import leaf_hash, nodes_over, tree_head

BODIES = [b"transaction %d" % number for number in range(30)]
NODE = nodes_over([leaf_hash(body) for body in BODIES])
NOON = 1_700_000_000_000


def root(size: int) -> bytes:
    """The ledger's own."""
    return tree_head(size, NODE)


def anchor(first: int, count: int, of: bytes | None = None) -> Anchored:
    """An anchor on the chain."""
    event = EconomyAnchored(bytes(32), bytes(20), first, count, of or root(first + count), bytes(32))
    return Anchored(event, bytes([first]) * 32, 100 + first)


@pytest.mark.parametrize(
    ("new", "since_ms", "due"),
    [
        (0, None, False),
        (-1, NOON - 10**9, False),
        (1, None, True),
        (1, NOON - 59_999, False),
        (1, NOON - 60_000, True),
        (9, NOON, False),
        (10, NOON, True),
        (1, NOON + 5, True),  # the clock was set back
    ],
)
def test_a_checkpoint_is_due(new: int, since_ms: int | None, *, due: bool) -> None:
    assert is_due(Cadence(every_ms=60_000, most=10), new, since_ms, NOON) is due


def test_anchors_of_this_ledger_agree() -> None:
    found = [anchor(0, 4), anchor(4, 1), anchor(5, 20)]
    assert compare(0, found, 30, root) == Comparison(25, tuple(found))
    assert compare(4, found, 30, root) == Comparison(25, tuple(found[1:]))
    assert compare(25, found, 25, root) == Comparison(25)
    assert compare(0, [], 30, root) == Comparison(0)


def test_a_gap_is_a_log_that_is_withheld_and_proves_nothing() -> None:
    first, second, third = anchor(0, 4), anchor(4, 1), anchor(5, 20)
    found = compare(0, [first, third], 30, root)
    assert (found.upto, found.agreed, found.contradiction) == (4, (first,), None)
    assert (
        found.missing
        == "a log of an anchor is missing: the next one that the endpoint shows begins at entry 5, not at 4"
    )
    overlapping = compare(3, [first, second], 30, root)  # what we know as final ends within one of theirs
    assert overlapping.missing is not None


def test_another_history_contradicts() -> None:
    found = compare(0, [anchor(0, 4), anchor(4, 1, leaf_hash(b"else")), anchor(5, 2)], 30, root)
    assert (found.upto, len(found.agreed), found.missing) == (4, 1, None)
    assert found.contradiction is not None
    assert "another history of the first 5" in found.contradiction
    longer = compare(0, [anchor(0, 4), anchor(4, 27, leaf_hash(b"more"))], 30, root)
    assert longer.contradiction is not None
    assert "anchors 31 transactions" in longer.contradiction
    assert "has 30" in longer.contradiction


def test_a_history_told_again_shows_where_it_was_changed() -> None:
    checkpoints = [
        Checkpoint(f"cp_{size}", "g", first, size - first, root(size)) for first, size in ((0, 4), (4, 9), (9, 25))
    ]
    assert first_disproved(BODIES, checkpoints) is None
    assert first_disproved(BODIES[:25], checkpoints) is None
    assert first_disproved([], []) is None
    assert first_disproved(BODIES[:24], checkpoints) == checkpoints[2]  # the end is gone
    for place, first in ((0, 0), (3, 0), (4, 1), (8, 1), (9, 2), (24, 2)):
        changed = [*BODIES[:place], b"forged", *BODIES[place + 1 :]]
        assert first_disproved(changed, checkpoints) == checkpoints[first]
        assert first_disproved([*BODIES[:place], *BODIES[place + 1 :]], checkpoints) == checkpoints[first]
