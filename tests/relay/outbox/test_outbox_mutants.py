"""The suite notices what it is there for: each of the nine mutants of the outbox dies by the part named for it."""

import pytest

from tests.relay.outbox.mutants import MUTANTS, run


@pytest.mark.slow
def test_every_mutant_is_killed() -> None:
    verdicts = list(run())
    assert [one.name for one in verdicts if not one.killed] == []
    assert len(verdicts) == len(MUTANTS) == 9
