"""The real outbox lives through thousands of simulated lives: nothing lost, nothing doubled, everything final.

`make simulate` runs as many more as there is time for.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.simulator.life import run
from tests.simulator.regressions import REGRESSIONS
from tests.simulator.script import Script, draw

ROOT = Path(__file__).resolve().parents[2]
SEEDS_PER_TEST = 100
TESTS = 16


@pytest.mark.parametrize("first", range(0, SEEDS_PER_TEST * TESTS, SEEDS_PER_TEST))
def test_lives(first: int) -> None:
    broken = {seed: found for seed in range(first, first + SEEDS_PER_TEST) if (found := run(draw(seed)).broken)}
    assert not broken


@pytest.mark.parametrize("seed", range(10_000, 10_012))
def test_lives_with_much_work(seed: int) -> None:
    outcome = run(draw(seed, size=60))
    assert not outcome.broken
    assert outcome.scores >= 60


@pytest.mark.parametrize("name", REGRESSIONS)
def test_what_once_broke(name: str) -> None:
    assert not run(REGRESSIONS[name]).broken


def test_the_same_seed_is_the_same_life() -> None:
    """Also in another process with other hash seeds: no set or dictionary decides anything by chance."""
    seeds = (7, 8, 9, 10)
    program = (
        "from tests.simulator.life import run; from tests.simulator.script import draw; "
        f"print([run(draw(seed)).digest() for seed in {seeds}])"
    )
    command = [sys.executable, "-c", program]
    elsewhere = {**os.environ, "PYTHONHASHSEED": "1"}
    done = subprocess.run(command, cwd=ROOT, env=elsewhere, capture_output=True, text=True, check=True)
    digests = [run(draw(seed)).digest() for seed in seeds]
    assert done.stdout == f"{digests}\n"
    assert len(set(digests)) == len(seeds)


def test_who_stands_by_is_quiet() -> None:
    """Work that a process takes in while another one sends does not make it ask for the lease again and again."""
    work = tuple((at / 2, 1) for at in range(1, 20))
    outcome = run(Script(seed=11, processes=2, work=work, calm_at=12.0))
    assert not outcome.broken
    assert outcome.effects < 400
