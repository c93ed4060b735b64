"""The `Prefer` header (RFC 7240): answer at once, or wait for the chain.

Pure.
"""

import re
from typing import NamedTuple

WAIT_DEFAULT_S = 2.0
WAIT_MAX_S = 30
SENT = frozenset({"sent", "included", "final", "revoked", "parked"})
INCLUDED = frozenset({"included", "final", "revoked", "parked"})

_WAIT = re.compile(r'wait\s*=\s*"?([0-9]+)"?')


class Preference(NamedTuple):
    """How long to wait, for which statuses, and what `Preference-Applied` says (empty: nothing)."""

    wait_s: float
    until: frozenset[str]
    applied: bytes


DEFAULT = Preference(WAIT_DEFAULT_S, SENT, b"")
AT_ONCE = Preference(0.0, SENT, b"respond-async")


def preference(header: bytes | None) -> Preference:
    """Return what `Prefer` asks for; what it cannot understand is ignored, as the RFC wants.

    `wait=N` waits up to N (at most 30) seconds for inclusion; with `respond-async` beside it, too: that then says that
    an answer may come before inclusion, which here it always may.
    """
    if header is None:
        return DEFAULT
    if header == b"respond-async":
        return AT_ONCE
    wished = [part.strip() for part in header.decode("latin-1").lower().split(",")]
    for part in wished:
        if (found := _WAIT.fullmatch(part.partition(";")[0].strip())) is not None:
            digits = found[1].lstrip("0")[:3]  # as many as are beyond every wait
            seconds = min(int(digits or "0"), WAIT_MAX_S)
            return Preference(float(seconds), INCLUDED, b"wait=%d" % seconds)
    if any(part.partition(";")[0].strip() == "respond-async" for part in wished):
        return AT_ONCE
    return DEFAULT
