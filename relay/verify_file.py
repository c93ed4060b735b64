"""The file that a verifier was given: read whole, and no larger than any proof is.

Touches that file.
"""

from pathlib import Path

from relay.errors import StartupError

BYTES_MAX = 1_000_000


def read_document(file: Path) -> bytes:
    """Return what is in the file. Raises StartupError where it cannot be read, or is too large."""
    try:
        with file.open("rb") as stream:
            body = stream.read(BYTES_MAX + 1)
    except OSError as error:
        raise StartupError(f"{file} cannot be read: {error.strerror}") from None
    if len(body) > BYTES_MAX:
        raise StartupError(f"{file} is too large to be verified: more than {BYTES_MAX} bytes")
    return body
