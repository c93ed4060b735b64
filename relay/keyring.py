"""Which keys this process holds, and where they come from.

Reads key files and asks remote signers which keys they hold. Four jobs: `admin` deploys and publishes rules,
`attestation` signs what was computed, `gas` keys send scores and pay for it, `auditor` sends revocations. A process
without one of them does less, visibly; none is ever made up outside the embedded chain.
"""

from collections.abc import Callable, Iterator, Set
from dataclasses import dataclass
from pathlib import Path

from relay.config import Settings
from relay.devnet import DevnetKey
from relay.errors import StartupError
from relay.remote_signer import RemoteSigner, SignerService
from relay.signer import LocalSigner
from relay.signing_policy import ATTESTATIONS, MODERATION

DEV_CHAIN_ID = 31337
# The first four accounts of the mnemonic "test test … junk" that anvil and Hardhat fund: known to everyone.
DEV_SECRETS = (
    "ac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80",
    "59c6995e998f97a5a0044966f0945389dc9e86dae88c7a8412f4603b6b78690d",
    "5de4111afa1a4b94908f83103eb1f1706367c2e68ca870fc3fb9a804cdab365a",
    "7c852118294e51e653712a81e05800f419141751be58f605c371e15141b007a6",
)

Signer = LocalSigner | RemoteSigner


class DevKeysError(Exception):
    """The well-known test keys were asked for on a chain that is not a test chain."""


@dataclass(frozen=True)
class Keyring:
    """The keys of this process; `guardian` is an address that a deployment gives that role to."""

    admin: LocalSigner | None = None
    attestation: Signer | None = None
    gas: tuple[Signer, ...] = ()
    auditor: Signer | None = None
    guardian: bytes | None = None


def senders(keys: Keyring) -> dict[bytes, tuple[Signer, frozenset[str]]]:
    """Return which accounts send, with what signs and the kinds of cargo; one account may have two jobs."""
    found = {signer.address: (signer, ATTESTATIONS) for signer in keys.gas}
    if keys.auditor is not None:
        _, also = found.get(keys.auditor.address, (None, frozenset[str]()))
        found[keys.auditor.address] = (keys.auditor, also | MODERATION)
    return found


ReadKeys = Callable[[], Keyring]
"""Reads the sources again, on any thread. Raises KeyFileError, SignerError."""


class KeySources:
    """The key files and remote signers that the settings name. A file that did not change is not read again."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._files: dict[Path, tuple[tuple[object, ...], LocalSigner]] = {}
        self._services: dict[str, SignerService] = {}
        self._looked = False

    def read(self) -> Keyring:
        """Return the keys as of now; a source not named is a key not held.

        A gas or auditor key whose file is gone since the last time is a key taken out of use.

        Raises:
            KeyFileError: a named file is missing, readable by others, or not a key.
            SignerError: a remote signer does not answer, or holds none of the keys named.
            StartupError: a key is named twice, as a file and at a remote signer.
        """
        named = self._settings
        attestation = self._one("attestation", named.attestation_key_file, named.attestation_signer)
        auditor = self._one("auditor", self._still(named.auditor_key_file), named.auditor_signer)
        others = {signer.address for signer in (attestation, auditor) if signer is not None}
        found = Keyring(self._file(named.admin_key_file), attestation, self._gas(others), auditor)
        self._looked = True
        return found

    def _one(self, job: str, path: Path | None, url: str) -> Signer | None:
        if path is not None and url:
            name = job.upper()
            raise StartupError(
                f"the {job} key is named twice: set FAIRSCORE_{name}_KEY_FILE or FAIRSCORE_{name}_SIGNER"
            )
        if not url:
            return self._file(path)
        found = self._remote(url)
        if len(found) != 1:
            raise StartupError(
                f"the remote signer of the {job} key holds {len(found)} keys: name one at the end of "
                f"FAIRSCORE_{job.upper()}_SIGNER, as in https://host#0xaddress"
            )
        return found[0]

    def _gas(self, others: Set[bytes]) -> tuple[Signer, ...]:
        """Return the gas keys; a remote signer of which none is named offers all it holds, but `others` have a job."""
        files = [self._file(path) for named in self._settings.gas_key_file for path in self._expanded(named)]
        remote = [
            signer
            for url in self._settings.gas_signer
            for signer in self._remote(url)
            if "#" in url or signer.address not in others
        ]
        by_address: dict[bytes, Signer] = {}
        for signer in (*files, *remote):
            if signer is not None:
                by_address.setdefault(signer.address, signer)
        return tuple(by_address.values())

    def _expanded(self, named: Path) -> Iterator[Path]:
        """Yield the file, or the files of a folder; hidden ones and the password are none."""
        if named.is_dir():
            password = self._settings.key_password_file
            listed = sorted(path for path in named.iterdir() if not path.name.startswith(".") and path.is_file())
            yield from (path for path in listed if password is None or path.resolve() != password.resolve())
        elif self._still(named) is not None:
            yield named

    def _still(self, path: Path | None) -> Path | None:
        """Return the path, None where the file is gone since the first look: then it was a mistake."""
        return None if path is not None and self._looked and not path.exists() else path

    def _file(self, path: Path | None) -> LocalSigner | None:
        if path is None:
            return None
        password = self._settings.key_password_file
        state = (_state(path), password and _state(password))
        known = self._files.get(path)
        if known is None or known[0] != state:
            known = self._files[path] = (state, LocalSigner.from_key_file(path, password))
        return known[1]

    def _remote(self, url: str) -> list[RemoteSigner]:
        base, _, account = url.partition("#")
        service = self._services.get(base)
        if service is None:
            service = self._services[base] = SignerService(base, self._settings.signer_token_file)
        return service.signers(account)


def _state(path: Path) -> tuple[object, ...]:
    """Return what changes when a file is replaced, written to, or opened to others."""
    try:
        found = path.stat()
    except OSError:
        return (None,)
    return found.st_ino, found.st_mtime_ns, found.st_size, found.st_mode


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
    admin, attestation, gas, auditor = (LocalSigner(bytes.fromhex(secret)) for secret in DEV_SECRETS)
    return Keyring(admin, attestation, (gas,), auditor)


def of_devnet(keys: dict[str, DevnetKey]) -> Keyring:
    """Return the random keys of this home's embedded chain."""
    admin, attestation, gas, auditor = (
        LocalSigner(keys[role].secret) for role in ("admin", "attestation", "gas", "auditor")
    )
    return Keyring(admin, attestation, (gas,), auditor, keys["guardian"].address)
