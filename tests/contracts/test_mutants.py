"""The Solidity tests notice every broken promise."""

import pytest

from tests.contracts.mutants import MUTANTS, run


@pytest.mark.slow
def test_no_mutant_lives() -> None:
    """Ten to twenty seconds per mutant."""
    assert len(MUTANTS) >= 20
    assert run() == []
