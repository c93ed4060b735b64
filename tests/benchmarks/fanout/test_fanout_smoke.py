"""The fan-out benchmark in smoke mode: every contestant delivers every event, and a lost one is noticed."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.benchmarks.fanout.run import NAMES, LostError, published

RUN = Path(__file__).with_name("run.py")


@pytest.mark.benchmark
def test_fanout_benchmark_runs() -> None:
    done = subprocess.run([sys.executable, str(RUN), "--smoke"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    for name in NAMES:
        assert name in done.stdout


class Fake:
    """A process that answers what it is told to."""

    def __init__(self, **answers: dict[str, Any]) -> None:
        self._answers = answers

    def ask(self, do: str, **_how: object) -> dict[str, Any]:
        """The answer."""
        return self._answers[do]


def test_a_lost_delivery_voids_the_run() -> None:
    server = Fake(burst={"cpu": 0.0}, look={"cpu": 1.0})
    readers = Fake(clear={}, wait={"events": 99, "seconds": 1.0})
    with pytest.raises(LostError):
        published(server, readers, "burst", 10, 10)  # type: ignore[arg-type]
