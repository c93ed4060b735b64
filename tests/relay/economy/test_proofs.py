"""Proofs as documents: what is in them convinces only if all of it is true."""

import copy
import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from relay.canonical import canonical
from relay.contract import GENESIS_HEAD, EconomyAnchored, anchored_head, game_key
from relay.contract_anchors import Anchored
from relay.economy.merkle import consistency_proof, inclusion_proof, leaf_hash, nodes_over, tree_head
from relay.economy.proofs import (
    OnChain,
    anchored_tree,
    consistency_document,
    explain,
    inclusion_document,
    read_proof,
    verify,
)
from relay.errors import PayloadError
from relay.findings import State

GAME = "island"
BODIES = [canonical({"gameId": GAME, "sequence": n, "reason": "würfel \U0001f3b2", "at": 2**53 - 1}) for n in range(9)]
NODE = nodes_over([leaf_hash(body) for body in BODIES])
CONTRACT = b"\xcc" * 20
CHAIN_ID = 31337


def chain_of(*sizes: int, game_id: str = GAME) -> tuple[list[Anchored], OnChain]:
    """The anchors of a game up to these sizes, on a chain."""
    head, first, found = GENESIS_HEAD, 0, []
    for size in sizes:
        made = EconomyAnchored(game_key(game_id), b"\x02" * 20, first, size - first, tree_head(size, NODE), bytes(32))
        head = anchored_head(head, made)
        found.append(Anchored(replace(made, head=head), bytes([size]) * 32, 7))
        first = size
    return found, OnChain(CHAIN_ID, CONTRACT, found, head)


ANCHORS, CHAIN = chain_of(4, 9)
TREES = [anchored_tree(CHAIN_ID, CONTRACT, one) for one in ANCHORS]
INCLUSION = inclusion_document(GAME, BODIES[2], TREES[1], inclusion_proof(2, 9, NODE))
CONSISTENCY = consistency_document(GAME, TREES[0], TREES[1], consistency_proof(4, 9, NODE))


def states(document: dict[str, Any], chain: OnChain | None = CHAIN, *roots: bytes) -> dict[str, State]:
    """What each step finds; a document that is no proof fails as such."""
    try:
        proof = read_proof(json.dumps(document).encode())
    except PayloadError as refused:
        return {one.check: one.state for one in explain(refused)}
    return {one.check: one.state for one in verify(proof, chain, *roots)}


def proved(document: dict[str, Any], chain: OnChain | None = CHAIN, *roots: bytes) -> bool:
    """Whether every step is ok."""
    return set(states(document, chain, *roots).values()) == {State.OK}


def changed(value: Any) -> Iterator[Any]:
    """Every value that differs from `value` in one place."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield {name: one for name, one in value.items() if name != key}
            for other in changed(item):
                yield {**value, key: other}
        yield {**value, "more": 1}
    elif isinstance(value, list):
        yield value[1:]
        yield [*value, value[0] if value else "0x" + "00" * 32]
        yield value[::-1] if value[::-1] != value else [*value, *value]
        for place, item in enumerate(value):
            for other in changed(item):
                yield [*value[:place], other, *value[place + 1 :]]
    elif isinstance(value, int):
        yield from (value + 1, value - 1, str(value))
    else:
        yield value[:-1] + ("0" if value[-1] != "0" else "1")


# Where an anchor was mined is for the reader's convenience: the verifier shows where the chain itself says it was.
SAID_ONLY = ("transactionHash", "blockNumber")


def without_what_is_only_said(document: dict[str, Any]) -> dict[str, Any]:
    """The document without what no step relies on."""
    bare = copy.deepcopy(document)
    for name in ("tree", "earlier", "later"):
        for field in SAID_ONLY:
            if isinstance(bare.get(name), dict) and isinstance(bare[name].get("anchor"), dict):
                bare[name]["anchor"].pop(field, None)
    return bare


@pytest.mark.parametrize("document", [INCLUSION, CONSISTENCY])
def test_a_true_proof_convinces_and_no_changed_one_does(document: dict[str, Any]) -> None:
    assert proved(document)
    tried = 0
    for other in changed(document):
        if without_what_is_only_said(other) != without_what_is_only_said(document):
            assert not proved(other), other
            tried += 1
    assert tried > 30


def test_every_transaction_is_proved_in_every_later_tree() -> None:
    for tree in TREES:
        for number in range(tree.size):
            assert proved(inclusion_document(GAME, BODIES[number], tree, inclusion_proof(number, tree.size, NODE)))


def test_a_transaction_stands_only_in_its_own_place() -> None:
    """The bytes of one transaction, shown as another: they say themselves which they are."""
    elsewhere = canonical({"gameId": GAME, "sequence": 3, "reason": "", "at": 0})
    bodies = [*BODIES[:2], elsewhere, *BODIES[3:]]
    node = nodes_over([leaf_hash(body) for body in bodies])
    made = inclusion_document(GAME, elsewhere, TREES[1], inclusion_proof(2, 9, node))
    assert states(made)["path"] is State.FAILED
    for body in ({"gameId": "other", "sequence": 2}, {"gameId": GAME, "sequence": True}, {"gameId": GAME}):
        assert states({**INCLUSION, "transaction": body})["transaction"] is State.FAILED
    fractions = {**INCLUSION, "transaction": {"gameId": GAME, "sequence": 2, "amount": 0.5}}
    assert states(fractions)["transaction"] is State.FAILED


def test_logs_that_are_withheld_or_made_up_are_noticed() -> None:
    for anchors in ([], CHAIN.anchors[1:], CHAIN.anchors[:1], CHAIN.anchors[::-1], [*CHAIN.anchors, CHAIN.anchors[0]]):
        assert states(INCLUSION, CHAIN._replace(anchors=anchors))["chain"] is State.FAILED
    assert not proved(INCLUSION, CHAIN._replace(contract=bytes(20)))
    assert not proved(INCLUSION, CHAIN._replace(chain_id=1))
    _, shorter = chain_of(4)
    assert states(INCLUSION, shorter)["anchor"] is State.FAILED


def test_without_the_chain_nothing_is_proved_but_by_a_root_one_knows() -> None:
    known = tree_head(9, NODE)
    assert states(INCLUSION, None)["anchor"] is State.SKIPPED
    assert not proved(INCLUSION, None)
    assert proved(INCLUSION, None, known)
    assert states(INCLUSION, None, bytes(32))["anchor"] is State.FAILED
    assert not proved(CONSISTENCY, None, known)
    assert proved(CONSISTENCY, None, known, tree_head(4, NODE))


def test_the_same_transaction_written_otherwise_is_the_same() -> None:
    """Whoever passes the JSON on may order and space it as he likes: canonical bytes are hashed."""
    transaction = dict(reversed(INCLUSION["transaction"].items()))
    assert proved({**INCLUSION, "transaction": transaction})
