"""What a webhook says: an event of history as the bytes that are signed and sent.

Pure. An event's message is a function of its row in history and of what never changes about its submission, so every
attempt sends the same bytes.
"""

from typing import NamedTuple

import msgspec

from relay.keccak import checksum_address

SAFE_INTEGER_MAX = (1 << 53) - 1


class Event(NamedTuple):
    """One change of a submission's status. `seq` rises with every change of any submission."""

    seq: int
    submission_id: str
    status: str
    at_ms: int
    detail: str | None
    game_id: str
    player: bytes
    score: int | None
    round_id: int | None
    external_round: str | None
    tx_hash: bytes | None
    block_number: int | None


def message_id(event: Event) -> str:
    """Return the message's id, the same at every attempt: what a receiver tells repeats by.

    The time is part of it because a database restored from a backup gives sequence numbers again.
    """
    return f"evt_{event.seq}_{event.at_ms}"


def body(event: Event, at: str) -> bytes:
    """Return the JSON document (type, timestamp, data; Standard Webhooks, "Payload structure").

    `at` is the event's time in RFC 3339.
    """
    data = {
        "submissionId": event.submission_id,
        "gameId": event.game_id,
        "player": checksum_address(event.player),
        "roundId": _integer(event.round_id),
        "externalRoundId": event.external_round,
        "score": _integer(event.score),
        "status": event.status,
        "detail": event.detail,
        "txHash": None if event.tx_hash is None else "0x" + event.tx_hash.hex(),
        "blockNumber": event.block_number,
        "sequence": event.seq,
        "at": at,
    }
    return msgspec.json.encode({"type": f"submission.{event.status}", "timestamp": at, "data": data})


def _integer(value: int | None) -> int | str | None:
    """Numbers that JavaScript cannot hold exactly are text, as everywhere in this API."""
    return str(value) if value is not None and abs(value) > SAFE_INTEGER_MAX else value
