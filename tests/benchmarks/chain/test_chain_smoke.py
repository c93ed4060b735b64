"""The chain benchmark in smoke mode: under a minute; proves that it runs and that its verification can fail."""

import dataclasses

import pytest

from tests.benchmarks.chain.contestants import Ground, record
from tests.benchmarks.chain.run import UnsoundError, benchmark, table, verify
from tests.harness.nodes import Node
from tests.harness.rpc import ChainScore

GROUND = Ground(Node("", 0), "0x", "0x", "0x", 2)


@pytest.mark.benchmark
def test_smoke(capsys: pytest.CaptureFixture[str]) -> None:
    """Every line runs, every score is on chain once, and ours beats one transaction per score."""
    found = benchmark(smoke=True, runs=1)
    with capsys.disabled():
        print("\n" + table(found["medians"]))
    assert len(found["medians"]) == 8
    awaited = {pair: ratio for pair, ratio in found["ratios"].items() if pair.endswith("each awaited")}
    assert len(awaited) == 4
    assert min(awaited.values()) > 1  # loose: a smoke run may share its machine


def score(round_id: int) -> ChainScore:
    """What the chain shows of a round that was recorded as it was accepted."""
    meant = record(GROUND, round_id)
    return ChainScore("", "0x" + meant.player.hex(), round_id, meant.score, "", "", "0x1", (7, round_id))


CHAIN = [score(1), score(2), score(3), score(4)]


def test_an_honest_chain_passes() -> None:
    """The round that was there before the run is no part of it."""
    assert verify(CHAIN, GROUND, 3) == CHAIN[1:]


@pytest.mark.parametrize(
    "chain",
    [CHAIN[:3], [*CHAIN, CHAIN[2]], [*CHAIN, score(5)], [*CHAIN[:3], dataclasses.replace(CHAIN[3], score=9)]],
    ids=["lost", "doubled", "one too many", "another score"],
)
def test_verification_can_fail(chain: list[ChainScore]) -> None:
    """A sender that records less, more or otherwise than was accepted is caught."""
    with pytest.raises(UnsoundError):
        verify(chain, GROUND, 3)
