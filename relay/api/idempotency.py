"""Idempotency keys as clients send them, and whole answers kept under them.

Pure, but for the transaction that a kept answer is made in.
"""

import hashlib
import re

from relay.api.answers import REPLAYED
from relay.api.operations import JSON, Answer, Credential
from relay.api.problems import PROBLEM_JSON
from relay.errors import CallerError
from relay.store.kept_answers import Claim, Kept

KEY = re.compile(r"[\x21\x23-\x7e]{1,255}")  # a quotation mark only around it
HEADER_TEXT = "1 to 255 visible characters, quoted or not: the same request counts once for 24 h."


def idempotency_key(header: bytes | None, field: str | None) -> str | None:
    """Return the request's idempotency key, None if it has none.

    Raises:
        CallerError: IDEMPOTENCY_KEY_INVALID.
    """
    if header is None and field is None:
        return None
    both = (None if header is None else header.decode("latin-1"), field)
    given = [_unquoted(text) for text in both if text is not None]
    if any(KEY.fullmatch(key) is None for key in given):
        raise CallerError("IDEMPOTENCY_KEY_INVALID", "An idempotency key is 1 to 255 visible ASCII characters.")
    if len(set(given)) > 1:
        raise CallerError("IDEMPOTENCY_KEY_INVALID", "Header and body name different idempotency keys.")
    return given[0]


def scope_of(game_id: str, role: str, route: str, key: str) -> bytes:
    """Keys of different games, roles or routes never meet. A hash, so that a row has one size."""
    return hashlib.sha256(f"{game_id}\0{role}\0{route}\0{key}".encode()).digest()


def claim_of(credential: Credential, route: str, key: str | None, *said: str) -> Claim | None:
    """Return what a key of this caller stands for: `said` is all of the request that matters. None without a key."""
    if key is None:
        return None
    request = hashlib.sha256("\0".join(said).encode()).digest()
    return Claim(scope_of(credential.game_id or "", credential.role, route, key), request)


def answer_of(kept: Kept) -> Answer:
    """Return a kept answer as it is sent, marked where it was given before."""
    media_type = JSON if kept.status < 400 else PROBLEM_JSON
    return Answer(kept.status, kept.body, media_type, REPLAYED if kept.replayed else ())


def _unquoted(text: str) -> str:
    text = text.strip()
    return text[1:-1] if len(text) >= 2 and text[0] == text[-1] == '"' else text
