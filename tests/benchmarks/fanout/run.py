"""The fan-out benchmark: one publisher, many subscribers, beside sse-starlette and a queue per client in the same run.

    python tests/benchmarks/fanout/run.py [--smoke] [--subscribers 100,1000,5000] [--runs 3]

Events of 200 bytes over loopback; readers are another process. Burst: groups of 100 as fast as possible. Steady: ten
events a second. Memory: the server's resident growth per open connection. Return (ours only: the others cannot resume):
all readers lose their connection, come back at once and are sent the 100 events they missed; and the server's memory
per reader at its height meanwhile. Deaf (ours): what the greediest of 50 readers that never read holds, in the process
and in the kernel, after 5,000 events. Stop (ours): the server's end with all streams open, those included. Every event
must reach every reader, or the run is void. Writes `.benchmarks/fanout.json`.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[3]
sys.path.insert(0, str(ROOT))  # run as a script, only this folder is on the path

from tests.harness.ports import free_port  # noqa: E402 - needs the path above

HERE = Path(__file__).parent
NAMES = ("ours-sse", "ours-ws", "queues", "sse-starlette")
UNITS = ("burst/s", "burst us CPU", "steady p50 ms", "steady p99 ms", "steady us CPU", "KB/connection")
OURS = ("return s", "return KB", "deaf KB", "stop s")
MISSED = 100
DEAF, DEAF_EVENTS = 50, 5_000
STEADY = 30  # events: three seconds
BURST_DELIVERIES = 2_000_000  # in all, for ours; the slower ones get a tenth


class LostError(Exception):
    """A reader did not get every event."""


class Child:
    """A process that takes a command per line."""

    def __init__(self, script: str, *arguments: str) -> None:
        command = [sys.executable, str(HERE / script), *arguments]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def ask(self, do: str, **how: object) -> dict[str, Any]:
        """Send a command and wait for its answer."""
        pipe, answers = self._process.stdin, self._process.stdout
        if pipe is None or answers is None:
            raise LostError("no pipe")
        pipe.write(json.dumps({"do": do, **how}) + "\n")
        pipe.flush()
        return dict(json.loads(answers.readline()))

    def end(self) -> None:
        """Close its input and wait."""
        if self._process.stdin is not None:
            self._process.stdin.close()
        self._process.wait(20)
        if self._process.stdout is not None:
            self._process.stdout.close()


def published(server: Child, readers: Child, do: str, count: int, subscribers: int) -> dict[str, float]:
    """Publish and count what arrives; the rate, delays and the server's CPU per delivery.

    Raises:
        LostError: not everything arrived.
    """
    readers.ask("clear")
    before = server.ask(do, count=count)["cpu"]
    expected = count * subscribers
    found = readers.ask("wait", events=expected, timeout_s=120)
    if found["events"] != expected:
        raise LostError(f"{found['events']} of {expected} deliveries")
    cpu_s = server.ask("look")["cpu"] - before
    return {**found, "rate": expected / found["seconds"], "cpu_us": cpu_s / expected * 1e6}


def wait_for(server: Child, subscribers: int) -> None:
    """Wait until so many streams are open."""
    while server.ask("look")["readers"] != subscribers:
        time.sleep(0.02)


def returned(server: Child, readers: Child, subscribers: int) -> tuple[float, float]:
    """Let all readers lose their connection and come back.

    Returns seconds until each has what it missed, and the server's memory at its height per reader, in KB.

    Raises:
        LostError: not everything arrived.
    """
    last_id = server.ask("place")["last_id"]
    readers.ask("leave")
    wait_for(server, 0)
    server.ask("burst", count=MISSED)
    readers.ask("clear")
    server.ask("peak")
    before_kb = server.ask("look")["rss"]
    began = time.monotonic()
    readers.ask("back", last_id=last_id)
    expected = MISSED * subscribers
    found = readers.ask("wait", events=expected, timeout_s=60)
    if found["events"] != expected:
        raise LostError(f"{found['events']} of {expected} deliveries after coming back")
    return time.monotonic() - began, (server.ask("peak")["kb"] - before_kb) / subscribers


def deafened(server: Child, readers: Child, subscribers: int) -> float:
    """Return the most that one of some readers that never read holds, in KB."""
    server.ask("spare")
    readers.ask("deaf", count=DEAF)
    wait_for(server, subscribers + DEAF)
    server.ask("burst", count=DEAF_EVENTS)
    return float(server.ask("held")["kb"])


def measure(name: str, subscribers: int, *, smoke: bool) -> dict[str, float]:
    """One contestant with so many subscribers."""
    port = free_port()
    server = Child("contestants.py", name, str(port))
    idle = server.ask("look")["rss"]
    time.sleep(0.3)  # it listens soon after it answers
    ours = name.startswith("ours")
    readers = Child("readers.py", str(port), str(subscribers), name.removeprefix("ours-") if ours else "others")
    try:
        readers.ask("clear")
        wait_for(server, subscribers)
        published(server, readers, "burst", 100, subscribers)  # warm
        memory_kb = (server.ask("look")["rss"] - idle) / subscribers
        steady = published(server, readers, "steady", 5 if smoke else STEADY, subscribers)
        deliveries = BURST_DELIVERIES // (1 if ours else 10) // (50 if smoke else 1)
        burst = published(server, readers, "burst", max(100, deliveries // subscribers // 100 * 100), subscribers)
        last: tuple[float, ...] = ()
        if ours:
            last = (*returned(server, readers, subscribers), deafened(server, readers, subscribers))
            last = (*last, server.ask("stop")["seconds"])
    finally:
        readers.end()
        server.end()
    values = (burst["rate"], burst["cpu_us"], steady["p50_ms"], steady["p99_ms"], steady["cpu_us"], memory_kb)
    return dict(zip(UNITS, values, strict=True)) | dict(zip(OURS, last, strict=ours))


def benchmark(counts: list[int], runs: int, *, smoke: bool) -> dict[str, dict[str, dict[str, float]]]:
    """Medians by subscribers and contestant; in turn, so that a slow moment of the machine hits all."""
    found: dict[str, dict[str, dict[str, float]]] = {}
    for count in counts:
        measured: dict[str, list[dict[str, float]]] = {name: [] for name in NAMES}
        for _ in range(runs):
            for name in NAMES:
                measured[name].append(measure(name, count, smoke=smoke))
        found[str(count)] = {
            name: {unit: statistics.median(one[unit] for one in several) for unit in several[0]}
            for name, several in measured.items()
        }
    return found


def table(found: dict[str, dict[str, dict[str, float]]]) -> str:
    """The medians and, for the burst, the ratio to sse-starlette."""
    units = (*UNITS, *OURS)
    lines = [f"{'subscribers':>11} {'':<14}" + "".join(f"{unit:>15}" for unit in units) + f"{'burst ratio':>13}"]
    for count, rows in found.items():
        for name, row in rows.items():
            cells = "".join(_cell(row.get(unit), unit) for unit in units)
            ratio = row["burst/s"] / rows["sse-starlette"]["burst/s"]
            lines.append(f"{count:>11} {name:<14}{cells}{ratio:>12.1f}x")
    return "\n".join(lines)


def _cell(value: float | None, unit: str) -> str:
    if value is None:
        return f"{'-':>15}"
    return f"{value:>15,.{0 if unit == 'burst/s' else 2 if unit.endswith(' s') else 1}f}"


def main() -> int:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--smoke", action="store_true", help="few readers and events: proves that it runs")
    parser.add_argument("--subscribers", default="100,1000,5000")
    parser.add_argument("--runs", type=int, default=3)
    given = parser.parse_args()
    counts = [20] if given.smoke else [int(text) for text in given.subscribers.split(",")]
    found = benchmark(counts, 1 if given.smoke else given.runs, smoke=given.smoke)
    print(table(found))
    folder = ROOT / ".benchmarks"
    folder.mkdir(exist_ok=True)
    result = {"benchmark": "fanout", "smoke": given.smoke, "python": platform.python_version(),
              "cores": os.cpu_count(), "medians": found}  # fmt: skip
    (folder / "fanout.json").write_text(json.dumps(result, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
