"""The real outbox lives through thousands of simulated lives, and through every crash: nothing lost, nothing doubled.

`make simulate` runs as many more as there is time for.
"""

import itertools
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.simulator.life import run
from tests.simulator.regressions import REGRESSIONS
from tests.simulator.script import Script, Trouble, draw

ROOT = Path(__file__).resolve().parents[2]
SEEDS_PER_TEST = 50
TESTS = 24

# A short life with a failed transaction, a foreign nonce, a void and a reorg in it.
EVENTFUL = Script(
    seed=1,
    confirmations=3,
    batch_size=2,
    in_flight=2,
    steal=True,
    work=((0.1, 4), (3.2, 2)),
    calm_at=9.0,
    troubles=(
        Trouble(0.05, "failing", 0, (1,)),
        Trouble(1.5, "reorg", 0, (2, (True, False), 1)),
        Trouble(3.1, "foreign"),
        Trouble(4.2, "void"),
    ),
)


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


# ------------------------------------------------------------------------------ crashes


def effects(script: Script) -> list[int]:
    """The commits and sends of a life after which a crash leaves another state behind than before them."""
    done = [what for _, _, what in run(script).log if what in ("commit", "committed", "send", "sent")]
    return [number for number, what in enumerate(done, 1) if what in ("committed", "send", "sent")]


def killed(script: Script, *kills: int) -> Script:
    """The same life with crashes at these effects, counted over all of its processes."""
    return Script(**{**vars(script), "kills": kills})


@pytest.mark.parametrize("dedupe", [True, False])
def test_killed_at_every_commit_and_send(dedupe: bool) -> None:
    script = Script(**{**vars(EVENTFUL), "dedupe": dedupe})
    points = effects(script)
    outcomes = {point: run(killed(script, point)) for point in points}
    assert {point: found.broken for point, found in outcomes.items() if found.broken} == {}
    assert all(found.deaths == 1 for found in outcomes.values())
    assert len(points) > 40


def pairs(script: Script, every: int) -> list[tuple[int, int]]:
    """Pairs of crash points, first before second; `every`: one in so many, another one for each first."""
    points = effects(script)
    return [(a, b) for a, b in itertools.combinations(points, 2) if (a + b) % every == 0]


def test_killed_twice() -> None:
    chosen = pairs(EVENTFUL, 7)
    broken = {pair: found for pair in chosen if (found := run(killed(EVENTFUL, *pair)).broken)}
    assert not broken
    assert len(chosen) > 100


@pytest.mark.slow
@pytest.mark.parametrize("dedupe", [True, False])
def test_killed_twice_at_every_pair(dedupe: bool) -> None:
    script = Script(**{**vars(EVENTFUL), "dedupe": dedupe})
    broken = {pair: found for pair in pairs(script, 1) if (found := run(killed(script, *pair)).broken)}
    assert not broken


# ------------------------------------------------------------------------- exhaustively


@pytest.mark.parametrize("confirmations", [2, 5])
@pytest.mark.parametrize("back", [(True,), (False,), (True, False)], ids=["returned", "gone", "half of it returned"])
def test_reorgs_of_every_depth_at_every_block(confirmations: int, back: tuple[bool, ...]) -> None:
    broken = {}
    for depth in range(1, confirmations + 1):
        for at in range(2, confirmations + 4):
            trouble = Trouble(at + 0.5, "reorg", 0, (depth, back, 1))
            script = Script(seed=2, confirmations=confirmations, batch_size=2, work=((0.1, 6),), troubles=(trouble,))
            broken[depth, at] = run(script).broken
    assert not {where: found for where, found in broken.items() if found}


@pytest.mark.parametrize("times", [2, 10, 50])
@pytest.mark.parametrize("legacy", [True, False])
def test_fee_spikes(times: int, legacy: bool) -> None:
    trouble = Trouble(0.05, "spike", 12.0, (times,))
    outcome = run(Script(seed=3, legacy=legacy, work=((0.01, 6), (3.0, 6)), troubles=(trouble,), calm_at=14.0))
    assert not outcome.broken


@pytest.mark.parametrize("frozen_at", [0.15, 0.5, 1.2, 2.2, 3.2, 4.2])
def test_a_process_stopped_and_woken_writes_nothing_any_more(frozen_at: float) -> None:
    trouble = Trouble(frozen_at, "freeze", 4.0)
    script = Script(seed=4, processes=2, work=((0.1, 8), (2.0, 8), (4.0, 8)), troubles=(trouble,), latency_s=0.05)
    assert not run(script).broken


# ------------------------------------------------------------------------ it is the same


def test_the_same_seed_is_the_same_life() -> None:
    """Also in another process with other hash seeds: no set or dictionary decides anything by chance."""
    program = (
        "from tests.simulator.life import run; from tests.simulator.script import draw; "
        "print([run(draw(seed)).digest() for seed in (7, 8, 9, 10)])"
    )
    said = {
        subprocess.run(
            [sys.executable, "-c", program],
            cwd=ROOT,
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert said == {f"{[run(draw(seed)).digest() for seed in (7, 8, 9, 10)]}\n"}
    assert len({run(draw(seed)).digest() for seed in (7, 8)}) == 2
