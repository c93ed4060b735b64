"""Keccak-256 as Ethereum uses it (the padding of the original submission, not FIPS 202's SHA3-256).

Pure.
"""

from sha3 import keccak_256

_CASE_BIT = 0x20
_HIGH_NIBBLE = bytes(_CASE_BIT if chr(code) in "89abcdef" else 0 for code in range(256))
_LETTER = bytes(_CASE_BIT if chr(code) in "abcdef" else 0 for code in range(256))

__all__ = ["checksum_address", "keccak"]


def keccak(data: bytes) -> bytes:
    """Return the 32-byte Keccak-256 digest of ``data`` (Yellow Paper, "KEC").

    ``safe-pysha3`` does it in C: six times faster than the pycryptodome that eth-hash would choose on its own.
    """
    digest: bytes = keccak_256(data).digest()
    return digest


def checksum_address(address: bytes) -> str:
    """Return the 20-byte ``address`` as EIP-55 text (mixed case is the checksum); ValueError for any other length."""
    if len(address) != 20:
        raise ValueError(f"an address has 20 bytes, not {len(address)}")
    # EIP-55: a letter is upper case where the hash of the text has a nibble of 8 or more. Upper and lower case differ
    # in one bit, so all forty characters are decided at once: five times faster than one by one.
    lower = address.hex().encode()
    high = keccak(lower).hex()[:40].encode().translate(_HIGH_NIBBLE)
    bits = int.from_bytes(high, "big") & int.from_bytes(lower.translate(_LETTER), "big")
    return "0x" + (int.from_bytes(lower, "big") ^ bits).to_bytes(40, "big").decode()
