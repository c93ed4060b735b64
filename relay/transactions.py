"""Transactions as bytes: what is signed (EIP-1559 or EIP-155) and what is sent, whoever holds the key.

Pure. One encoding for a key in this process and for one at a remote signer. Addresses are 20 bytes, fees wei per gas.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import rlp
from rlp.exceptions import RLPException

DYNAMIC = b"\x02"  # EIP-2718 type of EIP-1559


class Transaction(NamedTuple):
    """An unsigned transaction. `tip_max` is None for a legacy one; `to` is empty for a deployment."""

    chain_id: int
    nonce: int
    fee_max: int
    tip_max: int | None
    gas: int
    to: bytes
    value: int
    data: bytes


def from_fields(fields: Mapping[str, Any]) -> Transaction:
    """Read JSON-RPC fields: legacy where there is a `gasPrice`, else EIP-1559; `to` absent or None is a deployment.

    Raises:
        TypeError: a field is missing; ValueError: one does not fit.
    """
    legacy = "gasPrice" in fields
    prices = ("gasPrice",) if legacy else ("maxFeePerGas", "maxPriorityFeePerGas")
    names = ("chainId", "nonce", "gas", "value", *prices)
    missing = [name for name in names if name not in fields]
    if missing:
        raise TypeError(f"a transaction needs {', '.join(missing)}")
    wrong = [name for name in names if not isinstance(fields[name], int) or not 0 <= fields[name] < 1 << 256]
    if wrong:
        raise ValueError(f"{', '.join(wrong)}: expected a whole number below 2^256")
    to, data = _bytes(fields.get("to")), _bytes(fields.get("data"))
    if len(to) not in (0, 20):
        raise ValueError(f"an address has 20 bytes, not {len(to)}")
    fee, tip = (fields["gasPrice"], None) if legacy else (fields["maxFeePerGas"], fields["maxPriorityFeePerGas"])
    return Transaction(fields["chainId"], fields["nonce"], fee, tip, fields["gas"], to, fields["value"], data)


def _bytes(value: bytes | str | None) -> bytes:
    return bytes.fromhex(value.removeprefix("0x")) if isinstance(value, str) else bytes(value or b"")


def encode(transaction: Transaction) -> bytes:
    """Return the bytes whose keccak-256 is signed."""
    if transaction.tip_max is None:
        return _rlp([*_legacy(transaction), _int(transaction.chain_id), b"", b""])  # EIP-155
    return DYNAMIC + _rlp(_dynamic(transaction))


def signed(transaction: Transaction, signature: bytes) -> bytes:
    """Return the raw transaction; `signature` is r ‖ s ‖ v, 65 bytes, v 27 or 28."""
    parity = signature[64] - 27
    r, s = signature[:32].lstrip(b"\0"), signature[32:64].lstrip(b"\0")
    if transaction.tip_max is None:
        return _rlp([*_legacy(transaction), _int(2 * transaction.chain_id + 35 + parity), r, s])
    return DYNAMIC + _rlp([*_dynamic(transaction), _int(parity), r, s])


def decode(payload: bytes) -> Transaction:
    """Read what `encode` returns; ValueError for anything else, however close.

    An access list is refused too: nothing here makes one.
    """
    dynamic = payload[:1] == DYNAMIC
    try:
        items = rlp.decode(payload[1:] if dynamic else payload)
    except RLPException:
        raise ValueError("not the RLP of a transaction") from None
    if not isinstance(items, list) or len(items) != 9:
        raise ValueError("not an unsigned transaction of EIP-1559 or EIP-155")
    if dynamic:
        chain_id, nonce, tip, fee, gas, to, value, data, _ = items
    else:
        nonce, fee, gas, to, value, data, chain_id, _, _ = items
        tip = b""
    flat = (chain_id, nonce, fee, tip, gas, to, value, data)
    if not all(isinstance(item, bytes) for item in flat) or len(to) not in (0, 20):
        raise ValueError("not an unsigned transaction of EIP-1559 or EIP-155")
    number = int.from_bytes
    fees = (number(fee), number(tip) if dynamic else None)
    found = Transaction(number(chain_id), number(nonce), *fees, number(gas), to, number(value), data)
    if encode(found) != payload:  # leading zeros, an access list, trailing bytes: one transaction has one encoding
        raise ValueError("not the canonical encoding of a transaction without an access list")
    return found


def _legacy(transaction: Transaction) -> list[bytes]:
    return [
        _int(transaction.nonce),
        _int(transaction.fee_max),
        _int(transaction.gas),
        transaction.to,
        _int(transaction.value),
        transaction.data,
    ]


def _dynamic(transaction: Transaction) -> list[Any]:
    fees = (_int(transaction.tip_max or 0), _int(transaction.fee_max), _int(transaction.gas))
    what = (transaction.to, _int(transaction.value), transaction.data)
    return [_int(transaction.chain_id), _int(transaction.nonce), *fees, *what, []]


def _int(number: int) -> bytes:
    return number.to_bytes((number.bit_length() + 7) // 8, "big")


def _rlp(items: list[Any]) -> bytes:
    return bytes(rlp.encode(items))
