"""Runs as many lives as there is time for, on all cores, and stops at the first broken promise.

    SEEDS=20000 python -m tests.simulator.simulate      (or MINUTES=30; FIRST_SEED=0, WORKERS=all cores)

Reads the environment, writes to the terminal. Every fourth life is small and full of trouble, the others carry more
scores, so that a million of them take minutes.
"""

import os
import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from itertools import count, islice

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from tests.simulator.life import Outcome, run
from tests.simulator.script import draw
from tests.simulator.shrink import shrink

SIZES = (1, 20, 60, 100)
PER_TASK = 8
LOG_LINES = 200


def size_of(seed: int) -> int:
    """How much work a seed's life has."""
    return SIZES[seed % len(SIZES)]


def lives(seeds: Iterable[int]) -> list[Outcome]:
    """Run some lives; only a failed one brings its event log home."""
    done = []
    for seed in seeds:
        outcome = run(draw(seed, size=size_of(seed)))
        if not outcome.broken:
            outcome.log.clear()
        done.append(outcome)
        if outcome.broken:
            break
    return done


class Tally:
    """What all lives together came to."""

    def __init__(self) -> None:
        self.began = time.monotonic()
        self.counts: Counter[str] = Counter()
        self.slowest = 0
        self.failed: Outcome | None = None

    def add(self, outcome: Outcome) -> None:
        """Count a life."""
        kind = "dedupe on" if outcome.script.dedupe else "dedupe off"
        self.counts.update({"lives": 1, "scores": outcome.scores, kind: outcome.scores, "effects": outcome.effects})
        self.counts.update({"troubles": len(outcome.script.troubles), "deaths": outcome.deaths})
        self.slowest = max(self.slowest, outcome.blocks_to_end)
        if outcome.broken and self.failed is None:
            self.failed = outcome

    def table(self) -> Table:
        """The summary."""
        seconds, scores, done = time.monotonic() - self.began, self.counts["scores"], self.counts["lives"]
        found = self.failed.broken if self.failed else ""
        lost = [word in found for word in ("recorded 0", "recorded 2", "unfinished")]
        rows = {
            "lives": f"{done:,}",
            "scores": f"{scores:,}",
            "  contract's dedupe on": f"{self.counts['dedupe on']:,}",
            "  contract's dedupe off": f"{self.counts['dedupe off']:,}",
            "commits and sends": f"{self.counts['effects']:,}",
            "troubles": f"{self.counts['troubles']:,}",
            "processes killed": f"{self.counts['deaths']:,}",
            "most blocks from calm to the end": f"{self.slowest}",
            "lost": f"{int(lost[0])}",
            "doubled": f"{int(lost[1])}",
            "unfinished": f"{int(lost[2])}",
            "other promises broken": f"{int(bool(found) and not any(lost))}",
            "time": f"{seconds / 60:.1f} min",
            "throughput": f"{scores / seconds:,.0f} scores/s, {done / seconds:,.1f} lives/s",
        }
        table = Table(title="simulated lives of the outbox", show_header=False)
        for name, value in rows.items():
            table.add_row(name, value)
        return table


def simulate(first: int, seeds: int | None, minutes: float, workers: int, console: Console) -> Tally:
    """Run until the seeds or the minutes are used up, or a promise is broken."""
    tally = Tally()
    numbers = count(first) if seeds is None else iter(range(first, first + seeds))
    until = time.monotonic() + 60 * minutes if seeds is None else None
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with ProcessPoolExecutor(workers) as pool, Progress(*columns, console=console) as progress:
        shown = progress.add_task("lives", total=seeds)
        running: set[Future[list[Outcome]]] = set()
        while True:
            late = until is not None and time.monotonic() > until
            if not late and tally.failed is None:
                running |= {pool.submit(lives, part) for part in _parts(numbers, 2 * workers - len(running))}
            if not running:
                return tally
            done, running = wait(running, return_when=FIRST_COMPLETED)
            for outcome in (one for future in done for one in future.result()):
                tally.add(outcome)
                description = f"lives · {tally.counts['scores']:,} scores"
                progress.update(shown, advance=1, description=description)


def _parts(numbers: Iterator[int], wanted: int) -> Iterator[list[int]]:
    for _ in range(wanted):
        part = list(islice(numbers, PER_TASK))
        if part:
            yield part


def explain(outcome: Outcome, console: Console) -> None:
    """Say what broke, by which seed, and in the smallest life that shows it."""
    seed = outcome.script.seed
    console.print(f"[bold red]seed {seed}, size {size_of(seed)}: {outcome.broken}")
    console.print("cutting it down …")
    script = shrink(outcome.script)
    small = run(script)
    for at, who, what in small.log[-LOG_LINES:]:
        console.print(f"{at:12.6f}  {who:8} {what}", highlight=False, markup=False)
    console.print(f"[bold red]{small.broken}")
    console.print(repr(script), highlight=False, markup=False, soft_wrap=True)


def main() -> int:
    """Read the environment, run, report; 1 when a promise was broken."""
    environment = os.environ
    seeds = int(environment["SEEDS"]) if environment.get("SEEDS") else None
    minutes = float(environment.get("MINUTES") or 1.0)
    workers = int(environment.get("WORKERS") or os.cpu_count() or 1)
    console = Console()
    tally = simulate(int(environment.get("FIRST_SEED") or 0), seeds, minutes, workers, console)
    if tally.failed is not None:
        explain(tally.failed, console)
    console.print(tally.table())
    return int(tally.failed is not None)


if __name__ == "__main__":
    sys.exit(main())
