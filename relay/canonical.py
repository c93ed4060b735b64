"""Canonical JSON (RFC 8785) for documents without fractions, and the hash of such a document.

Pure. Floats are refused on purpose: nothing that is hashed or judged here may depend on how a float is printed.
"""

from collections.abc import Mapping, Sequence

import msgspec

from relay.keccak import keccak

INTEGER_MAX = 2**53 - 1  # RFC 8785 section 3.2.2.3: beyond it, JSON readers of other languages disagree

_sorted_encoder = msgspec.json.Encoder(order="sorted")


class NotCanonicalError(ValueError):
    """The value has no canonical form here: a float, an integer beyond 2^53-1, a lone surrogate, a foreign type."""


def canonical(value: object) -> bytes:
    """Return the RFC 8785 bytes of `value`: None, bool, int, str, and mappings and sequences of them.

    Raises:
        NotCanonicalError: the value cannot be represented the same way everywhere.
    """
    if _orders_alike(value):
        return _sorted_encoder.encode(value)
    return _object_by_object(value).encode()


def canonical_ascii(value: object) -> bytes:
    """Return the same bytes for a value the caller knows to hold only ASCII text and integers within 2^53-1.

    No walk over the value, so this is what the hot path uses, on values whose types already guarantee it.
    """
    return _sorted_encoder.encode(value)


def canonical_hash(value: object) -> bytes:
    """Return the keccak-256 of the canonical bytes."""
    return keccak(canonical(value))


def _orders_alike(value: object) -> bool:
    """Check `value`; say whether sorting keys by code point (msgspec) equals sorting by UTF-16 unit (RFC 8785)."""
    if value is None or isinstance(value, bool):
        return True
    if isinstance(value, int):
        if not -INTEGER_MAX <= value <= INTEGER_MAX:
            raise NotCanonicalError(f"integer beyond 2^53-1: {value}")
        return True
    if isinstance(value, str):
        _check_text(value)
        return True
    if isinstance(value, Mapping):
        alike = True
        for key, item in value.items():
            if not isinstance(key, str):
                raise NotCanonicalError(f"key of type {type(key).__name__}")
            _check_text(key)
            # Only a key beyond the basic plane can sort differently (its surrogates come before U+E000..U+FFFF).
            alike &= _orders_alike(item) and (key.isascii() or max(key) <= "\uffff")
        return alike
    if isinstance(value, Sequence) and not isinstance(value, bytes | bytearray | memoryview):
        alike = True
        for item in value:  # not all(): every item must be checked
            alike &= _orders_alike(item)
        return alike
    raise NotCanonicalError(f"value of type {type(value).__name__}")


def _check_text(text: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise NotCanonicalError("lone surrogate") from error


def _object_by_object(value: object) -> str:
    if isinstance(value, Mapping):
        keys = sorted(value, key=lambda key: key.encode("utf-16-be"))
        return "{" + ",".join(f"{_object_by_object(key)}:{_object_by_object(value[key])}" for key in keys) + "}"
    if isinstance(value, Sequence) and not isinstance(value, str):
        return "[" + ",".join(map(_object_by_object, value)) + "]"
    return _sorted_encoder.encode(value).decode()
