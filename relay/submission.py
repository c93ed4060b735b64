"""A score submission: untrusted JSON in, frozen values out, and the evidence that is hashed.

Pure. Everything after `read` may trust the types; nothing after it trusts the numbers.
"""

import re
from functools import lru_cache
from typing import Annotated, Any, Generic, NamedTuple, Protocol, TypeVar, cast

import msgspec
from msgspec import UNSET, Meta, UnsetType

from relay.canonical import INTEGER_MAX, canonical_ascii
from relay.errors import CallerError, FieldError, PayloadError
from relay.games import Game, Games
from relay.keccak import checksum_address, keccak
from relay.proof import NOBODY, Proof, Signing, round_ref
from relay.rules.verdict import Verdict
from relay.strict_json import Request, decode, nested_deeply

C = TypeVar("C", bound=Request)

ADDRESS = re.compile(r"0x[0-9a-fA-F]{40}")
BODY_MAX = 256 * 1024
BODY_MAX_REPLAY = 1024 * 1024

# Visible ASCII without quote and backslash: opaque to us, safe in every log, database and canonical form.
# `$` alone also matches before a final line break, in Python though not in the ECMA-262 of the OpenAPI document.
Opaque = Annotated[str, Meta(pattern=r"^[!#-\[\]-~]{1,128}$(?!\n)")]
Signature = Annotated[str, Meta(pattern=r"^0x([0-9a-fA-F]{2}){1,1024}$(?!\n)")]


class ScoreSubmission(Request, Generic[C], frozen=True):
    """`POST /api/submit-score`: who played, what is claimed, and optionally in which round and signed by whom."""

    player_address: Annotated[str, Meta(max_length=128, description="0x and 40 hexadecimal digits, EIP-55 or lower")]
    score_data: C
    game_id: Annotated[str, Meta(min_length=1, max_length=64)] | UnsetType | None = UNSET
    round_id: Opaque | UnsetType | None = UNSET
    signature: Signature | UnsetType | None = UNSET
    deadline: Annotated[int, Meta(ge=0, le=INTEGER_MAX, description="unix seconds")] | UnsetType | None = UNSET
    idempotency_key: Annotated[str, Meta(max_length=257)] | UnsetType | None = UNSET


class _Scored(Protocol):
    """What every ruleset's claim has."""

    score: int


class _Peek(msgspec.Struct, rename="camel"):
    game_id: Any = None


class Submission(NamedTuple):
    """One submission as it was understood."""

    game: Game
    player: bytes
    player_text: str  # lower case, as evidence writes it
    claim: Request
    claim_json: bytes  # canonical bytes of claim, round, signature and deadline
    claim_hash: bytes  # of game, player and claim_json: the identity of "the same evidence again"
    external_round: str | None
    signing: Signing | None  # the player's signature, as it came
    idempotency_key: str | None
    proof: Proof = NOBODY  # what `relay.players` found of the player


_peek = msgspec.json.Decoder(_Peek)


@lru_cache(maxsize=64)
def decoder(claim: type[Request]) -> "msgspec.json.Decoder[ScoreSubmission[Any]]":
    """Return the decoder of submissions whose `scoreData` is a `claim`."""
    return msgspec.json.Decoder(ScoreSubmission[claim])  # type: ignore[valid-type]


def read(body: bytes, games: Games, default_game: str | None = None) -> Submission:
    """Read the body of `POST /api/submit-score`.

    `default_game` is the game the caller's key belongs to, used where the body names none.

    Raises:
        PayloadError: not strict JSON of the expected shape (400, also for the player's address).
        CallerError: GAME_REQUIRED, GAME_UNKNOWN.
    """
    game = games.only or _named_game(body, games, default_game or games.default_id)
    request = decode(decoder(game.rules.ruleset.claim), body)
    if request.game_id and request.game_id != game.id:
        raise CallerError("GAME_UNKNOWN", f"This relay does not serve a game named {request.game_id[:64]!r}.")
    if not game.rules.ruleset.takes_replay and len(body) > BODY_MAX:
        raise CallerError("BODY_TOO_LARGE", f"Bodies for this game are limited to {BODY_MAX} bytes.")
    return understood(request, game, read_address(request.player_address, "/playerAddress"))


def understood(request: "ScoreSubmission[Any]", game: Game, player: bytes) -> Submission:
    """Return a request that was read, as the rest of the system knows it."""
    score_data = canonical_ascii(request.score_data)
    claim_json = _claim_bytes(request, score_data)
    text = "0x" + player.hex()
    return Submission(
        game,
        player,
        text,
        request.score_data,
        claim_json,
        keccak(b"%b\n%b\n%b" % (game.id.encode(), player, claim_json)),
        request.round_id or None,
        _signing(request, score_data) if request.signature else None,
        None if request.idempotency_key is UNSET else request.idempotency_key,
    )


def read_address(text: str, pointer: str) -> bytes:
    """Return the 20 bytes of an address; mixed case must be a correct EIP-55 checksum, zero is nobody.

    Raises:
        PayloadError: with code PLAYER_INVALID and `pointer` as the field.
    """
    if ADDRESS.fullmatch(text) is None:
        raise _player_invalid("A player address is 0x and 40 hexadecimal digits.", pointer)
    digits = text[2:]
    raw = bytes.fromhex(digits)
    if not any(raw):
        raise _player_invalid("The zero address is nobody's.", pointer)
    if digits not in (digits.lower(), digits.upper()) and checksum_address(raw) != text:
        raise _player_invalid("The checksum of the player address is wrong (EIP-55).", pointer)
    return raw


def evidence(
    submission: Submission,
    verdict: Verdict,
    submission_id: str,
    received_at_ms: int,
    outcome: str,
    *,
    round: str = "",  # noqa: A002 - as the document names it
    confirmation: str = "",
) -> bytes:
    """Return the canonical bytes of the evidence document; their keccak-256 is the evidenceHash.

    Unique per submission because it names it. `outcome` is `accepted`, `held` or `refused`; `round` and
    `confirmation` are canonical JSON, empty without them.
    """
    game = submission.game
    shown = submission.proof.document()
    proof = "" if shown is None else f'"proof":{canonical_ascii(shown).decode()},'
    played = f'"round":{round},' if round else ""
    confirmed = f'"confirmation":{confirmation},' if confirmation else ""
    # Written out in the order RFC 8785 sorts these names; a test compares it with the reference implementation.
    return (
        f'{{"checks":{verdict.lines()},"claim":{submission.claim_json.decode()},{confirmed}'
        f'"evidenceLevel":{verdict.level},'
        f'"gameId":"{game.id}","outcome":"{outcome}","player":"{submission.player_text}",{proof}'
        f'"receivedAt":{received_at_ms},{played}"rulesHash":"{game.rules.hash_text}","ruleset":"{game.rules.ruleset.id}",'
        f'"score":{"null" if verdict.score is None else verdict.score},"submissionId":"{submission_id}",'
        '"type":"fairscore-evidence@1"}'
    ).encode()


def _signing(request: "ScoreSubmission[Any]", score_data: bytes) -> Signing:
    signature = bytes.fromhex((request.signature or "")[2:])
    deadline = None if request.deadline is UNSET else request.deadline
    score = cast("_Scored", request.score_data).score
    return Signing(signature, deadline, score, keccak(score_data), round_ref(request.round_id or None))


def _claim_bytes(request: "ScoreSubmission[Any]", score_data: bytes) -> bytes:
    extra: list[tuple[str, object]] = []
    if request.deadline not in (None, UNSET):
        extra.append(("deadline", request.deadline))
    if request.round_id:
        extra.append(("roundId", request.round_id))
    if request.signature:
        extra.append(("signature", request.signature.lower()))
    if not extra:
        return score_data
    return canonical_ascii({**msgspec.json.decode(score_data), **dict(extra)})


def _named_game(body: bytes, games: Games, default_game: str | None) -> Game:
    if nested_deeply(body):
        raise PayloadError("The body is nested too deeply.")
    try:
        named = _peek.decode(body).game_id
    except (msgspec.MsgspecError, UnicodeError, RecursionError, ValueError):
        named = None  # whichever game is taken, decoding fails and says why
        default_game = default_game or next(iter(games.by_id))
    if named is not None and not isinstance(named, str):
        raise PayloadError("`gameId` is a text.", [FieldError("/gameId", "FIELD_INVALID", "Expected `str`")])
    wanted = named or default_game
    if not wanted:
        raise CallerError("GAME_REQUIRED", "This relay serves several games: name one in `gameId`.")
    game = games.by_id.get(wanted)
    if game is None:
        shown = wanted[:64].encode("ascii", "backslashreplace").decode()
        raise CallerError("GAME_UNKNOWN", f"This relay does not serve a game named {shown!r}.")
    return game


def _player_invalid(detail: str, pointer: str) -> PayloadError:
    return PayloadError(detail, [FieldError(pointer, "PLAYER_INVALID", detail)], code="PLAYER_INVALID")
