"""The economy benchmark in quick mode: it runs, and its verification can fail."""

import pytest

from tests.benchmarks.economy.run import UnsoundError, benchmark, contestants, table, verify


@pytest.mark.benchmark
def test_smoke(capsys: pytest.CaptureFixture[str]) -> None:
    """Every line runs, and everything answered is stored."""
    result = benchmark(quick=True, runs=1)
    with capsys.disabled():
        print("\n" + table(result["medians"]))
    assert len(result["medians"]) == len(contestants())
    assert all(found["per_second"] > 0 for found in result["medians"].values())


@pytest.mark.parametrize(
    ("executed", "answered", "booked"), [(100, 100, 99), (100, 100, 101), (90, 90, 90)], ids=["lost", "more", "refused"]
)
def test_verification_can_fail(executed: int, answered: int, booked: int) -> None:
    """A ledger that holds less or more than was answered is caught, and so is a load that was refused."""
    with pytest.raises(UnsoundError):
        verify([{"executed": executed, "booked": answered}], booked, 100)
