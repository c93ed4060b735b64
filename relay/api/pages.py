"""Keyset pages: an opaque cursor says after which row the next page starts.

Pure.
"""

import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from datetime import UTC, datetime
from typing import Annotated

from msgspec import Meta

from relay.errors import CallerError, FieldError

Limit = Annotated[int, Meta(ge=1, le=200, description="rows per page")]
Cursor = Annotated[str, Meta(max_length=200, description="`nextCursor` of the page before")]
NUMBER = re.compile(r"[0-9]{1,10}")
TextCursor = Annotated[str, Meta(max_length=800, description="`nextCursor` of the page before")]


def cursor_of(last_id: str) -> str:
    """Return the cursor of the page after `last_id`."""
    return urlsafe_b64encode(last_id.encode()).decode().rstrip("=")


def read_cursor(cursor: str | None, prefix: str) -> str | None:
    """Return the id a cursor stands for.

    Raises:
        CallerError: QUERY_INVALID, this is not a cursor of ours.
    """
    if cursor is None:
        return None
    try:
        last_id = urlsafe_b64decode(cursor.encode("ascii") + b"=" * (-len(cursor) % 4)).decode("ascii")
    except ValueError:
        last_id = ""
    if not last_id.startswith(prefix) or not last_id.removeprefix(prefix).isalnum():
        raise _no_cursor()
    return last_id


def read_text_cursor(cursor: str | None) -> str:
    """Return the text that a cursor of `cursor_of` stands for, whatever was its alphabet; "" for the first page.

    Raises:
        CallerError: QUERY_INVALID, this is not a cursor of ours.
    """
    if cursor is None:
        return ""
    try:
        last = urlsafe_b64decode(cursor.encode("ascii") + b"=" * (-len(cursor) % 4)).decode()
    except ValueError:
        last = ""
    if not last or storable(last) != last:
        raise _no_cursor()
    return last


def read_number_cursor(cursor: str | None) -> int | None:
    """Return the number (0 to 2^31-1) that a cursor of `cursor_of` stands for; None for the first page.

    Raises:
        CallerError: QUERY_INVALID, this is not a cursor of ours.
    """
    text = read_text_cursor(cursor)
    if not text:
        return None
    if NUMBER.fullmatch(text) is None or int(text) >= 1 << 31:
        raise _no_cursor()
    return int(text)


def rfc3339(at_ms: int) -> str:
    """Return epoch milliseconds as an RFC 3339 text in UTC."""
    return datetime.fromtimestamp(at_ms // 1000, UTC).strftime("%Y-%m-%dT%H:%M:%S") + f".{at_ms % 1000:03d}Z"


def storable(text: str) -> str:
    """Return a client's text as every database takes it (PostgreSQL refuses NUL and lone surrogates)."""
    return text.encode("utf-8", "replace").decode().replace("\0", "\ufffd")


def _no_cursor() -> CallerError:
    field = FieldError("?cursor", "FIELD_INVALID", "not a cursor of this list")
    return CallerError("QUERY_INVALID", "The cursor is not one of this list.", fields=[field])
