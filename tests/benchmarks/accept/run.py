"""The accept benchmark: durable, validated, signed submissions per second over HTTP, beside a StreamBeat-like server.

    python tests/benchmarks/accept/run.py [--smoke] [--runs 3] [--only TEXT]

Prints medians and ratios of the same run, writes ``.benchmarks/accept.json``. Every request is a distinct valid play
with ``Prefer: respond-async``; each player plays 40 times, below the limit of 60 a minute: every limit is on, none hit.
Afterwards every answer is matched with the database: accepted answers = rows = round ids 1..n without a gap.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[3]
sys.path.insert(0, str(ROOT))  # run as a script, only this folder is on the path

from tests.benchmarks.accept.contestants import Contestant, Entry, entries  # noqa: E402 - needs the path above
from tests.harness.nodes import postgres  # noqa: E402
from tests.harness.plays import play, player, request  # noqa: E402

CONNECTIONS = 64
PLAYS_PER_PLAYER = 40
WARM_UP = 2_000
GOALS = {"sqlite": 6_500.0, "postgresql": 10_000.0}
GOAL_P99_MS = 50.0


class UnsoundError(AssertionError):
    """What was answered and what was stored differ: the measured rate would be worth nothing."""


def load(contestant: Contestant, first: int, count: int, folder: Path) -> tuple[dict[str, Any], list[bytes]]:
    """Send plays ``first`` … ``first + count - 1`` from a process of its own; its measurement and the raw answers."""
    sent, answered = folder / "requests", folder / "answers"
    plays = (play(serial, player(serial // PLAYS_PER_PLAYER)) for serial in range(first, first + count))
    sent.write_bytes(b"\0".join(request(body, "Prefer: respond-async") for body in plays))
    job = {"requests": str(sent), "answers": str(answered), "ports": contestant.ports, "connections": CONNECTIONS}
    generator = subprocess.run(
        [sys.executable, ROOT / "tests/harness/load.py"],
        input=json.dumps(job),
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    measured: dict[str, Any] = json.loads(generator.stdout)
    return measured, answered.read_bytes().split(b"\0")


def measure(entry: Entry, *, smoke: bool) -> dict[str, Any]:
    """One run of one contestant, from a fresh start, warmed up, verified afterwards."""
    count = entry.smoke_requests if smoke else entry.requests
    # Whole players only, so that the measured plays never meet the warm-up's players.
    warm_up = min(WARM_UP, count // 4) // PLAYS_PER_PLAYER * PLAYS_PER_PLAYER
    with entry.start() as contestant, tempfile.TemporaryDirectory() as scratch:
        answers: list[bytes] = []
        if warm_up:
            answers += load(contestant, 0, warm_up, Path(scratch))[1]
            verify(answers, contestant)  # a broken server is not worth measuring
        before = {part: read() for part, read in contestant.cpu.items()}
        measured, measured_answers = load(contestant, warm_up, count, Path(scratch))
        measured["cpu_us_per_request"] = {
            part: (read() - before[part]) / count * 1e6 for part, read in contestant.cpu.items()
        }
        answers += measured_answers
        if contestant.on_chain:
            domain = json.loads(body_of(answers[0]))["receipt"]["typedData"]["domain"]
            measured["on_chain_when_the_last_was_answered"] = contestant.on_chain(domain["verifyingContract"])
        verify(answers, contestant)
    return measured


def body_of(answer: bytes) -> bytes:
    """An answer without its head."""
    return answer.partition(b"\r\n\r\n")[2]


def verify(answers: list[bytes], contestant: Contestant) -> None:
    """Every request was answered as accepted, and the database holds exactly these, numbered 1..n.

    Raises:
        UnsoundError: otherwise.
    """
    refused = [answer for answer in answers if answer[9:12] not in {b"200", b"202"}]
    if refused:
        raise UnsoundError(f"{len(refused)} of {len(answers)} were not accepted, the first: {refused[0][:800]!r}")
    if contestant.stored is None:
        return
    rows = contestant.stored()
    bodies = [json.loads(body_of(answer)) for answer in answers]
    promised = sorted((body["receipt"]["roundId"], body["submissionId"]) for body in bodies)
    if promised != [(round_id, submission) for submission, round_id in rows]:
        raise UnsoundError(f"{len(promised)} were promised, {len(rows)} are stored, or some under another number")
    if [round_id for round_id, _ in promised] != list(range(1, len(promised) + 1)):
        raise UnsoundError("round ids are not 1..n without a gap")


def median_of(runs: list[dict[str, Any]]) -> dict[str, Any]:
    """The median of every number of several runs."""
    numbers = [name for name, value in runs[0].items() if isinstance(value, int | float)]
    result: dict[str, Any] = {name: statistics.median(run[name] for run in runs) for name in numbers}
    result["cpu_us_per_request"] = {
        part: statistics.median(run["cpu_us_per_request"][part] for run in runs)
        for part in runs[0]["cpu_us_per_request"]
    }
    return result


def table(medians: dict[str, dict[str, Any]]) -> str:
    """The result for people; CPU in microseconds per request, of the server / database / chain / load generator."""
    lines = [
        f"{'':36}{'per second':>11}{'p50 ms':>9}{'p99 ms':>9}   CPU µs per request (server, database, chain, client)"
    ]
    for name, found in medians.items():
        cpu = found["cpu_us_per_request"]
        parts = [f"{cpu[part]:.0f}" if part in cpu else "-" for part in ("server", "database", "chain")]
        parts.append(f"{found['client_cpu_us_per_request']:.0f}")
        rate, p50, p99 = (found[number] for number in ("per_second", "p50_ms", "p99_ms"))
        lines.append(f"{name:36}{rate:>11,.0f}{p50:>9.1f}{p99:>9.1f}   {' / '.join(parts)}")
    return "\n".join(lines)


def ratios(chosen: list[Entry], medians: dict[str, dict[str, Any]]) -> dict[str, float]:
    """Each of ours against each baseline, in requests per second."""
    ours = [entry.name for entry in chosen if entry.tags]
    baselines = [entry.name for entry in chosen if not entry.tags]
    return {
        f"{name} : {baseline}": round(medians[name]["per_second"] / medians[baseline]["per_second"], 2)
        for name in ours
        for baseline in baselines
    }


def goals(chosen: list[Entry], medians: dict[str, dict[str, Any]]) -> list[str]:
    """One sentence per goal: met or missed."""
    sentences = []
    for entry in chosen:
        for tag in entry.tags:
            found = medians[entry.name]
            met = found["per_second"] >= GOALS[tag] and found["p99_ms"] < GOAL_P99_MS
            sentences.append(
                f"{'met' if met else 'MISSED'}: {tag} {found['per_second']:,.0f}/s of {GOALS[tag]:,.0f}/s, "
                f"p99 {found['p99_ms']:.1f} ms of {GOAL_P99_MS:.0f} ms"
            )
    return sentences


def benchmark(*, smoke: bool, runs: int, only: str = "") -> dict[str, Any]:
    """Run every contestant ``runs`` times, in turns, so that a slow minute of the machine hits all of them."""
    collected: dict[str, list[dict[str, Any]]] = {}
    with postgres() as server:
        chosen = [entry for entry in entries(server) if only.lower() in entry.name.lower()]
        for turn in range(runs):
            for entry in chosen:
                found = measure(entry, smoke=smoke)
                collected.setdefault(entry.name, []).append(found)
                sys.stderr.write(
                    f"run {turn + 1}/{runs}  {entry.name}: {found['per_second']:,.0f}/s  p99 {found['p99_ms']:.1f} ms\n"
                )
                time.sleep(0 if smoke else 1)
    medians = {name: median_of(found) for name, found in collected.items()}
    return {
        "benchmark": "accept",
        "smoke": smoke,
        "machine": {"cores": os.cpu_count(), "python": platform.python_version(), "system": platform.platform()},
        "connections": CONNECTIONS,
        "runs": collected,
        "medians": medians,
        "ratios": ratios(chosen, medians),
        "goals": goals(chosen, medians),
    }


def main() -> None:
    """Parse the command line, run, print, write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--smoke", action="store_true", help="seconds instead of minutes; the numbers mean little")
    parser.add_argument("--runs", type=int, help="runs of each contestant (3, or 1 with --smoke)")
    parser.add_argument("--only", default="", help="only contestants whose name contains this")
    given = parser.parse_args()
    result = benchmark(smoke=given.smoke, runs=given.runs or (1 if given.smoke else 3), only=given.only)
    written = ROOT / ".benchmarks" / ("accept-smoke.json" if given.smoke else "accept.json")
    written.parent.mkdir(exist_ok=True)
    written.write_text(json.dumps(result, indent=2) + "\n")
    sys.stdout.write(table(result["medians"]) + "\n\n")
    for pair, ratio in result["ratios"].items():
        sys.stdout.write(f"{ratio:>10,.2f} x  {pair}\n")
    sys.stdout.write("\n" + "\n".join(result["goals"]) + f"\nwritten to {written.relative_to(ROOT)}\n")


if __name__ == "__main__":
    main()
