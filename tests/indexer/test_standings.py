"""Ranks: the blocked array against a sorted list, the draft against standings that were really changed."""

from bisect import bisect_left

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

import indexer.ranking
from indexer.ordering import (
    POSITION_MAX,
    SCORE_MAX,
    block_of,
    log_index_of,
    order_key,
    place_of,
    position,
    score_of,
)
from indexer.ranking import Ranking
from indexer.standings import Draft, Standings

players = st.integers(0, 40).map(lambda number: bytes([number]) * 20)
keys = st.integers(0, 10_000)
scores = st.integers(0, SCORE_MAX)
places = st.builds(position, st.integers(0, 2**43 - 1), st.integers(0, 2**20 - 1))


@given(scores, places, scores, places)
def test_the_key_orders_by_score_then_by_place(score: int, place: int, other: int, other_place: int) -> None:
    one, two = order_key(score, place), order_key(other, other_place)
    assert (one < two) == ((-score, place) < (-other, other_place))
    assert (score_of(one), place_of(one)) == (score, place)


@given(st.integers(0, 2**43 - 1), st.integers(0, 2**20 - 1))
def test_a_position_fits_a_bigint_and_comes_back(block: int, index: int) -> None:
    place = position(block, index)
    assert 0 <= place <= POSITION_MAX == 2**63 - 1
    assert (block_of(place), log_index_of(place)) == (block, index)


@pytest.mark.parametrize(("block", "index"), [(-1, 0), (0, -1), (2**43, 0), (0, 2**20)])
def test_a_position_outside_its_bits_is_refused(block: int, index: int) -> None:
    with pytest.raises(ValueError, match="no such place"):
        position(block, index)


class RankingMachine(RuleBasedStateMachine):
    """Small blocks, so that splitting and emptying happen all the time."""

    def __init__(self) -> None:
        super().__init__()
        self.block, indexer.ranking.BLOCK = indexer.ranking.BLOCK, 4
        self.ranking, self.model = Ranking(), list[int]()

    def teardown(self) -> None:
        indexer.ranking.BLOCK = self.block

    @rule(key=keys)
    def add(self, key: int) -> None:
        if key not in self.model:
            self.model.insert(bisect_left(self.model, key), key)
            self.ranking.add(key, b"%d" % key)

    @precondition(lambda self: self.model)
    @rule(data=st.data())
    def remove(self, data: st.DataObject) -> None:
        key = data.draw(st.sampled_from(self.model))
        self.model.remove(key)
        self.ranking.remove(key)

    @rule(key=keys)
    def remove_what_is_not_there(self, key: int) -> None:
        if key not in self.model:
            with pytest.raises(KeyError):
                self.ranking.remove(key)

    @rule(key=keys, limit=st.integers(1, 12))
    def look(self, key: int, limit: int) -> None:
        at = bisect_left(self.model, key)
        assert self.ranking.below(key) == at
        assert [k for k, _ in self.ranking.entries_from(key)] == self.model[at:]
        assert [k for k, _ in self.ranking.entries_before(key, limit)] == self.model[max(0, at - limit) : at]
        assert [k for k, _ in self.ranking.top(limit)] == self.model[:limit]

    @invariant()
    def same(self) -> None:
        assert len(self.ranking) == len(self.model)
        assert list(self.ranking) == [(key, b"%d" % key) for key in self.model]
        rebuilt = Ranking([(key, b"%d" % key) for key in self.model])
        assert list(rebuilt) == list(self.ranking)


TestRanking = RankingMachine.TestCase
TestRanking.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)


changes = st.lists(st.tuples(players, st.one_of(st.none(), st.integers(0, 60))), max_size=40)


@given(changes, changes)
def test_a_draft_ranks_as_if_it_were_committed(first: list[tuple[bytes, int]], then: list[tuple[bytes, int]]) -> None:
    """Before the commit ranks come from base and changes together; after it from the standings alone."""

    def apply(model: dict[bytes, int], player: bytes, score: int | None, serial: int) -> int | None:
        model.pop(player, None)
        if score is not None:
            model[player] = order_key(score, serial)
        return model.get(player)

    model: dict[bytes, int] = {}
    for serial, (player, score) in enumerate(first):
        apply(model, player, score, serial)
    standings = Standings([(key, player) for player, key in model.items()])
    draft = Draft(standings)
    for serial, (player, score) in enumerate(then, len(first)):
        draft.put(player, apply(model, player, score, serial))
        ordered = sorted(model.items(), key=lambda item: item[1])
        assert len(draft) == len(ordered)
        assert [(draft.key(p), draft.rank(k)) for p, k in ordered] == [(k, r) for r, (_, k) in enumerate(ordered, 1)]
        assert [draft.at(rank) for rank in range(1, len(ordered) + 1)] == [(k, p) for p, k in ordered]
    with pytest.raises(IndexError):
        draft.at(len(model) + 1)
    standings.adopt(draft)
    ordered = sorted(model.items(), key=lambda item: item[1])
    assert [(key, player) for player, key in ordered] == list(standings.ranking)
    assert {player: standings.rank(player) for player in model} == {p: r for r, (p, _) in enumerate(ordered, 1)}


@given(st.sets(keys, min_size=1, max_size=60), st.integers(1, 20), st.data())
def test_pages_and_neighbours(found: set[int], limit: int, data: st.DataObject) -> None:
    ordered = [(key, b"%d" % key) for key in sorted(found)]
    standings = Standings(ordered)
    walked: list[tuple[int, bytes]] = []
    after: int | None = None
    while True:
        first, page = standings.page(after, limit)
        if not page:
            break
        assert first == len(walked) + 1
        walked += page
        after = page[-1][0]
    assert walked == ordered
    at = data.draw(st.integers(0, len(ordered) - 1))
    first, around = standings.around(ordered[at][1], limit)
    assert ordered[first - 1 : first - 1 + len(around)] == around
    assert len(around) == min(limit, len(ordered))
    assert ordered[at] in around
    assert standings.rank(b"nobody") is None
