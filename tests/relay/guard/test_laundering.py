"""Pairs and cycles against their definitions."""

import itertools
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.guard.laundering import CYCLE_MS, EDGES_MAX, PAIR_MS, Search, Transfer, cycle_flag, pair, search


def moves(*steps: tuple[str, int] | tuple[str, int, int]) -> list[Transfer]:
    """Transfers such as ("ab", at_ms) or ("ab", at_ms, amount), in the order of the ledger."""
    return [
        Transfer(number, f"txn_{number}", step[0][0], step[0][1], step[2] if len(step) == 3 else 10, step[1])
        for number, step in enumerate(steps)
    ]


class Known:
    """A graph of transfers in a list, which says how much of it was read."""

    def __init__(self, transfers: Sequence[Transfer]) -> None:
        self.transfers = transfers

    def leaving(self, senders: Sequence[str], since_ms: int, before: int, limit: int) -> Sequence[Transfer]:
        return self._newest([one for one in self.transfers if one.sender in senders], since_ms, before, limit)

    def arriving(self, receivers: Sequence[str], since_ms: int, before: int, limit: int) -> Sequence[Transfer]:
        return self._newest([one for one in self.transfers if one.receiver in receivers], since_ms, before, limit)

    def _newest(self, found: Sequence[Transfer], since_ms: int, before: int, limit: int) -> Sequence[Transfer]:
        inside = [one for one in found if one.at_ms > since_ms and one.sequence < before]
        return sorted(inside, reverse=True)[:limit]


def found(transfers: Sequence[Transfer]) -> Search:
    """What the last of the transfers closes."""
    return search(transfers[-1], Known(transfers))


# --- pairs


def test_the_fifth_transfer_of_a_pair_is_flagged_and_the_fourth_is_not() -> None:
    steps = moves(("ab", 0, 100), ("ba", 1), ("ab", 2), ("ba", 3), ("ab", 4))
    assert pair("g", "gold", steps[3], steps[:3], 5) is None
    flag = pair("g", "gold", steps[4], steps[:4], 5)
    assert flag is not None
    assert (flag.code, flag.severity, flag.player_id, flag.subject_id) == ("LAUNDERING_PAIR", "warning", "a", "txn_4")
    assert flag.reason == "Laundering suspected: a ↔ b (5 transfers of gold in 60 s)"
    assert flag.context == {
        "action": "transfer",
        "currencyId": "gold",
        "players": ["a", "b"],
        "windowSeconds": 60,
        "transactionIds": ["txn_0", "txn_1", "txn_2", "txn_3", "txn_4"],
        "count": 5,
        "threshold": 5,
        "directions": [
            {"from": "a", "to": "b", "count": 3, "amount": 120},
            {"from": "b", "to": "a", "count": 2, "amount": 20},
        ],
        "net": {"from": "a", "to": "b", "amount": 100},
    }


def test_one_direction_is_a_burst() -> None:
    steps = moves(*[("ab", at) for at in range(5)])
    flag = pair("g", "gold", steps[4], steps[:4], 5)
    assert flag is not None
    assert flag.code == "PAIR_TRANSFER_BURST"
    assert flag.reason == "Transfer burst: a → b (5 transfers of gold in 60 s)"


def test_whoever_sent_last_it_is_one_flag_of_the_pair() -> None:
    steps = moves(*[("ab", 0), ("ba", 1)] * 3)
    flags = [pair("g", "gold", steps[at], steps[:at], 5) for at in (4, 5)]
    assert [flag.player_id for flag in flags if flag] == ["a", "b"]
    assert {flag.about for flag in flags if flag} == {'["a","b","gold"]'}


@pytest.mark.parametrize(("age_ms", "flagged"), [(PAIR_MS - 1, True), (PAIR_MS, False)])
def test_a_transfer_exactly_a_minute_old_no_longer_counts(age_ms: int, *, flagged: bool) -> None:
    steps = moves(("ab", 0), *[("ab", age_ms)] * 4)
    assert (pair("g", "gold", steps[-1], steps, 5) is not None) is flagged


def test_others_and_later_ones_are_passed_over() -> None:
    steps = moves(("ab", 0), ("ac", 0), ("cb", 0), ("ab", 1), ("ab", 2))
    assert pair("g", "gold", steps[3], steps, 3) is None
    assert pair("g", "gold", steps[4], steps, 3) is not None


# --- cycles


@pytest.mark.parametrize(
    ("steps", "cycle"),
    [
        ([("vx", 0), ("xu", 1), ("uv", 2)], "vxu"),
        ([("vx", 0), ("xy", 1), ("yu", 2), ("uv", 3)], "vxyu"),
        ([("vx", 5), ("xu", 5), ("uv", 5)], "vxu"),  # of one millisecond: the ledger has an order all the same
        ([("vx", 0), ("xy", 0), ("xu", 1), ("yu", 2), ("uv", 3)], "vxu"),  # the shortest
    ],
)
def test_money_that_comes_back(steps: list[tuple[str, int]], cycle: str) -> None:
    done = found(moves(*steps))
    assert done.result == "flag"
    assert "".join(one.sender for one in done.cycle) == cycle


@pytest.mark.parametrize(
    "steps",
    [
        [("vu", 0), ("uv", 1)],  # to and fro: a pair
        [("xu", 0), ("vx", 1), ("uv", 2)],  # against the order of time
        [("vx", 0), ("yu", 1), ("xy", 2), ("uv", 3)],
        [("vx", 0), ("xy", 1), ("yz", 2), ("zu", 3), ("uv", 4)],  # four hops back
        [("vx", 0), ("xv", 1), ("vu", 2), ("uv", 3)],  # through the players themselves
        [("uv", 0)],
        [("vx", 0), ("xu", CYCLE_MS - 1), ("uv", CYCLE_MS)],  # exactly ten minutes old
    ],
)
def test_what_is_no_cycle(steps: list[tuple[str, int]]) -> None:
    assert found(moves(*steps)).result == "pass"


def test_the_oldest_that_counts() -> None:
    assert found(moves(("vx", 1), ("xu", 2), ("uv", CYCLE_MS))).result == "flag"


def test_the_text_of_the_flag() -> None:
    done = found(moves(("vx", 0, 50), ("xu", 1, 45), ("uv", 2, 40)))
    flag = cycle_flag("g", "gold", done)
    assert flag.reason == "Laundering cycle: v → x → u → v (3 transfers of gold in 10 min)"
    assert (flag.code, flag.severity, flag.player_id) == ("LAUNDERING_CYCLE", "warning", "u")
    assert flag.context["transactionIds"] == ["txn_0", "txn_1", "txn_2"]
    assert (flag.context["hops"], flag.context["returned"]) == (2, 40)
    assert flag.about == '["u","v","x","gold"]'


def test_a_search_is_bounded() -> None:
    """A busy player costs 2,000 transfers and no more, and the answer says that it did not see everything."""
    busy = [Transfer(number, f"t{number}", "v", f"x{number}", 1, 1) for number in range(EDGES_MAX + 5)]
    back = Transfer(EDGES_MAX + 5, "back", "x0", "u", 1, 1)
    closing = Transfer(EDGES_MAX + 6, "closing", "u", "v", 1, 1)
    done = search(closing, Known([*busy, back, closing]))
    assert (done.result, done.visited) == ("insufficient_data", EDGES_MAX)
    done = search(closing, Known([*busy[5:], back._replace(sender="x9"), closing]))
    assert done.visited == EDGES_MAX
    assert done.result == "insufficient_data"  # not even the way in could be read
    done = search(closing, Known([*busy[10:], back._replace(sender="x99"), closing]))
    assert (done.result, done.visited) == ("flag", EDGES_MAX - 4)


@given(st.lists(st.tuples(st.sampled_from("uvxyz"), st.sampled_from("uvxyz"), st.integers(0, 200_000)), max_size=14))
def test_equal_to_trying_every_path(steps: list[tuple[str, str, int]]) -> None:
    """Any transfers: a cycle is found iff one exists."""
    at_ms, transfers = 0, []
    for number, (sender, receiver, wait_ms) in enumerate([*steps, ("u", "v", 0)]):
        at_ms += wait_ms
        if sender != receiver:
            transfers.append(Transfer(number, f"txn_{number}", sender, receiver, 1, at_ms))
    closing = transfers[-1]
    recent = [one for one in transfers[:-1] if one.at_ms > closing.at_ms - CYCLE_MS]
    paths = [
        path
        for hops in (2, 3)
        for path in itertools.combinations(recent, hops)  # in the order of the ledger
        if path[0].sender == "v"
        and path[-1].receiver == "u"
        and all(one.receiver == following.sender for one, following in itertools.pairwise(path))
        and len({one.sender for one in path} | {"u"}) == hops + 1
    ]
    done = search(closing, Known(transfers))
    assert (done.result == "flag") is bool(paths)
    if paths:
        assert done.cycle[:-1] in paths
        assert len(done.cycle) - 1 == min(map(len, paths))
