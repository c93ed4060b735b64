"""Encrypted reports: known answers, every altered byte refused alike, and an IV that counts once under a key."""

import base64

import pytest
from cryptography.hazmat.primitives import hashes, hmac
from hypothesis import given, settings
from hypothesis import strategies as st

from relay.errors import CallerError
from relay.payload import IV_BYTES, KEY_BYTES, TAG_BYTES, decrypt, encrypt, envelope, round_key, shown_key

KEY = bytes(range(32))
ROUND = "65a1b2c3d4e5f60718293a4b"
IV = bytes.fromhex("cafebabefacedbaddecaf888")
PLAIN = b'{"score":2652}'


def refusal(key: bytes, round_id: str, encrypted: str) -> tuple[str, int, str]:
    with pytest.raises(CallerError) as caught:
        decrypt(key, round_id, encrypted)
    return caught.value.code, caught.value.status, caught.value.detail


def test_the_key_of_a_round_is_hkdf_as_rfc_5869_writes_it() -> None:
    """Extract with a salt of zeros, expand one block: computed here from HMAC alone."""

    def mac(key: bytes, data: bytes) -> bytes:
        made = hmac.HMAC(key, hashes.SHA256())
        made.update(data)
        return made.finalize()

    expected = mac(mac(bytes(32), KEY), b"fairscore-payload@1:" + ROUND.encode() + b"\x01")
    assert round_key(KEY, ROUND) == expected
    assert base64.urlsafe_b64decode(shown_key(KEY, ROUND) + "=") == expected


def test_what_a_client_seals_is_read_again() -> None:
    sealed = encrypt(KEY, ROUND, IV, PLAIN)
    # Pinned: a client written against this release must be understood by every later one.
    assert sealed == GOLDEN
    assert decrypt(KEY, ROUND, sealed) == PLAIN
    assert envelope(sealed).iv == IV


GOLDEN = "yv66vvrO263eyviICL8G20osi1VjZ6wk+cgcKGWxVg24b11FSx6Hb5Pr"


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=2000), st.binary(min_size=IV_BYTES, max_size=IV_BYTES), st.data())
def test_any_altered_byte_is_refused(plain: bytes, iv: bytes, data: st.DataObject) -> None:
    raw = bytearray(base64.b64decode(encrypt(KEY, ROUND, iv, plain)))
    assert len(raw) == IV_BYTES + len(plain) + TAG_BYTES
    assert decrypt(KEY, ROUND, base64.b64encode(raw).decode()) == plain
    at = data.draw(st.integers(0, len(raw) - 1))
    raw[at] ^= data.draw(st.integers(1, 255))
    assert refusal(KEY, ROUND, base64.b64encode(raw).decode())[0] == "PAYLOAD_DECRYPT_FAILED"


def test_every_failure_is_answered_alike() -> None:
    sealed = encrypt(KEY, ROUND, IV, PLAIN)
    refusals = {
        refusal(bytes(32), ROUND, sealed),  # another game's key
        refusal(KEY, ROUND[:-1] + "c", sealed),  # another round's report
        refusal(KEY, ROUND, sealed[:-4]),  # cut off
        refusal(KEY, ROUND, ""),
        refusal(KEY, ROUND, "not base64!"),
        refusal(KEY, ROUND, "ä" * 40),
        refusal(KEY, ROUND, "AAAA"),  # shorter than IV and tag
        refusal(KEY, ROUND, base64.b64encode(bytes(IV_BYTES + TAG_BYTES)).decode()),
    }
    assert len(refusals) == 1
    assert refusals.pop()[:2] == ("PAYLOAD_DECRYPT_FAILED", 400)


def test_rounds_do_not_share_a_key() -> None:
    keys = {round_key(game, f"{number:024x}") for game in (KEY, bytes(KEY_BYTES)) for number in range(100)}
    assert len(keys) == 200
