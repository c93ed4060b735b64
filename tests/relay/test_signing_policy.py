"""The policy: every refusal has a name, and nothing outside of it is ever signed."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from relay import transactions
from relay.attestation import (
    Domain,
    economy_anchor_struct,
    recover,
    score_batch_struct,
    submit_score_digest,
    typed_digest,
)
from relay.contract import encode_call, selector
from relay.keccak import keccak
from relay.signer import LocalSigner
from relay.signing_policy import (
    ATTESTATIONS,
    GAS_MAX,
    MODERATION,
    Guarded,
    KeyPolicy,
    PolicyError,
    TransactionPolicy,
    allowed,
)
from relay.transactions import Transaction

KEY = LocalSigner(keccak(b"policy"))
CONTRACT = b"\xcc" * 20
CHAIN = 50312
CAP = 500 * 10**9
DOMAIN = Domain(CHAIN, CONTRACT)
SENDS = TransactionPolicy(CHAIN, CONTRACT, allowed(ATTESTATIONS), CAP)
MODERATES = TransactionPolicy(CHAIN, CONTRACT, allowed(MODERATION), CAP)
GOOD = Transaction(CHAIN, 7, 10**9, 10**8, 500_000, CONTRACT, 0, selector("submitScores") + bytes(64))
VOID = GOOD._replace(to=KEY.address, data=b"", gas=21_000)
STRUCT = score_batch_struct(bytes(32), bytes(32), 1, bytes(72))


@pytest.mark.parametrize(
    "good",
    [GOOD, GOOD._replace(tip_max=None), VOID, VOID._replace(tip_max=None), GOOD._replace(fee_max=CAP, gas=GAS_MAX)],
)
def test_what_a_relay_sends_passes(good: Transaction) -> None:
    SENDS.check(good, KEY.address)
    signature = KEY.sign(keccak(transactions.encode(good)))
    assert recover(keccak(transactions.encode(good)), signature) == KEY.address


REFUSED = [
    ({"chain_id": 1}, "OTHER_CHAIN"),
    ({"chain_id": 0}, "OTHER_CHAIN"),
    ({"value": 1}, "VALUE"),
    ({"to": KEY.address, "data": b"", "value": 1}, "VALUE"),
    ({"fee_max": CAP + 1}, "FEE_ABOVE_CAP"),
    ({"tip_max": None, "fee_max": CAP + 1}, "FEE_ABOVE_CAP"),
    ({"tip_max": CAP + 1}, "FEE_ABOVE_CAP"),
    ({"gas": GAS_MAX + 1}, "GAS_ABOVE_LIMIT"),
    ({"to": KEY.address}, "VOID_WITH_DATA"),
    ({"to": b"\xdd" * 20}, "OTHER_CONTRACT"),
    ({"to": b""}, "OTHER_CONTRACT"),
    ({"to": b"\xdd" * 20, "data": b""}, "OTHER_CONTRACT"),
    ({"data": b""}, "OTHER_FUNCTION"),
    ({"data": selector("submitScores")[:3]}, "OTHER_FUNCTION"),
    ({"data": encode_call("grantRole", bytes(32), b"\xdd" * 20)}, "OTHER_FUNCTION"),
    ({"data": encode_call("pause")}, "OTHER_FUNCTION"),
    ({"data": selector("invalidateScores") + bytes(96)}, "OTHER_FUNCTION"),
]


@pytest.mark.parametrize(("change", "rule"), REFUSED)
def test_every_refusal_of_a_transaction_has_its_name(change: dict[str, Any], rule: str) -> None:
    with pytest.raises(PolicyError, match=rf"not signed \({rule}\)") as caught:
        SENDS.check(GOOD._replace(**change), KEY.address)
    assert (caught.value.rule, caught.value.code) == (rule, "SIGNER_UNAVAILABLE")


def test_an_auditors_key_moderates_and_does_not_submit() -> None:
    for name in ("invalidateScores", "reinstateScores"):
        MODERATES.check(GOOD._replace(data=selector(name) + bytes(96)), KEY.address)
    with pytest.raises(PolicyError, match="OTHER_FUNCTION"):
        MODERATES.check(GOOD, KEY.address)


def message(domain: Domain, struct: bytes) -> bytes:
    """What a remote signer is asked to hash and sign."""
    return domain.prefix + keccak(struct)


def claim_struct() -> bytes:
    """Something of our own domain that an attestation key has no business with: a player's claim."""
    fields = "bytes32 gameId,bytes32 roundRef,address player,uint256 score,bytes32 evidenceHash,uint64 deadline"
    numbers = [(5).to_bytes(32, "big"), bytes(32), (9).to_bytes(32, "big")]
    struct = b"".join([keccak(f"SubmitScore({fields})".encode()), bytes(64), bytes(12) + b"\x11" * 20, *numbers])
    digest = submit_score_digest(DOMAIN, bytes(32), bytes(32), b"\x11" * 20, 5, bytes(32), 9)
    assert typed_digest(DOMAIN, struct) == digest
    return struct


ATTESTS = KeyPolicy(DOMAIN, None)
PAYS = KeyPolicy(None, SENDS)


@pytest.mark.parametrize(
    ("policy", "data", "struct", "rule"),
    [
        (ATTESTS, message(Domain(1, CONTRACT), STRUCT), STRUCT, "OTHER_DOMAIN"),
        (ATTESTS, message(Domain(CHAIN, b"\xdd" * 20), STRUCT), STRUCT, "OTHER_DOMAIN"),
        (ATTESTS, message(DOMAIN, STRUCT)[:-1], STRUCT, "OTHER_DOMAIN"),
        (ATTESTS, message(DOMAIN, STRUCT) + b"\0", STRUCT, "OTHER_DOMAIN"),
        (ATTESTS, message(DOMAIN, STRUCT), None, "TYPE_HIDDEN"),
        (ATTESTS, message(DOMAIN, STRUCT), STRUCT + b"\0", "OTHER_STRUCT"),
        (ATTESTS, message(DOMAIN, claim_struct()), claim_struct(), "OTHER_TYPE"),
        (ATTESTS, message(DOMAIN, STRUCT[:-32]), STRUCT[:-32], "OTHER_TYPE"),
        (ATTESTS, transactions.encode(GOOD), None, "OTHER_JOB"),
        (ATTESTS, b"\x19Ethereum Signed Message:\n5hello", None, "OTHER_JOB"),
        (ATTESTS, b"", None, "OTHER_JOB"),
        (PAYS, message(DOMAIN, STRUCT), STRUCT, "OTHER_JOB"),
        (PAYS, b"\x19Ethereum Signed Message:\n5hello", None, "NOT_A_TRANSACTION"),
        (PAYS, bytes(32), None, "NOT_A_TRANSACTION"),
        (PAYS, transactions.encode(GOOD) + b"\0", None, "NOT_A_TRANSACTION"),
        (PAYS, transactions.encode(GOOD._replace(value=1)), None, "VALUE"),
    ],
)
def test_every_refusal_of_a_signer_has_its_name(
    policy: KeyPolicy, data: bytes, struct: bytes | None, rule: str
) -> None:
    with pytest.raises(PolicyError) as caught:
        policy.check(KEY.address, data, struct)
    assert caught.value.rule == rule


def test_what_relays_ask_for_passes() -> None:
    anchor = economy_anchor_struct(bytes(32), 1, 2, bytes(32), 3)
    assert ATTESTS.check(KEY.address, message(DOMAIN, STRUCT), STRUCT) == "attestation"
    assert ATTESTS.check(KEY.address, message(DOMAIN, anchor), anchor) == "attestation"
    assert PAYS.check(KEY.address, transactions.encode(GOOD), None) == "transaction, nonce 7"
    assert PAYS.check(KEY.address, transactions.encode(VOID), None) == "transaction, nonce 7"


near = st.builds(
    Transaction,
    chain_id=st.sampled_from([CHAIN, CHAIN, 1, 0]),
    nonce=st.integers(0, 9),
    fee_max=st.sampled_from([0, 1, CAP, CAP + 1, 2**200]),
    tip_max=st.sampled_from([None, 0, CAP, CAP + 1]),
    gas=st.sampled_from([0, 21_000, GAS_MAX, GAS_MAX + 1]),
    to=st.sampled_from([CONTRACT, CONTRACT, KEY.address, b"\xdd" * 20, b""]),
    value=st.sampled_from([0, 0, 0, 1]),
    data=st.sampled_from([b"", selector("submitScores"), selector("submitScores") + b"x", selector("pause"), b"\x01"]),
)


def harmless(transaction: Transaction) -> bool:
    """The promise in other words: it can only spend gas, within the cap, on submitScores or on nothing."""
    spends = transaction.value == 0 and transaction.gas <= 2**24 and transaction.fee_max <= CAP
    void = transaction.to == KEY.address and not transaction.data
    submits = transaction.to == CONTRACT and transaction.data[:4] == selector("submitScores")
    return spends and (transaction.tip_max or 0) <= CAP and transaction.chain_id == CHAIN and (void or submits)


@given(near)
@settings(max_examples=500)
def test_nothing_outside_the_policy_is_ever_signed(transaction: Transaction) -> None:
    """Neither by a key in this process nor by a signer that gets bytes; and everything inside is."""
    fields = {
        "chainId": transaction.chain_id,
        "nonce": transaction.nonce,
        "gas": transaction.gas,
        "to": transaction.to or None,
        "value": transaction.value,
        "data": transaction.data,
    }
    prices = {"maxFeePerGas": transaction.fee_max, "maxPriorityFeePerGas": transaction.tip_max}
    fields |= {"gasPrice": transaction.fee_max} if transaction.tip_max is None else prices
    outcomes = []
    for sign in (
        lambda: Guarded(KEY, SENDS).sign_transaction(fields),
        lambda: PAYS.check(KEY.address, transactions.encode(transaction), None),
    ):
        try:
            sign()
        except PolicyError:
            outcomes.append(False)
        else:
            outcomes.append(True)
    assert outcomes == [harmless(transaction)] * 2


@given(
    st.binary(max_size=200) | st.binary(max_size=160).map(lambda tail: DOMAIN.prefix + tail), st.binary(max_size=200)
)
def test_no_other_bytes_are_signed(data: bytes, struct: bytes) -> None:
    for policy in (ATTESTS, PAYS):
        for shown in (None, struct):
            with pytest.raises(PolicyError):
                policy.check(KEY.address, data, shown)


@given(st.binary(max_size=200).filter(lambda struct: struct[:32] != STRUCT[:32]))
def test_a_local_attestation_key_signs_no_other_type(struct: bytes) -> None:
    with pytest.raises(PolicyError, match="OTHER_TYPE"):
        KEY.attest(DOMAIN, struct)


def test_a_local_attestation_is_the_contracts() -> None:
    assert recover(typed_digest(DOMAIN, STRUCT), KEY.attest(DOMAIN, STRUCT)) == KEY.address
    assert KEY.attest_all(DOMAIN, [STRUCT, STRUCT]) == [KEY.attest(DOMAIN, STRUCT)] * 2
