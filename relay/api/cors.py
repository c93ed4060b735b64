"""Cross-origin rules: which browser pages may read which answers.

Pure: header values in, header values out. No answer here depends on cookies, so credentials are never allowed.
"""

from collections.abc import Mapping

from relay.api.operations import Headers, Operation

EXPOSED = b"X-Request-Id, Idempotent-Replayed, Preference-Applied, RateLimit, RateLimit-Policy, Retry-After, ETag, Link"
ALLOWED_REQUEST_HEADERS = (
    b"Authorization, Content-Type, Idempotency-Key, Prefer, X-Request-Id, Last-Event-ID, If-None-Match, "
    b"escs-game-secret-key"
)
PREFLIGHT_SECONDS = b"600"


def headers(origin: bytes | None, operation: Operation | None, allowed: bool, known: frozenset[str]) -> Headers:
    """Return the headers for an answer to a page of `origin`.

    `allowed` is the game's word on it, `known` are the origins of all games. Open reads are for everybody.
    """
    public = operation is not None and operation.method == "GET" and operation.roles is None
    if public or ("*" in known and allowed):
        return ((b"access-control-allow-origin", b"*"), (b"access-control-expose-headers", EXPOSED))
    vary = (b"vary", b"Origin")
    if origin is not None and allowed and origin.decode("latin-1") in known:
        return (vary, (b"access-control-allow-origin", origin), (b"access-control-expose-headers", EXPOSED))
    return (vary,)


def preflight(headers: Mapping[bytes, bytes], allow: str) -> Headers:
    """Return the further headers of the answer to a preflight request, none for a plain OPTIONS."""
    if b"access-control-request-method" not in headers:
        return ()
    return (
        (b"access-control-allow-methods", allow.encode()),
        (b"access-control-allow-headers", ALLOWED_REQUEST_HEADERS),
        (b"access-control-max-age", PREFLIGHT_SECONDS),
    )
