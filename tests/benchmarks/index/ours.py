"""One process of ours for the index benchmark: the indexer as `fairscore indexer` wires it, without the HTTP server.

    python ours.py <database url> <rpc url> <contract> <block> [--where]

Prints one line of JSON when the block is committed. With `--where`, the CPU of each stage, by wrapping the product's
own functions; that costs a little, so the rate comes from a run without.
"""

import asyncio
import json
import resource
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[3]
sys.path.insert(0, str(ROOT))  # run as a script, only this folder is on the path

import uvloop  # noqa: E402 - needs the path above

from indexer import backfill, chain, fold, follower  # noqa: E402
from indexer.app import IndexerService  # noqa: E402
from indexer.chain_pool import connect  # noqa: E402
from indexer.follower import Plan  # noqa: E402
from indexer.store import access, commit, ledger  # noqa: E402
from indexer.store.access import Store  # noqa: E402
from indexer.store.evidence import DatabaseEvidence  # noqa: E402
from relay.store.engine import open_database  # noqa: E402
from relay.store.writer import Writer  # noqa: E402
from tests.benchmarks.index.ground import GAME  # noqa: E402

GIVE_UP_S = 600.0
LOOK_S = 0.01


class Stages:
    """CPU seconds by stage, of the threads that ran it: what one stage calls in another counts for the inner one."""

    def __init__(self) -> None:
        self.spent: dict[str, float] = defaultdict(float)
        self._inner = threading.local()

    def wrap(self, owner: Any, name: str, stage: str) -> None:
        """Measure every call of a function or method where its caller finds it."""
        wrapped: Callable[..., Any] = getattr(owner, name)

        def timed(*given: Any, **named: Any) -> Any:
            outer, self._inner.spent = getattr(self._inner, "spent", 0.0), 0.0
            began = time.thread_time()
            try:
                return wrapped(*given, **named)
            finally:
                whole = time.thread_time() - began
                self.spent[stage] += whole - self._inner.spent
                self._inner.spent = outer + whole

        setattr(owner, name, timed)

    def watch(self) -> None:
        """Wrap what indexing history consists of."""
        self.wrap(chain, "_parse", "parse JSON")
        self.wrap(backfill, "decode", "decode logs")
        self.wrap(follower, "decode", "decode logs")
        self.wrap(fold.Fold, "apply", "fold")
        self.wrap(ledger.SqlLedger, "flush", "insert scores")
        self.wrap(commit, "write_standings", "upsert standings")
        self.wrap(commit, "write_messages", "messages")
        self.wrap(access, "commit_step", "rest of the step")


async def index(database_url: str, rpc_url: str, contract: str, block: int, stages: Stages) -> dict[str, Any]:
    """Follow from nothing to a block."""
    database = open_database(database_url)
    writer, rpc = Writer(database), connect(rpc_url, bytes.fromhex(contract[2:]))
    service = IndexerService(Store(database, writer), rpc, DatabaseEvidence(database), Plan(games=(GAME,)), writer)
    began, cpu_before = time.perf_counter(), time.process_time()
    await service.start()
    try:
        async with asyncio.timeout(GIVE_UP_S):
            while service.follower.state is None or service.follower.state.tip.number < block:  # noqa: ASYNC110 - looked at from outside
                await asyncio.sleep(LOOK_S)
        seconds, cpu_s = time.perf_counter() - began, time.process_time() - cpu_before
        state = service.follower.state
        return {
            "seconds": seconds,
            "cpu_s": cpu_s,
            "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
            "calls": rpc.calls,
            "recorded": sum(game.recorded for game in state.games.values()),
            "players": sum(len(board.standings) for board in state.boards.values()),
            "stages": dict(stages.spent),
        }
    finally:
        await service.stop()
        database.close()


def main() -> int:
    """Index, and say how it went."""
    database_url, rpc_url, contract, block, *rest = sys.argv[1:]
    stages = Stages()
    if "--where" in rest:
        stages.watch()
    print(json.dumps(uvloop.run(index(database_url, rpc_url, contract, int(block), stages))))
    return 0


if __name__ == "__main__":
    sys.exit(main())
