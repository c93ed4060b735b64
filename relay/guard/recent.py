"""A player's claims of the last minute: the same claim again within it is a retry, not a new play.

Pure. Packed into the player's row: 8 bytes epoch ms, 16 of the claim's hash, 26 of the submission's id, oldest first.
"""

from struct import Struct

RECENT_MS = 60_000
HASH_BYTES = 16  # of one player's own claims: nobody gains by finding two that collide
_ENTRY = Struct("<q16s26s")


def find(claims: bytes, claim_hash: bytes, now_ms: int) -> str | None:
    """Return the tail of the submission's id that made this claim less than 60 s ago, None if there is none."""
    wanted = claim_hash[:HASH_BYTES]
    if wanted not in claims:
        return None
    for at_ms, known, tail in _ENTRY.iter_unpack(claims):
        if known == wanted and at_ms > now_ms - RECENT_MS:
            return str(tail, "ascii")
    return None


def remember(claims: bytes, claim_hash: bytes, tail: str, now_ms: int) -> bytes:
    """Return `claims` with one more, without those that are 60 s old; `tail` is the id after its prefix."""
    start = 0
    while start < len(claims) and int.from_bytes(claims[start : start + 8], "little") <= now_ms - RECENT_MS:
        start += _ENTRY.size
    return claims[start:] + _ENTRY.pack(now_ms, claim_hash[:HASH_BYTES], tail.encode())
