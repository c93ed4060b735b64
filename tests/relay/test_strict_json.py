"""Strict reading: what is accepted is exactly what was written; what is refused is named by pointer."""

import json
import time
from typing import Annotated, Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import UNSET, Meta, UnsetType

from relay.errors import PayloadError
from relay.strict_json import Request, decode, pointer_step


class Inner(Request, frozen=True):
    score: Annotated[int, Meta(ge=-5, le=10)]
    game_time: int
    events: tuple[tuple[int, int], ...] = ()


class Outer(Request, frozen=True):
    inner: Inner
    note: str | UnsetType | None = UNSET
    lines: Annotated[tuple[Inner, ...], Meta(max_length=3)] | UnsetType = UNSET


DECODER = msgspec.json.Decoder(Outer)


def refused(body: bytes) -> PayloadError:
    with pytest.raises(PayloadError) as caught:
        decode(DECODER, body)
    return caught.value


@pytest.mark.parametrize(
    ("body", "pointers"),
    [
        ('{"inner":{"score":1.5,"gameTime":true,"x":1,"events":[[1,2],[1,"x"]]},"note":5}',
         {"/inner/score", "/inner/gameTime", "/inner/x", "/inner/events/1/1", "/note"}),
        ('{"inner":{"score":1.0,"gameTime":1}}', {"/inner/score"}),
        ('{"inner":{"score":11,"gameTime":1}}', {"/inner/score"}),
        ('{"inner":{"score":1,"score":1,"gameTime":1}}', {"/inner/score"}),
        ('{"inner":{"score":1,"gameTime":1},"a/b~c":1}', {"/a~1b~0c"}),
        ("{}", {"/inner"}),
        ('{"inner":{"score":1,"gameTime":1},"lines":[{"score":1,"gameTime":1},{"score":11,"x":0},5]}',
         {"/lines/1/score", "/lines/1/gameTime", "/lines/1/x", "/lines/2"}),
        ('{"inner":{"score":1,"gameTime":1},"lines":[' + ",".join(['{"score":1,"gameTime":1}'] * 4) + "]}", {"/lines"}),
        ('{"inner":{"score":1,"gameTime":1},"lines":{}}', {"/lines"}),
        ("[]", {""}),
        ('"\\ud800"', {""}),
        ('{"inner":{"score":"\\ud800","gameTime":1,"events":["\\ud800"]}}', {"/inner/score", "/inner/events"}),
        ('{"inner":[1]}', {"/inner"}),
        ('{"inner":{"score":1,"gameTime":1},"note":"\\ud800"}', {""}),
        ('{"inner":{"score":1,"gameTime":1},"note":"\\u0022\\u0022","note":"a"}', {"/note"}),
    ],
)  # fmt: skip
def test_each_wrong_field_is_named(body: str, pointers: set[str]) -> None:
    """All of them at once, by JSON pointer."""
    error = refused(body.encode())
    assert {field.pointer for field in error.fields} == pointers
    assert error.status == 400


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\xff",
        b"NaN",
        b'{"inner":NaN}',
        b"[" * 100_000,
        b"1" * 5000,
        b'{"inner":' * 5000,
        b"{'a':1}",
        b"\xef\xbb\xbf{}",
    ],
)
def test_what_is_no_json_at_all(body: bytes) -> None:
    """Refused with a sentence, without a stack trace."""
    assert refused(body).detail


def test_many_repeated_keys_cost_little() -> None:
    """As many as fit into a body: looking for each among all of them took eight seconds of the event loop.

    Sixteen times as many take sixteen times as long; they took 256 times as long. The best of three, in CPU time.
    """

    def cost_s(count: int) -> float:
        body = ("{" + ",".join(f'"{index:x}":1,"{index:x}":1' for index in range(count)) + "}").encode()
        taken = []
        for _ in range(3):
            started = time.thread_time()
            assert {field.code for field in refused(body).fields} == {"FIELD_REPEATED"}
            taken.append(time.thread_time() - started)
        return min(taken)

    assert cost_s(12_000) < 80 * cost_s(750)


def test_many_wrong_lines_cost_little() -> None:
    """As many as fit into a body: the first twenty things wrong are named, and no more are looked for."""
    inner = '{"score":1,"gameTime":1}'
    for line in ("{}", "[]", '{"score":1,"gameTime":1}'):
        body = f'{{"inner":{inner},"lines":[{",".join([line] * (250_000 // (len(line) + 1)))}]}}'.encode()
        assert 1 <= len(refused(body).fields) <= 20


KEYS = ["inner", "note", "score", "gameTime", "events", "other"]
SCALARS = st.sampled_from(
    ["1", "-5", "10", "true", "null", '"a"', '"\\u0022"', '"\\""', "1.0", "[]", "[[1,2]]", '"é"', "NaN"]
)


@st.composite
def objects(draw: st.DrawFn, depth: int = 2) -> str:
    """JSON texts that repeat keys, nest and mix types."""
    members = []
    for _ in range(draw(st.integers(0, 4))):
        nested = depth > 0 and draw(st.booleans())
        value = draw(objects(depth - 1)) if nested else draw(SCALARS)
        members.append(f'"{draw(st.sampled_from(KEYS))}":{value}')
    return "{" + ",".join(members) + "}"


VALID = st.builds(
    lambda s, t, e, n: {"inner": {"score": s, "gameTime": t, "events": e}, **n},
    st.integers(-5, 10), st.integers(), st.lists(st.tuples(st.integers(), st.integers()), max_size=2),
    st.dictionaries(st.just("note"), st.none() | st.text(max_size=8)),
)  # fmt: skip


def repeats(text: str) -> bool:
    """Whether any object of a JSON text repeats a key, said by the standard library."""
    found = False

    def look(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        nonlocal found
        found |= len({name for name, _ in pairs}) != len(pairs)
        return dict(pairs)

    json.loads(text, object_pairs_hook=look)
    return found


@given(objects() | VALID.map(json.dumps) | VALID.map(lambda value: json.dumps(value, ensure_ascii=False)))
def test_accepted_means_typed_and_without_repetition(text: str) -> None:
    """The proof by counting quotation marks never lets a repeated key through, and never refuses a good body."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return
    plain = msgspec.json.Decoder(Outer)
    try:
        typed = plain.decode(text.encode())
    except (msgspec.MsgspecError, UnicodeError, ValueError):
        typed = None
    if typed is None or repeats(text):
        refused(text.encode())
    else:
        assert decode(DECODER, text.encode()) == typed


@given(st.binary(max_size=60))
def test_no_bytes_end_in_anything_but_a_payload_error(body: bytes) -> None:
    """Noise is refused in an orderly way."""
    assert refused(body).code == "PAYLOAD_MALFORMED"


def test_pointer_escapes() -> None:
    """RFC 6901 section 3."""
    assert pointer_step("a~/b") == "/a~0~1b"
