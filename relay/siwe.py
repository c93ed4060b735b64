"""Sign-In with Ethereum: the text a wallet signs (ERC-4361), read back field by field, and whether it is for us.

Pure. Reading takes time in proportion to the text: the published Python libraries' grammar takes milliseconds for an
honest text and a second for a long one, and they do not go with today's web3. A test holds this reader against that
grammar. Times are epoch milliseconds.
"""

import re
from calendar import monthrange, timegm
from collections.abc import Set
from ipaddress import AddressValueError, IPv6Address
from typing import NamedTuple

from relay.errors import CallerError

TEXT_MAX = 4_096
CLOCK_SKEW_MS = 60_000  # a browser's clock may be ahead of ours by so much

_PCHAR = r"(?:[A-Za-z0-9._~!$&'()*+,;=:@-]|%[0-9A-Fa-f]{2})"
_TIME = r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt][0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]+)?(?:[Zz]|[+-][0-9]{2}:[0-9]{2})"
_TEXT = re.compile(
    r"(?:(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*)://)?(?P<domain>[^\s/?#]*)"
    r" wants you to sign in with your Ethereum account:\n"
    r"(?P<address>0x[0-9A-Fa-f]{40})\n\n"
    r"(?:(?P<statement>[A-Za-z0-9._~:/?#\[\]@!$&'()*+,;= -]*)\n)?\n"
    r"URI: (?P<uri>[^\s]+)\nVersion: 1\nChain ID: (?P<chain_id>[0-9]{1,20})\nNonce: (?P<nonce>[A-Za-z0-9]{8,})\n"
    rf"Issued At: (?P<issued_at>{_TIME})"
    rf"(?:\nExpiration Time: (?P<expires_at>{_TIME}))?(?:\nNot Before: (?P<not_before>{_TIME}))?"
    rf"(?:\nRequest ID: (?P<request_id>{_PCHAR}*))?"
    r"(?:\nResources:(?P<resources>(?:\n- [^\s]+)*))?"
)
_AUTHORITY = re.compile(
    r"(?:(?:[A-Za-z0-9._~!$&'()*+,;=:-]|%[0-9A-Fa-f]{2})*@)?"
    r"(?:\[(?P<literal>[^\]]*)\]|(?:[A-Za-z0-9._~!$&'()*+,;=-]|%[0-9A-Fa-f]{2})*)(?::[0-9]*)?"
)
_FUTURE_LITERAL = re.compile(r"[Vv][0-9A-Fa-f]+\.[A-Za-z0-9._~!$&'()*+,;=:-]+")
_URI = re.compile(
    r"[A-Za-z][A-Za-z0-9+.-]*:(?://(?P<authority>[^/?#]*)(?P<under>(?:/[^?#]*)?)|(?P<path>[^?#]*))"
    r"(?P<query>\?[^#]*)?(?P<fragment>#.*)?"
)
_PATH = re.compile(rf"(?:{_PCHAR}|/)*")
_TAIL = re.compile(rf"(?:{_PCHAR}|[/?])*")
_CLOCK = re.compile(r"(\d{4})-(\d\d)-(\d\d).(\d\d):(\d\d):(\d\d)(?:\.(\d+))?(?:[Zz]|([+-])(\d\d):(\d\d))")


class SignIn(NamedTuple):
    """What a sign-in text says."""

    scheme: str | None
    domain: str
    address: str
    statement: str | None
    uri: str
    chain_id: int
    nonce: str
    issued_at_ms: int
    expires_at_ms: int | None
    not_before_ms: int | None
    request_id: str | None
    resources: tuple[str, ...]


class Expected(NamedTuple):
    """For whom a sign-in must be: one of these domains (lower case), on this chain, now."""

    domains: Set[str]
    chain_id: int
    now_ms: int


def read(text: str) -> SignIn:
    """Return what `text` says.

    Raises:
        CallerError: SIGN_IN_MALFORMED, it is not a text of ERC-4361.
    """
    found = _TEXT.fullmatch(text) if len(text) <= TEXT_MAX else None
    if found is None:
        raise _malformed("It does not have the form of an ERC-4361 message (https://eips.ethereum.org/EIPS/eip-4361).")
    uris = [part[2:] for part in (found["resources"] or "").split("\n")[1:]]
    if not authority(found["domain"]):
        raise _malformed("Its first line does not name a domain.")
    if not all(map(uri, [found["uri"], *uris])):
        raise _malformed("Its URI, or one of its resources, is not one (RFC 3986).")
    times = [found[name] for name in ("issued_at", "expires_at", "not_before")]
    issued, expires, not_before = (None if text is None else _ms(text) for text in times)
    chain_id = int(found["chain_id"])
    return SignIn(
        found["scheme"], found["domain"], found["address"], found["statement"], found["uri"], chain_id, found["nonce"],
        issued or 0, expires, not_before, found["request_id"], tuple(uris),
    )  # fmt: skip


def check(sign_in: SignIn, expected: Expected) -> None:
    """Refuse a sign-in that is for somebody else or for another time.

    1. domain, 2. chain, 3. not made in the future, 4. valid by now, 5. not expired.

    Raises:
        CallerError: SIGN_IN_DOMAIN, SIGN_IN_CHAIN, SIGN_IN_NOT_YET_VALID, SIGN_IN_EXPIRED.
    """
    if sign_in.domain.lower() not in expected.domains:
        shown = sign_in.domain[:100]
        raise CallerError("SIGN_IN_DOMAIN", f"The message is for {shown!r}, which is no domain that signs in here.")
    if sign_in.chain_id != expected.chain_id:
        detail = f"The message is for chain {sign_in.chain_id}; this relay is on chain {expected.chain_id}."
        raise CallerError("SIGN_IN_CHAIN", detail)
    if max(sign_in.issued_at_ms, sign_in.not_before_ms or 0) > expected.now_ms + CLOCK_SKEW_MS:
        raise CallerError("SIGN_IN_NOT_YET_VALID", "The message is not valid yet, by the server's clock.")
    if sign_in.expires_at_ms is not None and sign_in.expires_at_ms <= expected.now_ms:
        raise CallerError("SIGN_IN_EXPIRED", "The message's expiration time has passed, by the server's clock.")


def authority(text: str) -> bool:
    """Whether `text` is an authority, `[user@]host[:port]` (RFC 3986 section 3.2)."""
    found = _AUTHORITY.fullmatch(text)
    if found is None:
        return False
    literal = found["literal"]
    if literal is None or _FUTURE_LITERAL.fullmatch(literal):
        return True
    try:
        return IPv6Address(literal).scope_id is None
    except AddressValueError:
        return False


def uri(text: str) -> bool:
    """Whether `text` is a URI (RFC 3986 section 3)."""
    found = _URI.fullmatch(text)
    if found is None:
        return False
    of_authority = found["authority"]
    path = found["path"] if of_authority is None else found["under"]
    tails = ((found["query"] or "?")[1:], (found["fragment"] or "#")[1:])
    whole = _PATH.fullmatch(path) is not None and all(_TAIL.fullmatch(tail) is not None for tail in tails)
    return whole and (of_authority is None or authority(of_authority))


def _ms(text: str) -> int:
    """Return an RFC 3339 time in epoch milliseconds."""
    found = _CLOCK.fullmatch(text)
    if found is None:
        raise _malformed(f"{text!r} is not a time (RFC 3339).")
    year, month, day, hour, minute, second = (int(part) for part in found.groups()[:6])
    ahead = 0 if found[8] is None else (int(found[9]) * 60 + int(found[10])) * (60 if found[8] == "+" else -60)
    in_calendar = year > 0 and 1 <= month <= 12 and 1 <= day <= monthrange(year, month)[1]
    if not in_calendar or hour > 23 or minute > 59 or second > 59 or abs(ahead) >= 86_400:
        raise _malformed(f"{text!r} is not a time (RFC 3339).")
    millis = int((found[7] or "0").ljust(3, "0")[:3])
    return (timegm((year, month, day, hour, minute, second)) - ahead) * 1000 + millis


def _malformed(detail: str) -> CallerError:
    return CallerError("SIGN_IN_MALFORMED", detail)
