"""Rounds and tournaments as they are shown: the shape clients of escs know, and what this relay adds.

Pure.
"""

from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from relay.api.pages import rfc3339
from relay.canonical import INTEGER_MAX
from relay.games import ROUND_S_MAX
from relay.keccak import checksum_address
from relay.rounds import Round, State, chart_hash
from relay.strict_json import Request
from relay.submission import Opaque
from relay.tournaments import Phase, Standing, Tournament

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MOMENT_MAX_MS = 253_402_214_400_000  # 9999-12-31: what is later cannot be written in every time zone
_ESCS = {"id": "_id", "version": "__v"}
RoundStatus = Literal["active", "reported", "confirmed", "accepted", "invalidated", "expired"]
TournamentId = Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$(?!\n)")]
Moment = Annotated[datetime, Meta(tz=True, description="RFC 3339 with an offset")]


def _escs(name: str) -> str:
    first, *others = name.split("_")
    return _ESCS.get(name) or first + "".join(word.capitalize() for word in others)


# ------------------------------------------------------------------- requests


class StartRequest(Request, frozen=True):
    """Who starts a round: `playerAddress`, or the game's own `playerId` (an address means that address)."""

    player_id: Opaque | UnsetType = UNSET
    player_address: Annotated[str, Meta(max_length=128)] | UnsetType = UNSET
    chart_id: Opaque | UnsetType | None = UNSET
    idempotency_key: Annotated[str, Meta(max_length=257)] | UnsetType | None = UNSET


class FreeStartRequest(StartRequest, frozen=True):
    """The same outside of a tournament: of which game."""

    game_id: Annotated[str, Meta(min_length=1, max_length=64)] | UnsetType | None = UNSET


class ConfirmationRequest(Request, frozen=True):
    """What the game's server says: the round is valid with this score, or it is not."""

    is_valid: bool
    score: Annotated[int, Meta(ge=-INTEGER_MAX, le=INTEGER_MAX)] | UnsetType | None = UNSET


class TournamentRequest(Request, frozen=True):
    """A tournament. Without `endsAt` it is open until it is cancelled; `confirmationTimeout` in seconds."""

    name: Annotated[str, Meta(min_length=1, max_length=200, pattern=r"\S")]
    id: TournamentId | UnsetType | None = UNSET
    game_id: Annotated[str, Meta(min_length=1, max_length=64)] | UnsetType | None = UNSET
    starts_at: Moment | UnsetType | None = UNSET
    ends_at: Moment | UnsetType | None = UNSET
    attempts_per_player: Annotated[int, Meta(ge=1, le=1_000_000)] | UnsetType | None = UNSET
    capacity: Annotated[int, Meta(ge=1, le=10_000_000)] | UnsetType | None = UNSET
    require_confirmation: bool = False
    confirmation_timeout: Annotated[int, Meta(ge=1, le=ROUND_S_MAX)] | UnsetType | None = UNSET
    chart: Opaque | UnsetType | None = UNSET
    idempotency_key: Annotated[str, Meta(max_length=257)] | UnsetType | None = UNSET


class CancelRequest(Request, frozen=True):
    """Why a tournament is called off: shown to everybody."""

    reason: Annotated[str, Meta(min_length=1, max_length=500, pattern=r"\S")]


# -------------------------------------------------------------------- answers


class ConfirmationDocument(msgspec.Struct, frozen=True, rename="camel"):
    """What the game's server said."""

    is_valid: bool
    score: int | None
    at: str


class RoundDocument(msgspec.Struct, frozen=True, rename=_escs):
    """A round. `player` is the address that its score is for; `reason` says why it is invalidated or expired.

    `score` is what was recomputed, `reportedScore` what the client claims. `encryptionKey` (base64url) is in the answer
    to the start only.
    """

    status: RoundStatus
    is_deleted: bool
    id: str
    player_id: str
    tournament_id: str | None
    created_at: str
    updated_at: str
    version: int
    game_id: str
    player: str
    chart_id: str | None
    chart_hash: str
    rules_hash: str
    chain_id: int
    contract: str
    seed: str
    seed_commitment: str
    expires_at: str
    require_confirmation: bool
    confirmation_deadline: str | None
    confirmation: ConfirmationDocument | None
    reason: str | None
    score: int | None
    reported_score: int | None
    evidence_level: int | None
    submission_id: str | None
    submission_status: str | None
    encryption_key_id: str | UnsetType = UNSET
    encryption_key: str | UnsetType = UNSET


class ReportedRound(RoundDocument, frozen=True, rename=_escs, kw_only=True):
    """A round as its report left it. `submission` is what `POST /api/submit-score` would have answered."""

    success: bool
    validated: bool
    message: str
    submission: dict[str, Any]


class TournamentDocument(msgspec.Struct, frozen=True, rename="camel"):
    """A tournament. `seedCommitment` is null without an end: then each day has its own (`GET /api/rounds/seed`)."""

    id: str
    game_id: str
    name: str
    status: Literal["scheduled", "open", "ended", "cancelled"]
    starts_at: str
    ends_at: str | None
    attempts_per_player: int | None
    capacity: int | None
    require_confirmation: bool
    confirmation_timeout: int
    chart: str | None
    chart_hash: str
    seed_commitment: str | None
    created_at: str
    cancelled_at: str | None
    cancel_reason: str | None


class TournamentPage(msgspec.Struct, frozen=True, rename="camel"):
    """A page of tournaments, newest first."""

    tournaments: list[TournamentDocument]
    next_cursor: str | None


class StandingDocument(msgspec.Struct, frozen=True, rename="camel"):
    """A player's best score of a tournament that counts."""

    rank: int
    player: str
    player_id: str
    score: int
    achieved_at: str
    evidence_level: int
    submission_id: str
    round_id: str
    status: str
    tx_hash: str | None


class StandingsDocument(msgspec.Struct, frozen=True, rename="camel"):
    """Standings: `final` when the tournament is over and none of its rounds waits for anything."""

    tournament_id: str
    game_id: str
    state: Literal["provisional", "final"]
    unresolved_rounds: int
    standings: list[StandingDocument]
    next_cursor: str | None


class SeedDocument(msgspec.Struct, frozen=True, rename="camel"):
    """A secret of seeds: its SHA-256 from the start, the secret itself from `revealsAt` on.

    The seed of a round is HMAC-SHA-256(secret, round id (12 bytes) ‖ player (20) ‖ chart hash (32)).
    """

    game_id: str
    seed_commitment: str
    reveals_at: str | None
    secret: str | None


class Scored(msgspec.Struct, frozen=True):
    """What is shown of a round's submission."""

    status: str
    score: int | None
    evidence_level: int


def round_document(found: Round, scored: Scored | None) -> RoundDocument:
    """Return a round as it is now."""
    waits = found.state is State.REPORTED and found.due_at_ms is not None
    said = found.said
    return RoundDocument(
        status=found.state.value,
        is_deleted=False,
        id=found.id,
        player_id=found.player_id,
        tournament_id=found.tournament_id,
        created_at=rfc3339(found.issued_at_ms),
        updated_at=rfc3339(found.updated_at_ms),
        version=0,
        game_id=found.game_id,
        player=checksum_address(found.player),
        chart_id=found.chart,
        chart_hash=_hex(found.chart_hash),
        rules_hash=_hex(found.rules_hash),
        chain_id=found.chain_id,
        contract=checksum_address(found.contract),
        seed=_hex(found.seed),
        seed_commitment=_hex(found.seed_commitment),
        expires_at=rfc3339(found.expires_at_ms),
        require_confirmation=found.needs_confirmation,
        confirmation_deadline=rfc3339(found.due_at_ms) if waits and found.due_at_ms is not None else None,
        confirmation=None
        if said is None
        else ConfirmationDocument(said.valid, said.score, rfc3339(found.said_at_ms or 0)),
        reason=found.reason,
        score=None if scored is None else scored.score,
        reported_score=found.score,
        evidence_level=None if scored is None else scored.evidence_level,
        submission_id=found.submission_id,
        submission_status=None if scored is None else scored.status,
    )


def tournament_document(found: Tournament, commitment: bytes | None, now_ms: int) -> TournamentDocument:
    """Return a tournament as it is at a time."""
    phase: Phase = found.phase(now_ms)
    return TournamentDocument(
        id=found.id,
        game_id=found.game_id,
        name=found.name,
        status=phase.value,
        starts_at=rfc3339(found.starts_at_ms),
        ends_at=None if found.ends_at_ms is None else rfc3339(found.ends_at_ms),
        attempts_per_player=found.attempts_max,
        capacity=found.capacity,
        require_confirmation=found.require_confirmation,
        confirmation_timeout=found.confirmation_timeout_s,
        chart=found.chart,
        chart_hash=_hex(chart_hash(found.chart)),
        seed_commitment=None if commitment is None else _hex(commitment),
        created_at=rfc3339(found.created_at_ms),
        cancelled_at=None if found.cancelled_at_ms is None else rfc3339(found.cancelled_at_ms),
        cancel_reason=found.cancel_reason,
    )


def standing_document(found: Standing, rank: int) -> StandingDocument:
    """Return one row of the standings."""
    return StandingDocument(
        rank=rank,
        player=checksum_address(found.player),
        player_id=found.player_id,
        score=found.score,
        achieved_at=rfc3339(found.received_at_ms),
        evidence_level=found.evidence_level,
        submission_id=found.submission_id,
        round_id=found.round_id,
        status=found.status,
        tx_hash=None if found.tx_hash is None else _hex(found.tx_hash),
    )


def epoch_ms(moment: datetime) -> int:
    """Return a moment as epoch milliseconds."""
    return (moment - EPOCH) // timedelta(milliseconds=1)


def _hex(value: bytes) -> str:
    return "0x" + value.hex()
