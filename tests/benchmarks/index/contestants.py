"""Who indexes in this benchmark: ours on both databases, Ponder on PostgreSQL, web3.py; each from nothing.

Touches processes, databases, temporary folders, and for Ponder the package registry (once, into the cache folder).
`seconds` is from the process's own start to its last row, interpreter and migrations included, for everybody alike.
"""

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg

from tests.benchmarks.index.ground import Ground, say
from tests.harness.nodes import NODE, Postgres
from tests.harness.ports import free_port
from tests.harness.process import cpu_seconds

HERE = Path(__file__).parent
PONDER = HERE / "ponder"
NPM = NODE.parent.parent / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
SCHEMA = "bench"
GIVE_UP_S = 900.0
LOOK_S = 0.1
Found = dict[str, Any]


class UnsoundError(AssertionError):
    """A contestant did not index everything: its rate would be worth nothing."""


def child(script: str, *arguments: str) -> Found:
    """Run a process of ours to its end and return what it found, with the seconds from its start."""
    began = time.perf_counter()
    command = [sys.executable, str(HERE / script), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=GIVE_UP_S)
    if done.returncode:
        raise UnsoundError(f"{script} ended with {done.returncode}\n{done.stderr[-2000:]}")
    found: Found = json.loads(done.stdout.splitlines()[-1])
    return {**found, "wall_s": time.perf_counter() - began}


def ours(ground: Ground, database_url: str, postgres: Postgres | None, *options: str) -> Found:
    """The product's indexer on a database."""
    before = postgres.cpu_seconds() if postgres else 0.0
    found = child("ours.py", database_url, ground.node.url, ground.address, str(ground.head()), *options)
    return {**found, "database_cpu_s": postgres.cpu_seconds() - before if postgres else 0.0}


def naive(ground: Ground, folder: Path) -> Found:
    """web3.py into SQLite."""
    return child("naive.py", str(folder / "naive.db"), ground.node.url, ground.address, str(ground.head()))


def install_ponder(cache: Path) -> Path:
    """Return Ponder's project in the cache folder, installed from npm the first time."""
    project = cache / "ponder"
    shutil.copytree(PONDER, project, dirs_exist_ok=True)
    if not (project / "node_modules" / "ponder").is_dir():
        say("installing Ponder, once")
        command = [str(NODE), str(NPM), "install", "--no-audit", "--no-fund", "--loglevel=error"]
        path = f"{NODE.parent}{os.pathsep}{os.environ.get('PATH', '')}"
        done = subprocess.run(
            command, cwd=project, env=os.environ | {"PATH": path}, capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise UnsoundError(f"npm could not install Ponder\n{done.stderr[-2000:]}")
    return project


@contextmanager
def ponder(project: Path, ground: Ground, database_url: str, *, websocket: bool = False) -> Iterator[int]:
    """Ponder following the ground into a database, as a process of its own; yields its id."""
    shutil.rmtree(project / ".ponder", ignore_errors=True)
    environment = os.environ | {
        "DATABASE_URL": database_url,
        "RPC_URL": ground.node.url,
        "WS_URL": ground.node.url.replace("http", "ws", 1) if websocket else "",
        "CONTRACT": ground.address,
        "PONDER_TELEMETRY_DISABLED": "true",
    }
    command = [str(NODE), "node_modules/ponder/dist/esm/bin/ponder.js", "start", "--schema", SCHEMA]
    command += ["--log-level", "warn", "--port", str(free_port())]
    log = project / "ponder.log"
    with log.open("w") as output:
        process = subprocess.Popen(command, cwd=project, env=environment, stdout=output, stderr=subprocess.STDOUT)
    try:
        yield process.pid
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def ponders(project: Path, ground: Ground, postgres: Postgres) -> Found:
    """Ponder from nothing, its cache of RPC answers included."""
    url, before, began = postgres.database(), postgres.cpu_seconds(), time.perf_counter()
    with ponder(project, ground, url) as pid:
        recorded = 0
        while recorded < ground.recorded:
            if time.perf_counter() - began > GIVE_UP_S or not Path(f"/proc/{pid}/stat").exists():
                raise UnsoundError(f"Ponder has {recorded} scores\n{(project / 'ponder.log').read_text()[-2000:]}")
            time.sleep(LOOK_S)
            recorded = count(url, "score")
        wall_s = time.perf_counter() - began
        return {
            "seconds": wall_s,
            "wall_s": wall_s,
            "cpu_s": cpu_seconds(pid, with_children=True),
            "database_cpu_s": postgres.cpu_seconds() - before,
            "peak_mb": peak_mb(pid),
            "recorded": recorded,
            "players": count(url, "best"),
        }


def count(url: str, table: str) -> int:
    """Rows of one of Ponder's tables, 0 while there is none."""
    try:
        with psycopg.connect(url) as connection:
            row = connection.execute(f"SELECT count(*) FROM {SCHEMA}.{table}".encode()).fetchone()
    except psycopg.errors.UndefinedTable:
        return 0
    return int(row[0]) if row else 0


def peak_mb(pid: int) -> float:
    """The most memory that a process had resident so far."""
    status = Path(f"/proc/{pid}/status").read_text()
    return next(int(line.split()[1]) / 1024 for line in status.splitlines() if line.startswith("VmHWM"))
