"""Which provider is asked, believed and refused: every decision, by example, exhaustively and by property."""

from itertools import permutations, product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from relay.chain_types import Block, Look, SendAnswer
from relay.outbox import providers
from relay.outbox.providers import DEMOTED, REFUSED, Fault, Identity, Standing
from relay.outbox.send_errors import SendClass, classify

OURS = Identity(1, {0: b"\x00" * 32})
GENESIS = {0: b"\x00" * 32}
FAULTS: tuple[Fault | None, ...] = (None, *Fault)


def block(number: int, fork: int = 0, *, parent_fork: int | None = None, at_s: int | None = None) -> Block:
    """Block `number` of a fork; one second after the one before, unless told otherwise."""
    parent = fork if parent_fork is None else parent_fork
    return Block(
        number, _hash(number, fork), _hash(number - 1, parent), number if at_s is None else at_s, 7, 30_000_000
    )


def _hash(number: int, fork: int) -> bytes:
    return bytes([fork]) + (number % 2**64).to_bytes(31, "big")


def look(number: int, fork: int = 0, *, chain_id: int = 1, hashes: dict[int, bytes] | None = None) -> Look:
    """A look at a provider whose head is this block."""
    return Look(chain_id, block(number, fork), GENESIS if hashes is None else hashes)


def seen(*heads: Block, now_s: float = 0.0) -> Standing:
    """A healthy provider that showed these heads."""
    standing = Standing(fault=None, reason="", since_s=now_s)
    for head in heads:
        standing = providers.showed(standing, head, now_s, now_s)
    return standing


def standing_of(fault: Fault | None) -> Standing:
    """A provider with this fault since second 0."""
    return Standing(fault, "" if fault is None else "why", rest_until_s=0.0 if fault is None else 10.0)


# ------------------------------------------------------------------------------------- names


@pytest.mark.parametrize(
    ("urls", "expected"),
    [
        (["http://a:8545/v2/token"], ["a:8545"]),
        (["https://user:secret@rpc.example/key"], ["rpc.example:443"]),
        (["http://rpc.example?key=1", "HTTPS://rpc.example"], ["rpc.example:80", "rpc.example:443"]),
        (["http://a:1/x", "http://b:1", "http://a:1/y", "http://a:1"], ["a:1", "b:1", "a:1#2", "a:1#3"]),
        (["http://[::1]:8545"], ["[::1]:8545"]),
    ],
)
def test_a_name_is_host_and_port_only(urls: list[str], expected: list[str]) -> None:
    assert providers.names(urls) == expected


# ------------------------------------------------------------------------------------- order


@pytest.mark.parametrize("faults", list(product(FAULTS, repeat=3)))
def test_the_order_of_any_three_providers(faults: tuple[Fault | None, ...]) -> None:
    standings = [standing_of(fault) for fault in faults]
    found = providers.order(standings)
    assert set(found) == {index for index, fault in enumerate(faults) if fault not in REFUSED}
    places: dict[Fault | None, int] = {None: 0, **dict.fromkeys(DEMOTED, 1), Fault.LIED: 2}
    ranks = [places.get(faults[index], 3) for index in found]
    assert ranks == sorted(ranks)
    for rank in (0, 1, 2, 3):  # among equals the operator's order
        equals = [index for index, one in zip(found, ranks, strict=True) if one == rank]
        assert equals == sorted(equals)
    assert providers.healthy(standings) == [index for index, fault in enumerate(faults) if fault is None]
    assert providers.due(standings, 9.9) == providers.healthy(standings)
    assert providers.due(standings, 10.0) == [0, 1, 2]


def test_liars_take_turns_and_rest_longer_each_time() -> None:
    standings = [seen(block(1)), seen(block(1))]
    asked = []
    for now_s in range(8):
        liar = providers.order(standings)[0]
        asked.append(liar)
        standings[liar] = providers.lied(standings[liar], "events are missing", float(now_s))
    assert asked == [0, 1, 0, 1, 0, 1, 0, 1]
    assert standings[0].rest_until_s == 6 + 16.0
    assert providers.judged(standings[0], look(2), OURS, 9.0, 9.0).fault is Fault.LIED  # a look proves no events
    assert providers.judged(standings[0], look(2), OURS, 22.0, 22.0).fault is None
    refused = standing_of(Fault.OTHER_FORK)
    assert providers.lied(refused, "why", 1.0) is refused


# ----------------------------------------------------------------------------------- silence


def test_a_first_failure_rests_shortly_and_each_further_one_doubles_it() -> None:
    standing, now_s, rests = seen(block(1)), 1000.0, []
    for _ in range(8):
        standing = providers.silent(standing, "HTTP 503", now_s)
        assert (standing.fault, standing.reason) == (Fault.SILENT, "HTTP 503")
        rests.append(standing.rest_until_s - now_s)
        now_s = standing.rest_until_s
    assert rests == [2, 4, 8, 16, 32, 60, 60, 60]


def test_requests_that_fail_together_are_one_failure() -> None:
    once = providers.silent(seen(), "TimeoutError", 1000.0)
    many = once
    for _ in range(20):
        many = providers.silent(many, "TimeoutError", 1000.5)
    assert (many.rest_until_s, many.strikes) == (once.rest_until_s, 1)


@pytest.mark.parametrize("retry_after_s", [0.0, 1.0, 30.0, 600.0])
def test_it_is_left_alone_for_as_long_as_it_asks(retry_after_s: float) -> None:
    standing = providers.silent(seen(), "HTTP 429", 1000.0, retry_after_s)
    assert standing.rest_until_s == 1000.0 + max(2.0, retry_after_s)
    again = providers.silent(standing, "HTTP 429", 1001.0, retry_after_s)
    assert again.rest_until_s >= 1001.0 + retry_after_s


def test_a_fault_long_ago_is_forgiven() -> None:
    silent = providers.silent(providers.silent(seen(), "x", 0.0), "x", 10.0)
    assert silent.strikes == 2
    well = providers.answered(silent, 20.0)
    assert (well.fault, well.reason) == (None, "")
    assert providers.silent(well, "x", 20.0 + providers.FORGIVEN_S - 1).strikes == 3
    assert providers.silent(well, "x", 20.0 + providers.FORGIVEN_S).strikes == 1


@pytest.mark.parametrize("fault", FAULTS)
def test_an_answer_ends_silence_and_nothing_else(fault: Fault | None) -> None:
    after = providers.answered(standing_of(fault), 5.0)
    assert after.fault is (None if fault is Fault.SILENT else fault)


@pytest.mark.parametrize("fault", sorted(REFUSED, key=str))
def test_a_refused_provider_that_falls_silent_stays_refused(fault: Fault) -> None:
    after = providers.silent(standing_of(fault), "TimeoutError", 100.0)
    assert (after.fault, after.reason) == (fault, "why")
    assert after.rest_until_s > 100.0


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("now_s", [0.0, 1.9, 2.0, 100.0])
def test_who_is_looked_at_before_it_is_asked(fault: Fault | None, now_s: float) -> None:
    expected = fault is Fault.UNSEEN or (fault is Fault.SILENT and now_s >= providers.PROVED_S)
    assert providers.unproved(standing_of(fault), now_s) is expected


# ----------------------------------------------------------------------- heads that go back


def test_a_head_that_goes_back_on_the_same_chain_is_demoted() -> None:
    after = providers.showed(seen(block(10), block(11), block(12)), block(10), 5.0, 5.0)
    assert after.fault is Fault.WENT_BACK
    assert "from block 12 to 10" in after.reason
    assert after.rest_until_s > 5.0


def test_a_head_that_goes_back_to_a_height_never_shown_proves_nothing() -> None:
    assert providers.showed(seen(block(10), block(15)), block(13), 5.0, 5.0).fault is Fault.WENT_BACK


@pytest.mark.parametrize("now", [block(11, 1), block(10, 1), block(12, 1), block(12, 1, parent_fork=0), block(13, 1)])
def test_a_reorg_is_no_fault(now: Block) -> None:
    after = providers.showed(seen(block(10), block(11), block(12)), now, 5.0, 5.0)
    assert (after.fault, after.head) == (None, now)
    assert dict(after.shown)[now.number] == now.hash
    assert max(dict(after.shown)) == now.number, "what was above is taken back"


def test_the_block_below_proves_a_reorg_too() -> None:
    after = providers.showed(seen(block(10), block(12)), block(11, 1, parent_fork=1), 5.0, 5.0)
    assert after.fault is None


def test_an_answer_asked_for_before_the_last_head_was_shown_is_no_news() -> None:
    shown = seen(block(10), block(12), now_s=5.0)
    assert providers.showed(shown, block(10), 4.9, 5.1) == shown
    assert providers.showed(shown, block(10), 5.0, 5.1).fault is Fault.WENT_BACK


def test_it_is_used_again_after_its_rest_when_its_head_rises() -> None:
    back = providers.showed(seen(block(10), block(12)), block(10), 5.0, 5.0)
    early = providers.judged(back, look(13), OURS, 6.0, 6.0)
    assert early.fault is Fault.WENT_BACK, "a provider that jumps to and fro is not used in between"
    rested = providers.judged(early, look(14), OURS, back.rest_until_s, back.rest_until_s)
    assert (rested.fault, rested.reason) == (None, "")
    again = providers.showed(rested, block(12), back.rest_until_s + 1, back.rest_until_s + 1)
    assert again.rest_until_s - (back.rest_until_s + 1) == 4.0, "the second time it rests longer"


@settings(deadline=None)
@given(st.lists(st.integers(0, 60), max_size=200))
def test_one_chain_that_only_grows_never_demotes_and_only_that(numbers: list[int]) -> None:
    standing, highest, fell = seen(), -1, False
    for now_s, number in enumerate(numbers):
        standing = providers.showed(standing, block(number), float(now_s), float(now_s))
        fell = fell or number < highest
        highest = number
        assert (standing.fault is Fault.WENT_BACK) is fell
        assert len(standing.shown) <= providers.SHOWN_MAX
        assert list(standing.shown) == sorted(standing.shown)


# ------------------------------------------------------------------------------------- looks


@pytest.mark.parametrize("fault", FAULTS)
def test_another_chain_id_is_refused_whatever_was_before(fault: Fault | None) -> None:
    after = providers.judged(standing_of(fault), look(5, chain_id=2), OURS, 1.0, 1.0)
    assert (after.fault, after.reason) == (Fault.WRONG_CHAIN, "it is on chain 2, not 1")
    assert after.rest_until_s == 1.0 + providers.REFUSED_REST_S


@pytest.mark.parametrize("fault", FAULTS)
def test_another_block_where_one_is_known_is_refused(fault: Fault | None) -> None:
    known = Identity(1, {0: b"\x00" * 32, 9: _hash(9, 0)})
    after = providers.judged(standing_of(fault), look(20, hashes=GENESIS | {9: _hash(9, 1)}), known, 1.0, 1.0)
    assert after.fault is Fault.OTHER_FORK
    assert "block 9" in after.reason


@pytest.mark.parametrize("fault", [fault for fault in Fault if fault not in DEMOTED])
@pytest.mark.parametrize("hashes", [{}, GENESIS])
def test_a_right_look_ends_every_fault(fault: Fault, hashes: dict[int, bytes]) -> None:
    after = providers.judged(standing_of(fault), look(5, hashes=hashes), OURS, 100.0, 100.0)
    assert (after.fault, after.reason, after.since_s, after.head) == (None, "", 100.0, block(5))
    assert providers.due([after], 100.0) == [0]


def test_heads_of_another_chain_are_forgotten_when_it_comes_back() -> None:
    refused = providers.judged(seen(block(5)), look(900, 3, chain_id=2), OURS, 1.0, 1.0)
    assert providers.judged(refused, look(6), OURS, 40.0, 40.0).fault is None


# --------------------------------------------------------------------------------------- lag


@pytest.mark.parametrize(
    ("behind_blocks", "behind_s", "fault"),
    [(0, 0, None), (3, 36, None), (4, 48, Fault.BEHIND), (40, 4, None), (60, 6, Fault.BEHIND), (-5, -60, None)],
)
def test_lag_is_in_blocks_and_in_the_chain_s_own_time(behind_blocks: int, behind_s: int, fault: Fault | None) -> None:
    standing = seen(block(1000 - behind_blocks, at_s=5000 - behind_s))
    after = providers.compared(standing, block(1000, at_s=5000), 1.0)
    assert (after.fault, after.lag_blocks) == (fault, max(0, behind_blocks))
    assert bool(after.reason) is (fault is not None)
    caught_up = providers.compared(providers.showed(after, block(1006), 2.0, 2.0), block(1006), 2.0)
    assert (caught_up.fault, caught_up.reason, caught_up.lag_blocks) == (None, "", 0)


@pytest.mark.parametrize("fault", [fault for fault in Fault if fault is not Fault.BEHIND])
def test_other_faults_are_not_ended_by_a_good_head(fault: Fault) -> None:
    assert providers.compared(standing_of(fault), block(5), 1.0).fault is fault


def test_the_head_others_are_compared_with() -> None:
    assert providers.best_head([]) is None
    assert providers.best_head([block(5)]) == block(5)
    assert providers.best_head([block(5), block(9)]) == block(9)
    for order in permutations([block(5), block(6), block(10**9)]):
        assert providers.best_head(order) == block(6), "one of three cannot make all others late"


# ------------------------------------------------------------------------------------ belief


@pytest.mark.parametrize(
    ("known", "told", "expected"),
    [
        (None, "", None), (None, "x", "x"), (None, "xy", "x"), (None, "xyy", "y"), (None, "xyyx", "x"),
        ("x", "", "x"), ("x", "y", "x"), ("x", "xy", "x"), ("x", "yy", "y"), ("x", "xyy", "y"), ("x", "xxyy", "x"),
    ],
)  # fmt: skip
def test_what_is_known_yields_to_two_that_agree(known: str | None, told: str, expected: str | None) -> None:
    assert providers.agreed(known, told) == expected


@settings(deadline=None)
@given(st.none() | st.sampled_from("xyz"), st.lists(st.sampled_from("xyz"), max_size=9))
def test_what_is_believed_was_known_or_told(known: str | None, told: list[str]) -> None:
    found = providers.agreed(known, told)
    assert found == known or found in told
    if known is not None and told.count(known) * 2 >= len(told):
        assert found == known, "what half of them confirm stays"
    if found is not None and found != known and known is not None:
        assert told.count(found) >= 2


def test_the_majority_names_the_chain_and_the_first_of_equals() -> None:
    assert providers.identified([]) is None
    here, other = look(5), look(5, chain_id=2, hashes={0: b"\x01" * 32})
    assert providers.identified([here, other]) == OURS
    assert providers.identified([other, here]) == Identity(2, {0: b"\x01" * 32})
    assert providers.identified([other, here, here]) == OURS
    twin = look(5, hashes={0: b"\x02" * 32})  # the same chain id, another chain
    assert providers.identified([twin, here, here]) == OURS
    assert providers.identified([look(5, hashes={})]) == Identity(1, {})


def test_known_blocks_move_on_with_finality() -> None:
    first = look(20, hashes=GENESIS | {9: _hash(9, 0)})
    liar = look(20, hashes=GENESIS | {9: _hash(9, 1)})
    lags = look(8)
    after = providers.settled(OURS, [first, liar, lags], [9])
    assert after.known == GENESIS | {9: _hash(9, 0)}
    later = providers.settled(after, [look(40, hashes={9: _hash(9, 0), 30: _hash(30, 0)})], [30])
    assert sorted(later.known) == [9, 30], "two are kept"


def test_who_contradicts_an_older_block_has_no_say_about_a_newer_one() -> None:
    liars = [look(20, hashes={0: b"\x07" * 32, 9: _hash(9, 1)})]
    right = [look(20, hashes=GENESIS | {9: _hash(9, 0)})]
    assert providers.settled(OURS, liars + right, [9]).known[9] == _hash(9, 0)
    assert providers.settled(OURS, liars, [9]).known == GENESIS


@pytest.mark.parametrize("opinions", [(*one, *two, *three) for one, two, three in product(
    [(), (True,), (False,), (None,)], repeat=3)])  # fmt: skip
@pytest.mark.parametrize("configured", [1, 2, 3])
def test_bad_news_needs_two_and_no_contradiction(opinions: tuple[bool | None, ...], configured: int) -> None:
    yes, no = sum(one is True for one in opinions), sum(one is False for one in opinions)
    assert providers.confirmed(opinions, configured) is (no == 0 and yes >= (1 if configured == 1 else 2))


# ------------------------------------------------------------------------------------- sends

NO_ANSWER = SendAnswer(False, None, "TimeoutError")
ANSWERS = {
    SendClass.ACCEPTED: SendAnswer(True),
    SendClass.ALREADY_KNOWN: SendAnswer(False, -32000, "already known"),
    SendClass.NONCE_TOO_LOW: SendAnswer(False, -32000, "nonce too low"),
    SendClass.NONCE_TOO_HIGH: SendAnswer(False, -32000, "nonce too high"),
    SendClass.POOL_FULL: SendAnswer(False, -32000, "txpool is full"),
    SendClass.UNDERPRICED: SendAnswer(False, -32000, "transaction underpriced"),
    SendClass.AMBIGUOUS: SendAnswer(False, -32603, "internal error"),
    SendClass.INSUFFICIENT_FUNDS: SendAnswer(False, -32000, "insufficient funds"),
    SendClass.NEVER_VALID: SendAnswer(False, -32000, "invalid sender"),
}


def test_every_class_has_its_place() -> None:
    assert set(providers.BEST_FIRST) == set(SendClass) == set(ANSWERS)
    assert all(classify(answer) is found for found, answer in ANSWERS.items())


@pytest.mark.parametrize("pair", list(product([*ANSWERS.values(), NO_ANSWER], repeat=2)))
def test_the_best_of_two_answers(pair: tuple[SendAnswer, SendAnswer]) -> None:
    said = [("a:1", pair[0]), ("b:1", pair[1])]
    best = providers.best_answer(said)
    assert best.by == tuple(said)
    ranked = [*ANSWERS.values(), NO_ANSWER]
    expected = min(pair, key=ranked.index)
    assert (best.accepted, best.code, best.message) == (expected.accepted, expected.code, expected.message)
    assert providers.taken(best) is any(providers.taken(one) for one in pair)


# ------------------------------------------------------------------------- any story at all

EVENTS = st.one_of(
    st.tuples(st.just("silent"), st.sampled_from([None, 0.0, 5.0, 300.0])),
    st.tuples(st.just("answered"), st.none()),
    st.tuples(st.just("showed"), st.integers(0, 40)),
    st.tuples(st.just("looked"), st.integers(0, 40)),
    st.tuples(st.just("other chain"), st.integers(0, 40)),
    st.tuples(st.just("other fork"), st.integers(0, 40)),
    st.tuples(st.just("compared"), st.integers(0, 400)),
    st.tuples(st.just("lied"), st.none()),
)


def happen(standing: Standing, event: str, value: float | None, now_s: float) -> Standing:
    """What one event makes of a standing."""
    number, forged = int(value or 0), {0: b"\x09" * 32}
    looks = {
        "looked": look(number),
        "other chain": look(number, chain_id=5),
        "other fork": look(number, hashes=forged),
    }
    if event in looks:
        return providers.judged(standing, looks[event], OURS, now_s, now_s)
    if event == "silent":
        return providers.silent(standing, "TimeoutError", now_s, value)
    if event == "answered":
        return providers.answered(standing, now_s)
    if event == "lied":
        return providers.lied(standing, "events are missing", now_s)
    if event == "compared":
        return providers.compared(standing, block(number), now_s)
    refused = standing.fault in REFUSED  # such a one is not asked
    return standing if refused else providers.showed(standing, block(number), now_s, now_s)


@settings(deadline=None)
@given(st.lists(st.tuples(EVENTS, st.floats(0.0, 90.0)), max_size=40))
def test_whatever_happens_to_a_provider(story: list[tuple[tuple[str, float | None], float]]) -> None:
    standing, now_s = Standing(), 0.0
    for (event, value), pause in story:
        now_s += pause
        before, standing = standing, happen(standing, event, value, now_s)
        assert bool(standing.reason) is (standing.fault is not None), "every fault says why"
        assert standing.rest_until_s - now_s <= 300.0 + 1e-6, "it rests a minute, or as long as it asked for"
        if before.fault in REFUSED and standing.fault not in REFUSED:
            assert event == "looked", "only a right look ends a refusal"
        if event in {"other chain", "other fork"}:
            assert providers.order([standing]) == []
        if event == "silent" and before.fault not in REFUSED:
            assert standing.fault is Fault.SILENT
    at_rest_s = max(now_s, standing.rest_until_s)
    well = providers.judged(standing, look(1000), OURS, at_rest_s, at_rest_s)
    well = providers.compared(well, block(1000), at_rest_s)
    assert well.fault is None, "nothing is held against a provider for good"
