"""The import law: layers are a test. Each exception is named here and justified."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

PURE = {
    "relay.errors", "relay.error_codes", "relay.error_codes_economy", "relay.keccak", "relay.canonical",
    "relay.contract", "relay.contract_anchors", "relay.attestation", "relay.findings",
    "relay.submission", "relay.strict_json", "relay.flag_kinds", "relay.games", "relay.revocation",
    "relay.outbox.batches",
    "relay.outbox.slots", "relay.outbox.fees", "relay.outbox.send_errors", "relay.outbox.results", "relay.outbox.meter",
    "relay.signing_policy", "relay.transactions", "relay.outbox.pace", "relay.proof", "relay.siwe", "relay.payload",
    "relay.chain_decode", "relay.chain_endpoint", "relay.chain_limits", "relay.outbox.providers",
    "relay.webhooks.messages", "relay.webhooks.order", "relay.webhooks.retries",
    "relay.chain_types", "relay.guard.limits", "relay.guard.flags", "relay.guard.shield",
    "relay.guard.failures", "relay.guard.amounts", "relay.guard.laundering", "relay.guard.velocity", "relay.guard.gate",
    "relay.client_address", "relay.api.security", "relay.api.cors", "relay.guard.rounds",
    "relay.rounds", "relay.seeds", "indexer.doubt", "relay.economy_meter",
    "indexer.standings", "indexer.reorg",
}  # fmt: skip
PURE_PACKAGES = ("relay.rules", "relay.economy")
EDGES = {
    "web3", "eth_tester", "eth", "aiohttp", "httpx2", "httpx", "requests", "socket", "sqlalchemy", "alembic", "psycopg",
    "sqlite3", "starlette", "uvicorn", "time", "datetime", "random", "secrets", "os", "asyncio", "threading",
    "subprocess", "apscheduler",
}  # fmt: skip

# Plumbing that knows neither package's business; the indexer's trust in nobody is about data, not about plumbing.
SHARED_PLUMBING = {
    "relay.config_sources": "indexer",
    "relay.provider_pool": "indexer.chain_pool",
    "relay.store.engine": "indexer",
    "relay.store.writer": "indexer",
    "relay.store.migrate": "indexer.store",
    "relay.store.flags": "indexer.store",  # with the evidence, the one table that both packages know
    "relay.api.operations": "indexer",
    "relay.api.asgi": "indexer",
}
# `fairscore run` is relay, indexer and page in one process, one document describes both, and the command line has both.
COMPOSITION_ROOTS = {"relay.run", "relay.document", "relay.reindex", "relay.operate_boards"}


def modules() -> Iterator[tuple[str, Path]]:
    """Every module of the two packages by dotted name."""
    for package in ("relay", "indexer"):
        for path in sorted((ROOT / package).rglob("*.py")):
            name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
            yield name.removesuffix(".__init__"), path


def imports(path: Path) -> set[str]:
    """Dotted names imported anywhere in a file; `from a import b` counts as `a` and `a.b`."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def pure(name: str) -> bool:
    """Whether `name` is promised to have no edge."""
    return name in PURE or any(name == package or name.startswith(f"{package}.") for package in PURE_PACKAGES)


def allowed_to_indexer(importer: str, one: str) -> bool:
    """Whether `importer`, a module of the indexer, may import `one` (a module, or a name inside one)."""
    module = one.rpartition(".")[0]
    if not one.startswith("relay.") or one in {"relay.store", "relay.api"} or pure(one) or pure(module):
        return True
    shared = SHARED_PLUMBING.get(one) or SHARED_PLUMBING.get(module)
    return shared is not None and importer.startswith(shared)


MODULES = list(modules())


@pytest.mark.parametrize(("name", "path"), MODULES, ids=[name for name, _ in MODULES])
def test_law(name: str, path: Path) -> None:
    """One module obeys every layer rule."""
    used = imports(path)
    roots = {one.split(".")[0] for one in used}
    broken: list[str] = []
    if name.startswith("relay") and "indexer" in roots and name not in COMPOSITION_ROOTS:
        broken.append("relay never imports indexer")
    if name.startswith("indexer"):
        broken += [f"the indexer may not know {one}" for one in used if not allowed_to_indexer(name, one)]
    if pure(name):
        broken += [f"a pure module uses {edge}" for edge in sorted(roots & EDGES)]
    places = {
        "web3": ("relay.chain", "relay.devnet"),
        "eth_tester": ("relay.devnet",),
        "eth": ("relay.devnet",),
        "sqlalchemy": ("relay.store", "indexer.store"),
        "starlette": ("relay.api", "relay.app", "relay.run", "relay.devnet", "indexer.api", "indexer.app"),
    }
    broken += [
        f"{library} is touched only in {', '.join(where)}"
        for library, where in places.items()
        if library in roots and not name.startswith(where)
    ]
    assert not broken, "\n".join(broken)


@pytest.mark.parametrize(("name", "path"), MODULES, ids=[name for name, _ in MODULES])
def test_environment_is_read_only_by_config(name: str, path: Path) -> None:
    """Settings come from one place: no other module looks at the environment."""
    reads = [
        node.lineno
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Attribute) and node.attr in {"environ", "getenv"}
    ]
    assert name == "relay.config_sources" or not reads


def test_the_law_can_fail(tmp_path: Path) -> None:
    """The law sees an import inside a function, which is where people hide them."""
    file = tmp_path / "sneaky.py"
    file.write_text("def f():\n    from indexer.follower import Follower\n    return Follower\n")
    assert "indexer.follower" in imports(file)


def test_a_server_starts_without_what_it_may_never_need() -> None:
    """Each of these takes a quarter of a second and more to load: who needs one loads it then."""
    program = (
        "import relay.run, sys; print(*sorted({'web3', 'eth_account', 'py_ecc', 'eth', 'hypothesis'} & {*sys.modules}))"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
