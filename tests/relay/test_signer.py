"""The key's holder: key files, transactions, and that the key never leaves."""

import copy
import json
import pickle
import subprocess
import sys
import traceback
from pathlib import Path
from typing import Any

import pytest
from eth_account import Account

from relay.keccak import checksum_address, keccak
from relay.private_file import KeyFileError
from relay.signer import LocalSigner

ROOT = Path(__file__).resolve().parents[2]
SECRET = keccak(b"a secret of this test")
ADDRESS = Account.from_key(SECRET).address


def key_file(folder: Path, text: str, mode: int = 0o600, name: str = "key") -> Path:
    path = folder / name
    path.write_text(text)
    path.chmod(mode)
    return path


@pytest.mark.parametrize("text", [SECRET.hex(), "0x" + SECRET.hex(), f"  {SECRET.hex()}\n", SECRET.hex().upper()])
def test_hex_key_files(tmp_path: Path, text: str) -> None:
    assert checksum_address(LocalSigner.from_key_file(key_file(tmp_path, text)).address) == ADDRESS


@pytest.mark.parametrize(("kdf", "iterations"), [("scrypt", 2), ("pbkdf2", 1)])
def test_keystores(tmp_path: Path, kdf: Any, iterations: int) -> None:
    store = key_file(tmp_path, json.dumps(Account.encrypt(SECRET, "correct horse", kdf=kdf, iterations=iterations)))
    password = key_file(tmp_path, "correct horse\n", name="password")
    assert checksum_address(LocalSigner.from_key_file(store, password).address) == ADDRESS
    with pytest.raises(KeyFileError, match="name the file that holds its password"):
        LocalSigner.from_key_file(store)
    wrong = key_file(tmp_path, "wrong", name="wrong")
    with pytest.raises(KeyFileError, match="wrong password"):
        LocalSigner.from_key_file(store, wrong)
    with pytest.raises(KeyFileError, match="open to other users"):
        LocalSigner.from_key_file(store, key_file(tmp_path, "correct horse", 0o644, "open"))


def test_reading_a_keystore_allows_no_deeper_recursion(tmp_path: Path) -> None:
    """The library that reads it raises the limit to where hostile JSON ends a process, in this process already."""
    store = key_file(tmp_path, json.dumps(Account.encrypt(SECRET, "hush", kdf="pbkdf2", iterations=1)))
    password = key_file(tmp_path, "hush", name="password")
    program = (
        "import sys; from pathlib import Path; from relay.signer import LocalSigner; before = sys.getrecursionlimit(); "
        "LocalSigner.from_key_file(*map(Path, sys.argv[1:])); print(sys.getrecursionlimit() - before)"
    )
    command = [sys.executable, "-c", program, str(store), str(password)]
    assert subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout == "0\n"


@pytest.mark.parametrize(
    "text",
    ["{}", "{", '{"version": 3}', '{"version": 4, "crypto": {}}', '{"version": 3, "crypto": {"kdf": "none"}}'],
)
def test_broken_keystores(tmp_path: Path, text: str) -> None:
    password = key_file(tmp_path, "x", name="password")
    with pytest.raises(KeyFileError, match="cannot be decrypted"):
        LocalSigner.from_key_file(key_file(tmp_path, text), password)


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o644, 0o610, 0o602, 0o777])
def test_files_that_others_can_touch_are_refused(tmp_path: Path, mode: int) -> None:
    with pytest.raises(KeyFileError, match=r"open to other users \(mode 0...\): run chmod 600"):
        LocalSigner.from_key_file(key_file(tmp_path, SECRET.hex(), mode))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "hello",
        SECRET.hex()[:-2],
        SECRET.hex() + "00",
        "00" * 32,
        "ff" * 32,
        SECRET.hex()[:-1] + "g",
        "0x0x" + "11" * 31,
    ],
)
def test_files_that_hold_no_key_are_refused_without_quoting_them(tmp_path: Path, text: str) -> None:
    with pytest.raises(KeyFileError) as caught:
        LocalSigner.from_key_file(key_file(tmp_path, text))
    shown = "".join(traceback.format_exception(caught.value))
    assert "not a private key" in shown
    assert len(text) < 8 or text[:16] not in shown


def test_missing_and_odd_files(tmp_path: Path) -> None:
    with pytest.raises(KeyFileError, match="cannot be read: No such file"):
        LocalSigner.from_key_file(tmp_path / "absent")
    with pytest.raises(KeyFileError, match="is not a file"):
        LocalSigner.from_key_file(tmp_path)
    binary = tmp_path / "binary"
    binary.write_bytes(b"\xff\xfe" * 32)
    binary.chmod(0o600)
    with pytest.raises(KeyFileError, match="is not text"):
        LocalSigner.from_key_file(binary)


@pytest.mark.parametrize("secret", [b"", bytes(32), b"\xff" * 32, bytes(31), bytes(33)])
def test_secrets_that_are_none(secret: bytes) -> None:
    with pytest.raises(ValueError, match="private key"):
        LocalSigner(secret)


def test_the_key_stays() -> None:
    signer = LocalSigner(SECRET)
    assert repr(signer) == str(signer) == f"LocalSigner({ADDRESS})"
    assert not hasattr(signer, "__dict__")
    for leave in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError, match="does not leave its process"):
            leave(signer)


# ------------------------------------------------------------- transactions

DYNAMIC = {
    "chainId": 31337,
    "nonce": 7,
    "gas": 21_000,
    "maxFeePerGas": 10**10,
    "maxPriorityFeePerGas": 10**9,
    "value": 5,
    "data": b"\x01\x02",
}
LEGACY = {"chainId": 31337, "nonce": 7, "gas": 21_000, "gasPrice": 10**10, "value": 5, "data": b""}


@pytest.mark.parametrize("fields", [DYNAMIC, LEGACY], ids=["EIP-1559", "legacy"])
@pytest.mark.parametrize(
    "to", [b"\x11" * 20, checksum_address(b"\xab" * 20), None], ids=["bytes", "text", "deployment"]
)
def test_transactions_are_ours_and_hash_right(fields: dict[str, Any], to: bytes | str | None) -> None:
    signer = LocalSigner(SECRET)
    raw, tx_hash = signer.sign_transaction({**fields, "to": to})
    assert keccak(raw) == tx_hash
    assert (raw[0] == 2) is ("maxFeePerGas" in fields)
    assert Account.recover_transaction(raw) == ADDRESS
    assert signer.sign_transaction({**fields, "to": to}) == (raw, tx_hash), "deterministic"
    plain = {
        k: v
        for k, v in {**fields, "to": checksum_address(to) if isinstance(to, bytes) else to}.items()
        if v is not None
    }
    assert bytes(Account.sign_transaction(plain, SECRET).raw_transaction) == raw


def test_bad_transactions_are_errors_that_name_the_field() -> None:
    with pytest.raises(TypeError, match="nonce"):
        LocalSigner(SECRET).sign_transaction({k: v for k, v in DYNAMIC.items() if k != "nonce"})
    with pytest.raises(ValueError, match="20 bytes"):
        LocalSigner(SECRET).sign_transaction({**DYNAMIC, "to": b"\x11" * 19})
