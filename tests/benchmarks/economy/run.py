"""The economy benchmark: durable operations per second, beside the same code with a commit for each operation.

    python tests/benchmarks/economy/run.py [--quick] [--runs 3] [--only TEXT]

Prints medians of the same run, writes ``.benchmarks/economy.json``. Every operation has an idempotency key of its own,
all limits and detectors are on, all of it is one game. Afterwards the whole ledger is told again: what was answered as
done is what is stored.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parents[3]
sys.path.insert(0, str(ROOT))  # run as a script, only this folder is on the path

from relay.store import ledger_view, migrate  # noqa: E402 - needs the path above
from relay.store.engine import open_database  # noqa: E402
from tests.benchmarks.economy.loads import GAME, found  # noqa: E402
from tests.harness.ledgers import check_ledger  # noqa: E402
from tests.harness.nodes import Postgres, postgres  # noqa: E402

GOAL = 3_500.0
LOADS = ("grant", "transfer", "mixed")
WORKER = Path(__file__).with_name("worker.py")
IN_FLIGHT = 128


class Contestant(NamedTuple):
    """A line of the table. `alone`: the baseline, a commit for each operation."""

    dialect: str
    processes: int
    load: str
    alone: bool

    @property
    def name(self) -> str:
        """As it is printed."""
        how = "each its commit" if self.alone else "grouped"
        return f"{self.load}, {self.dialect}, {self.processes} process{'es' * (self.processes > 1)}, {how}"


class UnsoundError(AssertionError):
    """What was answered and what was stored differ: the measured rate would be worth nothing."""


def contestants() -> list[Contestant]:
    """All lines: baselines first, with one process, as more would only wait for each other."""
    return [
        Contestant(dialect, processes, load, alone)
        for load in LOADS
        for dialect in ("sqlite", "postgresql")
        for alone, processes in ((True, 1), (False, 1), (False, 2))
    ]


@contextmanager
def database_of(dialect: str, server: Postgres) -> Iterator[str]:
    """The URL of an empty database."""
    with tempfile.TemporaryDirectory(prefix="fairscore-economy-") as folder:
        yield f"sqlite:///{Path(folder) / 'economy.db'}" if dialect == "sqlite" else server.database()


def measure(one: Contestant, server: Postgres, count: int) -> dict[str, Any]:
    """One run on a fresh database, verified afterwards."""
    with database_of(one.dialect, server) as url, closing(open_database(url)) as database:
        migrate.upgrade(database, "relay")
        listings = found(database, count)
        before, _ = database.read_now(lambda c: ledger_view.head(c, GAME))
        server_cpu = server.cpu_seconds()
        measured = _run(one, url, count, listings)
        server_cpu = server.cpu_seconds() - server_cpu if one.dialect == "postgresql" else 0.0
        after, _ = database.read_now(lambda c: ledger_view.head(c, GAME))
        verify(measured, after - before, count)
        if count <= 2_000:  # the bytes of more would take longer to read than to write
            database.read_now(lambda c: check_ledger(c, GAME))
    seconds = max(part["seconds"] for part in measured)
    return {
        "per_second": count / seconds,
        "p50_ms": statistics.median(part["p50_ms"] for part in measured),
        "p99_ms": max(part["p99_ms"] for part in measured),
        "cpu_us": statistics.mean(part["cpu_us"] for part in measured),
        "database_cpu_us": server_cpu / count * 1e6,
        "group": statistics.mean(part["group"] for part in measured),
    }


def _run(one: Contestant, url: str, count: int, listings: list[str]) -> list[dict[str, Any]]:
    workers = []
    for first in range(one.processes):
        job = {"url": url, "load": one.load, "count": count, "first": first, "step": one.processes,
               "listings": listings, "in_flight": IN_FLIGHT // one.processes, "alone": one.alone}  # fmt: skip
        worker = subprocess.Popen([sys.executable, WORKER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        workers.append((worker, job))
    try:
        for worker, job in workers:
            _say(worker, json.dumps(job))
        for worker, _ in workers:
            if _hear(worker) != "ready":
                raise RuntimeError("a worker did not start")
        for worker, _ in workers:
            _say(worker, "go")
        return [json.loads(_hear(worker)) for worker, _ in workers]
    finally:
        for worker, _ in workers:
            worker.kill()
            worker.communicate()


def _say(worker: "subprocess.Popen[str]", line: str) -> None:
    if worker.stdin is not None:
        worker.stdin.write(line + "\n")
        worker.stdin.flush()


def _hear(worker: "subprocess.Popen[str]") -> str:
    return worker.stdout.readline().strip() if worker.stdout is not None else ""


def verify(measured: list[dict[str, Any]], booked: int, count: int) -> None:
    """All were executed, and the ledger grew by as many, but for rolls that nothing came out of.

    Raises:
        UnsoundError: otherwise.
    """
    executed = sum(part["executed"] for part in measured)
    if executed < count * 0.99:
        raise UnsoundError(f"only {executed} of {count} took effect")
    if booked != sum(part["booked"] for part in measured):
        raise UnsoundError(f"{booked} were booked, and not as many were answered")


def table(medians: dict[str, dict[str, Any]]) -> str:
    """The result for people; CPU in microseconds per operation, of the process and of the database's."""
    lines = [f"{'':56}{'per second':>11}{'p50 ms':>9}{'p99 ms':>9}{'group':>7}   CPU µs per operation"]
    for name, found_ in medians.items():
        rate, p50, p99, group = (found_[number] for number in ("per_second", "p50_ms", "p99_ms", "group"))
        cpu = f"{found_['cpu_us']:.0f} / {found_['database_cpu_us']:.0f}"
        lines.append(f"{name:56}{rate:>11,.0f}{p50:>9.1f}{p99:>9.1f}{group:>7.0f}   {cpu}")
    return "\n".join(lines)


def goals(medians: dict[str, dict[str, Any]]) -> list[str]:
    """One sentence for each of ours: met or missed, and how much faster than its baseline."""
    said = []
    for one in contestants():
        base = medians.get(one._replace(processes=1, alone=True).name)
        if one.alone or one.name not in medians or base is None:
            continue
        rate = medians[one.name]["per_second"]
        ratio = rate / base["per_second"]
        said.append(f"{'met' if rate >= GOAL else 'MISSED'}: {one.name} {rate:,.0f}/s of {GOAL:,.0f}/s, {ratio:.1f} x")
    return said


def benchmark(*, quick: bool, runs: int, only: str = "") -> dict[str, Any]:
    """Run every line ``runs`` times, in turns, so that a slow minute of the machine hits all of them."""
    collected: dict[str, list[dict[str, Any]]] = {}
    with postgres() as server:
        for turn in range(runs):
            for one in contestants():
                if only.lower() in one.name.lower():
                    count = (100 if one.alone else 400) if quick else (2_000 if one.alone else 20_000)
                    result = measure(one, server, count)
                    collected.setdefault(one.name, []).append(result)
                    sys.stderr.write(f"run {turn + 1}/{runs}  {one.name}: {result['per_second']:,.0f}/s\n")
    medians = {
        name: {number: statistics.median(run[number] for run in found_) for number in found_[0]}
        for name, found_ in collected.items()
    }
    machine = {"cores": os.cpu_count(), "python": platform.python_version(), "load": os.getloadavg()}
    return {"benchmark": "economy", "quick": quick, "machine": machine, "runs": collected, "medians": medians,
            "goals": goals(medians)}  # fmt: skip


def main() -> None:
    """Parse the command line, run, print, write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="seconds instead of minutes; the numbers mean little")
    parser.add_argument("--runs", type=int, help="runs of each line (3, or 1 with --quick)")
    parser.add_argument("--only", default="", help="only lines whose name contains this")
    given = parser.parse_args()
    result = benchmark(quick=given.quick, runs=given.runs or (1 if given.quick else 3), only=given.only)
    written = ROOT / ".benchmarks" / ("economy-quick.json" if given.quick else "economy.json")
    written.parent.mkdir(exist_ok=True)
    written.write_text(json.dumps(result, indent=2) + "\n")
    sys.stdout.write(table(result["medians"]) + "\n\n" + "\n".join(result["goals"]) + "\n")


if __name__ == "__main__":
    main()
