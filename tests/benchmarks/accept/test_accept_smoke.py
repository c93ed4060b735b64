"""The accept benchmark in smoke mode: a few seconds; proves that it runs and that its verification holds."""

import json

import pytest

from tests.benchmarks.accept.contestants import Contestant
from tests.benchmarks.accept.run import UnsoundError, benchmark, table, verify

BASELINE = "Express + ethers, anvil 1 s blocks"


@pytest.mark.benchmark
def test_smoke(capsys: pytest.CaptureFixture[str]) -> None:
    """Every contestant runs, everything accepted is stored, and ours beats one transaction per score."""
    result = benchmark(smoke=True, runs=1)
    with capsys.disabled():
        print("\n" + table(result["medians"]))
    assert len(result["medians"]) == 6
    assert all(found["per_second"] > 0 for found in result["medians"].values())
    against_chain = {pair: ratio for pair, ratio in result["ratios"].items() if pair.endswith(BASELINE)}
    assert len(against_chain) == 2
    assert min(against_chain.values()) > 1  # loose: a smoke run may share its machine


def answer(submission: str, round_id: int) -> bytes:
    """A minimal acceptance."""
    body = json.dumps({"submissionId": submission, "receipt": {"roundId": round_id}}).encode()
    return b"HTTP/1.1 202 Accepted\r\n\r\n" + body


@pytest.mark.parametrize(
    ("answers", "rows"),
    [
        ([answer("a", 1), answer("b", 2)], [("a", 1)]),
        ([answer("a", 1)], [("a", 1), ("b", 2)]),
        ([answer("a", 1), answer("b", 3)], [("a", 1), ("b", 3)]),
        ([answer("a", 1), answer("b", 1)], [("a", 1), ("b", 2)]),
        ([b"HTTP/1.1 429 Too Many Requests\r\n\r\n{}"], []),
    ],
    ids=["lost", "more stored than promised", "gap", "number given twice", "refused"],
)
def test_verification_can_fail(answers: list[bytes], rows: list[tuple[str, int | None]]) -> None:
    """A server that answers more, less or otherwise than it stores is caught."""
    with pytest.raises(UnsoundError):
        verify(answers, Contestant([], {}, stored=lambda: rows))
