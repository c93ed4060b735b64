"""The baseline everybody writes first: web3.py's get_logs, one insert and one best-score upsert each, into SQLite.

    python naive.py <database file> <rpc url> <contract> <block>

Prints one line of JSON. Kinder than most: ranges of 100 blocks, one transaction for each.
"""

import json
import resource
import sqlite3
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
sys.path.insert(0, str(ROOT))  # run as a script, only this folder is on the path

from eth_utils.address import to_checksum_address  # noqa: E402 - needs the path above
from web3 import Web3  # noqa: E402

from relay.contract import artifact  # noqa: E402

RANGE = 100
TABLES = """
CREATE TABLE score (
    block INTEGER, log INTEGER, player TEXT, round INTEGER, score INTEGER, evidence BLOB, rules BLOB, tx BLOB,
    PRIMARY KEY (block, log)
);
CREATE TABLE best (player TEXT PRIMARY KEY, score INTEGER, block INTEGER, log INTEGER);
"""
INSERT = "INSERT INTO score VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
UPSERT = """
INSERT INTO best VALUES (?, ?, ?, ?) ON CONFLICT (player) DO UPDATE
SET score = excluded.score, block = excluded.block, log = excluded.log WHERE excluded.score > best.score
"""


def main() -> int:
    """Index from nothing."""
    file, url, contract, last = sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])
    database = sqlite3.connect(file)
    database.executescript("PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL;" + TABLES)
    began, cpu_before = time.perf_counter(), time.process_time()
    leaderboard = Web3(Web3.HTTPProvider(url)).eth.contract(to_checksum_address(contract), abi=artifact().abi)
    calls = 0
    for first in range(0, last + 1, RANGE):
        calls += 1
        logs = leaderboard.events.ScoreSubmitted().get_logs(from_block=first, to_block=min(first + RANGE - 1, last))
        with database:
            for log in logs:
                args, place = log["args"], (log["blockNumber"], log["logIndex"])
                kept = (args["player"], args["roundId"], args["score"], args["evidenceHash"], args["rulesHash"])
                database.execute(INSERT, (*place, *kept, bytes(log["transactionHash"])))
                database.execute(UPSERT, (args["player"], args["score"], *place))
    found = {
        "seconds": time.perf_counter() - began,
        "cpu_s": time.process_time() - cpu_before,
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "calls": calls,
        "recorded": database.execute("SELECT count(*) FROM score").fetchone()[0],
        "players": database.execute("SELECT count(*) FROM best").fetchone()[0],
    }
    database.close()
    print(json.dumps(found))
    return 0


if __name__ == "__main__":
    sys.exit(main())
