"""Headers that keep browsers from doing more with an answer than it is for.

Pure. An answer that says one of these itself (a page has a policy of its own) is left as it says.
"""

from relay.api.operations import Headers

SECURITY: Headers = (
    (b"x-content-type-options", b"nosniff"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
)
PRIVATE: Headers = ((b"cache-control", b"no-store"),)  # what a key has shown is for nobody else


def secured(own: Headers, *, private: bool) -> Headers:
    """Return an answer's `own` headers with those that are missing; `private`: a key was presented."""
    wanted = SECURITY + PRIVATE if private else SECURITY
    if not own:
        return wanted
    there = {name for name, _ in own}
    return (*own, *(header for header in wanted if header[0] not in there))
