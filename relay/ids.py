"""Identifiers: a prefix and 26 characters that sort by time, as ULID does.

Touches the operating system's randomness only.
"""

from base64 import b32encode
from collections.abc import Callable
from os import urandom

BATCH = 64  # identifiers for whose randomness is asked at once
_CROCKFORD = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_LOWER = _CROCKFORD.lower()
_TO_CROCKFORD = bytes.maketrans(b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567", _LOWER.encode())


def new_id(prefix: str, at_ms: int) -> str:
    """Return `prefix` + 10 characters of epoch milliseconds + 16 of randomness (80 bits), in lower-case base 32."""
    return prefix + _time_text(at_ms) + b32encode(urandom(10)).translate(_TO_CROCKFORD).decode()


def new_ids(prefix: str, at_ms: int, count: int) -> list[str]:
    """Return `count` identifiers of one moment, in ascending order, for the price of one call for randomness."""
    start = prefix + _time_text(at_ms)
    noise = b32encode(urandom(10 * count)).translate(_TO_CROCKFORD).decode()
    return [start + tail for tail in sorted(noise[at : at + 16] for at in range(0, 16 * count, 16))]


def id_maker(at_ms: int) -> Callable[[str], str]:
    """Return a function that makes identifiers of one moment, one after the other, of randomness taken by the batch."""
    time, tails = _time_text(at_ms), list[str]()

    def make(prefix: str) -> str:
        if not tails:
            noise = b32encode(urandom(10 * BATCH)).translate(_TO_CROCKFORD).decode()
            tails.extend(noise[at : at + 16] for at in range(0, 16 * BATCH, 16))
        return prefix + time + tails.pop()

    return make


def _time_text(at_ms: int) -> str:
    return "".join(_LOWER[(at_ms >> shift) & 31] for shift in range(45, -5, -5))
