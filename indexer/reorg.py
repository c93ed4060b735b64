"""Which blocks belong together: does a fetched stretch continue our chain, and where did two chains part.

Pure.
"""

from collections.abc import Mapping, Sequence
from itertools import pairwise

from indexer.events import Header, Mark

WINDOW_FIRST = 16
WINDOW_MAX = 512


def continues(at: Mark, headers: Sequence[Header]) -> bool:
    """Say whether the first of `headers` is the child of our last block."""
    return bool(headers) and headers[0].number == at.number + 1 and headers[0].parent == at.hash


def linked(headers: Sequence[Header]) -> bool:
    """Say whether each header is the parent of the next: false when the chain moved while we were asking."""
    pairs = pairwise(headers)
    return all(child.parent == parent.hash and child.number == parent.number + 1 for parent, child in pairs)


def common_ancestor(ours: Sequence[Mark], theirs: Mapping[int, bytes]) -> Mark | None:
    """Return the newest of our blocks that the provider's chain has too.

    `ours` is newest first; a number the provider does not have (yet) proves nothing and is passed over.
    """
    return next((mark for mark in ours if theirs.get(mark.number) == mark.hash), None)


def windows(ours: Sequence[Mark]) -> list[Sequence[Mark]]:
    """Cut `ours` (newest first) into growing stretches to ask for: most reorganisations are a block or two deep."""
    cut: list[Sequence[Mark]] = []
    start, size = 0, WINDOW_FIRST
    while start < len(ours):
        cut.append(ours[start : start + size])
        start, size = start + size, min(size * 4, WINDOW_MAX)
    return cut


def confirmed(head: int, confirmations: int) -> int:
    """Return the newest block number with that many blocks on top of it; -1 if there is none."""
    return max(head - confirmations, -1)
