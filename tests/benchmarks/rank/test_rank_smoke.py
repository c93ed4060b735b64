"""The rank benchmark in smoke mode: it runs on both databases, and its contestants rank alike."""

import subprocess
import sys
from pathlib import Path

import pytest

RUN = Path(__file__).with_name("run.py")


@pytest.mark.benchmark
def test_rank_benchmark_runs() -> None:
    done = subprocess.run([sys.executable, str(RUN), "--smoke"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "restart" in done.stdout
    assert "postgresql, 2,000 players" in done.stdout
