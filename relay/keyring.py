"""Which private keys this process holds, and where they came from.

Reads key files only. Three keys with three jobs: `admin` deploys and publishes rules, `attestation` signs what was
computed, `gas` pays for transactions. A process without one of them does less, visibly; none is ever made up outside
the embedded chain.
"""

from dataclasses import dataclass
from pathlib import Path

from relay.config import Settings
from relay.devnet import DevnetKey
from relay.signer import LocalSigner

DEV_CHAIN_ID = 31337
# The first three accounts of the mnemonic "test test … junk" that anvil and Hardhat fund: known to everyone.
DEV_SECRETS = (
    "ac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80",
    "59c6995e998f97a5a0044966f0945389dc9e86dae88c7a8412f4603b6b78690d",
    "5de4111afa1a4b94908f83103eb1f1706367c2e68ca870fc3fb9a804cdab365a",
)


class DevKeysError(Exception):
    """The well-known test keys were asked for on a chain that is not a test chain."""


@dataclass(frozen=True)
class Keyring:
    """The keys of this process; `guardian` and `auditor` are addresses that a deployment gives their roles to."""

    admin: LocalSigner | None = None
    attestation: LocalSigner | None = None
    gas: LocalSigner | None = None
    guardian: bytes | None = None
    auditor: bytes | None = None


def from_files(settings: Settings) -> Keyring:
    """Read the key files that the settings name; a file not named is a key not held.

    Raises:
        KeyFileError: a named file is missing, readable by others, or not a key.
    """

    def read(path: Path | None) -> LocalSigner | None:
        return None if path is None else LocalSigner.from_key_file(path, settings.key_password_file)

    return Keyring(read(settings.admin_key_file), read(settings.attestation_key_file), read(settings.gas_key_file))


def for_development(chain_id: int) -> Keyring:
    """Return the well-known test keys.

    Raises:
        DevKeysError: the chain is not 31337, where everybody could sign as this relay.
    """
    if chain_id != DEV_CHAIN_ID:
        raise DevKeysError(
            f"--dev-keys are keys that everybody knows; this chain's id is {chain_id}, and they are only for "
            f"{DEV_CHAIN_ID}. Name key files instead: FAIRSCORE_ATTESTATION_KEY_FILE, FAIRSCORE_GAS_KEY_FILE"
        )
    admin, attestation, gas = (LocalSigner(bytes.fromhex(secret)) for secret in DEV_SECRETS)
    return Keyring(admin, attestation, gas)


def of_devnet(keys: dict[str, DevnetKey]) -> Keyring:
    """Return the random keys of this home's embedded chain."""
    return Keyring(
        LocalSigner(keys["admin"].secret),
        LocalSigner(keys["attestation"].secret),
        LocalSigner(keys["gas"].secret),
        keys["guardian"].address,
        keys["auditor"].address,
    )
