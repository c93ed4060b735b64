"""Canonical JSON equals the reference implementation of RFC 8785 on everything we allow, and refuses the rest."""

from typing import Any

import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st

from relay.canonical import INTEGER_MAX, NotCanonicalError, canonical, canonical_ascii, canonical_hash
from relay.keccak import keccak

TEXT = st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=12)
LEAF = st.none() | st.booleans() | st.integers(-INTEGER_MAX, INTEGER_MAX) | TEXT
VALUES = st.recursive(LEAF, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4))


@given(VALUES)
def test_same_bytes_as_the_reference(value: Any) -> None:
    """Any document without fractions."""
    assert canonical(value) == rfc8785.dumps(value)


@given(st.dictionaries(st.text(alphabet="\U0001f600\uffee\ud7ffaz", max_size=3), st.integers(0, 9), max_size=6))
def test_keys_are_sorted_by_utf16_units(value: dict[str, int]) -> None:
    """The one place where RFC 8785 and sorting by code point disagree."""
    assert canonical({"nested": [value]}) == rfc8785.dumps({"nested": [value]})


@given(st.dictionaries(st.text(alphabet=st.characters(codec="ascii"), max_size=5), st.integers(-9, 9), max_size=5))
def test_the_fast_way_is_the_same_on_ascii(value: dict[str, int]) -> None:
    """What the hot path uses, on what it is allowed for."""
    assert canonical_ascii(value) == rfc8785.dumps(value)


@pytest.mark.parametrize(
    "value",
    [1.0, float("nan"), 2**53, -(2**53), {"a": [2**60]}, "\ud800", {"\udfff": 1}, {1: 2}, b"bytes", {1, 2}, [0.5]],
)
def test_what_has_no_one_form_is_refused(value: Any) -> None:
    """Fractions, big integers, lone surrogates, foreign types."""
    with pytest.raises(NotCanonicalError):
        canonical(value)


def test_hash() -> None:
    """keccak-256 of the canonical bytes."""
    assert canonical_hash({"b": 1, "a": None}) == keccak(b'{"a":null,"b":1}')
