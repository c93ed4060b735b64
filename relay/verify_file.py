"""The file that a verifier was given: read whole, and no larger than any proof is.

Touches that file. It may hold the document alone, or the relay's whole answer as it was saved.
"""

from pathlib import Path

import msgspec

from relay.errors import PayloadError, StartupError
from relay.strict_json import Request, decode

BYTES_MAX = 1_000_000


class _Answer(Request, frozen=True):
    """An answer of the economy: the document in its envelope."""

    success: bool
    data: msgspec.Raw
    request_id: str


_decoder = msgspec.json.Decoder(_Answer)


def read_document(file: Path) -> bytes:
    """Return the document in the file. Raises StartupError where it cannot be read, or is too large."""
    try:
        with file.open("rb") as stream:
            body = stream.read(BYTES_MAX + 1)
    except OSError as error:
        raise StartupError(f"{file} cannot be read: {error.strerror}") from None
    if len(body) > BYTES_MAX:
        raise StartupError(f"{file} is too large to be verified: more than {BYTES_MAX} bytes")
    return unwrapped(body)


def unwrapped(body: bytes) -> bytes:
    """Return what an answer's envelope holds; what is no such answer as it is."""
    try:
        return bytes(decode(_decoder, body).data)
    except PayloadError:
        return body
