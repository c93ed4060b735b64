"""PostgreSQL arrays in binary form, built column by column.

Pure (registers dumpers with psycopg). psycopg's own list dumper looks at every element several times; a group of
submissions has thousands of elements, and here each costs one join.
"""

from collections.abc import Sequence
from struct import pack
from typing import Any, ClassVar

import psycopg
from psycopg.adapt import Dumper
from psycopg.pq import Format

INT2, INT8, TEXT, BYTEA = 21, 20, 25, 17
INT2S, INT8S, TEXTS, BYTEAS = 1005, 1016, 1009, 1001  # the arrays' own type ids

_LENGTHS = [pack(">i", length) for length in range(4096)]
_NULL = pack(">i", -1)
_TWO, _EIGHT = _LENGTHS[2], _LENGTHS[8]


class Texts(bytes):
    """A `text[]` ready to be sent."""


class Bytes(bytes):
    """A `bytea[]` ready to be sent."""


class Bigints(bytes):
    """An `int8[]` ready to be sent."""


class Smallints(bytes):
    """An `int2[]` ready to be sent."""


def texts(values: Sequence[str | None]) -> Texts:
    """Return a `text[]`."""
    return Texts(_array(TEXT, [None if value is None else value.encode() for value in values]))


def byteas(values: Sequence[bytes | None]) -> Bytes:
    """Return a `bytea[]`."""
    return Bytes(_array(BYTEA, values))


def bigints(values: Sequence[int | None]) -> Bigints:
    """Return an `int8[]`; OverflowError for a value that does not fit."""
    body = [_NULL if value is None else _EIGHT + value.to_bytes(8, "big", signed=True) for value in values]
    return Bigints(_head(INT8, len(values), nulls=None in values) + b"".join(body))


def smallints(values: Sequence[int]) -> Smallints:
    """Return an `int2[]`; OverflowError for a value that does not fit."""
    body = b"".join([_TWO + value.to_bytes(2, "big", signed=True) for value in values])
    return Smallints(_head(INT2, len(values), nulls=False) + body)


def _array(element: int, values: Sequence[bytes | None]) -> bytes:
    body = [_NULL if value is None else _length(len(value)) + value for value in values]
    return _head(element, len(values), nulls=None in values) + b"".join(body)


def _head(element: int, count: int, *, nulls: bool) -> bytes:
    return pack(">iiIii", 1, nulls, element, count, 1)


def _length(length: int) -> bytes:
    return _LENGTHS[length] if length < len(_LENGTHS) else pack(">i", length)


class _Ready(Dumper):
    format: ClassVar[Format] = Format.BINARY  # type: ignore[misc]

    def dump(self, obj: Any) -> Any:
        return obj


def _register(kind: type[bytes], array: int) -> None:
    dumper = type(f"{kind.__name__}Dumper", (_Ready,), {"oid": array})
    psycopg.adapters.register_dumper(kind, dumper)


for _kind, _oid in ((Texts, TEXTS), (Bytes, BYTEAS), (Bigints, INT8S), (Smallints, INT2S)):
    _register(_kind, _oid)
