"""Transactions as bytes: the same as eth-account's, and read back exactly or not at all."""

from typing import Any

import pytest
import rlp
from eth_account import Account
from hypothesis import given
from hypothesis import strategies as st

from relay import transactions
from relay.keccak import checksum_address, keccak
from relay.signer import LocalSigner
from relay.transactions import Transaction

SECRET = keccak(b"transactions")
SIGNER = LocalSigner(SECRET)
uint = st.integers(0, 2**64)
anything = st.builds(
    Transaction,
    chain_id=st.integers(1, 2**63),
    nonce=st.integers(0, 2**64 - 2),
    fee_max=uint,
    tip_max=st.none() | uint,
    gas=st.integers(0, 2**63),
    to=st.binary(min_size=20, max_size=20) | st.just(b""),
    value=uint,
    data=st.binary(max_size=300),
)


def as_fields(transaction: Transaction) -> dict[str, Any]:
    """The JSON-RPC fields of a transaction."""
    fields: dict[str, Any] = {
        "chainId": transaction.chain_id,
        "nonce": transaction.nonce,
        "gas": transaction.gas,
        "value": transaction.value,
        "data": transaction.data,
    }
    if transaction.to:
        fields["to"] = checksum_address(transaction.to)
    if transaction.tip_max is None:
        return fields | {"gasPrice": transaction.fee_max}
    return fields | {"maxFeePerGas": transaction.fee_max, "maxPriorityFeePerGas": transaction.tip_max}


@given(anything)
def test_what_is_signed_is_what_eth_account_signs(transaction: Transaction) -> None:
    fields = as_fields(transaction)
    assert transactions.from_fields(fields) == transaction
    raw, tx_hash = SIGNER.sign_transaction(fields)
    assert raw == bytes(Account.sign_transaction(fields, SECRET).raw_transaction)
    assert tx_hash == keccak(raw)


@given(anything)
def test_what_is_encoded_is_read_back(transaction: Transaction) -> None:
    assert transactions.decode(transactions.encode(transaction)) == transaction


@given(st.binary(max_size=120) | st.binary(max_size=119).map(lambda tail: b"\x02" + tail))
def test_other_bytes_are_refused(payload: bytes) -> None:
    with pytest.raises(ValueError, match="transaction"):
        transactions.decode(payload)


@given(anything, st.data())
def test_a_changed_byte_is_another_transaction_or_none(transaction: Transaction, data: st.DataObject) -> None:
    """Nothing but the one encoding of a transaction is read as that transaction."""
    payload = bytearray(transactions.encode(transaction))
    place = data.draw(st.integers(0, len(payload) - 1))
    payload[place] ^= data.draw(st.integers(1, 255))
    try:
        found = transactions.decode(bytes(payload))
    except ValueError:
        return
    assert found != transaction
    assert transactions.encode(found) == bytes(payload)


DYNAMIC = Transaction(1, 2, 3, 4, 5, b"\x11" * 20, 0, b"")


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"\x02",
        b"\x01" + transactions.encode(DYNAMIC)[1:],  # EIP-2930
        b"\x03" + transactions.encode(DYNAMIC)[1:],  # EIP-4844
        transactions.encode(DYNAMIC) + b"\0",
        transactions.encode(DYNAMIC)[:-1],
        SIGNER.sign_transaction(as_fields(DYNAMIC))[0],  # signed already
        b"\x02"
        + rlp.encode([b"\x01", b"\x02", b"\x04", b"\x03", b"\x05", b"\x11" * 20, b"", b"", [[b"\x11" * 20, []]]]),
        b"\x02" + rlp.encode([b"\0\x01", b"\x02", b"\x04", b"\x03", b"\x05", b"\x11" * 20, b"", b"", []]),
        b"\x02" + rlp.encode([b"\x01", b"\x02", b"\x04", b"\x03", b"\x05", b"\x11" * 19, b"", b"", []]),
        b"\x02" + rlp.encode([b"\x01", b"\x02", b"\x04", b"\x03", b"\x05", b"\x11" * 20, b"", [b""], []]),
        rlp.encode([b"\x02", b"\x03", b"\x05", b"\x11" * 20, b"", b""]),  # before EIP-155: good on every chain
        rlp.encode([b"\x02", b"\x03", b"\x05", b"\x11" * 20, b"", b"", b"\x01", b"\x01", b""]),
    ],
)
def test_forms_that_are_not_ours(payload: bytes) -> None:
    with pytest.raises(ValueError, match="transaction"):
        transactions.decode(payload)


@pytest.mark.parametrize(
    ("change", "error", "text"),
    [
        ({"nonce": -1}, ValueError, "nonce"),
        ({"gas": 2**256}, ValueError, "gas"),
        ({"value": 1.5}, ValueError, "value"),
        ({"maxFeePerGas": None}, ValueError, "maxFeePerGas"),
        ({"to": b"\x11" * 21}, ValueError, "20 bytes"),
        ({"to": "0x12"}, ValueError, "20 bytes"),
        ({"data": "0xzz"}, ValueError, "hex"),
    ],
)
def test_fields_that_do_not_fit(change: dict[str, Any], error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        transactions.from_fields({**as_fields(DYNAMIC), **change})
