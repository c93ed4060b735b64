"""Draws: the numbers that others get from the same key, none favoured; ids that nobody can choose."""

import hashlib
import hmac
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.economy import randomness
from relay.economy.randomness import WORD, Draws, RollNumber

KEY = bytes(range(32))


def words(key: bytes, count: int) -> list[int]:
    """The first 64-bit words of a key, told as the document tells them."""
    blocks = [hmac.new(key, n.to_bytes(4, "big"), hashlib.sha256).digest() for n in range(count)]
    stream = b"".join(blocks)
    return [int.from_bytes(stream[at : at + 8], "big") for at in range(0, 8 * count, 8)]


def test_a_key_is_of_game_roll_and_client_seed_in_this_order() -> None:
    """An HMAC that anybody can compute."""
    expected = hmac.new(KEY, b"chess\x00roll_20000_7\x00lucky", hashlib.sha256).digest()
    assert randomness.roll_key(KEY, "chess", "roll_20000_7", "lucky") == expected
    assert randomness.roll_key(KEY, "chess", "roll_20000_7", "") != expected


def test_draws_are_the_words_of_the_key_in_order() -> None:
    """A power of two rejects nothing, so the words themselves are seen; over several blocks."""
    draws = Draws(KEY)
    assert [draws.below(WORD) for _ in range(11)] == words(KEY, 11)


@given(st.binary(min_size=32, max_size=32), st.lists(st.integers(1, WORD), min_size=1, max_size=12))
def test_a_word_that_would_favour_small_numbers_is_drawn_again(key: bytes, bounds: list[int]) -> None:
    """Against rejection told another way: a word counts if its whole multiple of the bound fits below 2^64."""
    stream = iter(words(key, 400))
    draws = Draws(key)
    for bound in bounds:
        word = next(one for one in stream if (one // bound + 1) * bound <= WORD)
        assert draws.below(bound) == word % bound


def test_rejection_does_happen() -> None:
    """Just above the half of 2^64 nearly every second word is thrown away."""
    draws, bound = Draws(KEY), WORD // 2 + 1
    kept = [word for word in words(KEY, 64) if word < bound]
    assert len(kept) < 50
    assert [draws.below(bound) for _ in range(len(kept))] == kept


def test_weights_are_shares() -> None:
    """20,000 draws: each within five standard deviations of its share."""
    draws, weights, count = Draws(KEY), [1, 2, 7], 20_000
    found = Counter(draws.weighted(weights) for _ in range(count))
    for index, weight in enumerate(weights):
        share = weight / 10
        assert abs(found[index] - count * share) < 5 * (count * share * (1 - share)) ** 0.5


@pytest.mark.parametrize("bound", [0, -1, WORD + 1])
def test_a_draw_has_a_bound(bound: int) -> None:
    """Nothing to draw from, or more than a word holds."""
    with pytest.raises(ValueError, match="a draw is among"):
        Draws(KEY).below(bound)


def test_ids_of_rolls_say_day_and_number_in_one_way_only() -> None:
    """No second spelling of an id, which would have a key of its own."""
    assert randomness.parse_roll_id("roll_20000_0") == RollNumber(20000, 0)
    assert randomness.roll_id(RollNumber(20000, 12)) == "roll_20000_12"
    for text in ("roll_20000_00", "roll_020000_0", "roll_20000", "roll_20000_-1", "roll_20000_0\n", "roll_٣_0", ""):
        assert randomness.parse_roll_id(text) is None


def test_no_client_seed_holds_a_zero_byte() -> None:
    """It would move the border between roll and seed."""
    assert randomness.valid_client_seed("")
    assert randomness.valid_client_seed("любой")
    assert not randomness.valid_client_seed("a\0b")
    assert not randomness.valid_client_seed("x" * 129)
