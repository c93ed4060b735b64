"""Calls that invalidate and reinstate recorded scores, and what the contract logs and refuses about them.

Pure. Source: `contracts/interfaces/ILeaderboard.sol`, `invalidateScores` and `reinstateScores`.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from eth_abi.abi import decode
from eth_abi.exceptions import DecodingError

from relay.chain_types import Log
from relay.contract import TOPICS, encode_call
from relay.keccak import keccak
from relay.revocation import Action

FUNCTIONS = {Action.REVOKE: "invalidateScores", Action.REINSTATE: "reinstateScores"}
LOGGED = {Action.REVOKE: TOPICS["ScoreInvalidated"], Action.REINSTATE: TOPICS["ScoreReinstated"]}
NOT_RECORDED = keccak(b"NotRecorded(bytes32,uint64)")[:4]
_TYPES = ("bytes32", "uint64[]", "bytes32")


class Moderation(NamedTuple):
    """The arguments of a call: the contract's key of the game, rounds, and the hash of the reason."""

    game: bytes
    round_ids: tuple[int, ...]
    reason_hash: bytes


class Marked(NamedTuple):
    """A log that invalidated or reinstated a round: which of the two, and where."""

    action: Action
    tx_hash: bytes
    block_number: int


def encode_moderation(action: Action, game: bytes, round_ids: Sequence[int], reason_hash: bytes) -> bytes:
    """Return the calldata that carries out `action`."""
    return encode_call(FUNCTIONS[action], game, list(round_ids), reason_hash)


def decode_moderation(calldata: bytes) -> Moderation:
    """Return the arguments of such calldata; ValueError where it is malformed."""
    try:
        game, rounds, reason_hash = decode(_TYPES, calldata[4:])
    except (DecodingError, OverflowError) as error:
        raise ValueError("malformed call of the moderation") from error
    return Moderation(game, tuple(rounds), reason_hash)


def unrecorded_round(revert: bytes) -> int | None:
    """Return the round that `NotRecorded` names in revert data, None where it is another error."""
    return int.from_bytes(revert[36:68], "big") if revert[:4] == NOT_RECORDED and len(revert) >= 68 else None


def marks(game: bytes, contract: bytes, logs: Iterable[Log]) -> Mapping[int, list[Marked]]:
    """Return what moderation logs say of each round, oldest first; logs of other games and contracts are left out."""
    actions = {topic: action for action, topic in LOGGED.items()}
    found: dict[int, list[Marked]] = {}
    for log in sorted(logs, key=lambda one: (one.block_number, one.index)):
        action = actions.get(log.topics[0]) if len(log.topics) == 4 else None
        if action is not None and log.topics[1] == game and log.address == contract:
            round_id = int.from_bytes(log.topics[2], "big")
            found.setdefault(round_id, []).append(Marked(action, log.tx_hash, log.block_number))
    return found
