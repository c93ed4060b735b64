"""Receipts: what was accepted is numbered and signed, whichever step accepted it.

Touches the counters of serials through the store it is handed; the signer is the caller's.
"""

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from relay.attestation import score_batch_struct
from relay.contract import Record, game_key, pack_record
from relay.store.intake_rows import Connection, IntakeStore


class Acceptance(NamedTuple):
    """A score that is accepted now, as the receipt states it."""

    game_id: str
    rules_hash: bytes
    player: bytes
    score: int
    evidence_hash: bytes


class Receipt(NamedTuple):
    """A signed promise: the score's serial, until when (unix s) it can be carried to the chain, and by whom signed."""

    round_id: int
    deadline: int
    signer: bytes
    signature: bytes


def number(
    c: Connection, store: IntakeStore, accepted: Sequence[Acceptance], deadline: int
) -> tuple[list[int], list[bytes]]:
    """Give each its game's next serial; returns the serials, and the structs to be signed, in the same order."""
    counts = Counter(one.game_id for one in accepted)
    following = {game_id: store.take_serials(c, game_id, counts[game_id]) for game_id in sorted(counts)}
    serials: list[int] = []
    structs: list[bytes] = []
    for one in accepted:
        serial = following[one.game_id]
        following[one.game_id] += 1
        record = pack_record(Record(one.player, one.score, serial, one.evidence_hash))
        serials.append(serial)
        structs.append(score_batch_struct(game_key(one.game_id), one.rules_hash, deadline, record))
    return serials, structs
