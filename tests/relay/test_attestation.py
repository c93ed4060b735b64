"""What is signed, against eth-account's own typed-data signing: the same bytes for every value."""

import json
from typing import Any

import pytest
from eth_account import Account
from eth_account.messages import encode_typed_data
from eth_keys.backends.native.main import NativeECCBackend
from eth_keys.datatypes import PrivateKey as NativeKey
from hypothesis import given, settings
from hypothesis import strategies as st

from relay.attestation import (
    ECONOMY_ANCHOR_TYPEHASH,
    SCORE_BATCH_TYPEHASH,
    SESSION_KEY_TYPEHASH,
    SUBMIT_SCORE_TYPEHASH,
    Domain,
    SignatureError,
    economy_anchor_digest,
    economy_anchor_typed_data,
    receipt,
    recover,
    score_batch_digest,
    score_batch_typed_data,
    session_key_digest,
    session_key_typed_data,
    submit_score_digest,
    submit_score_typed_data,
)
from relay.contract import Record, game_key, pack_record
from relay.keccak import checksum_address, keccak
from relay.signer import LocalSigner

ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141

word = st.binary(min_size=32, max_size=32)
address = st.binary(min_size=20, max_size=20)
uint64 = st.integers(0, 2**64 - 1)
uint256 = st.integers(0, 2**256 - 1)
domains = st.builds(Domain, uint256, address)
secrets = st.integers(1, ORDER - 1).map(lambda n: n.to_bytes(32, "big"))
SIGNER = LocalSigner(keccak(b"signer"))


def check_signature(secret: bytes, digest: bytes, typed: dict[str, Any]) -> None:
    """Our digest signed by us is eth-account's signature of the typed data, and recovers to the key's address."""
    signer = LocalSigner(secret)
    oracle = Account.sign_typed_data(secret, full_message=json.loads(json.dumps(typed)))
    assert digest == bytes(oracle.message_hash)
    assert signer.sign(digest) == bytes(oracle.signature)
    assert recover(digest, signer.sign(digest)) == signer.address
    assert checksum_address(signer.address) == Account.from_key(secret).address


@settings(deadline=None)
@given(secrets, domains, word, word, uint64, st.binary(max_size=300))
def test_batches_are_signed_like_eth_account(
    secret: bytes, domain: Domain, game: bytes, rules: bytes, deadline: int, records: bytes
) -> None:
    fields = (domain, game, rules, deadline, records)
    check_signature(secret, score_batch_digest(*fields), score_batch_typed_data(*fields))


@settings(deadline=None)
@given(secrets, domains, word, uint64, uint64, word, uint64)
def test_anchors_are_signed_like_eth_account(
    secret: bytes, domain: Domain, economy: bytes, first: int, count: int, root: bytes, deadline: int
) -> None:
    fields = (domain, economy, first, count, root, deadline)
    check_signature(secret, economy_anchor_digest(*fields), economy_anchor_typed_data(*fields))


@settings(deadline=None)
@given(secrets, domains, word, word, address, uint256, word, uint64)
def test_submissions_are_signed_like_eth_account(
    secret: bytes,
    domain: Domain,
    game: bytes,
    round_ref: bytes,
    player: bytes,
    score: int,
    evidence: bytes,
    deadline: int,
) -> None:
    fields = (domain, game, round_ref, player, score, evidence, deadline)
    check_signature(secret, submit_score_digest(*fields), submit_score_typed_data(*fields))


@settings(deadline=None)
@given(secrets, domains, address, address, st.text(max_size=40), uint64)
def test_delegations_are_signed_like_eth_account(
    secret: bytes, domain: Domain, player: bytes, key: bytes, scope: str, expires_at: int
) -> None:
    fields = (domain, player, key, scope, expires_at)
    check_signature(secret, session_key_digest(*fields), session_key_typed_data(*fields))


@settings(max_examples=20, deadline=None)
@given(secrets, word)
def test_signatures_are_rfc_6979(secret: bytes, digest: bytes) -> None:
    """An independent implementation in plain Python makes the same deterministic, low-s signature."""
    native = NativeKey(secret, backend=NativeECCBackend()).sign_msg_hash(digest)
    r, s, v = native.vrs[1], native.vrs[2], native.vrs[0]
    assert LocalSigner(secret).sign(digest) == r.to_bytes(32, "big") + s.to_bytes(32, "big") + bytes((27 + v,))


@pytest.mark.parametrize(
    ("type_hash", "pre_image"),
    [
        (SCORE_BATCH_TYPEHASH, "ScoreBatch(bytes32 gameId,bytes32 rulesHash,uint64 deadline,bytes records)"),
        (
            ECONOMY_ANCHOR_TYPEHASH,
            "EconomyAnchor(bytes32 economyId,uint64 firstSequence,uint64 count,bytes32 merkleRoot,uint64 deadline)",
        ),
        (
            SUBMIT_SCORE_TYPEHASH,
            "SubmitScore(bytes32 gameId,bytes32 roundRef,address player,"
            "uint256 score,bytes32 evidenceHash,uint64 deadline)",
        ),
        (SESSION_KEY_TYPEHASH, "SessionKey(address player,address key,string scope,uint64 expiresAt)"),
    ],
)
def test_type_hashes_are_those_of_the_pre_images(type_hash: bytes, pre_image: str) -> None:
    assert type_hash == keccak(pre_image.encode())


@given(domains, word, word, uint64, st.binary(max_size=100))
def test_every_field_counts(domain: Domain, game: bytes, rules: bytes, deadline: int, records: bytes) -> None:
    other = Domain(domain.chain_id ^ 1, domain.contract)
    elsewhere = Domain(domain.chain_id, bytes((domain.contract[0] ^ 1,)) + domain.contract[1:])
    digests = {
        score_batch_digest(domain, game, rules, deadline, records),
        score_batch_digest(other, game, rules, deadline, records),
        score_batch_digest(elsewhere, game, rules, deadline, records),
        score_batch_digest(domain, keccak(game), rules, deadline, records),
        score_batch_digest(domain, game, keccak(rules), deadline, records),
        score_batch_digest(domain, game, rules, deadline ^ 1, records),
        score_batch_digest(domain, game, rules, deadline, records + b"\x00"),
        economy_anchor_digest(domain, game, deadline, 1, rules, deadline),
        submit_score_digest(domain, game, rules, bytes(20), 1, rules, deadline),
        session_key_digest(domain, bytes(20), bytes(20), "submit", deadline),
        session_key_digest(domain, bytes(19) + b"\1", bytes(20), "submit", deadline),
        session_key_digest(domain, bytes(20), bytes(19) + b"\1", "submit", deadline),
        session_key_digest(domain, bytes(20), bytes(20), "", deadline),
        session_key_digest(domain, bytes(20), bytes(20), "submit", deadline ^ 1),
        session_key_digest(other, bytes(20), bytes(20), "submit", deadline),
        session_key_digest(elsewhere, bytes(20), bytes(20), "submit", deadline),
    }
    assert len(digests) == 16


def test_fields_that_do_not_fit() -> None:
    domain = Domain(1, bytes(20))
    with pytest.raises(ValueError, match="20 bytes"):
        Domain(1, bytes(32))
    with pytest.raises(ValueError, match="32 bytes"):
        score_batch_digest(domain, bytes(31), bytes(32), 0, b"")
    with pytest.raises(ValueError, match="uint64"):
        score_batch_digest(domain, bytes(32), bytes(32), 2**64, b"")
    with pytest.raises(ValueError, match="32 bytes"):
        economy_anchor_digest(domain, bytes(32), 0, 1, bytes(33), 0)
    with pytest.raises(ValueError, match="uint64"):
        economy_anchor_digest(domain, bytes(32), -1, 1, bytes(32), 0)
    with pytest.raises(ValueError, match="a player 20"):
        submit_score_digest(domain, bytes(32), bytes(32), bytes(32), 0, bytes(32), 0)
    with pytest.raises(ValueError, match="uint256"):
        submit_score_digest(domain, bytes(32), bytes(32), bytes(20), 2**256, bytes(32), 0)
    with pytest.raises(ValueError, match="20 bytes"):
        session_key_digest(domain, bytes(20), bytes(32), "submit", 0)
    with pytest.raises(ValueError, match="uint64"):
        session_key_digest(domain, bytes(20), bytes(20), "submit", 2**64)


# ----------------------------------------------------------------- recovery


@given(word)
def test_recovery_is_as_strict_as_the_contract(digest: bytes) -> None:
    good = SIGNER.sign(digest)
    s = int.from_bytes(good[32:64], "big")
    twin = good[:32] + (ORDER - s).to_bytes(32, "big") + bytes((55 - good[64],))
    spoilt = {
        "twin in the upper half": twin,
        "v from 0": good[:64] + bytes((good[64] - 27,)),
        "v beyond": good[:64] + b"\x1d",
        "short": good[:64],
        "long": good + b"\x00",
        "nothing": b"",
        "zeros": bytes(64) + b"\x1b",
        "r beyond the curve": b"\xff" * 32 + good[32:],
    }
    for name, signature in spoilt.items():
        with pytest.raises(SignatureError):
            recover(digest, signature)
        assert name


@given(word, st.binary(min_size=64, max_size=64), st.sampled_from([27, 28]))
def test_noise_recovers_to_nobody_we_know_or_is_refused(digest: bytes, noise: bytes, v: int) -> None:
    try:
        found = recover(digest, noise + bytes((v,)))
    except SignatureError:
        return
    assert len(found) == 20
    assert found != SIGNER.address


def test_recovery_needs_a_digest() -> None:
    with pytest.raises(SignatureError):
        recover(b"short", SIGNER.sign(bytes(32)))


# ------------------------------------------------------------------ receipt


@settings(max_examples=30, deadline=None)
@given(domains, st.text(min_size=1, max_size=20), word, uint64, address, st.integers(0, 2**96 - 1), uint64, word)
def test_a_receipt_verifies_with_eth_account_alone(
    domain: Domain, game: str, rules: bytes, deadline: int, player: bytes, score: int, round_id: int, evidence: bytes
) -> None:
    record = Record(player, score, round_id, evidence)
    signature = SIGNER.sign(score_batch_digest(domain, game_key(game), rules, deadline, pack_record(record)))
    answer = json.loads(json.dumps(receipt(domain, game, rules, deadline, record, SIGNER.address, signature)))
    message = encode_typed_data(full_message=answer["typedData"])
    assert Account.recover_message(message, signature=answer["signature"]) == answer["signer"]
    assert answer["typedData"]["message"]["records"] == "0x" + pack_record(record).hex()
    assert (answer["gameId"], answer["score"], answer["roundId"], answer["deadline"]) == (
        game,
        score,
        round_id,
        deadline,
    )
    assert (answer["player"], answer["signer"]) == (checksum_address(player), checksum_address(SIGNER.address))
    assert (answer["evidenceHash"], answer["rulesHash"]) == ("0x" + evidence.hex(), "0x" + rules.hex())
    answer["typedData"]["message"]["records"] = "0x" + pack_record(record._replace(score=score ^ 1)).hex()
    forged = encode_typed_data(full_message=answer["typedData"])
    assert Account.recover_message(forged, signature=answer["signature"]) != answer["signer"]
