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


def test_the_lock_names_no_host() -> None:
    lock = json.loads((ROOT / "package-lock.json").read_text())
    packages = {name: package for name, package in lock["packages"].items() if name}
    assert all("resolved" not in package for package in packages.values())
    assert all(package.get("integrity", "").startswith("sha512-") for package in packages.values())
