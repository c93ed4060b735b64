"""Style is a test: sizes, names, stray markers, and what may stand at the top level."""

import ast
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
TRACKED = [
    Path(name)
    for name in subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
    if (ROOT / name).is_file()
]
SOURCES = [path for path in TRACKED if path.suffix == ".py"]
GENERATED = "versions"  # migrations are written by Alembic, and never changed once released
PRODUCT = [path for path in SOURCES if path.parts[0] in {"relay", "indexer"} and path.parent.name != GENERATED]
MARKERS = re.compile(r"\b(TO" r"DO|FIX" r"ME|X{3})\b|NotImplemented" r"Error")
HOSTS = re.compile(r"registry\.n" r"pmjs|py" r"pi\.org|deb\.debi" r"an|pythonh" r"osted")
TOP_LEVEL = {
    "contracts", "relay", "indexer", "tests", "pyproject.toml", "README.md", "hardhat.config.js", "package.json",
    "package-lock.json", "Makefile", ".ci", ".github", "LICENSE", "requirements.lock", "CHANGELOG.md",
}  # fmt: skip


def ids(paths: list[Path]) -> list[str]:
    """Readable test names."""
    return [str(path) for path in paths]


@pytest.mark.parametrize("path", PRODUCT, ids=ids(PRODUCT))
def test_sizes(path: Path) -> None:
    """No module over 400 lines, no function over 60, no file named after nothing."""
    text = (ROOT / path).read_text()
    assert text.count("\n") <= 400
    assert path.stem not in {"utils", "helpers", "common", "manager", "handler", "misc"}
    long = [
        f"{node.name}: {node.end_lineno - node.lineno + 1}"
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and node.end_lineno is not None
        and node.end_lineno - node.lineno + 1 > 60
    ]
    assert not long


@pytest.mark.parametrize("path", PRODUCT, ids=ids(PRODUCT))
def test_every_module_says_what_it_is(path: Path) -> None:
    """The first line of a module says what it is; the second, what it may touch (packages need only the first)."""
    assert ast.get_docstring(ast.parse((ROOT / path).read_text()))


@pytest.mark.parametrize("path", TRACKED, ids=ids(TRACKED))
def test_no_stray_markers_and_no_hosts(path: Path) -> None:
    """Nothing unfinished is committed, and no file names the host of a package registry."""
    if path.suffix in {".png", ".ico", ".gz", ".woff2"}:
        return
    text = (ROOT / path).read_text(errors="ignore")
    assert not HOSTS.search(text)
    if path.suffix in {".py", ".js", ".mjs", ".sol"}:
        assert not MARKERS.search(text)


@pytest.mark.parametrize("path", [path for path in SOURCES if path.stem.startswith("test_")], ids=str)
def test_every_test_can_fail(path: Path) -> None:
    """A test function asserts, raises, or calls something that does."""
    idle = [
        node.name
        for node in ast.walk(ast.parse((ROOT / path).read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and node.name.startswith("test_")
        and not any(
            isinstance(inner, ast.Assert | ast.Raise)
            or (isinstance(inner, ast.Call) and re.search("assert|raises|check|verify|expect", ast.unparse(inner.func)))
            for inner in ast.walk(node)
        )
    ]
    assert not idle


def test_top_level_holds_only_what_the_owner_fixed() -> None:
    """Beside the owner's list only what tools force."""
    top = {path.parts[0] for path in TRACKED}
    assert {name for name in top - TOP_LEVEL if not name.startswith(".")} == set()
