"""What a home folder remembers beside the database: where the contract is, and what scripts may want to know.

Touches files under `FAIRSCORE_HOME` only. Each is written aside and renamed, so a kill leaves the old one or the new.
"""

import fcntl
import json
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from relay.errors import StartupError

CONTRACTS_NAME = "contracts.json"
LOCK_NAME = "contracts.lock"
DEVNET_NAME = "devnet.json"


class Remembered(NamedTuple):
    """A contract this home deployed: its address, and the block from which its history is read."""

    contract: bytes
    block_number: int


def prepare(home: Path) -> None:
    """Create the folder for its owner alone; it will hold a database and, on the embedded chain, keys.

    Raises:
        StartupError: there can be no such folder, or nothing can be written there.
    """
    try:
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=home):
            pass
    except OSError as error:
        raise StartupError(
            f"{home} cannot hold our state ({error.strerror}): choose another with --home or FAIRSCORE_HOME"
        ) from None


def remembered_contract(home: Path, chain_id: int, genesis: bytes) -> Remembered | None:
    """Return the contract deployed from here on exactly this chain; two chains can share an id, not their genesis."""
    found = _read(home / CONTRACTS_NAME).get(f"{chain_id}:0x{genesis.hex()}")
    return None if found is None else Remembered(bytes.fromhex(found["contract"][2:]), int(found["blockNumber"]))


def remember_contract(home: Path, chain_id: int, genesis: bytes, remembered: Remembered) -> None:
    """Write down where the contract is; other chains' entries stay."""
    contracts = _read(home / CONTRACTS_NAME)
    contracts[f"{chain_id}:0x{genesis.hex()}"] = {
        "contract": "0x" + remembered.contract.hex(),
        "blockNumber": remembered.block_number,
    }
    _write(home / CONTRACTS_NAME, contracts, 0o644)


@contextmanager
def deploying(home: Path) -> Iterator[Callable[[], bool]]:
    """Yield what tries to take the right to deploy from this home; processes started together take turns.

    The right ends with the block, and with the process however that ends.
    """
    with (home / LOCK_NAME).open("w") as file:

        def taken() -> bool:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return False
            return True

        yield taken


def read_devnet(home: Path) -> dict[str, Any]:
    """Return what the last start wrote for scripts; empty on the first start."""
    return _read(home / DEVNET_NAME)


def write_devnet(home: Path, document: dict[str, Any]) -> None:
    """Write what scripts need on the embedded chain, API keys included: mode 0600."""
    _write(home / DEVNET_NAME, document, 0o600)


def _read(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_bytes())
    except FileNotFoundError:
        return {}
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise StartupError(f"{path} is damaged: restore it, or move it away to start anew")
    return found


def _write(path: Path, document: dict[str, Any], mode: int) -> None:
    draft = path.with_suffix(".tmp")
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode), "w") as file:
        json.dump(document, file, indent=1)
        file.flush()
        os.fsync(file.fileno())
    draft.chmod(mode)
    draft.rename(path)
