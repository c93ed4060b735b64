"""Strict JSON: what is decoded is exactly what was written, or every wrong field is named.

Pure. The common case costs one typed decode; only a refused body is walked a second time to explain it.
"""

import json
import re
from collections import Counter
from collections.abc import Iterator
from itertools import chain, islice
from types import UnionType
from typing import Annotated, Any, TypeVar, Union, get_args, get_origin

import msgspec

from relay.errors import FieldError, PayloadError

T = TypeVar("T")

FIELD_ERRORS_MAX = 20
NESTING_MAX = 64
_PATH_TOKEN = re.compile(r"\.([A-Za-z0-9_]+)|\[(\d+|\.\.\.)\]|\[`?([^\]`]*)`?\]")
_TEXT = re.compile(rb'"(?:[^"\\]|\\.)*"?')
_NO_BRACKETS = bytes(code for code in range(256) if code not in b"[]{}")
_SUFFIX = re.compile(r" - at `(?:key in )?\$(.*)`$")


class _Pairs(dict[str, Any]):
    repeated: tuple[str, ...] = ()


class _ConstantError(ValueError):
    pass


class Request(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, rename="camel"):
    """Base of everything a client may send as JSON. `decode` relies on its settings; nested objects derive from it."""


_encoder = msgspec.json.Encoder()


def decode(decoder: "msgspec.json.Decoder[T]", body: bytes) -> T:
    """Decode `body` with `decoder`, whose objects derive from `Request`, and refuse duplicate keys anywhere.

    Raises:
        PayloadError: not strict JSON of that type; `fields` names what is wrong by JSON pointer.
    """
    try:
        value = decoder.decode(body)
    except (msgspec.MsgspecError, UnicodeError, RecursionError, ValueError) as error:
        raise explain(decoder.type, body, str(error)) from None
    # Encoding the value again writes each key once and nothing that was not in the body (defaults are omitted). Unless
    # a text needs escapes, a repeated key therefore shows as more quotation marks in the body than in the encoding:
    # equal counts prove that there is none at a tenth of the cost of looking for one.
    encoded = _encoder.encode(value)
    if body.count(b'"') != encoded.count(b'"') or b"\\" in encoded:
        refuse_duplicates(body)
    return value


def nested_deeply(body: bytes) -> bool:
    """Say whether `body` nests deeper than any request has reason to, without recursion.

    Parsers recurse, and a library of ours raises Python's recursion limit to 100,000: beyond some depth there is no
    RecursionError but a crash of the process. Taking away innermost pairs, level by level, needs no stack at all.
    """
    if body.count(b"[") + body.count(b"{") <= NESTING_MAX:
        return False
    brackets = _TEXT.sub(b"", body).translate(None, _NO_BRACKETS)
    for _ in range(NESTING_MAX):
        left = brackets.replace(b"[]", b"").replace(b"{}", b"")
        if len(left) == len(brackets):
            break
        brackets = left
    return len(brackets) > NESTING_MAX


def refuse_duplicates(body: bytes) -> None:
    """Refuse a body with a repeated key in any object (RFC 8259 leaves its meaning open, so readers disagree)."""
    try:
        parsed = _loads(body)
    except (ValueError, RecursionError) as error:
        raise _unreadable(error) from None
    fields = list(_duplicates(parsed, ""))
    if fields:
        raise PayloadError("The body repeats a key.", fields[:FIELD_ERRORS_MAX])


def explain(kind: Any, body: bytes, message: str) -> PayloadError:
    """Return the error that names everything wrong with `body` as a `kind`; `message` is what the decoder said."""
    try:
        parsed = _loads(body)
    except (ValueError, RecursionError) as error:
        return _unreadable(error)
    fields = list(islice(chain(_duplicates(parsed, ""), _wrong(kind, parsed, "")), FIELD_ERRORS_MAX))
    if not fields:  # the decoder is stricter than the walk (a lone surrogate, for one)
        fields = [FieldError("", "FIELD_INVALID", message.split(" - at ", maxsplit=1)[0])]
    detail = "The body is not of the expected shape: " + fields[0].detail
    return PayloadError(detail, fields)


def pointer_step(step: str | int) -> str:
    """Return one reference token of a JSON pointer, escaped (RFC 6901 section 3)."""
    return "/" + str(step).replace("~", "~0").replace("/", "~1")


def _loads(body: bytes) -> Any:
    if nested_deeply(body):
        raise RecursionError
    return json.loads(body.decode("utf-8"), object_pairs_hook=_pairs, parse_constant=_refuse_constant)


def _pairs(pairs: list[tuple[str, Any]]) -> _Pairs:
    result = _Pairs(pairs)
    if len(result) != len(pairs):
        counted = Counter(name for name, _ in pairs)
        result.repeated = tuple(name for name, times in counted.items() if times > 1)
    return result


def _refuse_constant(name: str) -> None:
    raise _ConstantError(name)


def _unreadable(error: Exception) -> PayloadError:
    if isinstance(error, RecursionError):
        return PayloadError("The body is nested too deeply.")
    if isinstance(error, UnicodeError):
        return PayloadError("The body is not UTF-8.")
    if isinstance(error, _ConstantError):
        return PayloadError(f"{error} is not JSON.")
    if isinstance(error, json.JSONDecodeError):
        return PayloadError(f"The body is not JSON: {error.msg} (character {error.pos}).")
    return PayloadError("The body is not JSON: a number is too long.")


def _duplicates(value: Any, pointer: str, depth: int = 0) -> Iterator[FieldError]:
    if depth > NESTING_MAX:
        yield FieldError(pointer[:200], "FIELD_INVALID", "nested too deeply")
        return
    if isinstance(value, _Pairs):
        for name in value.repeated:
            yield FieldError(pointer + pointer_step(_shown(name)), "FIELD_REPEATED", "the key is repeated")
        for name, item in value.items():
            if isinstance(item, dict | list):
                yield from _duplicates(item, pointer + pointer_step(_shown(name)), depth + 1)
    elif isinstance(value, list):
        for index, item in enumerate(value):
            if isinstance(item, dict | list):
                yield from _duplicates(item, pointer + pointer_step(index), depth + 1)


def _wrong(kind: Any, value: Any, pointer: str) -> Iterator[FieldError]:
    line = _line(kind)
    if line is not None and isinstance(value, list):
        yield from _wrong_lines(kind, line, value, pointer)
        return
    struct = next((option for option in (kind, *get_args(kind)) if _is_struct(option)), None)
    if struct is None or not isinstance(value, dict):
        if kind is not msgspec.Raw:
            yield from _unconvertible(kind, value, pointer)
        return
    known = {field.encode_name: field for field in msgspec.structs.fields(struct)}
    for name, field in known.items():
        if name in value:
            yield from _wrong(field.type, value[name], pointer + pointer_step(name))
        elif field.required:
            yield FieldError(pointer + pointer_step(name), "FIELD_REQUIRED", f"`{name}` is required")
    for name in value:
        if name not in known:
            shown = _shown(name)
            yield FieldError(pointer + pointer_step(shown), "FIELD_UNKNOWN", f"`{shown}` is not a field here")


def _wrong_lines(kind: Any, line: Any, items: list[Any], pointer: str) -> Iterator[FieldError]:
    sound = True
    for at, item in enumerate(items):
        if any(_unconvertible(line, item, "")):
            sound = False
            yield from _wrong(line, item, pointer + pointer_step(at))
    if sound:
        yield from _unconvertible(kind, items, pointer)


def _line(kind: Any) -> Any:
    """Return the Struct that each item of a list is; None for any other kind."""
    if get_origin(kind) in (list, tuple):
        return next((item for item in get_args(kind) if _is_struct(item)), None)
    options = get_args(kind) if get_origin(kind) in (Annotated, Union, UnionType) else ()
    return next((line for line in map(_line, options) if line is not None), None)


def _is_struct(kind: Any) -> bool:
    bare = get_origin(kind) or kind  # a generic one, as ScoreSubmission[Counts]
    return isinstance(bare, type) and issubclass(bare, msgspec.Struct)


def _unconvertible(kind: Any, value: Any, pointer: str) -> Iterator[FieldError]:
    try:
        msgspec.convert(value, kind, strict=True)
    except UnicodeError:  # to tell what a text is, msgspec encodes it
        yield FieldError(pointer, "FIELD_INVALID", f"a lone surrogate is no text, at {pointer or 'the top'}")
    except (msgspec.ValidationError, RecursionError) as error:
        text = str(error)
        found = _SUFFIX.search(text)
        inner = "".join(
            pointer_step(next(filter(None, token))) for token in _PATH_TOKEN.findall(found[1] if found else "")
        )
        detail = text.split(" - at ", maxsplit=1)[0]
        yield FieldError(pointer + inner, "FIELD_INVALID", f"{detail} at {pointer + inner or 'the top'}")


def _shown(name: str) -> str:
    """Return a client's own key in a form safe to send back: short, and without lone surrogates."""
    return name[:64].encode("ascii", "backslashreplace").decode()
