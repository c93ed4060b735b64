"""The committed artifact belongs to the committed sources; checked here without Node, by recompilation in CI."""

import hashlib
import json
import re
from pathlib import Path

import pytest

from relay.contract import artifact

ROOT = Path(__file__).resolve().parents[2]
CONTRACTS = ROOT / "contracts"


def test_our_sources_are_the_compiled_ones() -> None:
    """Fails after any edit of a .sol until `npm run artifact` was run and its result committed."""
    ours = {
        str(path.relative_to(ROOT)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in CONTRACTS.rglob("*.sol")
        if "test" not in path.relative_to(CONTRACTS).parts
    }
    assert {name: hash_ for name, hash_ in artifact().sources.items() if not name.startswith("@")} == ours


def test_library_sources_are_the_compiled_ones() -> None:
    library = {name: hash_ for name, hash_ in artifact().sources.items() if name.startswith("@openzeppelin/contracts/")}
    assert len(library) == len(artifact().sources) - 2
    if not (ROOT / "node_modules" / "@openzeppelin").exists():
        pytest.skip("node_modules is not installed: the library's hashes cannot be compared")
    for name, hash_ in library.items():
        assert hashlib.sha256((ROOT / "node_modules" / name).read_bytes()).hexdigest() == hash_, name


def test_the_compiler_is_the_pinned_one() -> None:
    pinned = json.loads((ROOT / "package.json").read_text())["devDependencies"]
    assert artifact().compiler["version"].startswith(pinned["solc"] + "+commit.")
    assert artifact().compiler["settings"]["evmVersion"] == "paris"
    assert all(re.fullmatch(r"\d+\.\d+\.\d+", version) for version in pinned.values()), "exact versions only"


def test_the_code_fits_and_holds_its_immutables_open() -> None:
    code = artifact().deployed_bytecode
    assert len(code) <= 24_576, "EIP-170"
    assert artifact().immutables
    assert all(code[start : start + length] == bytes(length) for start, length in artifact().immutables)
    assert artifact().bytecode.endswith(code[-53:]), "both carry the same metadata"


def test_the_lock_names_no_host_and_every_platform() -> None:
    """`npm run lock` makes it so; `npm ci` refuses a lock that leaves out another platform's binary."""
    packages = json.loads((ROOT / "package-lock.json").read_text())["packages"]
    assert all("resolved" not in package for package in packages.values())
    optional = {name for package in packages.values() for name in package.get("optionalDependencies", {})}
    assert optional
    assert {name for name in optional if f"node_modules/{name}" not in packages} == set()
    unhashed = {name for name, package in packages.items() if name and "integrity" not in package}
    assert all(packages[name]["optional"] and "-linux-x64" not in name for name in unhashed), unhashed
    assert "integrity" in packages["node_modules/@foundry-rs/anvil-linux-amd64"]
