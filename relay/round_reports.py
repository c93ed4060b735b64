"""A round's report: the same claim as a submission's, in the three shapes clients send it.

Pure. Plain (`scoreData` itself is the body), with a signature (`{"scoreData": …, "signature": …}`), or encrypted
(`{"encrypted": …, "keyId": …}`, of which the plain text is one of the other two).
"""

from functools import lru_cache
from typing import Annotated, Any, Generic, NamedTuple, TypeVar

import msgspec
from msgspec import UNSET, Meta, UnsetType

from relay.canonical import INTEGER_MAX
from relay.errors import CallerError, PayloadError
from relay.games import Game
from relay.rounds import Round
from relay.strict_json import Request, decode, nested_deeply
from relay.submission import BODY_MAX, Opaque, ScoreSubmission, Signature, Submission, understood

C = TypeVar("C", bound=Request)


class RoundReport(Request, Generic[C], frozen=True):
    """A report with more than the claim: the chart that was played, the player's signature."""

    score_data: C
    chart_id: Opaque | UnsetType | None = UNSET
    signature: Signature | UnsetType | None = UNSET
    deadline: Annotated[int, Meta(ge=0, le=INTEGER_MAX, description="unix seconds")] | UnsetType | None = UNSET


class EncryptedReport(Request, frozen=True):
    """A report under the round's key (AES-256-GCM): `encrypted` is base64 of IV, ciphertext and tag."""

    encrypted: Annotated[str, Meta(max_length=2_000_000)]
    key_id: Annotated[str, Meta(max_length=64)]


class Understood(NamedTuple):
    """A report that was read, and the chart it says it was played on."""

    submission: Submission
    chart: str | None


class _Shape(msgspec.Struct, rename="camel"):
    score_data: msgspec.Raw | UnsetType = UNSET
    encrypted: msgspec.Raw | UnsetType = UNSET


_shape = msgspec.json.Decoder(_Shape)
_encrypted = msgspec.json.Decoder(EncryptedReport)


@lru_cache(maxsize=64)
def _wrapped(claim: type[Request]) -> "msgspec.json.Decoder[RoundReport[Any]]":
    return msgspec.json.Decoder(RoundReport[claim])  # type: ignore[valid-type]


@lru_cache(maxsize=64)
def _plain(claim: type[Request]) -> "msgspec.json.Decoder[Any]":
    return msgspec.json.Decoder(claim)


def sealed(body: bytes) -> EncryptedReport | None:
    """Return the envelope of an encrypted report, None where it came in plain.

    Raises:
        PayloadError: it is no strict JSON of that shape.
    """
    return None if _shape_of(body).encrypted is UNSET else decode(_encrypted, body)


def read(body: bytes, game: Game, found: Round) -> Understood:
    """Read a report in plain.

    Raises:
        PayloadError: not strict JSON of the expected shape.
        CallerError: BODY_TOO_LARGE.
    """
    ruleset = game.rules.ruleset
    if not ruleset.takes_replay and len(body) > BODY_MAX:
        raise CallerError("BODY_TOO_LARGE", f"Bodies for this game are limited to {BODY_MAX} bytes.")
    if _shape_of(body).score_data is UNSET:
        wrapped: RoundReport[Any] = RoundReport(decode(_plain(ruleset.claim), body))
    else:
        wrapped = decode(_wrapped(ruleset.claim), body)
    request: ScoreSubmission[Any] = ScoreSubmission(
        player_address="0x" + found.player.hex(),
        score_data=wrapped.score_data,
        round_id=found.id,
        signature=wrapped.signature,
        deadline=wrapped.deadline,
    )
    return Understood(understood(request, game, found.player), wrapped.chart_id or None)


def _shape_of(body: bytes) -> _Shape:
    if nested_deeply(body):
        raise PayloadError("The body is nested too deeply.")
    try:
        return _shape.decode(body)
    except (msgspec.MsgspecError, UnicodeError, RecursionError, ValueError):
        return _Shape()  # decoding it as a claim says what is wrong
