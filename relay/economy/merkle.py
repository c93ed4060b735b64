"""Merkle trees as Certificate Transparency has them: tree heads, proofs that an entry is in, proofs that nothing left.

Pure. SHA-256; a leaf is hashed with 0x00 before it, a pair of hashes with 0x01, so that neither reads as the other.
Sources: RFC 6962 section 2.1 (what is hashed and proved), RFC 9162 sections 2.1.3.2 and 2.1.4.2 (how it is checked).
Sizes count leaves, indices count from 0, hashes are 32 bytes. `Node` is where the hashes of a tree come from, so that a
proof over millions of leaves reads some dozens of them.
"""

import hashlib
from collections.abc import Callable, Sequence
from typing import TypeAlias

HASH_BYTES = 32
EMPTY_ROOT = hashlib.sha256(b"").digest()

Node: TypeAlias = Callable[[int, int], bytes]
"""(level, index) → root of the full subtree over the leaves from index·2^level to before (index + 1)·2^level."""


class ProofError(ValueError):
    """The proof does not show what it is said to show. Its text says why, and is safe to show."""


def leaf_hash(data: bytes) -> bytes:
    """Return the hash of a leaf: SHA-256(0x00 ‖ data)."""
    return hashlib.sha256(b"\x00" + data).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Return the hash of two subtrees: SHA-256(0x01 ‖ left ‖ right)."""
    return hashlib.sha256(b"\x01" + left + right).digest()


def full_root(hashes: Sequence[bytes]) -> bytes:
    """Return the root over a power of two of hashes, at least one."""
    level = list(hashes)
    while len(level) > 1:
        level = [node_hash(level[at], level[at + 1]) for at in range(0, len(level), 2)]
    return level[0]


def nodes_over(leaf_hashes: Sequence[bytes]) -> Node:
    """Return the tree over these leaves, all of them in memory."""

    def node(level: int, index: int) -> bytes:
        return full_root(leaf_hashes[index << level : (index + 1) << level])

    return node


# ------------------------------------------------------------------------- making


def tree_head(size: int, node: Node) -> bytes:
    """Return the root of the tree over its first `size` leaves."""
    return _range_root(0, size, node) if size else EMPTY_ROOT


def inclusion_proof(index: int, size: int, node: Node) -> list[bytes]:
    """Return the audit path of a leaf in the tree of `size` leaves, from the leaf up. ValueError where it has none."""
    if not 0 <= index < size:
        raise ValueError(f"a tree of {size} leaves has no leaf {index}")
    path: list[bytes] = []
    first, count = 0, size
    while count > 1:
        split = _split(count)
        if index < first + split:
            path.append(_range_root(first + split, count - split, node))
            count = split
        else:
            path.append(_range_root(first, split, node))
            first, count = first + split, count - split
    return path[::-1]


def consistency_proof(earlier: int, later: int, node: Node) -> list[bytes]:
    """Return the proof that the tree of `later` leaves begins with the tree of `earlier`, both at least one leaf.

    ValueError where it cannot: nothing is proved of an empty tree, and a later tree is not smaller.
    """
    if not 0 < earlier <= later:
        raise ValueError(f"no tree of {later} leaves is proved to begin with {earlier}")
    path: list[bytes] = []
    first, count, rest, whole = 0, later, earlier, True
    while rest < count:
        split = _split(count)
        if rest <= split:
            path.append(_range_root(first + split, count - split, node))
            count = split
        else:
            path.append(_range_root(first, split, node))
            first, count, rest, whole = first + split, count - split, rest - split, False
    if not whole:  # else it is the earlier root itself, which the verifier has
        path.append(_range_root(first, count, node))
    return path[::-1]


def _split(count: int) -> int:
    """Return the largest power of two below `count`, which is at least 2."""
    return 1 << ((count - 1).bit_length() - 1)


def _range_root(first: int, count: int, node: Node) -> bytes:
    """Return the root over `count` leaves from `first`, where the tree has such a subtree: the larger halves first."""
    if count & (count - 1) == 0:
        level = count.bit_length() - 1
        return node(level, first >> level)
    split = _split(count)
    return node_hash(_range_root(first, split, node), _range_root(first + split, count - split, node))


# ----------------------------------------------------------------------- checking


def check_inclusion(leaf: bytes, index: int, size: int, path: Sequence[bytes], root: bytes) -> None:
    """Raise ProofError unless `path` proves that the tree with this root has the leaf (its hash) at `index`."""
    if not 0 <= index < size:
        raise ProofError(f"a tree of {size} leaves has no leaf {index}")
    _check_hashes((leaf, root, *path))
    found = leaf
    for sibling, left in zip(path, _sides(index, size - 1, len(path)), strict=True):
        found = node_hash(sibling, found) if left else node_hash(found, sibling)
    if found != root:
        raise ProofError("the path leads from the leaf to another root")


def check_consistency(earlier: int, later: int, path: Sequence[bytes], root: bytes, later_root: bytes) -> None:
    """Raise ProofError unless `path` proves that the tree of `later` leaves begins with the tree of `earlier`."""
    if not 0 < earlier <= later:
        raise ProofError(f"no tree of {later} leaves is proved to begin with {earlier}")
    _check_hashes((root, later_root, *path))
    # Where the earlier tree is one subtree of the later, the path leaves out its root, with which it would begin.
    hashes = [root, *path] if earlier in (later, earlier & -earlier) else list(path)
    if not hashes:
        raise ProofError("the path is too short: it has no hash")
    # How high the last subtree of the earlier tree is; of a tree and itself, all of it.
    full = later.bit_length() if earlier == later else (earlier & -earlier).bit_length() - 1
    before = after = hashes[0]
    sides = _sides((earlier - 1) >> full, (later - 1) >> full, len(hashes) - 1)
    for sibling, left in zip(hashes[1:], sides, strict=True):
        before = node_hash(sibling, before) if left else before
        after = node_hash(sibling, after) if left else node_hash(after, sibling)
    if before != root:
        raise ProofError("the path leads to another earlier root")
    if after != later_root:
        raise ProofError("the path leads to another later root")


def _sides(position: int, last: int, length: int) -> list[bool]:
    """Return for each hash of a path whether it stands on the left, from node `position` of a level up to the root.

    `last`: number of the level's last node. ProofError where the path has another `length`.
    """
    sides: list[bool] = []
    while last:
        left = position & 1 == 1
        if left or position < last:  # else it is the last of its level, and without a sibling
            sides.append(left)
        position, last = position >> 1, last >> 1
    if len(sides) != length:
        raise ProofError(f"the path is too {'long' if length > len(sides) else 'short'}: {length} hashes")
    return sides


def _check_hashes(hashes: Sequence[bytes]) -> None:
    if any(len(one) != HASH_BYTES for one in hashes):
        raise ProofError(f"a hash has {HASH_BYTES} bytes")


# ------------------------------------------------------------------------ growing


class Frontier:
    """The right edge of a growing tree: the roots of its full subtrees, largest first, and so its root at any size.

    Takes leaves one after the other and keeps one hash for each 1 in the size's binary form.
    """

    __slots__ = ("_roots", "size")

    def __init__(self) -> None:
        self.size = 0
        self._roots: list[bytes] = []

    def append(self, leaf: bytes) -> None:
        """Take the next leaf's hash."""
        found, merging = leaf, self.size
        while merging & 1:
            found, merging = node_hash(self._roots.pop(), found), merging >> 1
        self._roots.append(found)
        self.size += 1

    @property
    def root(self) -> bytes:
        """The tree head over the leaves so far."""
        if not self._roots:
            return EMPTY_ROOT
        found = self._roots[-1]
        for left in self._roots[-2::-1]:
            found = node_hash(left, found)
        return found
