"""JSON-RPC in ten lines, and the contract's events decoded by eth_abi: the oracle is not the product's own decoder.

Touches loopback HTTP.
"""

import json
import urllib.request
from dataclasses import dataclass
from itertools import count
from typing import Any

from eth_abi.abi import decode
from eth_utils.address import to_checksum_address
from eth_utils.crypto import keccak

SCORE_SUBMITTED = "0x" + keccak(text="ScoreSubmitted(bytes32,address,uint64,uint256,bytes32,bytes32)").hex()

_serial = count(1)


class RpcError(AssertionError):
    """The node answered with an error object."""


def rpc(url: str, method: str, *params: Any) -> Any:
    """The result of one call."""
    body = json.dumps({"jsonrpc": "2.0", "id": next(_serial), "method": method, "params": params}).encode()
    asked = urllib.request.Request(url, body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(asked, timeout=60) as answer:
        answered = json.load(answer)
    if "error" in answered:
        raise RpcError(f"{method}: {answered['error']}")
    return answered["result"]


@dataclass(frozen=True)
class ChainScore:
    """One ScoreSubmitted log; hashes as 0x text, the player in EIP-55."""

    game: str
    player: str
    round_id: int
    score: int
    evidence_hash: str
    rules_hash: str
    tx_hash: str
    position: tuple[int, int]


def decode_score(log: dict[str, Any]) -> ChainScore:
    """A ScoreSubmitted log of eth_getLogs or of a receipt."""
    topics = log["topics"]
    if topics[0] != SCORE_SUBMITTED:
        raise ValueError("another event")
    score, evidence, rules = decode(["uint256", "bytes32", "bytes32"], bytes.fromhex(log["data"][2:]))
    return ChainScore(
        game=topics[1],
        player=to_checksum_address("0x" + topics[2][-40:]),
        round_id=int(topics[3], 16),
        score=score,
        evidence_hash="0x" + evidence.hex(),
        rules_hash="0x" + rules.hex(),
        tx_hash=log["transactionHash"],
        position=(int(log["blockNumber"], 16), int(log["logIndex"], 16)),
    )


def scores_on_chain(url: str, contract: str) -> list[ChainScore]:
    """Every score the contract recorded, in the chain's order."""
    asked = {"address": contract, "fromBlock": "0x0", "toBlock": "latest", "topics": [SCORE_SUBMITTED]}
    return sorted((decode_score(log) for log in rpc(url, "eth_getLogs", asked)), key=lambda score: score.position)


def standings(scores: list[ChainScore]) -> list[tuple[int, str, int]]:
    """(rank, player, score) of the default board: best score of each player, the earlier first on a tie."""
    best: dict[str, ChainScore] = {}
    for score in scores:
        held = best.get(score.player)
        if held is None or score.score > held.score:
            best[score.player] = score
    ordered = sorted(best.values(), key=lambda score: (-score.score, score.position))
    return [(rank, score.player, score.score) for rank, score in enumerate(ordered, 1)]
