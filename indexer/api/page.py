"""The page, its modules and `fairscore.js`: package data, served from memory.

Touches the package's own files once, when the operations are made.
"""

import hashlib
from collections.abc import Awaitable, Callable
from importlib import resources

from relay.api.operations import Answer, Call, Headers, Operation

TYPES = {
    ".html": b"text/html; charset=utf-8",
    ".js": b"text/javascript; charset=utf-8",
    ".css": b"text/css; charset=utf-8",
    ".svg": b"image/svg+xml",
    ".png": b"image/png",
    ".ico": b"image/x-icon",
    ".json": b"application/json",
    ".webmanifest": b"application/manifest+json",
    ".woff2": b"font/woff2",
    ".txt": b"text/plain; charset=utf-8",
}
# Everything comes from here, nothing inline: injected markup in a player's name could run nothing.
POLICY = (
    b"default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; "
    b"connect-src 'self'; manifest-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
SECURITY: Headers = (
    (b"content-security-policy", POLICY),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"cross-origin"),  # fairscore.js is there to be imported from other origins
)


def operations() -> list[Operation]:
    """Return one hidden operation per file; a page has no suffix, `index.html` is `/`."""
    found = []
    for file in sorted(resources.files("indexer").joinpath("page").iterdir(), key=lambda file: file.name):
        suffix = file.name[file.name.rfind(".") :]
        if file.is_file() and suffix in TYPES:
            path = "/" if file.name == "index.html" else f"/{file.name.removesuffix('.html')}"
            endpoint = _serve(file.read_bytes(), TYPES[suffix])
            found.append(Operation("GET", path, f"The page: {file.name}", endpoint, hidden=True, tag="Page"))
    return found


def _serve(body: bytes, media_type: bytes) -> Callable[[Call], Awaitable[Answer]]:
    etag = b'"%s"' % hashlib.sha256(body).hexdigest()[:32].encode()
    # no-cache: kept by the browser, but asked about every time, so that page and modules are of one version.
    headers: Headers = ((b"etag", etag), (b"cache-control", b"no-cache"), *SECURITY)

    async def endpoint(call: Call) -> Answer:
        known = call.headers.get(b"if-none-match", b"")
        if etag in {tag.strip().removeprefix(b"W/") for tag in known.split(b",")} or known.strip() == b"*":
            return Answer(304, b"", media_type, headers)
        return Answer(200, body, media_type, headers)

    return endpoint
