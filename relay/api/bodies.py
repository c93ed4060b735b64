"""The body of a request: read whole, within its limit, or refused.

Touches HTTP through the ASGI `receive` it is handed.
"""

from collections.abc import Mapping

from relay.api.operations import Receive
from relay.errors import CallerError

DISCARD_MAX = 16 * 1024 * 1024


class ClientGoneError(Exception):
    """There is nobody to answer: the client closed the connection early, or has all it asked for."""


async def read_body(headers: Mapping[bytes, bytes], receive: Receive, limit: int) -> bytes:
    """Return the whole body of at most `limit` bytes.

    Raises:
        CallerError: BODY_TOO_LARGE (before reading, where the length is announced), MEDIA_TYPE_UNSUPPORTED.
        ClientGoneError: the connection was closed first.
    """
    kind = headers.get(b"content-type")
    if kind is not None and kind != b"application/json":
        _check_media_type(kind)
    if headers.get(b"content-encoding", b"identity").lower() != b"identity":
        raise CallerError("MEDIA_TYPE_UNSUPPORTED", "Bodies are taken as they are, without content encoding.")
    announced = headers.get(b"content-length", b"0")
    if len(announced) > 15 or (announced.isdigit() and int(announced) > limit):
        if b"expect" not in headers:  # who asks first has sent nothing
            await _discard(receive)
        raise _too_large(limit)
    chunks: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientGoneError
        chunk = message.get("body", b"")
        size += len(chunk)
        if size > limit:
            if message.get("more_body", False):
                await _discard(receive)
            raise _too_large(limit)
        if not message.get("more_body", False):
            return b"".join((*chunks, chunk)) if chunks else chunk
        chunks.append(chunk)


async def _discard(receive: Receive) -> None:
    """Take the rest of a body that is refused, within reason, and keep none of it.

    A connection closed over unread bytes is reset, and the reset takes the answer with it.
    """
    size = 0
    while size < DISCARD_MAX:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientGoneError
        size += len(message.get("body", b""))
        if not message.get("more_body", False):
            return


def _check_media_type(kind: bytes) -> None:
    essence, _, parameters = kind.decode("latin-1").lower().partition(";")
    essence, charset = essence.strip(), parameters.strip().replace('"', "")
    json_like = essence == "application/json" or (essence.startswith("application/") and essence.endswith("+json"))
    if not json_like or (charset.startswith("charset=") and charset not in {"charset=utf-8", "charset=utf8"}):
        raise CallerError("MEDIA_TYPE_UNSUPPORTED", "Send the body as application/json in UTF-8.")


def _too_large(limit: int) -> CallerError:
    return CallerError("BODY_TOO_LARGE", f"Bodies are limited to {limit} bytes here.")
