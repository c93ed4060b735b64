"""The sign benchmark in smoke mode: it runs, and its contestants agree on the bytes."""

import subprocess
import sys
from pathlib import Path

RUN = Path(__file__).with_name("run.py")


def test_sign_benchmark_runs() -> None:
    done = subprocess.run([sys.executable, str(RUN), "--smoke"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "same bytes from all three: yes" in done.stdout
