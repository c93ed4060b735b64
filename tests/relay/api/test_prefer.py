"""What `Prefer` (RFC 7240) means here."""

import pytest

from relay.api.prefer import AT_ONCE, DEFAULT, INCLUDED, Preference, preference


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        (b"wait=0", 0), (b"wait=000", 0), (b"wait=5", 5), (b"wait=0005", 5), (b'wait="7"', 7), (b"Wait = 30", 30),
        (b"wait=31", 30), (b"wait=99999999999", 30), (b"wait=" + b"9" * 5000, 30), (b"wait=" + b"0" * 5000 + b"3", 3),
    ],
)  # fmt: skip
def test_wait_is_taken_up_to_half_a_minute(header: bytes, seconds: int) -> None:
    """However long a client would wait, the answer says what was applied."""
    assert preference(header) == Preference(float(seconds), INCLUDED, b"wait=%d" % seconds)


@pytest.mark.parametrize(
    "header", [None, b"", b"wait=", b"wait=-1", b"wait=1.5", b"wait=NaN", b"handling=lenient", b"\xff"]
)
def test_what_is_not_understood_is_ignored(header: bytes | None) -> None:
    """A preference is no demand."""
    assert preference(header) == DEFAULT


@pytest.mark.parametrize("header", [b"respond-async", b"Respond-Async", b"handling=lenient, respond-async"])
def test_respond_async_answers_at_once(header: bytes) -> None:
    """No waiting for the chain at all."""
    assert preference(header) == AT_ONCE
