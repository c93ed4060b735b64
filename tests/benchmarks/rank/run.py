"""The rank benchmark: a board of 10^4, 10^5 and 10^6 players in memory, by SQL, restarted, and asked over ASGI.

    python tests/benchmarks/rank/run.py [--smoke] [--players N] [--only memory|sqlite|postgresql]

In memory: CPU microseconds of this thread (other programs on the machine do not count), beside sortedcontainers and
SQL COUNT(*) in the same run, which must give the same ranks. Handlers and restart: wall time and CPU, on SQLite and
PostgreSQL; the best of three starts.
Writes `.benchmarks/rank.json`.
"""

import argparse
import asyncio
import gc
import json
import os
import platform
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[3]
sys.path.insert(0, str(ROOT))  # run as a script, only this folder is on the path

from tests.benchmarks.rank import served, structures  # noqa: E402 - needs the path above
from tests.harness.nodes import Postgres  # noqa: E402

GOALS = {"update + rank, p99": (50.0, "us"), "handler, p99": (1_000.0, "us"), "restart": (3.0, "s")}
SCORE_MAX = 1_000_000_000
LIMIT = 50
ROUNDS = 5


def entries(players: int) -> list[tuple[bytes, int, int]]:
    """One score per player."""
    dice = random.Random(players)
    return [(dice.randbytes(20), dice.randrange(SCORE_MAX), served.place_of(serial)) for serial in range(players)]


def percentiles(taken: Sequence[int]) -> dict[str, float]:
    """Microseconds."""
    ordered = sorted(taken)
    return {"p50": ordered[len(ordered) // 2] / 1000, "p99": ordered[int(len(ordered) * 0.99)] / 1000}


def timed(run: Callable[[int], object], times: int) -> list[int]:
    """CPU nanoseconds of each call."""
    clock, taken = time.thread_time_ns, []
    for n in range(times):
        began = clock()
        run(n)
        taken.append(clock() - began)
    return taken


def questions(
    board: structures.Structure, asked: Sequence[bytes], news: Sequence[tuple[bytes, int, int]]
) -> dict[str, dict[str, float]]:
    """Everything a board is asked. Updates in rounds, of whose percentiles the medians count: one may be disturbed."""
    times = len(asked)
    updates = [update_round(board, news[first : first + times]) for first in range(0, len(news), times)]
    return {
        "update + rank": {name: statistics.median(one[name] for one in updates) for name in updates[0]},
        "rank": percentiles(timed(lambda n: board.rank(asked[n]), times)),
        "around 50": percentiles(timed(lambda n: board.around(asked[n], LIMIT), times)),
        "top 100": percentiles(timed(lambda _: board.top(100), times)),
    }


def update_round(board: structures.Structure, news: Sequence[tuple[bytes, int, int]]) -> dict[str, float]:
    """Some updates, each with the rank that follows."""
    return percentiles(timed(lambda n: board.update(*news[n]), len(news)))


def in_memory(players: int, times: int) -> dict[str, dict[str, dict[str, float]]]:
    """Every structure asked the same things; their ranks must agree."""
    found: dict[str, dict[str, dict[str, float]]] = {}
    given = entries(players)
    dice = random.Random(1)
    asked = [dice.choice(given)[0] for _ in range(times)]
    fresh = range(times * ROUNDS)
    news = [(dice.choice(given)[0], dice.randrange(SCORE_MAX), served.place_of(players + n)) for n in fresh]
    agreed: list[list[object]] = []
    for kind in (structures.Ours, structures.Sorted, structures.Sql):
        gc.collect()
        before, began = served.resident_mb(), time.process_time()
        board: structures.Structure = kind(given)
        built = {"s": time.process_time() - began, "mb": served.resident_mb() - before}
        # COUNT(*) takes as long as there are players ahead: fewer of them are enough to know.
        share = times if kind is not structures.Sql else max(5, min(times, 2_000_000 // players))
        used = share * ROUNDS if kind is not structures.Sql else share
        gc.disable()
        found[kind.name] = questions(board, asked[:share], news[:used]) | {"built": built}
        gc.enable()
        for left in news[used:]:
            board.put(*left)
        agreed.append([board.top(100), [board.rank(player) for player in asked[:5]]])
        del board
    if agreed.count(agreed[0]) != len(agreed):
        raise SystemExit("the contestants do not rank alike")
    return found


@contextmanager
def databases(only: str) -> Iterator[dict[str, str]]:
    """URLs of empty databases."""
    with tempfile.TemporaryDirectory() as folder:
        urls = {} if only == "postgresql" else {"sqlite": f"sqlite:///{Path(folder) / 'rank.db'}"}
        if only == "sqlite":
            yield urls
            return
        server = Postgres(Path(folder) / "postgres")
        try:
            yield urls | {"postgresql": server.database()}
        finally:
            server.stop()


def from_database(url: str, players: int, times: int, starts: int) -> dict[str, Any]:
    """Restart in processes of their own, then ask every endpoint in one of them."""
    began = time.perf_counter()
    served.fill(url, entries(players))
    filled_s = time.perf_counter() - began
    arguments = [sys.executable, __file__, "--child", url, str(players), str(times)]
    found: list[dict[str, Any]] = []
    for _ in range(starts):
        done = subprocess.run(arguments, capture_output=True, text=True, check=True)
        found.append(json.loads(done.stdout.splitlines()[-1]))
    best = min(found, key=lambda one: one["restart"]["s"])
    return {**best, "restarts": [one["restart"] for one in found], "filled_s": filled_s}


async def child(url: str, players: int, times: int) -> dict[str, Any]:
    """Start as after a crash, and answer."""
    process = served.Restarted(url)
    wall_s, cpu_s = await process.start()
    if len(process.seat().standings) != players:
        raise SystemExit(f"{len(process.seat().standings)} players were found")
    api, known = process.application(), [player for player, _, _ in entries(players)]
    cursors = process.cursors(500)
    handlers = {}
    for name, path in served.paths(known, cursors).items():
        await served.time_handler(api, path, 20)
        cpu = time.process_time_ns()
        handlers[name] = percentiles(await served.time_handler(api, path, times))
        handlers[name]["cpu"] = (time.process_time_ns() - cpu) / times / 1000
    return {"restart": {"s": wall_s, "cpu_s": cpu_s}, "handlers": handlers, "mb": served.resident_mb()}


def show(players: int, memory: dict[str, dict[str, dict[str, float]]]) -> None:
    """Print one size."""
    print(f"\n{players:,} players, in memory: CPU microseconds, p50 / p99")
    names = list(memory)
    print(f"{'':<16}" + "".join(f"{name:>26}" for name in names))
    for what in ("update + rank", "rank", "around 50", "top 100"):
        cells = (f"{memory[name][what]['p50']:,.1f} / {memory[name][what]['p99']:,.1f}" for name in names)
        print(f"{what:<16}" + "".join(f"{cell:>26}" for cell in cells))
    cells = (f"{memory[name]['built']['s']:.2f} s, {memory[name]['built']['mb']:.0f} MB" for name in names)
    print(f"{'built':<16}" + "".join(f"{cell:>26}" for cell in cells))


def show_served(name: str, players: int, found: dict[str, Any]) -> None:
    """Print one database."""
    restart = found["restart"]
    print(
        f"\n{name}, {players:,} players: ranks right {restart['s']:.2f} s after a start ({restart['cpu_s']:.2f} s CPU)"
    )
    print(f"  memory {found['mb']:.0f} MB; filled in {found['filled_s']:.0f} s; handlers, us, p50 / p99, CPU:")
    for what, taken in found["handlers"].items():
        print(f"  {what:<18}{taken['p50']:>10,.0f} /{taken['p99']:>8,.0f}{taken['cpu']:>10,.0f}")


def main() -> int:
    """Measure every size in memory, and the largest in each database."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--smoke", action="store_true", help="small: proves that it runs, measures nothing")
    parser.add_argument("--players", type=int, default=1_000_000, help="of the largest board")
    parser.add_argument("--only", choices=["memory", "sqlite", "postgresql"], default="")
    parser.add_argument("--child", nargs=3, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        url, players, times = arguments.child
        print(json.dumps(asyncio.run(child(url, int(players), int(times)))))
        return 0
    largest, times, starts = (2_000, 50, 1) if arguments.smoke else (arguments.players, 2_000, 3)
    result: dict[str, Any] = {"benchmark": "rank", "smoke": arguments.smoke, "python": platform.python_version()}
    result |= {"cores": os.cpu_count(), "goals": GOALS, "memory": {}, "databases": {}}
    if arguments.only in {"", "memory"}:
        for players in (largest // 100, largest // 10, largest):
            memory = result["memory"][str(players)] = in_memory(players, times)
            show(players, memory)
    if arguments.only != "memory":
        with databases(arguments.only) as urls:
            for name, url in urls.items():
                result["databases"][name] = found = from_database(url, largest, times, starts)
                show_served(name, largest, found)
    print("\n" + "; ".join(verdicts(result)))
    folder = ROOT / ".benchmarks"
    folder.mkdir(exist_ok=True)
    (folder / "rank.json").write_text(json.dumps(result, indent=1) + "\n")
    return 0


def verdicts(result: dict[str, Any]) -> Iterator[str]:
    """What became of the goals."""
    measured: dict[str, list[float]] = {goal: [] for goal in GOALS}
    for memory in result["memory"].values():
        measured["update + rank, p99"].append(memory["ours"]["update + rank"]["p99"])
    for found in result["databases"].values():
        measured["handler, p99"] += [taken["p99"] for taken in found["handlers"].values()]
        measured["restart"].append(found["restart"]["s"])
    for goal, (limit, unit) in GOALS.items():
        if measured[goal]:
            worst = max(measured[goal])
            yield f"{goal} {worst:,.1f} {unit}, goal {limit:,.0f}: {'met' if worst <= limit else 'MISSED'}"


if __name__ == "__main__":
    sys.exit(main())
