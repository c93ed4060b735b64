"""One process of the economy benchmark: operations through the intake, group and writer, without HTTP.

Touches the database it is given; run as its own process (``python worker.py``, job on standard input: url, load, count,
first, step, listings, in_flight, alone). Prints `ready`, waits for a line, prints what it measured as one JSON line.
"""

import asyncio
import gc
import hashlib
import json
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[3]))  # run as a script, only this folder is on the path

import relay.economy_intake
from relay.api.economy_answers import render
from relay.economy.requests import Asked
from relay.economy_entries import Order, Reply
from relay.economy_intake import EconomyIntake
from relay.store.engine import Database, open_database
from relay.store.kept_answers import Claim
from relay.store.writer import Writer
from tests.benchmarks.economy.loads import GAME, loads


def orders_of(job: dict[str, Any]) -> list[Order]:
    """This process's share of the operations, each with an idempotency key of its own."""
    make = loads(job["count"], job["listings"])[job["load"]]
    return [
        Order(GAME, Asked(make(serial), "server", "key_bench"), f"req_{serial}", _claim(serial))
        for serial in range(job["first"], job["count"], job["step"])
    ]


def _claim(serial: int) -> Claim:
    return Claim(hashlib.sha256(b"key %d" % serial).digest(), hashlib.sha256(b"body %d" % serial).digest())


async def send(intake: EconomyIntake, orders: list[Order], in_flight: int) -> tuple[list[float], list[Reply]]:
    """Send all, so many at a time; returns latencies in ms, and the replies."""
    waiting = iter(orders)
    latencies: list[float] = []
    replies: list[Reply] = []

    async def client() -> None:
        for order in waiting:
            began = time.perf_counter()
            reply = await intake.submit(order)
            latencies.append((time.perf_counter() - began) * 1e3)
            replies.append(reply)

    await asyncio.gather(*[client() for _ in range(in_flight)])
    return latencies, replies


async def measure(database: Database, orders: list[Order], in_flight: int) -> dict[str, Any]:
    """Measure one run."""
    writer = Writer(database, group_max=1)  # as the relay does
    writer.start()
    intake = EconomyIntake(writer, database, render)
    gc.collect()
    gc.freeze()  # as the relay does at its start
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    sys.stdin.readline()
    began, cpu = time.perf_counter(), time.process_time()
    latencies, replies = await send(intake, orders, in_flight)
    seconds, cpu = time.perf_counter() - began, time.process_time() - cpu
    await writer.stop()
    ordered = sorted(latencies)
    return {
        "operations": len(orders),
        "executed": sum(reply.kept.status == 200 for reply in replies),
        "booked": sum(b'"transactionId":"' in reply.kept.body for reply in replies if reply.kept.status == 200),
        "seconds": seconds,
        "p50_ms": ordered[len(ordered) // 2],
        "p99_ms": ordered[len(ordered) * 99 // 100],
        "cpu_us": cpu / len(orders) * 1e6,
        "group": len(orders) / writer.stats.groups,
    }


def main() -> None:
    """Read the job, measure, print."""
    job = json.loads(sys.stdin.readline())
    if job["alone"]:  # the baseline: the same code, a commit for each operation
        relay.economy_intake.GROUP_MAX = 1
    database = open_database(job["url"])
    measured = asyncio.run(measure(database, orders_of(job), job["in_flight"]))
    database.close()
    sys.stdout.write(json.dumps(measured) + "\n")


if __name__ == "__main__":
    main()
