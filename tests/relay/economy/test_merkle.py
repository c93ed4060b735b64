"""Merkle trees against the published vectors of Certificate Transparency, and every proof of every small tree."""

import hashlib
import random
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.economy.merkle import (
    EMPTY_ROOT,
    Frontier,
    ProofError,
    check_consistency,
    check_inclusion,
    consistency_proof,
    inclusion_proof,
    leaf_hash,
    node_hash,
    nodes_over,
    tree_head,
)
from relay.economy.tiles import TILE_BYTES, WIDTH, Tile, grow, nodes_in, open_tiles

# Published with certificate-transparency and transparency-dev/merkle: eight leaves, the heads of sizes 0 to 8, proofs.
LEAVES = [
    bytes.fromhex(text)
    for text in ("", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f")
]
HEADS = [
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]
H01 = "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125"
H23 = "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e"
H45 = "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a"
H67 = "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0"
H03 = "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7"
H47 = "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4"
L0 = "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d"
L1 = "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7"
L4 = "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b"
L6 = "b08693ec2e721597130641e8211e7eedccb4c26413963eee6c1e2ed16ffb1a5f"
INCLUSION = {
    (0, 1): [],
    (0, 8): [L1, H23, H47],
    (5, 8): [L4, H67, H03],
    (2, 3): [H01],
    (1, 5): [L0, H23, L4],
}
CONSISTENCY = {(1, 1): [], (1, 8): [L1, H23, H47], (6, 8): [H45, H67, H03], (2, 5): [H23, L4], (6, 7): [H45, L6, H03]}

HASHES = [leaf_hash(data) for data in LEAVES]
MANY = [leaf_hash(number.to_bytes(2, "big")) for number in range(40)]


def hexes(path: list[bytes]) -> list[str]:
    """As the vectors are written."""
    return [one.hex() for one in path]


def check_fails(check: Callable[..., None], *arguments: object) -> None:
    """The proof is refused."""
    with pytest.raises(ProofError):
        check(*arguments)


@pytest.mark.parametrize("size", range(9))
def test_published_tree_heads(size: int) -> None:
    frontier = Frontier()
    for one in HASHES[:size]:
        frontier.append(one)
    assert tree_head(size, nodes_over(HASHES)).hex() == HEADS[size] == frontier.root.hex()
    assert EMPTY_ROOT.hex() == HEADS[0]


@pytest.mark.parametrize(("which", "path"), INCLUSION.items())
def test_published_inclusion_proofs(which: tuple[int, int], path: list[str]) -> None:
    index, size = which
    made = inclusion_proof(index, size, nodes_over(HASHES))
    assert hexes(made) == path
    check_inclusion(HASHES[index], index, size, made, bytes.fromhex(HEADS[size]))


@pytest.mark.parametrize(("which", "path"), CONSISTENCY.items())
def test_published_consistency_proofs(which: tuple[int, int], path: list[str]) -> None:
    earlier, later = which
    made = consistency_proof(earlier, later, nodes_over(HASHES))
    assert hexes(made) == path
    check_consistency(earlier, later, made, bytes.fromhex(HEADS[earlier]), bytes.fromhex(HEADS[later]))


def test_a_pair_of_hashes_is_no_leaf() -> None:
    left, right = HASHES[:2]
    assert node_hash(left, right) != leaf_hash(left + right)
    assert leaf_hash(b"a") == hashlib.sha256(b"\0a").digest()


def test_every_proof_of_every_small_tree_and_no_other() -> None:
    node = nodes_over(MANY)
    heads = [tree_head(size, node) for size in range(len(MANY) + 1)]
    for size in range(1, len(MANY) + 1):
        for index in range(size):
            path = inclusion_proof(index, size, node)
            check_inclusion(MANY[index], index, size, path, heads[size])
            check_fails(check_inclusion, MANY[index], index, size, path, heads[size - 1])
            check_fails(check_inclusion, leaf_hash(b"another"), index, size, path, heads[size])
            check_fails(check_inclusion, MANY[index], index + 1, size, path, heads[size])
            check_fails(check_inclusion, MANY[index], index, size, [*path, EMPTY_ROOT], heads[size])
            if path:
                check_fails(check_inclusion, MANY[index], index, size, path[1:], heads[size])
                check_fails(check_inclusion, MANY[index], index, size, path[:-1], heads[size])
        for earlier in range(1, size + 1):
            path = consistency_proof(earlier, size, node)
            check_consistency(earlier, size, path, heads[earlier], heads[size])
            check_fails(check_consistency, earlier, size, path, heads[earlier], leaf_hash(b"rewritten"))
            check_fails(check_consistency, earlier, size, path, leaf_hash(b"rewritten"), heads[size])
            check_fails(check_consistency, earlier, size, [*path, EMPTY_ROOT], heads[earlier], heads[size])
            if path:
                check_fails(check_consistency, earlier, size, path[:-1], heads[earlier], heads[size])
                check_fails(check_consistency, earlier, size, path[1:], heads[earlier], heads[size])


@given(st.integers(2, 300), st.data())
def test_history_cannot_be_rewritten(size: int, data: st.DataObject) -> None:
    """Whoever changes one anchored leaf has no proof from the old head to any new one, not even one made for it."""
    changed = data.draw(st.integers(0, size - 2))
    earlier = data.draw(st.integers(changed + 1, size - 1))
    honest = [leaf_hash(number.to_bytes(2, "big")) for number in range(size)]
    forged = [*honest[:changed], leaf_hash(b"forged"), *honest[changed + 1 :]]
    old = tree_head(earlier, nodes_over(honest))
    new = tree_head(size, nodes_over(forged))
    check_fails(check_consistency, earlier, size, consistency_proof(earlier, size, nodes_over(forged)), old, new)
    check_fails(check_consistency, earlier, size, consistency_proof(earlier, size, nodes_over(honest)), old, new)


def test_nothing_is_proved_of_what_is_not_there() -> None:
    node = nodes_over(HASHES)
    for index, size in ((8, 8), (-1, 8), (0, 0)):
        with pytest.raises(ValueError, match="has no leaf"):
            inclusion_proof(index, size, node)
        check_fails(check_inclusion, HASHES[0], index, size, [], HASHES[0])
    for earlier, later in ((0, 8), (8, 7), (-1, 3)):
        with pytest.raises(ValueError, match="is proved to begin"):
            consistency_proof(earlier, later, node)
        check_fails(check_consistency, earlier, later, [], HASHES[0], HASHES[0])
    check_fails(check_inclusion, b"short", 0, 1, [], HASHES[0])
    check_fails(check_consistency, 3, 5, [], HASHES[0], HASHES[1])


# -------------------------------------------------------------------------- tiles


def test_a_tree_grown_in_steps_of_any_size_is_the_same_tree() -> None:
    rng = random.Random(6962)
    leaves = [leaf_hash(number.to_bytes(4, "big")) for number in range(WIDTH * WIDTH + 3 * WIDTH + 7)]
    tiles: dict[Tile, bytes] = {}
    size, frontier = 0, Frontier()
    while size < len(leaves):
        coming = leaves[size : size + rng.choice((1, 2, 255, 256, 257, 5_000, 30_000))]
        begun = {tile: tiles[tile] for tile in open_tiles(size)}
        changed = grow(size, begun, coming)
        full = [tile for tile in changed if len(tiles.get(tile, b"")) == TILE_BYTES]
        assert not full  # what is full never changes
        tiles |= changed
        size += len(coming)
        for one in coming:
            frontier.append(one)
        node = nodes_in(tiles.__getitem__)
        assert tree_head(size, node) == frontier.root
    place, earlier = 70, WIDTH * WIDTH + 5
    root = frontier.root
    check_inclusion(leaves[place], place, size, inclusion_proof(place, size, node), root)
    check_consistency(earlier, size, consistency_proof(earlier, size, node), tree_head(earlier, node), root)
    assert sorted(open_tiles(size)) == [Tile(0, 259), Tile(1, 1), Tile(2, 0)]


def test_tiles_that_do_not_belong_to_the_size_are_refused() -> None:
    with pytest.raises(ValueError, match="does not belong to a tree of 3 leaves"):
        grow(3, {Tile(0, 0): bytes(64)}, [bytes(32)])
    with pytest.raises(LookupError):
        nodes_in({Tile(0, 0): bytes(64)}.__getitem__)(2, 0)
