"""The chain benchmark: scores per second confirmed on anvil with 1 s blocks, and the time from acceptance to a block.

    python tests/benchmarks/chain/run.py [--smoke] [--runs 3] [--only TEXT]

Prints medians and ratios of the same run, writes ``.benchmarks/chain.json``. Throughput: a backlog of accepted scores
appears in the database of a running relay in one commit; the clock stops at the block that holds the last of them.
Anvil runs with a block gas limit of 300 M, so that the sender is measured, not the block. Latency: plays arrive over
HTTP at a steady rate; the relay's own history says when each was accepted and when it was seen in a block.
Afterwards every score is read back from the chain: each round once, with the values it was accepted with.
"""

import argparse
import asyncio
import json
import os
import platform
import statistics
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[3]
sys.path.insert(0, str(ROOT))  # run as a script, only this folder is on the path

from sqlalchemy import text  # noqa: E402 - needs the path above

from relay.store.engine import open_database  # noqa: E402
from tests.benchmarks.chain.contestants import (  # noqa: E402
    Clock,
    Ground,
    Relay,
    backlog,
    one_by_one,
    record,
    relay,
)
from tests.harness.nodes import Postgres, postgres  # noqa: E402
from tests.harness.plays import play, player, request  # noqa: E402
from tests.harness.process import cpu_seconds  # noqa: E402
from tests.harness.rpc import ChainScore, rpc, scores_on_chain  # noqa: E402
from tests.harness.stubborn import Ledger, submit_all  # noqa: E402

GOAL_PER_SECOND = 3_000.0  # from one key
PLAYS_PER_PLAYER = 40  # below the limit of 60 a minute
CONNECTIONS = 64
GIVE_UP_S = 300.0
INCLUDED = "SELECT coalesce(sum(size), 0) FROM batches WHERE state IN ('included', 'final')"
WAITED = (
    "SELECT min(h.at_ms) - s.accepted_at_ms FROM submissions s JOIN history h ON h.submission_id = s.id "
    "WHERE h.status = 'included' AND s.round_id >= :first GROUP BY s.id, s.accepted_at_ms"
)
Found = dict[str, Any]


class UnsoundError(AssertionError):
    """What was accepted and what is on chain differ: the measured rate would be worth nothing."""


@dataclass(frozen=True)
class Entry:
    """A line of the table; sizes fit its speed, so that a run takes seconds and not minutes."""

    name: str
    measure: Callable[[int], Found]
    size: int
    smoke_size: int


def ask(running: Relay, sql: str, **values: int) -> list[Any]:
    """First column of a query on the relay's database."""
    database = open_database(running.database_url)
    try:
        return list(database.read_now(lambda c: c.execute(text(sql), values).scalars().all()))
    finally:
        database.close()


def wait_included(running: Relay, count: int) -> float:
    """Wait until the relay itself says that so many scores are in blocks; the moment it does."""
    until = time.monotonic() + GIVE_UP_S
    while int(ask(running, INCLUDED)[0]) < count:
        if time.monotonic() > until:
            raise UnsoundError(f"not {count} scores included after {GIVE_UP_S} s\n{running.server.tail()}")
        time.sleep(0.2)
    return time.perf_counter()


def verify(chain: list[ChainScore], ground: Ground, count: int) -> list[ChainScore]:
    """Return the scores of the run: every round once, as accepted, nothing else.

    Raises:
        UnsoundError: otherwise.
    """
    found = [score for score in chain if score.round_id >= ground.first_round]
    times = Counter(score.round_id for score in found)
    if sorted(times) != list(range(ground.first_round, ground.first_round + count)) or max(times.values()) > 1:
        raise UnsoundError(f"{count} rounds were accepted, the chain shows {len(times)} of them {len(found)} times")
    for score in found:
        meant = record(ground, score.round_id)
        if (score.player.lower(), score.score) != ("0x" + meant.player.hex(), meant.score):
            raise UnsoundError(f"round {score.round_id} is recorded with other values")
    return found


def result(ground: Ground, found: list[ChainScore], clock: Clock, started: float) -> Found:
    """Rates and sizes of a run, from the chain's own record."""
    hashes = {score.tx_hash for score in found}
    per_block = Counter(score.position[0] for score in found)
    gas = sum(
        int(receipt["gasUsed"], 16)
        for block in per_block
        for receipt in rpc(ground.node.url, "eth_getBlockReceipts", hex(block))
        if receipt["transactionHash"] in hashes
    )
    return {
        "scores": len(found),
        "per_second": len(found) / (clock.at(max(per_block)) - started),
        "transactions": len(hashes),
        "scores_per_transaction": len(found) / len(hashes),
        "blocks": len(per_block),
        "fullest_block": max(per_block.values()),
        "gas_per_score": gas / len(found),
    }


def drain(keys: int, server: Postgres | None, count: int) -> Found:
    """The product carries a backlog of `count` scores to the chain."""
    with relay(keys, server) as running, Clock(running.ground.node.url) as clock:
        before = {part: read() for part, read in running.cpu.items()}
        started = backlog(running, count)
        known = wait_included(running, count + 1)
        cpu = {part: (read() - before[part]) / count * 1e6 for part, read in running.cpu.items()}
        ground = running.ground
        found = verify(scores_on_chain(ground.node.url, ground.contract), ground, count)
        return result(ground, found, clock, started) | {
            "recorded_per_second": count / (known - started),
            "cpu_us_per_score": cpu,
        }


def single(count: int, *, pipelined: bool) -> Found:
    """The baseline carries `count` scores, from the same key to the same contract."""
    with relay(1, None) as running, Clock(running.ground.node.url) as clock:
        running.server.stop()
        ground = running.ground
        before = time.process_time(), cpu_seconds(ground.node.pid)
        started = time.perf_counter()
        asyncio.run(one_by_one(ground, count, pipelined=pipelined))
        until = time.monotonic() + GIVE_UP_S
        while len(chain := scores_on_chain(ground.node.url, ground.contract)) <= count and time.monotonic() < until:
            time.sleep(0.2)
        used = time.process_time() - before[0], cpu_seconds(ground.node.pid) - before[1]
        cpu = {"relay": used[0] / count * 1e6, "chain": used[1] / count * 1e6}
        return result(ground, verify(chain, ground, count), clock, started) | {"cpu_us_per_score": cpu}


def steady(server: Postgres | None, per_second: int, seconds: int) -> Found:
    """Plays over HTTP at a steady rate; how long each one waited for its block, by the relay's own history."""
    count = per_second * seconds
    with relay(1, server) as running:
        plays = (play(serial, player(serial // PLAYS_PER_PLAYER)) for serial in range(100, 100 + count))
        requests = [request(body, "Prefer: respond-async") for body in plays]
        ledger = asyncio.run(
            submit_all(running.server.port, requests, CONNECTIONS, nothing_else, per_second=per_second)
        )
        if ledger.refusals or len(ledger.answers) != count:
            raise UnsoundError(f"{len(ledger.answers)} of {count} plays were accepted: {ledger.refusals[:1]}")
        wait_included(running, count + 1)
        waited = sorted(ask(running, WAITED, first=running.ground.first_round))
        if len(waited) != count:
            raise UnsoundError(f"{len(waited)} of {count} scores are in blocks")
        return {
            "scores": count,
            "per_second": float(per_second),
            "p50_ms": float(waited[count // 2]),
            "p99_ms": float(waited[min(count - 1, count * 99 // 100)]),
            "max_ms": float(waited[-1]),
        }


async def nothing_else(_ledger: Ledger) -> None:
    """Nobody kills anything while these players play."""


def throughput_entries(server: Postgres) -> list[Entry]:
    """The lines of the first table, the baselines first."""
    return [
        Entry("one per transaction, each awaited", lambda n: single(n, pipelined=False), 6, 2),
        Entry("one per transaction, 64 at a time", lambda n: single(n, pipelined=True), 6_000, 300),
        Entry("fairscore, 1 key, SQLite", lambda n: drain(1, None, n), 60_000, 2_000),
        Entry("fairscore, 1 key, PostgreSQL", lambda n: drain(1, server, n), 60_000, 2_000),
        Entry("fairscore, 4 keys, SQLite", lambda n: drain(4, None, n), 60_000, 2_000),
        Entry("fairscore, 4 keys, PostgreSQL", lambda n: drain(4, server, n), 60_000, 2_000),
    ]


def latency_entries(server: Postgres, *, smoke: bool) -> list[Entry]:
    """The lines of the second table; their size is in seconds."""
    rates = (50,) if smoke else (50, 500)
    kinds: list[tuple[str, Postgres | None]] = [("SQLite", None), ("PostgreSQL", server)]

    def entry(kind: str, where: Postgres | None, rate: int) -> Entry:
        return Entry(f"accepted → included, {kind}, {rate} plays/s", lambda s: steady(where, rate, s), 20, 4)

    return [entry(kind, where, rate) for kind, where in kinds for rate in rates]


def median_of(runs: list[Found]) -> Found:
    """The median of every number of several runs."""
    numbers = [name for name, value in runs[0].items() if isinstance(value, int | float)]
    found: Found = {name: statistics.median(run[name] for run in runs) for name in numbers}
    if "cpu_us_per_score" in runs[0]:
        parts = runs[0]["cpu_us_per_score"]
        found["cpu_us_per_score"] = {
            part: statistics.median(run["cpu_us_per_score"][part] for run in runs) for part in parts
        }
    return found


def table(medians: dict[str, Found]) -> str:
    """The result for people; CPU in microseconds per score."""
    lines = [f"{'':44}{'scores/s':>9}{'per tx':>8}{'gas each':>10}   CPU µs per score (relay, database, chain)"]
    for name, found in medians.items():
        if "p50_ms" in found:
            continue
        cpu = found["cpu_us_per_score"]
        parts = " / ".join(f"{cpu[part]:.0f}" if part in cpu else "-" for part in ("relay", "database", "chain"))
        rate, size, gas = (found[name] for name in ("per_second", "scores_per_transaction", "gas_per_score"))
        lines.append(f"{name:44}{rate:>9,.1f}{size:>8,.0f}{gas:>10,.0f}   {parts}")
    lines.append(f"\n{'':44}{'p50 ms':>9}{'p99 ms':>9}{'max ms':>9}")
    for name, found in medians.items():
        if "p50_ms" in found:
            lines.append(f"{name:44}{found['p50_ms']:>9,.0f}{found['p99_ms']:>9,.0f}{found['max_ms']:>9,.0f}")
    return "\n".join(lines)


def ratios(medians: dict[str, Found]) -> dict[str, float]:
    """Each of ours against each baseline, in scores per second."""
    rates = {name: found["per_second"] for name, found in medians.items() if "p50_ms" not in found}
    ours = [name for name in rates if name.startswith("fairscore")]
    return {
        f"{name} : {baseline}": round(rates[name] / rates[baseline], 1)
        for name in ours
        for baseline in rates
        if baseline not in ours
    }


def goals(medians: dict[str, Found]) -> list[str]:
    """One sentence per goal: met or missed."""
    return [
        f"{'met' if found['per_second'] >= GOAL_PER_SECOND else 'MISSED'}: {name} "
        f"{found['per_second']:,.0f}/s of {GOAL_PER_SECOND:,.0f}/s"
        for name, found in medians.items()
        if "1 key" in name
    ]


def benchmark(*, smoke: bool, runs: int, only: str = "") -> Found:
    """Run every line ``runs`` times, in turns, so that a slow minute of the machine hits all of them."""
    collected: dict[str, list[Found]] = {}
    with postgres() as server:
        entries = throughput_entries(server) + latency_entries(server, smoke=smoke)
        chosen = [entry for entry in entries if only.lower() in entry.name.lower()]
        for turn in range(runs):
            for entry in chosen:
                found = entry.measure(entry.smoke_size if smoke else entry.size)
                collected.setdefault(entry.name, []).append(found)
                shown = f"p99 {found['p99_ms']:,.0f} ms" if "p99_ms" in found else f"{found['per_second']:,.1f}/s"
                load = os.getloadavg()[0]
                sys.stderr.write(f"run {turn + 1}/{runs}  {entry.name}: {shown}  (load {load:.1f})\n")
    medians = {name: median_of(found) for name, found in collected.items()}
    return {
        "benchmark": "chain",
        "smoke": smoke,
        "machine": {"cores": os.cpu_count(), "python": platform.python_version(), "system": platform.platform()},
        "runs": collected,
        "medians": medians,
        "ratios": ratios(medians),
        "goals": goals(medians),
    }


def main() -> None:
    """Parse the command line, run, print, write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--smoke", action="store_true", help="seconds instead of minutes; the numbers mean little")
    parser.add_argument("--runs", type=int, help="runs of each line (3, or 1 with --smoke)")
    parser.add_argument("--only", default="", help="only lines whose name contains this")
    given = parser.parse_args()
    found = benchmark(smoke=given.smoke, runs=given.runs or (1 if given.smoke else 3), only=given.only)
    written = ROOT / ".benchmarks" / ("chain-smoke.json" if given.smoke else "chain.json")
    written.parent.mkdir(exist_ok=True)
    written.write_text(json.dumps(found, indent=2) + "\n")
    sys.stdout.write(table(found["medians"]) + "\n\n")
    for pair, ratio in found["ratios"].items():
        sys.stdout.write(f"{ratio:>10,.1f} x  {pair}\n")
    sys.stdout.write("\n" + "\n".join(found["goals"]) + f"\nwritten to {written.relative_to(ROOT)}\n")


if __name__ == "__main__":
    main()
