"""The text of a sign-in: read exactly as the grammar of ERC-4361 has it, and refused where it is for somebody else."""

import string
import time
from datetime import UTC, datetime
from typing import Any, ClassVar

import pytest
from abnf import ParseError, Rule
from abnf.grammars import rfc3339, rfc3986
from abnf.grammars.misc import load_grammar_rules
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from relay.errors import CallerError
from relay.siwe import TEXT_MAX, Expected, authority, check, read, uri
from tests.harness.wallets import sign_in_text

ADDRESS = "0x52908400098527886E0F7030069857D2E4169EE7"
NONCE = "32891756abcdef01"
NOW_MS = 1_767_225_600_000  # 2026-01-01T00:00:00Z


@load_grammar_rules(
    [
        ("URI", rfc3986.Rule("URI")),
        ("authority", rfc3986.Rule("authority")),
        ("scheme", rfc3986.Rule("scheme")),
        ("reserved", rfc3986.Rule("reserved")),
        ("unreserved", rfc3986.Rule("unreserved")),
        ("pchar", rfc3986.Rule("pchar")),
        ("date-time", rfc3339.Rule("date-time")),
    ]
)
class Grammar(Rule):
    """The ABNF of ERC-4361, as published."""

    grammar: ClassVar[list[str]] = [
        'sign-in-with-ethereum = [ scheme "://" ] domain %s" wants you to sign in with your Ethereum account:" LF '
        'address LF LF [ statement LF ] LF %s"URI: " uri LF %s"Version: " version LF %s"Chain ID: " chain-id LF '
        '%s"Nonce: " nonce LF %s"Issued At: " issued-at [ LF %s"Expiration Time: " expiration-time ] '
        '[ LF %s"Not Before: " not-before ] [ LF %s"Request ID: " request-id ] [ LF %s"Resources:" resources ]',
        "domain = authority",
        'address = %s"0x" 40HEXDIG',
        'statement = *( reserved / unreserved / " " )',
        'version = "1"',
        "chain-id = 1*20DIGIT",
        "nonce = 8*( ALPHA / DIGIT )",
        "issued-at = date-time",
        "expiration-time = date-time",
        "not-before = date-time",
        "request-id = *pchar",
        "resources = *( LF resource )",
        'resource = "- " URI',
    ]


def by_grammar(rule: str, text: str) -> bool:
    """Whether the published grammar takes a text."""
    try:
        Grammar(rule).parse_all(text)
    except ParseError:
        return False
    return True


def refusal(text: str) -> str:
    """The code a text is refused with, or nothing."""
    try:
        read(text)
    except CallerError as error:
        return error.code
    return ""


GOOD: dict[str, dict[str, Any]] = {
    "a statement": {},
    "no statement": {"statement": None},
    "an empty statement": {"statement": ""},
    "a port": {"domain": "localhost:8000"},
    "an IPv6 host": {"domain": "[::1]:8000"},
    "a user": {"domain": "player@game.example"},
    "a scheme": {"domain": "https://game.example"},
    "a custom URI": {"uri": "did:key:z6Mk#a?b"},
    "times": {"expires_at": "2026-01-01T02:00:00+02:00", "not_before": "2025-12-31T23:59:59.5Z"},
    "an empty request id": {"request_id": ""},
    "a request id": {"request_id": "a-b_c:%20@!$&'()*+,;="},
    "no resources": {"resources": []},
    "resources": {"resources": ["ipfs://bafy/x", "https://example.com/a?b=c#d"]},
    "everything": {
        "expires_at": "2026-01-01T02:00:00Z", "not_before": "2025-12-31T00:00:00Z", "request_id": "7",
        "resources": ["urn:a:b"],
    },
}  # fmt: skip
WHOLE = sign_in_text(ADDRESS, NONCE)
BAD = {
    "empty": "",
    "a prefix": "\n" + WHOLE,
    "a final line break": WHOLE + "\n",
    "Windows' line breaks": WHOLE.replace("\n", "\r\n"),
    "other words": WHOLE.replace("Ethereum", "ethereum"),
    "a short address": WHOLE.replace(ADDRESS, ADDRESS[:-1]),
    "no address": WHOLE.replace(ADDRESS, ""),
    "another version": WHOLE.replace("Version: 1", "Version: 2"),
    "a short nonce": WHOLE.replace(NONCE, "1234567"),
    "a nonce with a dash": WHOLE.replace(NONCE, NONCE + "-"),
    "a negative chain": WHOLE.replace("31337", "-1"),
    "no chain": WHOLE.replace("Chain ID: 31337\n", ""),
    "an endless chain id": WHOLE.replace("31337", "3" * 21),
    "a domain with a path": WHOLE.replace("game.example wants", "game.example/x wants"),
    "a domain with a blank": WHOLE.replace("game.example wants", "game example wants"),
    "a broken IPv6 host": sign_in_text(ADDRESS, NONCE, domain="[::1"),
    "a zone": sign_in_text(ADDRESS, NONCE, domain="[fe80::1%25eth0]"),
    "a relative URI": sign_in_text(ADDRESS, NONCE, uri="/login"),
    "a URI with a blank": sign_in_text(ADDRESS, NONCE, uri="https://a b"),
    "a URI with a bad escape": sign_in_text(ADDRESS, NONCE, uri="https://a/%zz"),
    "a statement with a quotation mark": sign_in_text(ADDRESS, NONCE, statement='say "yes"'),
    "a statement of two lines": sign_in_text(ADDRESS, NONCE, statement="one\ntwo"),
    "a statement beyond ASCII": sign_in_text(ADDRESS, NONCE, statement="für dich"),
    "fields in another order": sign_in_text(ADDRESS, NONCE, not_before="2026-01-01T00:00:00Z")
    + "\nExpiration Time: 2026-01-01T00:00:00Z",
    "a field twice": WHOLE + "\nRequest ID: 1\nRequest ID: 2",
    "a time without a zone": sign_in_text(ADDRESS, NONCE, issued_at="2026-01-01T00:00:00"),
    "a resource that is none": sign_in_text(ADDRESS, NONCE, resources=["x"]),
}
NO_TIMES = ["2026-02-29T00:00:00Z", "2026-13-01T00:00:00Z", "2026-00-01T00:00:00Z", "2026-01-00T00:00:00Z",
            "2026-01-01T24:00:00Z", "2026-01-01T00:60:00Z", "2026-01-01T00:00:61Z", "2026-01-01T00:00:00+24:00",
            "0000-01-01T00:00:00Z"]  # fmt: skip


@pytest.mark.parametrize("name", GOOD)
def test_what_the_grammar_takes_is_read(name: str) -> None:
    """Each form by name."""
    text = sign_in_text(ADDRESS, NONCE, **GOOD[name])
    assert by_grammar("sign-in-with-ethereum", text)
    said = read(text)
    assert (said.address, said.nonce, said.chain_id) == (ADDRESS, NONCE, 31337)
    assert said.issued_at_ms == NOW_MS


@pytest.mark.parametrize("name", BAD)
def test_what_the_grammar_refuses_is_refused(name: str) -> None:
    """Each bad text by name."""
    assert not by_grammar("sign-in-with-ethereum", BAD[name])
    assert refusal(BAD[name]) == "SIGN_IN_MALFORMED"


@pytest.mark.parametrize("moment", NO_TIMES)
def test_moments_that_do_not_exist(moment: str) -> None:
    """The grammar takes some; no calendar has them."""
    assert refusal(sign_in_text(ADDRESS, NONCE, issued_at=moment)) == "SIGN_IN_MALFORMED"


@settings(deadline=None, max_examples=60)
@given(st.datetimes(timezones=st.just(UTC)), st.integers(-1439, 1439), st.integers(0, 9))
def test_times_are_those_of_the_calendar(local: datetime, offset_min: int, digits: int) -> None:
    """Against the standard library, for any zone and precision."""
    sign = "-" if offset_min < 0 else "+"
    hours, minutes = divmod(abs(offset_min), 60)
    fraction = "." + f"{local.microsecond:06d}000"[:digits] if digits else ""
    text = f"{local:%H:%M:%S}{fraction}{sign}{hours:02d}:{minutes:02d}"
    said = read(sign_in_text(ADDRESS, NONCE, issued_at=f"{local.year:04d}-{local:%m-%d}T{text}"))
    whole = local.replace(microsecond=int((fraction[1:] or "0").ljust(6, "0")[:6]))
    since = whole - datetime(1970, 1, 1, tzinfo=UTC)
    assert (
        said.issued_at_ms == (since.days * 86_400 + since.seconds - offset_min * 60) * 1000 + whole.microsecond // 1000
    )


@settings(deadline=None, max_examples=150, suppress_health_check=[HealthCheck.filter_too_much])
@given(st.text(alphabet=string.ascii_lowercase[:3] + '1:/?#[]@!%2%0.v-_~ "<', max_size=12), st.data())
def test_authorities_and_uris_are_those_of_rfc_3986(noise: str, data: Any) -> None:
    """Ours and the published grammar agree on near misses."""
    start = data.draw(st.sampled_from(["", "a", "a:", "https://", "https://a", "https://[::1]", "urn:", "a://b:1/"]))
    text = start + noise
    assert uri(text) == by_grammar("URI", text)
    if not set(text) & set("/?# "):
        assert authority(text) == by_grammar("authority", text)


@settings(deadline=None, max_examples=80)
@given(
    st.sampled_from(sorted(GOOD)), st.integers(0, 400), st.sampled_from(["", "\n", " ", "%", "0", "a", ":", "- ", "é"])
)
def test_one_change_anywhere(name: str, at: int, put: str) -> None:
    """Replacing one character of a good text gives what the grammar says."""
    text = sign_in_text(ADDRESS, NONCE, **GOOD[name])
    at %= len(text)
    changed = text[:at] + put + text[at + 1 :]
    code = refusal(changed)
    if by_grammar("sign-in-with-ethereum", changed):
        assert code == "" or "is not a time" in _detail(changed)  # a month of 0: the grammar knows no calendar
    else:
        assert code == "SIGN_IN_MALFORMED"


def _detail(text: str) -> str:
    with pytest.raises(CallerError) as raised:
        read(text)
    return raised.value.detail


def test_reading_takes_time_in_proportion() -> None:
    """The longest text that is read, honest or hostile, costs far less than a request."""
    longest = sign_in_text(ADDRESS, NONCE, statement="a b" * 1200)
    hostile = ["a" * TEXT_MAX, "a@" * 2000, sign_in_text(ADDRESS, NONCE, domain="a:" * 1500),
               sign_in_text(ADDRESS, NONCE, uri="a:" + "%20" * 1000 + " "),
               sign_in_text(ADDRESS, NONCE, resources=["a:b"] * 500) + "x"]  # fmt: skip
    assert refusal(longest) == ""
    started = time.process_time()
    for text in hostile:
        refusal(text)
    assert time.process_time() - started < 0.25
    assert refusal(longest + "\nRequest ID: " + "a" * TEXT_MAX) == "SIGN_IN_MALFORMED"


def test_why_the_grammar_does_not_read_in_production() -> None:
    """Who may send anything would stop the server with it: it takes over a hundred times as long, and ever more so."""
    text = sign_in_text(ADDRESS, NONCE, statement="a " * 150)
    started = time.process_time()
    for _ in range(20):
        read(text)
    ours_s = (time.process_time() - started) / 20
    started = time.process_time()
    assert by_grammar("sign-in-with-ethereum", text)
    assert time.process_time() - started > 100 * ours_s


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({}, ""),
        ({"domain": "GAME.example"}, ""),
        ({"domain": "evil.example"}, "SIGN_IN_DOMAIN"),
        ({"domain": "game.example.evil"}, "SIGN_IN_DOMAIN"),
        ({"domain": "game.example:8443"}, "SIGN_IN_DOMAIN"),
        ({"domain": "user@game.example"}, "SIGN_IN_DOMAIN"),
        ({"chain_id": 1}, "SIGN_IN_CHAIN"),
        ({"expires_at": "2026-01-01T00:00:00Z"}, "SIGN_IN_EXPIRED"),
        ({"expires_at": "2026-01-01T00:00:00.001Z"}, ""),
        ({"not_before": "2026-01-01T00:01:00.001Z"}, "SIGN_IN_NOT_YET_VALID"),
        ({"not_before": "2026-01-01T00:01:00Z"}, ""),
        ({"issued_at": "2026-01-01T00:02:00Z"}, "SIGN_IN_NOT_YET_VALID"),
    ],
)
def test_for_whom_and_when(changes: dict[str, Any], code: str) -> None:
    """Domain, chain and times, with both sides of each border."""
    said = read(sign_in_text(ADDRESS, NONCE, **changes))
    expected = Expected({"game.example"}, 31337, NOW_MS)
    if not code:
        check(said, expected)
        return
    with pytest.raises(CallerError) as refused:
        check(said, expected)
    assert refused.value.code == code
