"""Calls that anchor an economy's ledger, and what the contract logs and refuses about them.

Pure. Source: `contracts/interfaces/ILeaderboard.sol`, `anchorEconomy`. An anchor's `merkle_root` is the tree head
(RFC 6962) over all the economy's entries up to its end, so that each proves those before it as well.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from eth_abi.abi import decode
from eth_abi.exceptions import DecodingError

from relay.chain_types import Log
from relay.contract import (
    GENESIS_HEAD,
    TOPICS,
    EconomyAnchored,
    HeadMismatchError,
    anchored_head,
    decode_log,
    encode_call,
    selector,
)
from relay.keccak import keccak

ECONOMY_ANCHORED = TOPICS["EconomyAnchored"]
WRONG_SEQUENCE = keccak(b"WrongSequence(bytes32,uint64,uint64)")[:4]
_TYPES = ("bytes32", "uint64", "uint64", "bytes32", "uint64", "bytes")


@dataclass(frozen=True, slots=True)
class Anchor:
    """The arguments of an `anchorEconomy` call; `deadline` in unix seconds, `economy` keccak-256 of the game's id."""

    economy: bytes
    first_sequence: int
    count: int
    merkle_root: bytes
    deadline: int
    signature: bytes


class Anchored(NamedTuple):
    """An anchor on the chain: what was logged, and where."""

    event: EconomyAnchored
    tx_hash: bytes
    block_number: int

    @property
    def size(self) -> int:
        """Entries of the ledger up to the end of this anchor: the size of the tree whose head it is."""
        return self.event.first_sequence + self.event.count


def encode_anchor(anchor: Anchor) -> bytes:
    """Return the calldata of `anchorEconomy`; ValueError where a field does not fit."""
    of_tree = (anchor.economy, anchor.first_sequence, anchor.count, anchor.merkle_root)
    return encode_call("anchorEconomy", *of_tree, anchor.deadline, anchor.signature)


def decode_anchor(calldata: bytes) -> Anchor:
    """Return the arguments of such calldata; ValueError where it is something else."""
    if calldata[:4] != selector("anchorEconomy"):
        raise ValueError("not a call of anchorEconomy")
    try:
        return Anchor(*decode(_TYPES, calldata[4:]))
    except (DecodingError, OverflowError) as error:
        raise ValueError("malformed call of anchorEconomy") from error


def expected_sequence(revert: bytes) -> int | None:
    """Return the sequence that `WrongSequence` asks for in revert data, None where it is another error."""
    return int.from_bytes(revert[36:68], "big") if revert[:4] == WRONG_SEQUENCE and len(revert) >= 68 else None


def says(event: EconomyAnchored, anchor: Anchor) -> bool:
    """Return whether a log is of this anchor."""
    said = (event.economy, event.first_sequence, event.count, event.merkle_root)
    return said == (anchor.economy, anchor.first_sequence, anchor.count, anchor.merkle_root)


def anchored(economy: bytes, contract: bytes, logs: Iterable[Log]) -> list[Anchored]:
    """Return the anchors of an economy that logs show, oldest first; logs of others are left out.

    ValueError where a log is malformed: no contract of ours made it.
    """
    found: list[Anchored] = []
    for log in sorted(logs, key=lambda one: (one.block_number, one.index)):
        if log.address != contract or not log.topics or log.topics[0] != ECONOMY_ANCHORED:
            continue
        event = decode_log(log.topics, log.data)
        if isinstance(event, EconomyAnchored) and event.economy == economy:
            found.append(Anchored(event, log.tx_hash, log.block_number))
    return found


def check_anchors(found: Sequence[EconomyAnchored], head: bytes) -> None:
    """Raise HeadMismatchError unless these are all anchors of an economy, in order, whose `economyHead` is `head`."""
    at, chained = 0, GENESIS_HEAD
    for event in found:
        if event.first_sequence != at:
            raise HeadMismatchError(f"an anchor begins at entry {event.first_sequence}; the one before ends at {at}")
        at, chained = at + event.count, anchored_head(chained, event)
        if chained != event.head:
            raise HeadMismatchError(f"the contract's head is 0x{event.head.hex()}, these logs make 0x{chained.hex()}")
    if chained != head:
        raise HeadMismatchError(f"the contract's head is 0x{head.hex()}, these logs make 0x{chained.hex()}")
