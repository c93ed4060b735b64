"""What anchors believe of the contract, held against it; and a proof checked with nothing but a chain."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner
from web3 import HTTPProvider, Web3

from relay.attestation import economy_anchor_digest
from relay.canonical import canonical
from relay.chain_types import Log
from relay.cli import app
from relay.contract import HeadMismatchError, game_key, revert_name
from relay.contract_anchors import (
    Anchor,
    Anchored,
    anchored,
    check_anchors,
    decode_anchor,
    encode_anchor,
    expected_sequence,
    says,
)
from relay.economy.merkle import consistency_proof, inclusion_proof, leaf_hash, nodes_over, tree_head
from relay.economy.proofs import anchored_tree, consistency_document, inclusion_document
from relay.keccak import checksum_address, keccak
from relay.outbox.anchors import GAS
from tests.conftest import start_anvil
from tests.harness.chains import FAR, Board, Chain, RevertedError, open_chain

GAME = "island"
ECONOMY = game_key(GAME)
BODIES = [canonical({"gameId": GAME, "sequence": number, "moves": []}) for number in range(11)]
NODE = nodes_over([leaf_hash(body) for body in BODIES])


def signed(board: Board, first: int, count: int, root: bytes | None = None, economy: bytes = ECONOMY) -> Anchor:
    """An anchor of a stretch of the ledger."""
    of_tree = (economy, first, count, root or tree_head(first + count, NODE))
    return Anchor(*of_tree, FAR, board.signer.sign(economy_anchor_digest(board.domain, *of_tree, FAR)))


def logs_of(*receipts: Any) -> list[Log]:
    """Their logs as the chain's client gives them."""
    return [
        Log(
            bytes.fromhex(raw["address"][2:]),
            tuple(bytes(topic) for topic in raw["topics"]),
            bytes(raw["data"]),
            raw["blockNumber"],
            bytes(raw["blockHash"]),
            bytes(raw["transactionHash"]),
            raw["logIndex"],
        )
        for receipt in receipts
        for raw in receipt["logs"]
    ]


@pytest.fixture(params=["eth-tester", "anvil"])
def board(request: pytest.FixtureRequest) -> Iterator[Board]:
    """The contract on a chain of its own."""
    with open_chain(request.param) as chain:
        yield Board(chain, ECONOMY)


def test_calls_logs_and_refusals(board: Board) -> None:
    one, two = signed(board, 0, 4), signed(board, 4, 7)
    other = signed(board, 0, 1, keccak(b"other"), game_key("other"))
    assert decode_anchor(encode_anchor(one)) == one
    with pytest.raises(RevertedError) as caught:
        board.chain.call(board.address, encode_anchor(two), board.carrier.address)
    assert (expected_sequence(caught.value.data), caught.value.name) == (0, "WrongSequence")
    receipts = [board.transact(board.carrier, encode_anchor(anchor)) for anchor in (one, other, two)]
    with pytest.raises(RevertedError) as caught:
        board.chain.call(board.address, encode_anchor(one), board.carrier.address)
    assert expected_sequence(caught.value.data) == board.ask("nextSequence", ECONOMY) == 11
    found = anchored(ECONOMY, board.address, logs_of(*reversed(receipts)))
    assert [one.size for one in found] == [4, 11]
    assert says(found[1].event, two)
    assert not says(found[0].event, two)
    assert found[0].tx_hash == bytes(receipts[0]["transactionHash"])
    assert anchored(ECONOMY, bytes(20), logs_of(*receipts)) == []
    check_anchors([one.event for one in found], board.ask("economyHead", ECONOMY))
    for wrong in ([], [found[0].event], [found[1].event], [found[1].event, found[0].event]):
        with pytest.raises(HeadMismatchError):
            check_anchors(wrong, board.ask("economyHead", ECONOMY))
    board.do(board.guardian, "pause")
    with pytest.raises(RevertedError) as caught:
        board.chain.call(board.address, encode_anchor(signed(board, 11, 1, keccak(b"more"))))
    assert (revert_name(caught.value.data), expected_sequence(caught.value.data)) == ("EnforcedPause", None)


def test_the_gas_bound_holds(board: Board) -> None:
    first = board.transact(board.carrier, encode_anchor(signed(board, 0, 4)))["gasUsed"]
    then = board.transact(board.carrier, encode_anchor(signed(board, 4, 7)))["gasUsed"]
    assert then < first < GAS.limit(1) < 2 * first


def test_calldata_of_something_else_is_refused() -> None:
    with pytest.raises(ValueError, match="not a call"):
        decode_anchor(bytes(40))
    with pytest.raises(ValueError, match="malformed"):
        decode_anchor(encode_anchor(Anchor(ECONOMY, 0, 1, bytes(32), 0, b""))[:40])


# ------------------------------------------------------------------- fairscore verify-proof


@pytest.fixture
def on_anvil() -> Iterator[tuple[str, Board, list[Anchored]]]:
    """An anvil with the contract and two anchors of the ledger; its URL."""
    node = start_anvil("--hardfork", "prague")
    try:
        board = Board(Chain(Web3(HTTPProvider(node.url)), None), ECONOMY)
        receipts = [board.transact(board.carrier, encode_anchor(signed(board, *at))) for at in ((0, 4), (4, 7))]
        yield node.url, board, anchored(ECONOMY, board.address, logs_of(*receipts))
    finally:
        node.process.kill()
        node.process.wait()


def verify_proof(folder: Path, document: object, *options: str) -> tuple[int, str]:
    """Run the command on a document; returns its exit code and what it printed."""
    file = folder / "proof.json"
    file.write_text(document if isinstance(document, str) else json.dumps(document))
    ran = CliRunner().invoke(app, ["verify-proof", str(file), "--home", str(folder), *options])
    return ran.exit_code, ran.output if ran.exception is None or ran.exit_code else str(ran.exception)


def test_a_proof_is_checked_with_nothing_but_the_chain(
    on_anvil: tuple[str, Board, list[Anchored]], tmp_path: Path
) -> None:
    url, board, found = on_anvil
    trees = [anchored_tree(board.chain.chain_id, board.address, one) for one in found]
    asked = ("--rpc-url", url, "--contract", checksum_address(board.address))
    proof = inclusion_document(GAME, BODIES[5], trees[1], inclusion_proof(5, 11, NODE))
    code, shown = verify_proof(tmp_path, proof, *asked)
    assert (code, "\nproved" in shown) == (0, True), shown
    assert "transaction 5 is in the ledger of 11" in shown
    code, shown = verify_proof(
        tmp_path, consistency_document(GAME, trees[0], trees[1], consistency_proof(4, 11, NODE)), *asked
    )
    assert (code, "\nproved" in shown) == (0, True), shown

    forged = {**proof, "transaction": {**proof["transaction"], "moves": ["to me"]}}
    code, shown = verify_proof(tmp_path, forged, *asked)
    assert (code, "another root" in shown) == (1, True)
    # A whole ledger of the liar's own, with a root that he never anchored.
    bodies = [canonical({"gameId": GAME, "sequence": number, "moves": ["mine"]}) for number in range(11)]
    node = nodes_over([leaf_hash(body) for body in bodies])
    root = "0x" + tree_head(11, node).hex()
    made_up = inclusion_document(GAME, bodies[5], trees[1], inclusion_proof(5, 11, node))
    made_up["tree"]["root"] = root
    code, shown = verify_proof(tmp_path, made_up, *asked)
    assert (code, "the contract anchors no ledger of 11" in shown) == (1, True), shown
    nowhere = ("--rpc-url", url, "--contract", "0x" + "11" * 20)
    code, shown = verify_proof(tmp_path, proof, *nowhere)
    assert (code, "no Leaderboard at" in shown) == (1, True)
    # Without a chain: the paths alone prove nothing, a root that one knows does.
    code, shown = verify_proof(tmp_path, proof)
    assert (code, "not looked at" in shown) == (1, True)
    code, shown = verify_proof(tmp_path, proof, "--root", proof["tree"]["root"], "--json")
    assert (code, json.loads(shown)["ok"]) == (0, True)
    code, shown = verify_proof(tmp_path, proof, "--root", root)
    assert (code, "none of the roots that you know" in shown) == (1, True)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"type":"fairscore-inclusion@1"}', '{"type":"else"}', "\ud7ff{"])
def test_what_is_no_proof_is_refused_in_words(tmp_path: Path, text: str) -> None:
    code, shown = verify_proof(tmp_path, text, "--json")
    assert code == 1
    (line,) = json.loads(shown)["checks"]
    assert (line["check"], line["state"]) == ("document", "failed")
    assert line["seen"]


def test_a_root_is_32_bytes(tmp_path: Path) -> None:
    code, shown = verify_proof(tmp_path, "{}", "--root", "0x12")
    assert (code, "64 hex digits" in shown) == (2, True)
