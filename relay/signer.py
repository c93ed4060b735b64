"""The only code that holds a private key: signs digests and transactions, reads key files.

May read the key file and the password file it is given. The key never appears in text, errors or pickles.
"""

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

from coincurve import PrivateKey

from relay import transactions
from relay.attestation import Domain, typed_digest
from relay.keccak import checksum_address, keccak
from relay.private_file import KeyFileError, read_private
from relay.signing_policy import check_attestation


class LocalSigner:
    """A private key in this process's memory."""

    __slots__ = ("_key", "address", "public_key")

    def __init__(self, secret: bytes) -> None:
        """Take the 32-byte secret; ValueError (without the secret) where it is not a secp256k1 key."""
        if len(secret) != 32:
            raise ValueError(f"a secp256k1 private key has 32 bytes, not {len(secret)}")
        try:
            self._key = PrivateKey(secret)
        except ValueError:
            raise ValueError("zero, or beyond the curve's order: not a secp256k1 private key") from None
        self.public_key = self._key.public_key.format(compressed=False)[1:]  # 64 bytes: x ‖ y
        self.address = keccak(self.public_key)[12:]

    @classmethod
    def from_key_file(cls, path: Path, password_path: Path | None = None) -> "LocalSigner":
        """Read a key: 64 hex digits, or a keystore (Web3 Secret Storage, version 3) whose password is another file.

        KeyFileError where a file is missing, readable by other users, or not a key.
        """
        text = read_private(path).strip()
        if not text.startswith("{"):
            return cls._from_hex(text, path)
        if password_path is None:
            raise KeyFileError(f"{path} is an encrypted keystore: name the file that holds its password")
        password = read_private(password_path).rstrip("\r\n")
        allowed = sys.getrecursionlimit()
        from eth_account import Account  # noqa: PLC0415 - a third of a second to load, and only keystores need it

        sys.setrecursionlimit(allowed)  # loading it allows depths at which a parser ends the process, not the parsing

        try:
            secret = bytes(Account.decrypt(json.loads(text), password))
        except (ValueError, KeyError, TypeError, RuntimeError) as error:
            raise KeyFileError(f"{path} cannot be decrypted: wrong password or not a version 3 keystore") from error
        return cls(secret)

    @classmethod
    def _from_hex(cls, text: str, path: Path) -> "LocalSigner":
        try:
            return cls(bytes.fromhex(text.removeprefix("0x")))
        except ValueError:
            # `from None`: the cause's text would quote a piece of the key.
            raise KeyFileError(f"{path} is not a private key: expected 64 hex digits or a JSON keystore") from None

    def sign(self, digest: bytes) -> bytes:
        """Return r ‖ s ‖ v (65 bytes, v 27 or 28) over a 32-byte digest: deterministic (RFC 6979), low s (EIP-2)."""
        signature = self._key.sign_recoverable(digest, hasher=None)
        return signature[:64] + bytes((signature[64] + 27,))

    def attest(self, domain: Domain, struct: bytes) -> bytes:
        """Sign an encoded EIP-712 struct for one contract; PolicyError unless it states what we computed."""
        check_attestation(struct)
        return self.sign(typed_digest(domain, struct))

    def attest_all(self, domain: Domain, structs: Sequence[bytes]) -> list[bytes]:
        """Sign several structs."""
        return [self.attest(domain, struct) for struct in structs]

    def sign_transaction(self, fields: Mapping[str, Any]) -> tuple[bytes, bytes]:
        """Return (raw transaction, its hash) for JSON-RPC fields: legacy where there is a gas price, else EIP-1559.

        `to` may be 20 bytes, text, or absent for a deployment. TypeError or ValueError where a field is missing or bad.
        """
        transaction = transactions.from_fields(fields)
        raw = transactions.signed(transaction, self.sign(keccak(transactions.encode(transaction))))
        return raw, keccak(raw)

    def __repr__(self) -> str:
        return f"LocalSigner({checksum_address(self.address)})"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a signer does not leave its process")
