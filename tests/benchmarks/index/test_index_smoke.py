"""The index benchmark in smoke mode: all but Ponder run and find the same; one who does not find all voids the run."""

import subprocess
import sys
from pathlib import Path
from typing import Any, cast

import pytest

from tests.benchmarks.index.contestants import UnsoundError
from tests.benchmarks.index.ground import Ground
from tests.benchmarks.index.live import taken
from tests.benchmarks.index.run import NAIVE, OURS, medians, verified

RUN = Path(__file__).with_name("run.py")


@pytest.mark.benchmark
def test_index_benchmark_runs() -> None:
    done = subprocess.run([sys.executable, str(RUN), "--smoke"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    for text in (*OURS, NAIVE, "decode logs", "ours, subscription"):
        assert text in done.stdout, text


class Small:
    """A chain with ten scores."""

    recorded = 10


def found(recorded: int, players: int = 3) -> dict[str, Any]:
    """What a contestant says."""
    return {"recorded": recorded, "players": players, "seconds": 2.0, "cpu_s": 1.0, "wall_s": 2.0}


def test_a_lost_score_voids_the_run() -> None:
    there = cast("Ground", Small())
    assert verified(there, found(10))["rate"] == 5.0
    with pytest.raises(UnsoundError, match="9 of 10"):
        verified(there, found(9))


def test_other_players_void_the_run() -> None:
    assert medians([{"one": found(10), "other": found(10)}])["one"]["wall_s"] == 2.0
    with pytest.raises(UnsoundError, match="players"):
        medians([{"one": found(10), "other": found(10, players=4)}])


def test_a_block_that_is_never_seen_voids_the_run() -> None:
    assert taken({1: 10.0, 2: 20.0}, {2: 20.5})["p50_ms"] == 10_500.0  # the first was shown with the second
    with pytest.raises(UnsoundError, match="block 2"):
        taken({1: 10.0, 2: 20.0}, {1: 10.5})
