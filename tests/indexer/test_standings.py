"""Ranks: the blocked array against a sorted list, the draft against standings that were really changed."""

from array import array
from bisect import bisect_left
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

import indexer.ranking
from indexer.boards import BoardConfig, Order, Standing, Ties
from indexer.ordering import (
    POSITION_MAX,
    SCORE_MAX,
    block_of,
    log_index_of,
    position,
)
from indexer.ranking import Ranking
from indexer.standings import Draft, Placed, Standings

players = st.integers(0, 40).map(lambda number: bytes([number]) * 20)
keys = st.builds(lambda level, place: level << 63 | place, st.integers(0, 8), st.integers(0, 100))
scores = st.integers(0, SCORE_MAX)
places = st.builds(position, st.integers(0, 2**43 - 1), st.integers(0, 2**20 - 1))


configs = st.builds(BoardConfig, order=st.sampled_from(Order), ties=st.sampled_from(Ties))


@given(configs, scores, places, scores, places)
def test_the_key_orders_by_value_then_by_place(
    config: BoardConfig, score: int, place: int, other: int, other_place: int
) -> None:
    one, two = config.key(Standing(score, place)), config.key(Standing(other, other_place))
    ahead = -1 if config.descending else 1
    assert (one < two) == ((ahead * score, place) < (ahead * other, other_place))
    assert config.standing(one) == (score, place)


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
        self.sizes = indexer.ranking.BLOCK, indexer.ranking.GROUP
        indexer.ranking.BLOCK, indexer.ranking.GROUP = 4, 3
        self.ranking, self.model = Ranking(), list[int]()

    def teardown(self) -> None:
        indexer.ranking.BLOCK, indexer.ranking.GROUP = self.sizes

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
        assert [k for k, _ in self.ranking.entries_after(key, limit)] == self.model[at : at + limit]
        assert [k for k, _ in self.ranking.entries_before(key, limit)] == self.model[max(0, at - limit) : at]
        assert [self.ranking.at(index)[0] for index in range(len(self.model))] == self.model
        with pytest.raises(IndexError):
            self.ranking.at(len(self.model))

    @invariant()
    def same(self) -> None:
        assert len(self.ranking) == len(self.model)
        assert list(self.ranking) == [(key, b"%d" % key) for key in self.model]
        rebuilt = Ranking([(key, b"%d" % key) for key in self.model])
        assert list(rebuilt) == list(self.ranking)
        halves = [array("q", [key >> 63 for key in self.model]), array("q", [key & POSITION_MAX for key in self.model])]
        columns = Ranking.of_columns(halves[0], halves[1], [b"%d" % key for key in self.model])
        assert list(columns) == list(self.ranking)


TestRanking = RankingMachine.TestCase
TestRanking.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)


changes = st.lists(st.tuples(players, st.one_of(st.none(), st.integers(0, 60))), max_size=40)


def expected_rank(config: BoardConfig, ordered: list[tuple[bytes, int]], key: int) -> int:
    """By the definition: one more than those who are ahead."""
    if config.shared:
        return 1 + sum(1 for _, other in ordered if other >> 63 < key >> 63)
    return 1 + sum(1 for _, other in ordered if other < key)


@given(configs, changes, changes)
def test_a_draft_ranks_as_if_it_were_committed(
    config: BoardConfig, first: list[tuple[bytes, int]], then: list[tuple[bytes, int]]
) -> None:
    """Before the commit ranks come from base and changes together; after it from the standings alone."""

    def apply(model: dict[bytes, int], player: bytes, score: int | None, serial: int) -> int | None:
        model.pop(player, None)
        if score is not None:
            model[player] = config.key(Standing(score, serial))
        return model.get(player)

    model: dict[bytes, int] = {}
    for serial, (player, score) in enumerate(first):
        apply(model, player, score, serial)
    standings = Standings(config, [(key, player) for player, key in model.items()])
    draft, quiet = Draft(standings), Draft(standings, quiet=True)
    for serial, (player, score) in enumerate(then, len(first)):
        key = apply(model, player, score, serial)
        draft.put(player, key)
        quiet.put(player, key)
        ordered = sorted(model.items(), key=lambda item: item[1])
        assert len(draft) == len(ordered)
        assert [draft.ordinal(key) for _, key in ordered] == list(range(1, len(ordered) + 1))
        assert [draft.rank(key) for _, key in ordered] == [expected_rank(config, ordered, key) for _, key in ordered]
        assert [quiet.key(player) for player, _ in ordered] == [key for _, key in ordered]
        assert [draft.at(rank) for rank in range(1, len(ordered) + 1)] == [(k, p) for p, k in ordered]
    with pytest.raises(IndexError):
        draft.at(len(model) + 1)
    ordered = sorted(model.items(), key=lambda item: item[1])
    assert list(quiet) == [(key, player) for player, key in ordered]
    assert len(quiet) == len(ordered)
    assert [placed.player for placed in quiet.top(5)] == [player for player, _ in ordered[:5]]
    standings.adopt(draft.changes)
    assert [(key, player) for player, key in ordered] == list(standings.ranking)
    assert {p: standings.rank(p) for p in model} == {p: expected_rank(config, ordered, key) for p, key in ordered}


@given(
    configs, st.one_of(st.none(), st.integers(1, 70)), st.lists(st.integers(0, 20), min_size=1, max_size=60),
    st.integers(1, 20), st.data(),
)  # fmt: skip
def test_pages_and_neighbours(
    config: BoardConfig, capacity: int | None, values: list[int], limit: int, data: st.DataObject
) -> None:
    """Whatever is walked, whatever stands around a player and their own rank are of one list, cut at the capacity."""
    config = replace(config, capacity=capacity)
    every = sorted((config.key(Standing(value, place)), b"%d" % place) for place, value in enumerate(values))
    standings = Standings(config, every)
    ordered = every if capacity is None else every[:capacity]
    keyed = [(player, key) for key, player in ordered]
    expected = [Placed(expected_rank(config, keyed, key), key, player) for key, player in ordered]
    walked: list[Placed] = []
    after: int | None = None
    while page := standings.page(after, limit):
        walked += page
        after = page[-1].key
    assert walked == expected
    assert len(standings) == len(expected)
    at = data.draw(st.integers(0, len(expected) - 1))
    around = standings.around(expected[at].player, limit)
    first = expected.index(around[0])
    assert expected[first : first + len(around)] == around
    assert len(around) == min(limit, len(expected))
    assert expected[at] in around
    assert [standings.rank(one.player) for one in expected] == [one.rank for one in expected]
    hidden = [player for _, player in every[len(ordered) :]]
    assert [standings.rank(player) for player in [*hidden, b"nobody"]] == [None] * (len(hidden) + 1)
    for player in hidden:
        with pytest.raises(KeyError):
            standings.around(player, 1)
