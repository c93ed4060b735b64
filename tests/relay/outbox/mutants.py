"""Mutants of the outbox: each breaks one promise, and the simulator's quick part alone must notice every one.

    python tests/relay/outbox/mutants.py [TEXT]     (only mutants whose name contains TEXT; `make mutants`)

Works on a copy in a temporary folder and prints the table: mutant, killed or alive, the first complaint. Seconds each.
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

ROOT = Path(__file__).resolve().parents[3]
CRASHES = "tests/simulator/test_simulator_crashes.py"
COPIED = ("relay", "indexer", "tests/conftest.py", "tests/harness", "tests/simulator", "pyproject.toml")


@dataclass(frozen=True)
class Edit:
    """A text that occurs exactly once in a file, and what it becomes."""

    path: str
    found: str
    becomes: str


# name: (the part of the suite that must notice, what is changed)
MUTANTS: dict[str, tuple[str, tuple[Edit, ...]]] = {
    "hash stored after broadcast": (
        f"{CRASHES}::test_killed_at_every_commit_and_send",
        (
            Edit(
                "relay/outbox/send.py",
                '    desk.hook("record")\n',
                "    raws = {item.attempt.tx_hash: item.raw for item in made}\n"
                '    await broadcast(desk, list(raws), raws, head)\n    desk.hook("record")\n',
            ),
        ),
    ),
    "requeue on missing receipt": (
        f"{CRASHES}::test_fee_spikes",
        (
            Edit(
                "relay/outbox/slots.py",
                "    return Send() if due else Wait()  # (8)",
                "    return Estrange() if due and newest.tx_hash in seen.sent_at else Send() if due else Wait()",
            ),
        ),
    ),
    "nonce used, so failed": (
        f"{CRASHES}::test_every_lie",
        (
            Edit(
                "relay/outbox/slots.py",
                "return Estrange() if seen.nonce_final > slot.nonce and not known else Wait()  # (5)",
                "return Estrange() if not known else Wait()",
            ),
        ),
    ),
    "transport error, so failed": (
        f"{CRASHES}::test_a_lost_answer_decides_nothing",
        (
            Edit(
                "relay/outbox/send.py",
                "        if found is SendClass.AMBIGUOUS and answer.code is None:\n            break",
                "        if found is SendClass.AMBIGUOUS and answer.code is None:\n"
                '            desk.underpriced.add(b"failed" + tx_hash)\n            break',
            ),
            Edit(
                "relay/outbox/slots.py",
                "    newest = slot.attempts[-1]\n",
                "    newest = slot.attempts[-1]\n"
                '    if b"failed" + newest.tx_hash in seen.underpriced:\n        return Estrange()\n',
            ),
        ),
    ),
    "final at one confirmation": (
        f"{CRASHES}::test_reorgs_of_every_depth_at_every_block",
        (
            Edit(
                "relay/outbox/settle.py",
                "    finalized = await desk.chain.finalized(desk.settings.confirmations, head)\n    live = [",
                "    finalized = max(0, head.number - 1)\n    live = [",
            ),
        ),
    ),
    "no block-hash check": (
        f"{CRASHES}::test_reorgs_of_every_depth_at_every_block",
        (
            Edit(
                "relay/outbox/slots.py",
                "        if seen.canonical.get(receipt.block_number) == receipt.block_hash:\n",
                "        if receipt.block_number in seen.canonical:\n",
            ),
            Edit("relay/outbox/slots.py", "    if canonical != slot.block_hash:  # (2)\n", "    if not canonical:\n"),
        ),
    ),
    "no fence": (
        f"{CRASHES}::test_a_process_stopped_and_woken_anywhere_writes_nothing_any_more",
        (
            Edit(
                "relay/store/outbox_leases.py",
                "    if epoch == 0 or current != epoch:\n",
                "    if current is None:\n",
            ),
        ),
    ),
    "old attempt deleted on bump": (
        f"{CRASHES}::test_fee_spikes",
        (
            Edit(
                "relay/store/outbox.py",
                "                c.execute(attempts.insert(), [row])\n",
                "                c.execute(attempts.delete().where(attempts.c.nonce == item.nonce))\n"
                "                c.execute(attempts.insert(), [row])\n",
            ),
        ),
    ),
    "new nonce on underpriced": (
        f"{CRASHES}::test_fee_spikes",
        (Edit("relay/outbox/slots.py", "        return Raise()\n", "        return Estrange()\n"),),
    ),
}


@dataclass(frozen=True)
class Verdict:
    """What became of a mutant. `complaint`: what the suite said first."""

    name: str
    part: str
    killed: bool
    complaint: str
    seconds: float


def try_out(folder: Path, part: str, edits: tuple[Edit, ...]) -> tuple[bool, str]:
    """Whether the part of the suite fails with the edits applied, and its first complaint."""
    originals = {edit.path: (folder / edit.path).read_text() for edit in edits}
    try:
        for edit in edits:
            text = (folder / edit.path).read_text()
            if text.count(edit.found) != 1:
                raise ValueError(f"{edit.path}: {edit.found!r} occurs {text.count(edit.found)} times, not once")
            (folder / edit.path).write_text(text.replace(edit.found, edit.becomes))
        command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", "-m", "not slow", part]
        environment = {**os.environ, "PYTHONPATH": str(folder), "PYTHONDONTWRITEBYTECODE": "1"}
        done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    finally:
        for path, text in originals.items():
            (folder / path).write_text(text)
    if done.returncode not in (0, 1):  # pytest: 0 all passed, 1 some failed
        raise ValueError(f"{part} does not run:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
    found = re.search(r"^E +(?:AssertionError: )?(.+)$", done.stdout, re.MULTILINE)
    return done.returncode == 1, found.group(1)[:100] if found else ""


def run(only: str = "") -> Iterator[Verdict]:
    """Try every mutant; before them the parts as they are, which must pass."""
    with tempfile.TemporaryDirectory(prefix="fairscore-mutants-") as name:
        folder = Path(name)
        for path in COPIED:
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            if (ROOT / path).is_dir():
                shutil.copytree(ROOT / path, folder / path, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy(ROOT / path, folder / path)
        chosen = {mutant: made for mutant, made in MUTANTS.items() if only in mutant}
        for part in sorted({part for part, _ in chosen.values()}):
            failed, complaint = try_out(folder, part, ())
            if failed:
                raise ValueError(f"{part} fails without any mutant: {complaint}")
        for mutant, (part, edits) in chosen.items():
            began = time.monotonic()
            killed, complaint = try_out(folder, part, edits)
            yield Verdict(mutant, part, killed, complaint, time.monotonic() - began)


def table(verdicts: list[Verdict]) -> Table:
    """Mutants, and what killed them."""
    made = Table(title="mutants of the outbox")
    for heading in ("mutant", "", "noticed by", "first complaint", "s"):
        made.add_column(heading)
    for one in verdicts:
        state = "killed" if one.killed else "[bold red]ALIVE"
        made.add_row(one.name, state, one.part.partition("::")[2], one.complaint, f"{one.seconds:.0f}")
    return made


def main() -> int:
    """Try those asked for and print the table; 1 when one lives."""
    verdicts = []
    for one in run(*sys.argv[1:2]):
        print(f"{'killed' if one.killed else 'ALIVE '} {one.name}", flush=True)
        verdicts.append(one)
    Console(width=None if sys.stdout.isatty() else 160).print(table(verdicts))
    return int(not all(one.killed for one in verdicts))


if __name__ == "__main__":
    sys.exit(main())
