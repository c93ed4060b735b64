"""Where keys come from: files, folders, remote signers; read again, they may come, change and go."""

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from eth_account import Account

from relay.config import settings
from relay.errors import SignerError, StartupError
from relay.keccak import checksum_address, keccak
from relay.keyring import Keyring, KeySources, for_development, senders
from relay.private_file import KeyFileError
from relay.signer import LocalSigner
from relay.signing_policy import ATTESTATIONS, MODERATION
from tests.harness.odd_signer import OddSigner, odd_signer

KEYS = [LocalSigner(keccak(bytes((n,)))) for n in range(5)]


def put(path: Path, number: int, mode: int = 0o600) -> Path:
    """A file with the n-th key, replaced at once."""
    draft = path.parent / f".{path.name}"
    draft.write_text(keccak(bytes((number,))).hex())
    draft.chmod(mode)
    draft.rename(path)
    return path


def addresses(keys: Keyring) -> list[bytes]:
    """The gas keys' accounts."""
    return [signer.address for signer in keys.gas]


def test_files_and_folders_of_gas_keys(tmp_path: Path) -> None:
    """A list, a folder, both; hidden files, folders and the password are no keys; the same key twice is one."""
    folder = tmp_path / "gas"
    (folder / "deeper").mkdir(parents=True)
    put(folder / "a", 1)
    put(folder / "b", 2)
    put(folder / "again", 1)
    (folder / ".hidden").write_text("no key")
    password = folder / "password"
    password.write_text("x")
    password.chmod(0o600)
    alone = put(tmp_path / "alone", 3)
    found = KeySources(settings(gas_key_file=f"{folder}, {alone}", key_password_file=password)).read()
    assert addresses(found) == [KEYS[1].address, KEYS[2].address, KEYS[3].address]
    assert addresses(KeySources(settings(gas_key_file=alone)).read()) == [KEYS[3].address]
    assert addresses(KeySources(settings()).read()) == []


def test_keys_come_change_and_go(tmp_path: Path) -> None:
    """As files do; a mode that lets others in is refused when it appears, however long the key was in use."""
    gas, attestation, auditor = (put(tmp_path / name, n) for n, name in enumerate(("gas", "attestation", "auditor")))
    sources = KeySources(settings(gas_key_file=gas, attestation_key_file=attestation, auditor_key_file=auditor))
    first = sources.read()
    again = sources.read()
    assert again.gas[0] is first.gas[0], "what did not change is not read again"
    assert again.auditor is first.auditor
    put(attestation, 4)
    changed = sources.read()
    assert changed.attestation is not None
    assert changed.attestation.address == KEYS[4].address
    gas.unlink()
    auditor.unlink()
    gone = sources.read()
    assert (gone.gas, gone.auditor) == ((), None)
    put(gas, 0)
    assert addresses(sources.read()) == [KEYS[0].address]
    gas.chmod(0o640)
    with pytest.raises(KeyFileError, match="run chmod 600"):
        sources.read()
    gas.chmod(0o600)
    attestation.unlink()
    with pytest.raises(KeyFileError, match="cannot be read"):
        sources.read()


def test_a_file_that_is_missing_at_the_start_is_a_mistake(tmp_path: Path) -> None:
    for name in ("gas_key_file", "auditor_key_file", "attestation_key_file"):
        with pytest.raises(KeyFileError, match="cannot be read: No such file"):
            KeySources(settings(**{name: tmp_path / "absent"})).read()


def test_a_keystore_is_decrypted_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It takes a second by design; looking every few seconds must not."""
    store, password = tmp_path / "store", tmp_path / "password"
    store.write_text(json.dumps(Account.encrypt(keccak(b"\x01"), "hush", kdf="scrypt", iterations=2)))
    password.write_text("hush\n")
    for path in (store, password):
        path.chmod(0o600)
    decrypted: list[None] = []
    decrypt = Account.decrypt

    def counted(keyfile: str, password: str) -> bytes:
        decrypted.append(None)
        return bytes(decrypt(keyfile, password))

    monkeypatch.setattr(Account, "decrypt", counted)
    sources = KeySources(settings(gas_key_file=store, key_password_file=password))
    assert addresses(sources.read()) == addresses(sources.read()) == [KEYS[1].address]
    assert len(decrypted) == 1
    os.utime(store, ns=(1, 1))
    assert addresses(sources.read()) == [KEYS[1].address]
    assert len(decrypted) == 2


@pytest.fixture
def remote() -> Iterator[OddSigner]:
    """A remote signer with the key 2."""
    with odd_signer(keccak(b"\x02")) as running:
        yield running


def test_remote_signers(remote: OddSigner, tmp_path: Path) -> None:
    """Named by account, or all it holds; an account that has another job is no gas key unless it is named as one."""
    named = f"{remote.url}#{checksum_address(KEYS[2].address)}"
    sources = KeySources(settings(attestation_signer=named, gas_signer=f"{remote.url},{remote.url}"))
    found = sources.read()
    assert found.attestation is not None
    assert (found.attestation.address, found.gas) == (KEYS[2].address, ())
    both = KeySources(settings(gas_signer=remote.url, gas_key_file=put(tmp_path / "gas", 1))).read()
    assert addresses(both) == [KEYS[1].address, KEYS[2].address]
    twice = KeySources(settings(auditor_signer=named, gas_signer=named)).read()
    assert senders(twice) == {KEYS[2].address: (twice.auditor, ATTESTATIONS | MODERATION)}
    asked = len(remote.asked)
    remote.mood = "closes"
    assert sources.read().attestation is found.attestation, "a key that is known is not asked for again"
    assert len(remote.asked) == asked + 1, "but which gas keys there are is"


def test_remote_signers_that_cannot_be_used(remote: OddSigner, tmp_path: Path) -> None:
    with pytest.raises(StartupError, match="named twice: set FAIRSCORE_ATTESTATION_KEY_FILE or"):
        KeySources(settings(attestation_signer=remote.url, attestation_key_file=put(tmp_path / "a", 1))).read()
    with pytest.raises(SignerError, match="does not hold the key"):
        KeySources(settings(auditor_signer=f"{remote.url}#0x{'11' * 20}")).read()
    remote.mood = "closes"
    with pytest.raises(SignerError, match="does not answer"):
        KeySources(settings(gas_signer=remote.url)).read()


def test_who_sends_what() -> None:
    """One account with two jobs carries both."""
    gas, attestation, auditor = KEYS[0], KEYS[1], KEYS[2]
    found = senders(Keyring(None, attestation, (gas,), auditor))
    assert found == {gas.address: (gas, ATTESTATIONS), auditor.address: (auditor, MODERATION)}
    assert senders(Keyring(None, attestation, (gas,), gas)) == {gas.address: (gas, ATTESTATIONS | MODERATION)}
    assert senders(Keyring(None, attestation)) == {}


def test_no_secret_is_shown() -> None:
    keys = for_development(31337)
    shown = f"{keys!r} {settings(signer_token_file=Path('t'), rpc_url='http://host/secret-path')!r}"
    assert "ac0974" not in shown
    assert "secret-path" not in shown
    assert "LocalSigner(0x" in shown
