"""Packed score records: the 72 bytes per score that a signer signs and the contract reads.

Pure. Source: `contracts/interfaces/ILeaderboard.sol`, `submitScores`.
"""

from typing import NamedTuple

from relay.keccak import keccak

RECORD_SIZE = 72
MAX_BATCH = 500


class Record(NamedTuple):
    """One score as the contract takes it: player (20 bytes), score below 2^96, round below 2^64, evidence hash (32)."""

    player: bytes
    score: int
    round_id: int
    evidence_hash: bytes


def game_key(game_id: str) -> bytes:
    """Return the contract's name of a game: keccak-256 of its id in UTF-8."""
    return keccak(game_id.encode())


def pack_record(record: Record) -> bytes:
    """Return the 72 bytes player ‖ score ‖ roundId ‖ evidenceHash; ValueError where a field does not fit."""
    player, score, round_id, evidence_hash = record
    if len(player) != 20 or len(evidence_hash) != 32:
        raise ValueError("a record needs a player of 20 bytes and an evidence hash of 32")
    try:
        return player + score.to_bytes(12, "big") + round_id.to_bytes(8, "big") + evidence_hash
    except OverflowError:
        raise ValueError(f"score {score} or round {round_id} does not fit into a record") from None


def unpack_records(records: bytes) -> list[Record]:
    """Return the records of a packed batch; ValueError where the length is not a positive multiple of 72."""
    if not records or len(records) % RECORD_SIZE:
        raise ValueError(f"{len(records)} bytes are not a whole number of records")
    number = int.from_bytes
    return [
        Record(
            records[at : at + 20],
            number(records[at + 20 : at + 32], "big"),
            number(records[at + 32 : at + 40], "big"),
            records[at + 40 : at + 72],
        )
        for at in range(0, len(records), RECORD_SIZE)
    ]
