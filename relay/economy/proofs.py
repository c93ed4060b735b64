"""Proofs about a game's ledger as documents, and how anybody checks them: with the chain, and nothing else of ours.

Pure. An *inclusion proof* shows that a transaction is in the ledger whose tree head the contract logged; a *consistency
proof* that a later such ledger begins with an earlier one, so that nothing of it was changed since (RFC 6962). What the
chain says arrives as `OnChain`, read by the verifier from an endpoint of his own.
"""

from collections.abc import Sequence
from typing import Annotated, Any, NamedTuple, TypeAlias

import msgspec

from relay.canonical import NotCanonicalError, canonical
from relay.contract import HeadMismatchError, game_key
from relay.contract_anchors import Anchored, check_anchors
from relay.economy.merkle import ProofError, check_consistency, check_inclusion, leaf_hash
from relay.errors import PayloadError
from relay.findings import Finding, failed, ok, skipped
from relay.keccak import checksum_address
from relay.strict_json import Request, decode

Hash = Annotated[str, msgspec.Meta(pattern="^0x[0-9a-f]{64}$")]
Count = Annotated[int, msgspec.Meta(ge=1)]
Index = Annotated[int, msgspec.Meta(ge=0)]

DISTRUST = "do not rely on it: whoever gave it to you is mistaken, or lies"
ANOTHER = "ask for the proof anew, or name another contract with --contract if you trust that one"


class AnchorAt(Request, frozen=True):
    """Where a tree head was anchored: the transaction that carried `anchorEconomy`, and what it covered."""

    chain_id: Count
    contract: Annotated[str, msgspec.Meta(pattern="^0x[0-9a-fA-F]{40}$")]
    transaction_hash: Hash
    block_number: Index
    first_sequence: Index
    count: Count


class AnchoredTree(Request, frozen=True):
    """A tree head: `root` over the ledger's first `size` transactions, and its anchor."""

    size: Count
    root: Hash
    anchor: AnchorAt


class InclusionProof(Request, frozen=True, tag_field="type", tag="fairscore-inclusion@1"):
    """That `transaction`, as its canonical bytes (RFC 8785), is in the tree; `path`: hashes from the leaf up."""

    game_id: str
    economy_id: Hash
    transaction: dict[str, Any]
    tree: AnchoredTree
    path: list[Hash]


class ConsistencyProof(Request, frozen=True, tag_field="type", tag="fairscore-consistency@1"):
    """That the later tree begins with the earlier."""

    game_id: str
    economy_id: Hash
    earlier: AnchoredTree
    later: AnchoredTree
    path: list[Hash]


Proof: TypeAlias = InclusionProof | ConsistencyProof

_decoder: "msgspec.json.Decoder[Proof]" = msgspec.json.Decoder(Proof)


class OnChain(NamedTuple):
    """What the verifier read from the chain himself: every anchor of the economy in order, and its `economyHead`."""

    chain_id: int
    contract: bytes
    anchors: Sequence[Anchored]
    head: bytes


# ------------------------------------------------------------------------- making


def anchored_tree(chain_id: int, contract: bytes, found: Anchored) -> AnchoredTree:
    """Return how a tree head that is on the chain is shown in a proof."""
    event = found.event
    at = AnchorAt(
        chain_id, checksum_address(contract), _hex(found.tx_hash), found.block_number, event.first_sequence, event.count
    )
    return AnchoredTree(found.size, _hex(event.merkle_root), at)


def inclusion_document(game_id: str, body: bytes, tree: AnchoredTree, path: Sequence[bytes]) -> dict[str, Any]:
    """Return the document; `body`: the transaction's canonical bytes, `path` of its leaf in the tree."""
    transaction = msgspec.json.decode(body)
    made = InclusionProof(game_id, _hex(game_key(game_id)), transaction, tree, [_hex(one) for one in path])
    return _document(made)


def consistency_document(
    game_id: str, earlier: AnchoredTree, later: AnchoredTree, path: Sequence[bytes]
) -> dict[str, Any]:
    """Return the document."""
    return _document(ConsistencyProof(game_id, _hex(game_key(game_id)), earlier, later, [_hex(one) for one in path]))


def _document(proof: Proof) -> dict[str, Any]:
    document: dict[str, Any] = msgspec.to_builtins(proof)
    return document


# ----------------------------------------------------------------------- checking


def read_proof(body: bytes) -> Proof:
    """Return the proof in a file. Raises PayloadError where there is none, with what is wrong."""
    return decode(_decoder, body)


def verify(proof: Proof, chain: OnChain | None, *roots: bytes) -> list[Finding]:
    """Check a proof and return a line for each step: it holds if none failed and none was skipped.

    (1) the economy is the game's; (2) the transaction says that it is of this game, and its own place in the ledger;
    (3) the path leads to the root; (4) the anchors of the chain are all there, one after the other; (5) each root is
    one of them, of the same stretch. Where the chain was not read, `roots` are those that the verifier knows to be
    anchored.
    """
    findings = [_economy(proof)]  # (1)
    if isinstance(proof, InclusionProof):
        findings += _transaction(proof)  # (2), (3)
        trees = {"anchor": proof.tree}
    else:
        findings.append(_continued(proof))  # (3)
        trees = {"earlier anchor": proof.earlier, "later anchor": proof.later}
    if chain is None and not roots:
        return [*findings, skipped("anchor", "--rpc-url and --contract, or a --root that you know to be anchored")]
    if chain is not None:
        findings.append(_history(chain))  # (4)
    return findings + [_anchored(name, tree, chain, roots) for name, tree in trees.items()]  # (5)


def _economy(proof: Proof) -> Finding:
    try:
        expected = _hex(game_key(proof.game_id))
    except UnicodeEncodeError:
        return failed("economy", "the id of the game is no text", DISTRUST)
    if proof.economy_id != expected:
        return failed("economy", f"the economy of {proof.game_id!r} is {expected}, not {proof.economy_id}", DISTRUST)
    return ok("economy", f"{proof.game_id!r} is {expected}")


def _transaction(proof: InclusionProof) -> list[Finding]:
    try:
        leaf = leaf_hash(canonical(proof.transaction))
    except NotCanonicalError as error:
        return [failed("transaction", f"it has no canonical bytes: {error}", DISTRUST)]
    game_id, sequence = proof.transaction.get("gameId"), proof.transaction.get("sequence")
    if game_id != proof.game_id or not isinstance(sequence, int) or isinstance(sequence, bool):
        return [failed("transaction", f"it does not say that it is one of {proof.game_id!r}, and which", DISTRUST)]
    seen = ok("transaction", f"number {sequence} of {proof.game_id!r}")
    size, path = proof.tree.size, [_bytes(one) for one in proof.path]
    try:
        check_inclusion(leaf, sequence, size, path, _bytes(proof.tree.root))
    except ProofError as error:
        return [seen, failed("path", str(error), DISTRUST)]
    return [seen, ok("path", f"transaction {sequence} is in the ledger of {size} with root {proof.tree.root}")]


def _continued(proof: ConsistencyProof) -> Finding:
    earlier, later, path = proof.earlier, proof.later, [_bytes(one) for one in proof.path]
    try:
        check_consistency(earlier.size, later.size, path, _bytes(earlier.root), _bytes(later.root))
    except ProofError as error:
        return failed("path", str(error), DISTRUST)
    return ok("path", f"the ledger of {later.size} transactions begins with the ledger of {earlier.size}")


def _history(chain: OnChain) -> Finding:
    try:
        check_anchors([one.event for one in chain.anchors], chain.head)
    except HeadMismatchError as error:
        return failed("chain", str(error), "ask another endpoint: this one leaves out logs, or makes them up")
    return ok("chain", f"{len(chain.anchors)} anchors of {checksum_address(chain.contract)} make up its economyHead")


def _anchored(name: str, tree: AnchoredTree, chain: OnChain | None, roots: Sequence[bytes]) -> Finding:
    root, at = _bytes(tree.root), tree.anchor
    if root in roots:
        return ok(name, f"{tree.root} is a root that you know")
    if chain is None:
        return failed(name, f"{tree.root} is none of the roots that you know", DISTRUST)
    if (at.chain_id, at.contract.lower()) != (chain.chain_id, _hex(chain.contract)):
        where = f"{at.contract} on chain {at.chain_id}"
        asked = f"{checksum_address(chain.contract)} on chain {chain.chain_id}"
        return failed(name, f"it names {where}; the one asked is {asked}", ANOTHER)
    for one in chain.anchors:
        if one.size == tree.size:
            if one.event.merkle_root != root:
                break
            if (one.event.first_sequence, one.event.count) != (at.first_sequence, at.count):
                return failed(name, f"the anchor is of {one.event.count} from {one.event.first_sequence} on", DISTRUST)
            where = f"in block {one.block_number}, {_hex(one.tx_hash)}"
            return ok(name, f"{tree.size} transactions, signed by {checksum_address(one.event.signer)}, {where}")
    return failed(name, f"the contract anchors no ledger of {tree.size} transactions with this root", DISTRUST)


def explain(refused: PayloadError) -> list[Finding]:
    """Return the line about a file that holds no proof."""
    named = "; ".join(f"{field.pointer or '/'}: {field.detail}" for field in refused.fields)
    return [
        failed("document", f"{refused.detail} {named}".strip(), "give the JSON of a proof as the relay answered it")
    ]


def _hex(data: bytes) -> str:
    return "0x" + data.hex()


def _bytes(text: str) -> bytes:
    return bytes.fromhex(text[2:])
