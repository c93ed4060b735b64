"""The index benchmark: events per second from nothing, beside Ponder and web3.py on the same chains, in one run.

    python tests/benchmarks/index/run.py [--smoke] [--quick] [--runs 3] [--cache FOLDER] [--only TEXT] [--live-blocks N]

100,000 scores in 2,000 blocks and 500,000 in 5,000 on anvil, whose state is made once and kept in the cache folder, as
is Ponder (its exact version from npm; it needs Node >= 22, which the development tools bring). Everybody inserts each
score and keeps each player's best; ours also proves every batch, and tells streams of the last blocks. Then how long a
new block takes to its row and to a WebSocket client. Prints medians and ratios, writes `.benchmarks/index.json`.
"""

import argparse
import json
import os
import platform
import statistics
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[3]
sys.path.insert(0, str(ROOT))  # run as a script, only this folder is on the path

from tests.benchmarks.index import contestants, live  # noqa: E402 - needs the path above
from tests.benchmarks.index.contestants import Found, UnsoundError  # noqa: E402
from tests.benchmarks.index.ground import Ground, Size, ground, say  # noqa: E402
from tests.harness.nodes import Postgres, postgres  # noqa: E402

SIZES = (Size(100_000, 2_000), Size(500_000, 5_000))
LIVE = Size(1_000, 20)
SMOKE, SMOKE_LIVE_BLOCKS = Size(1_000, 20), 3
OURS, PONDER, NAIVE = ("ours, SQLite", "ours, PostgreSQL"), "Ponder, PostgreSQL", "web3.py, SQLite"
LIVE_ONLY = "live"
NAIVE_MAX = 100_000  # scores: it is as slow for more
GOALS = {
    "SQLite, events/s": (12_000.0, "at least"),
    "PostgreSQL, events/s": (25_000.0, "at least"),
    "peak MB at the most events": (250.0, "at most"),
    "times Ponder, cold": (5.0, "at least"),
    "live WebSocket p50, ms": (10.0, "at most"),
}
Table = dict[str, Found]


def contest(there: Ground, server: Postgres, project: Path | None, only: str) -> Iterator[tuple[str, Found]]:
    """Everybody once, each from nothing; what everybody found must be the same."""
    with tempfile.TemporaryDirectory() as folder:
        sqlite = f"sqlite:///{Path(folder) / 'fairscore.db'}"
        measures: dict[str, Callable[[], Found]] = {
            OURS[0]: lambda: contestants.ours(there, sqlite, None),
            OURS[1]: lambda: contestants.ours(there, server.database(), server),
        }
        if project is not None:
            measures[PONDER] = lambda: contestants.ponders(project, there, server)
        if there.recorded <= NAIVE_MAX:
            measures[NAIVE] = lambda: contestants.naive(there, Path(folder))
        for name, measure in measures.items():
            if only in name:
                say(f"{there.recorded:,} scores: {name}")
                found = measure()
                yield name, verified(there, found)


def verified(there: Ground, found: Found) -> Found:
    """Return what a contestant found, with its rate.

    Raises:
        UnsoundError: it did not find every score.
    """
    if found["recorded"] != there.recorded:
        raise UnsoundError(f"{found['recorded']} of {there.recorded} scores were indexed")
    return {**found, "rate": there.recorded / found["seconds"], "us": found["cpu_s"] / there.recorded * 1e6}


def medians(runs: Sequence[Table]) -> Table:
    """Of every number of every contestant; who did not find as many players as the others voids the run."""
    found: Table = {}
    for name in runs[0]:
        several = [run[name] for run in runs]
        found[name] = {
            unit: statistics.median(one[unit] for one in several)
            for unit, value in several[0].items()
            if isinstance(value, int | float)
        }
    if len({row["players"] for row in found.values()}) > 1:
        raise UnsoundError(f"players found: { {name: row['players'] for name, row in found.items()} }")
    return found


def stages(there: Ground, server: Postgres) -> dict[str, dict[str, float]]:
    """CPU microseconds per score of each stage of ours, by database."""
    found: dict[str, dict[str, float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for name, url in ((OURS[0], f"sqlite:///{Path(folder) / 'where.db'}"), (OURS[1], server.database())):
            one = contestants.ours(there, url, server if name == OURS[1] else None, "--where")
            spent = {stage: cpu_s / there.recorded * 1e6 for stage, cpu_s in one["stages"].items()}
            whole = one["cpu_s"] / there.recorded * 1e6
            found[name] = spent | {"HTTP, event loop, the rest": whole - sum(spent.values()), "altogether": whole}
    return found


def latencies(there: Ground, server: Postgres, project: Path | None, blocks: int) -> dict[str, Any]:
    """From a mined block to its row and to a client."""
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        for way, subscribed in (("polling", False), ("subscription", True)):
            say(f"live: ours by {way}")
            found[f"ours, {way}"] = live.ours(there, Path(folder), blocks, subscribed=subscribed)
            if project is not None:
                say(f"live: Ponder by {way}")
                found[f"Ponder, {way}"] = live.ponders(project, there, server, blocks, subscribed=subscribed)
    return found


def table(size: Size, rows: Table) -> str:
    """One chain's contestants."""
    ponder = rows.get(PONDER)
    head = f"{'':<20}{'scores/s':>11}{'CPU us/score':>14}{'s, with start':>15}{'CPU s':>8}{'database':>10}"
    lines = [f"\n{size}", head + f"{'peak MB':>9}{'RPC calls':>11}{'to Ponder':>11}"]
    for name, row in rows.items():
        ratio = f"{ponder['wall_s'] / row['wall_s']:.1f}x" if ponder else "-"
        calls = f"{row['calls']:,.0f}" if "calls" in row else "-"
        cells = f"{row['rate']:>11,.0f}{row['us']:>14.1f}{row['wall_s']:>15.1f}{row['cpu_s']:>8.1f}"
        cells += f"{row.get('database_cpu_s', 0.0):>10.1f}{row['peak_mb']:>9,.0f}{calls:>11}{ratio:>11}"
        lines.append(f"{name:<20}{cells}")
    return "\n".join(lines)


def where(found: Mapping[str, Mapping[str, float]]) -> str:
    """Where the time of ours goes."""
    lines = ["\nwhere it goes, CPU us/score" + "".join(f"{name:>20}" for name in found)]
    names = dict.fromkeys(stage for spent in found.values() for stage in spent)
    lines += [f"  {one:<25}" + "".join(f"{spent.get(one, 0.0):>20.2f}" for spent in found.values()) for one in names]
    return "\n".join(lines)


def waits(found: Mapping[str, Any]) -> str:
    """The latencies."""
    lines = [f"\n{'live, ms from mined: p50 / p99':<32}{'row':>16}{'WebSocket client':>20}"]
    for name, one in found.items():
        cells = [f"{one[to]['p50_ms']:.1f} / {one[to]['p99_ms']:.1f}" if to in one else "-" for to in ("row", "client")]
        lines.append(f"  {name:<30}{cells[0]:>16}{cells[1]:>20}")
    return "\n".join(lines)


def verdicts(result: Mapping[str, Any]) -> Iterator[str]:
    """What became of the goals, the worst of what was measured for each."""
    tables: list[Table] = list(result["sizes"].values())
    measured: dict[str, list[float]] = {goal: [] for goal in GOALS}
    for rows in tables:
        for name in set(OURS) & rows.keys():
            measured[f"{name.split(', ')[1]}, events/s"].append(rows[name]["rate"])
            if PONDER in rows:
                measured["times Ponder, cold"].append(rows[PONDER]["wall_s"] / rows[name]["wall_s"])
    if tables:
        measured["peak MB at the most events"] = [row["peak_mb"] for name, row in tables[-1].items() if name in OURS]
    if "ours, subscription" in result["live"]:
        measured["live WebSocket p50, ms"] = [result["live"]["ours, subscription"]["client"]["p50_ms"]]
    for goal, (limit, way) in GOALS.items():
        if measured[goal]:
            worst = (min if way == "at least" else max)(measured[goal])
            met = worst >= limit if way == "at least" else worst <= limit
            yield f"{goal}: {worst:,.1f}, goal {way} {limit:,.0f}: {'met' if met else 'MISSED'}"


def benchmark(given: argparse.Namespace) -> dict[str, Any]:
    """Measure everything."""
    smoke = bool(given.smoke)
    result: dict[str, Any] = {"benchmark": "index", "smoke": smoke, "python": platform.python_version()}
    result |= {"cores": os.cpu_count(), "goals": GOALS, "sizes": {}, "stages": {}, "live": {}}
    with ExitStack() as stack:
        cache = given.cache or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        server = stack.enter_context(postgres())
        wants_ponder = not smoke and (given.only == LIVE_ONLY or given.only in PONDER)
        project = contestants.install_ponder(cache) if wants_ponder else None
        sizes = (SMOKE,) if smoke else () if given.only == LIVE_ONLY else SIZES[: 1 if given.quick else None]
        for size in sizes:
            with ground(size, cache) as there:
                runs = [dict(contest(there, server, project, given.only)) for _ in range(given.runs)]
                result["sizes"][str(size)] = rows = medians(runs)
                print(table(size, rows), flush=True)
                if not given.only:
                    result["stages"][str(size)] = spent = stages(there, server)
                    print(where(spent), flush=True)
        if given.only in {"", LIVE_ONLY}:
            with ground(LIVE, cache) as there:
                result["live"] = latencies(there, server, project, given.live_blocks)
                print(waits(result["live"]))
    return result


def main() -> int:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--smoke", action="store_true", help="few scores, no Ponder: proves that it runs")
    parser.add_argument("--quick", action="store_true", help="only the smaller chain")
    parser.add_argument("--runs", type=int, default=1, help="of each contestant on each chain; medians are printed")
    parser.add_argument("--cache", type=Path, default=ROOT / ".benchmarks" / "index", help="for chains and Ponder")
    parser.add_argument("--only", default="", help="contestants whose name holds this text; `live`: only the latency")
    parser.add_argument("--live-blocks", type=int, default=100)
    given = parser.parse_args()
    if given.smoke:
        given.runs, given.live_blocks, given.cache = 1, SMOKE_LIVE_BLOCKS, None
    result = benchmark(given)
    print("\n" + "\n".join(verdicts(result)))
    folder = ROOT / ".benchmarks"
    folder.mkdir(exist_ok=True)
    (folder / "index.json").write_text(json.dumps(result, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
