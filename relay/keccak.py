"""Keccak-256 as Ethereum uses it (the padding of the original submission, not FIPS 202's SHA3-256).

Pure.
"""

from sha3 import keccak_256

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
    lower = address.hex()
    digest = keccak(lower.encode()).hex()
    return "0x" + "".join(c.upper() if n >= "8" else c for c, n in zip(lower, digest, strict=False))
