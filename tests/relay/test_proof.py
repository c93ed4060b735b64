"""Who signed: every form wallets write, the twin nobody may use, and what a proof makes of a score's level."""

import secrets as randomness

import pytest
from eth_account import Account
from eth_account.messages import encode_defunct
from eth_utils.crypto import keccak
from hypothesis import given, settings
from hypothesis import strategies as st

from relay import proof
from relay.proof import NOBODY, Proof, Signing, signed_text_digest, signer_of
from tests.harness.wallets import ORDER, Wallet, other_forms, twin
from tests.relay.conftest import DOMAIN

ALICE = Wallet("alice")
DIGEST = keccak(text="anything")


def by_oracle(secret: bytes) -> tuple[str, bytes]:
    """Signature and address by eth-account."""
    account = Account.from_key(secret)
    return "0x" + bytes(account.unsafe_sign_hash(DIGEST).signature).hex(), bytes.fromhex(account.address[2:])


@settings(deadline=None, max_examples=25)
@given(st.integers(1, ORDER - 1).map(lambda n: n.to_bytes(32, "big")))
def test_every_form_is_the_same_signer(secret: bytes) -> None:
    """65 bytes with v as 27/28 or 0/1, 64 bytes compact; the twin with a high s is refused in every form."""
    signature, address = by_oracle(secret)
    for form in (signature, *other_forms(signature).values()):
        assert signer_of(DIGEST, bytes.fromhex(form[2:])) == address
    mirrored = twin(signature)
    assert Account._recover_hash(DIGEST, signature=mirrored) == Account.from_key(secret).address  # it is one
    assert signer_of(DIGEST, bytes.fromhex(mirrored[2:])) is None
    assert signer_of(DIGEST, bytes.fromhex(other_forms(mirrored)["v 0/1"][2:])) is None
    assert signer_of(DIGEST, bytes.fromhex(other_forms(mirrored)["EIP-2098"][2:])) != address


@settings(deadline=None, max_examples=100)
@given(st.binary(max_size=70))
def test_noise_is_nobody_we_know(noise: bytes) -> None:
    """Never an error, never a chosen address."""
    found = signer_of(DIGEST, noise)
    assert found is None or (len(found) == 20 and found != ALICE.raw)


@settings(deadline=None, max_examples=30)
@given(st.text(max_size=300))
def test_texts_are_hashed_like_eth_account(text: str) -> None:
    """EIP-191, whatever the text is, beyond ASCII too."""
    digest = signed_text_digest(text)
    signature = Account.from_key(ALICE.secret).sign_message(encode_defunct(text=text))
    assert digest == bytes(signature.message_hash)
    assert signer_of(digest, bytes(signature.signature)) == ALICE.raw


def test_a_signature_that_is_of_nothing() -> None:
    """Without a deadline, of a number that is no uint256, of a deadline that is no uint64: there is no digest."""
    good = Signing(b"", 1, 2652, bytes(32), bytes(32))
    assert proof.digest_of(DOMAIN, "streambeat", ALICE.raw, good) is not None
    for bad in (good._replace(deadline=None), good._replace(score=-1), good._replace(deadline=2**64)):
        assert proof.digest_of(DOMAIN, "streambeat", ALICE.raw, bad) is None


def test_rounds_are_named_by_their_hash() -> None:
    """No round is zero, which no text hashes to."""
    assert proof.round_ref("65f0c0ffee65f0c0ffee65f0") == keccak(text="65f0c0ffee65f0c0ffee65f0")
    assert proof.round_ref(None) == proof.round_ref("") == bytes(32)


PROOFS: list[tuple[Proof, bool, int]] = [
    (NOBODY, False, 3),
    (proof.by_token(ALICE.raw), False, 3),
    (proof.signed("signature", ALICE.raw, DIGEST, 5), False, 4),
    (proof.signed("contract_wallet", ALICE.raw, DIGEST, 5), False, 4),
    (proof.delegated(ALICE.raw, DIGEST, 5, bytes(32), 11, 10), False, 4),
    (proof.delegated(ALICE.raw, DIGEST, 5, bytes(32), 10, 10), True, 3),
    (proof.missing(), True, 3),
    (proof.undated(), True, 3),
    (proof.invalid(), True, 3),
    (proof.expired(4, 5), True, 3),
]


@pytest.mark.parametrize(("shown", "refused", "level"), PROOFS)
def test_what_a_proof_is_worth(shown: Proof, refused: bool, level: int) -> None:
    """Only a replayed score that its player signed is of level 4; what is refused names nobody and uses nothing up."""
    assert shown.refused is refused
    assert [shown.level(given_level) for given_level in (0, 1, 2, 3)] == [0, 1, 2, level]
    if refused:
        assert (shown.signer, shown.digest, shown.document()) == (None, None, None)
    for row, finding in shown.findings:
        line = row.judged(finding).document()
        assert (line["code"], line["result"]) == (row.code, "fail" if finding[0] else "pass")


def test_random_bytes_are_no_signature_of_a_player() -> None:
    """A thousand guesses."""
    guesses = [randomness.token_bytes(64) + bytes((27 + n % 2,)) for n in range(1_000)]
    assert ALICE.raw not in {signer_of(DIGEST, guess) for guess in guesses}
