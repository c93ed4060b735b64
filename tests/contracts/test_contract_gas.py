"""Gas is a promise: the committed snapshot is what the contract costs now, and the goals hold."""

import json

from tests.benchmarks.gas.measure import GOALS, SNAPSHOT, measure, table
from tests.harness.chains import open_chain


def test_gas_is_the_snapshot() -> None:
    """No function costs more than committed; where one costs less the snapshot must be refreshed, so a rise shows."""
    snapshot = json.loads(SNAPSHOT.read_text())["gas"]
    with open_chain("anvil") as chain:
        used = measure(chain)
    risen = {name: (snapshot.get(name), gas) for name, gas in used.items() if gas > snapshot.get(name, 0)}
    assert not risen, f"gas rose (was, is): {risen}"
    assert used == snapshot, "gas fell: commit it with `python tests/benchmarks/gas/measure.py --update`"


def test_goals_hold_in_the_snapshot() -> None:
    """At most 55,000 gas for one score and 4,600 per score in a batch of 100."""
    snapshot = json.loads(SNAPSHOT.read_text())["gas"]
    for count, goal in GOALS.items():
        assert snapshot[f"submitScores({count})"] <= goal * count
    assert "goal, at most" in table(snapshot, snapshot)
