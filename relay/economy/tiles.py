"""How a growing Merkle tree is kept: in tiles of 256 hashes, of which only the last of each level ever changes.

Pure. Tile (level, number) holds the hashes of the subtrees of 256^level leaves from number 256·number on; a million
leaves are 3,907 tiles of level 0, 16 of level 1 and one of level 2. Every other hash follows from one tile, so that a
proof reads two or three of each level. Source: Russ Cox, "Transparent Logs for Skeptical Clients" (2019), as Go's
checksum database and static CT logs keep theirs.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from relay.economy.merkle import HASH_BYTES, Node, full_root

HEIGHT = 8
WIDTH = 1 << HEIGHT
TILE_BYTES = WIDTH * HASH_BYTES


class Tile(NamedTuple):
    """The name of a tile."""

    level: int
    number: int


def open_tiles(size: int) -> list[Tile]:
    """Return the tiles that a tree of `size` leaves has begun and not filled: growing it needs them and no others."""
    found: list[Tile] = []
    level = 0
    while size:
        if size % WIDTH:
            found.append(Tile(level, size // WIDTH))
        size, level = size // WIDTH, level + 1
    return found


def grow(size: int, begun: Mapping[Tile, bytes], leaf_hashes: Sequence[bytes]) -> dict[Tile, bytes]:
    """Return the tiles, whole, that change when these leaves follow the first `size`; `begun`: see `open_tiles`.

    ValueError where a begun tile has not the length that the size asks for: the tree and its size disagree.
    """
    changed: dict[Tile, bytes] = {}
    level, count, coming = 0, size, list(leaf_hashes)
    while coming:
        tile = Tile(level, count // WIDTH)
        hashes = bytearray(begun.get(tile, b""))
        if len(hashes) != count % WIDTH * HASH_BYTES:
            raise ValueError(f"tile {tile.number} of level {level} does not belong to a tree of {size} leaves")
        above: list[bytes] = []
        for one in coming:
            hashes += one
            if len(hashes) == TILE_BYTES:
                changed[tile] = bytes(hashes)
                above.append(full_root(split(hashes)))
                tile, hashes = Tile(level, tile.number + 1), bytearray()
        if hashes:
            changed[tile] = bytes(hashes)
        level, count, coming = level + 1, count // WIDTH, above
    return changed


def nodes_in(read: Callable[[Tile], bytes]) -> Node:
    """Return the tree whose tiles `read` gives. A hash that no tile holds yet is a LookupError."""

    def node(level: int, index: int) -> bytes:
        above, within = divmod(level, HEIGHT)
        first = index << within
        tile = Tile(above, first // WIDTH)
        at = first % WIDTH * HASH_BYTES
        wanted = read(tile)[at : at + (HASH_BYTES << within)]
        if len(wanted) != HASH_BYTES << within:
            raise LookupError(f"tile {tile.number} of level {above} has no such hash yet")
        return full_root(split(wanted))

    return node


def split(hashes: bytes | bytearray) -> list[bytes]:
    """Return the hashes of a tile."""
    return [bytes(hashes[at : at + HASH_BYTES]) for at in range(0, len(hashes), HASH_BYTES)]
