"""The kill test's oracle can fail: each way to break a promise is caught."""

import dataclasses
from typing import Any

import pytest

from tests.faults.test_kill import check_promises
from tests.harness.plays import player
from tests.harness.rpc import ChainScore, standings
from tests.harness.stubborn import Ledger


def score(round_id: int, index: int, value: int) -> ChainScore:
    """A recorded score."""
    return ChainScore("0xga", player(index), round_id, value, f"0x{round_id:064x}", "0xru", "0xtx", (round_id, 0))


def answer(of: ChainScore) -> dict[str, Any]:
    """The acceptance that promised it."""
    receipt = {"roundId": of.round_id, "player": of.player, "score": of.score}
    return {"receipt": receipt | {"evidenceHash": of.evidence_hash, "rulesHash": of.rules_hash}}


CHAIN = [score(1, 1, 100), score(2, 2, 300), score(3, 1, 300)]


def ledger(*scores: ChainScore) -> Ledger:
    """What players remember who were promised these scores."""
    remembered = Ledger()
    for index, each in enumerate(scores):
        remembered.accept(index, answer(each))
    return remembered


def test_an_honest_chain_passes() -> None:
    """All promised, all there; nothing raised."""
    check_promises(ledger(*CHAIN), CHAIN, 3)
    assert len(CHAIN) == 3


@pytest.mark.parametrize(
    ("promised", "recorded"),
    [
        (CHAIN, CHAIN[:2]),
        (CHAIN, [*CHAIN, CHAIN[0]]),
        (CHAIN, [*CHAIN, score(4, 1, 1)]),
        (CHAIN, [*CHAIN[:2], dataclasses.replace(CHAIN[2], score=301)]),
        (CHAIN, [*CHAIN[:2], dataclasses.replace(CHAIN[2], player=player(9))]),
        (CHAIN, [*CHAIN[:2], dataclasses.replace(CHAIN[2], evidence_hash="0x00")]),
        ([*CHAIN[:2], CHAIN[1]], CHAIN),
        (CHAIN[:2], CHAIN),
    ],
    ids=["lost", "doubled", "unpromised", "another score", "another player", "other evidence", "merged", "unanswered"],
)
def test_a_broken_promise_is_caught(promised: list[ChainScore], recorded: list[ChainScore]) -> None:
    """Each difference between promises and chain raises."""
    with pytest.raises((AssertionError, KeyError)):
        check_promises(ledger(*promised), recorded, 3)


def test_a_refusal_is_caught() -> None:
    """A submission that was refused, although every play is valid, fails the run."""
    remembered = ledger(*CHAIN)
    remembered.refusals.append(b"{}")
    with pytest.raises(AssertionError):
        check_promises(remembered, CHAIN, 3)


def test_standings_rank_the_earlier_first_on_a_tie() -> None:
    """Best score of each player; equal scores in the order of the chain."""
    assert standings(CHAIN) == [(1, player(2), 300), (2, player(1), 300)]
