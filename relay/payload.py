"""A report encrypted by the client: AES-256-GCM under a key of its round alone.

Pure. It protects the payload in transit and in the logs of proxies; it is no evidence and raises no level, as whoever
plays holds the round's key.

    game key (32 random bytes, on the server only)
       └─ HKDF-SHA-256, info = "fairscore-payload@1:" + round id ─→ round key (given to the client with its round)
             └─ AES-256-GCM, IV of 96 random bits, additional data = round id ─→ base64(IV ‖ ciphertext ‖ tag)

The additional data binds the bytes to the round although the key does so already: two bindings, either of which holds.
"""

import base64
import binascii
from typing import NamedTuple

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from relay.errors import CallerError
from relay.keccak import keccak

KEY_BYTES = 32
IV_BYTES = 12
TAG_BYTES = 16
INFO = b"fairscore-payload@1:"


class Envelope(NamedTuple):
    """An encrypted report as it came: its IV, and the hash by which the same report again is known."""

    iv: bytes
    sealed: bytes  # ciphertext and tag
    digest: bytes  # keccak-256 of IV, ciphertext and tag


def round_key(game_key: bytes, round_id: str) -> bytes:
    """Return the 32 bytes that encrypt the report of one round (RFC 5869 without salt: `game_key` is uniform)."""
    return HKDF(hashes.SHA256(), KEY_BYTES, salt=None, info=INFO + round_id.encode()).derive(game_key)


def shown_key(game_key: bytes, round_id: str) -> str:
    """Return the round's key as its client is told it: base64url without padding, as in a JSON Web Key."""
    return base64.urlsafe_b64encode(round_key(game_key, round_id)).rstrip(b"=").decode()


def envelope(encrypted: str) -> Envelope:
    """Take `base64(IV ‖ ciphertext ‖ tag)` apart.

    Raises:
        CallerError: PAYLOAD_DECRYPT_FAILED.
    """
    try:
        raw = base64.b64decode(encrypted, validate=True)
    except (binascii.Error, ValueError):
        raise failed() from None
    if len(raw) < IV_BYTES + TAG_BYTES:
        raise failed()
    return Envelope(raw[:IV_BYTES], raw[IV_BYTES:], keccak(raw))


def decrypt(game_key: bytes, round_id: str, encrypted: str) -> bytes:
    """Return what the client of a round encrypted.

    Raises:
        CallerError: PAYLOAD_DECRYPT_FAILED, the same for every cause: which one it was would help only a forger.
    """
    iv, sealed, _ = envelope(encrypted)
    try:
        return AESGCM(round_key(game_key, round_id)).decrypt(iv, sealed, round_id.encode())
    except InvalidTag:
        raise failed() from None


def encrypt(game_key: bytes, round_id: str, iv: bytes, plain: bytes) -> str:
    """Return what a client would send; `iv` is 12 bytes that no other report under this game's key has."""
    sealed = AESGCM(round_key(game_key, round_id)).encrypt(iv, plain, round_id.encode())
    return base64.b64encode(iv + sealed).decode()


def failed() -> CallerError:
    """Return the one answer to a report that cannot be decrypted, whatever the cause."""
    return CallerError(
        "PAYLOAD_DECRYPT_FAILED", "The report cannot be decrypted with this round's key; start a new round."
    )
