"""The real outbox killed at every commit and every send, alone and in pairs; reorgs of every depth, spikes, stops.

Chosen one by one where `test_simulator` draws by chance.
"""

import itertools
from dataclasses import replace

import pytest

from tests.simulator.endpoint import GRAVE_LIES, LIES, SEND_LIES
from tests.simulator.life import run
from tests.simulator.script import Script, Trouble

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
        Trouble(0.5, "void"),
        Trouble(1.5, "reorg", 0, (2, (True, False), 1)),
        Trouble(3.1, "foreign"),
    ),
)


def effects(script: Script) -> list[int]:
    """The commits and sends of a life after which a crash leaves another state behind than before them."""
    done = [what for _, _, what in run(script).log if what in ("commit", "committed", "send", "sent")]
    return [number for number, what in enumerate(done, 1) if what in ("committed", "send", "sent")]


def killed(script: Script, *kills: int) -> Script:
    """The same life with crashes at these effects, counted over all of its processes."""
    return replace(script, kills=kills)


@pytest.mark.parametrize("dedupe", [True, False])
def test_killed_at_every_commit_and_send(dedupe: bool) -> None:
    script = replace(EVENTFUL, dedupe=dedupe)
    points = effects(script)
    outcomes = {point: run(killed(script, point)) for point in points}
    assert {point: found.broken for point, found in outcomes.items() if found.broken} == {}
    assert all(found.deaths == 1 for found in outcomes.values())
    assert len(points) > 25


def pairs(script: Script, every: int) -> list[tuple[int, int]]:
    """Pairs of crash points, first before second; `every`: one in so many, another one for each first."""
    points = effects(script)
    return [(a, b) for a, b in itertools.combinations(points, 2) if (a + b) % every == 0]


def test_killed_twice() -> None:
    chosen = pairs(EVENTFUL, 3)
    broken = {pair: found for pair in chosen if (found := run(killed(EVENTFUL, *pair)).broken)}
    assert not broken
    assert len(chosen) > 100


@pytest.mark.slow
@pytest.mark.parametrize("dedupe", [True, False])
def test_killed_twice_at_every_pair(dedupe: bool) -> None:
    script = replace(EVENTFUL, dedupe=dedupe)
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


def test_a_process_stopped_and_woken_anywhere_writes_nothing_any_more() -> None:
    script = replace(EVENTFUL, processes=2, steal=False, calm_at=20.0)
    count = run(script).effects
    outcomes = {number: run(replace(script, stops=(number,))) for number in range(1, count + 1)}
    assert {number: found.broken for number, found in outcomes.items() if found.broken} == {}
    assert len(outcomes) > 50


@pytest.mark.parametrize("lie", SEND_LIES)
@pytest.mark.parametrize("odds", [0.5, 1.0])
def test_a_lost_answer_decides_nothing(lie: str, odds: float) -> None:
    """Nor does any other answer to a send, whether it is true or not."""
    trouble = Trouble(0.05, f"send:{lie}", 6.0, (odds,))
    assert not run(Script(seed=5, work=((0.1, 6), (2.2, 6)), troubles=(trouble,), calm_at=8.0)).broken


@pytest.mark.parametrize("lie", LIES)
@pytest.mark.parametrize("odds", [0.3, 1.0])
@pytest.mark.parametrize("providers", [1, 3])
def test_every_lie(lie: str, odds: float, providers: int) -> None:
    trouble = Trouble(0.6, f"lie:{lie}", 7.0, (odds,))
    script = Script(seed=6, providers=providers, confirmations=3, work=((0.1, 6), (2.2, 6), (5.1, 4)))
    assert not run(replace(script, troubles=(trouble,), calm_at=9.0)).broken


@pytest.mark.parametrize("lie", GRAVE_LIES)
@pytest.mark.parametrize("odds", [0.3, 1.0])
@pytest.mark.parametrize("providers", [2, 3])
@pytest.mark.parametrize("seed", [6, 7])  # chooses who lies: the one asked first, or another
def test_every_lie_that_a_second_provider_does_not_tell(lie: str, odds: float, providers: int, seed: int) -> None:
    trouble = Trouble(0.6, f"lie:{lie}", 7.0, (odds,))
    script = Script(seed=seed, providers=providers, confirmations=3, work=((0.1, 6), (2.2, 6), (5.1, 4)))
    assert not run(replace(script, troubles=(trouble,), calm_at=9.0)).broken
