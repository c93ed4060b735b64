"""Rounds: one play each, started before it is played, reported once, confirmed by the game's server.

Pure. The state machine decides; `relay.group_rounds` and `relay.store.rounds` carry it out while the row is locked.

               report, none to wait for; or confirmed before with the same score
        ┌───────────────────────────────────────────────────────────────────────┐
        │   report   ┌──────────┐  confirmed with the same score                ▼
    ┌────────┐ ────► │ reported │ ────────────────────────────────────► ┌──────────┐
    │ active │       └──────────┘                                       │ accepted │
    └────────┘ ────► ┌───────────┐  report of the same score            └──────────┘
      │ │   confirm  │ confirmed │ ────────────────────────────────────►     │
      │ │            └───────────┘                                           │ not valid, another score
      │ └──────────────────┬─ not valid, another score, refused report,      │ (the score is revoked)
      │                    │  no confirmation in time, tournament cancelled  ▼
      │                    └────────────────────────────────────────► ┌─────────────┐
      │                                                               │ invalidated │
      └──► ┌─────────┐   no report in time (from `confirmed`, too)    └─────────────┘
           │ expired │
           └─────────┘

A tournament's end is the deadline of its rounds: `deadline_ms` is never later. What was reported before still waits for
its confirmation; the standings are final when none waits.
"""

import re
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import NamedTuple, TypeAlias

from relay.keccak import keccak

ROUND_ID = re.compile(r"[0-9a-f]{24}")
OPEN_MAX = 2  # rounds of one player and game at a time
ABANDON_LOOK = 20  # resolved rounds of a player that are looked at …
ABANDON_MIN = 10  # … if there are so many …
ABANDON_PERCENT = 80  # … and more of them than this were never reported
NO_CHART = bytes(32)
PLAYER_DOMAIN = b"fairscore-player:1:"
CONFIRMED_LEVEL = 2

MISMATCH = "BACKEND_SCORE_MISMATCH"
REFUSED = "CONFIRMATION_REFUSED"
TIMEOUT = "CONFIRMATION_TIMEOUT"
NO_REPORT = "ROUND_EXPIRED"
TOO_MANY = "TOO_MANY_OPEN_ROUNDS"
CANCELLED = "TOURNAMENT_CANCELLED"


class State(StrEnum):
    """Where a round is."""

    ACTIVE = "active"
    REPORTED = "reported"
    CONFIRMED = "confirmed"
    ACCEPTED = "accepted"
    INVALIDATED = "invalidated"
    EXPIRED = "expired"


UNREPORTED = (State.ACTIVE, State.CONFIRMED)
OPEN = (State.ACTIVE, State.CONFIRMED, State.REPORTED)


class Said(NamedTuple):
    """What a game server says of a round: `score` is None where it is not valid."""

    valid: bool
    score: int | None = None


@dataclass(frozen=True, slots=True)
class Round:
    """A round as it is stored. Times in epoch ms; `due_at_ms` is the next deadline, None where none is left."""

    id: str
    game_id: str
    tournament_id: str | None
    player: bytes
    player_id: str  # as the client named the player
    chart: str | None
    chart_hash: bytes
    rules_hash: bytes
    seed: bytes
    seed_subject: str
    seed_commitment: bytes
    chain_id: int
    contract: bytes
    needs_confirmation: bool
    confirmation_timeout_s: int
    issued_at_ms: int
    expires_at_ms: int
    state: State
    updated_at_ms: int
    due_at_ms: int | None
    reported_at_ms: int | None = None
    claim_hash: bytes | None = None
    submission_id: str | None = None
    score: int | None = None  # as the client reported it
    said: Said | None = None
    said_at_ms: int | None = None
    said_by: str | None = None
    reason: str | None = None
    confirmation_hash: bytes | None = None  # of the document that raised an accepted score's level
    first_evidence: bytes | None = None  # what the first answer named while the score waited
    first_level: int | None = None


class Report(NamedTuple):
    """A report as far as it is about the round; with `known_only` an unknown round is refused, else only a name."""

    round_id: str
    tournament_id: str | None = None
    chart: str | None = None
    known_only: bool = False


class Refuse(NamedTuple):
    """It makes no sense now: code of the problem, and a sentence."""

    code: str
    detail: str


class Repeat(NamedTuple):
    """It was asked before: that submission's answer is given again."""

    submission_id: str


class Effect(StrEnum):
    """What a transition does to the round's submission."""

    NOTHING = "nothing"
    ACCEPT = "accept"  # the held score is numbered and signed
    REJECT = "reject"  # the held score is given up
    REVOKE = "revoke"  # the accepted score is taken back, on the chain too
    RAISE = "raise"  # the accepted score's evidence level


class Step(NamedTuple):
    """A transition: the round afterwards, and its effect. The round itself, unchanged, where nothing happens."""

    round: Round
    effect: Effect = Effect.NOTHING


Ruling: TypeAlias = Refuse | Step


def player_address(game_id: str, player_id: str) -> bytes:
    """Return the address of a player whom a game knows by another name than an address; nobody holds its key."""
    return keccak(PLAYER_DOMAIN + game_id.encode() + b":" + player_id.encode())[12:]


def chart_hash(chart: str | None) -> bytes:
    """Return the keccak-256 of a chart's name, 32 zero bytes without a chart."""
    return NO_CHART if chart is None else keccak(chart.encode())


def deadline_ms(now_ms: int, life_s: int, ends_at_ms: int | None) -> int:
    """Return until when a round that starts now can be reported."""
    by_life = now_ms + life_s * 1000
    return by_life if ends_at_ms is None else min(by_life, ends_at_ms)


# ------------------------------------------------------------------------ the report


def enter(found: Round, report: Report, player: bytes, claim_hash: bytes, rules_hash: bytes) -> Refuse | Repeat | None:
    """Say whether a report may be judged now (None). `found` has been through `expire`.

    (1) of this tournament, (2) by its player, (3) once, the same again hears the first answer, (4) in time, (5) on its
    chart, (6) by the rules it was started under.
    """
    return (
        _stranger(found, report, player)  # (1), (2)
        or _used(found, claim_hash)  # (3)
        or _over(found)  # (4)
        or _unlike(found, report, rules_hash)  # (5), (6)
    )


def _stranger(found: Round, report: Report, player: bytes) -> Refuse | None:
    if report.tournament_id is not None and report.tournament_id != found.tournament_id:
        return Refuse("ROUND_UNKNOWN", "The tournament has no round with this id.")
    if player != found.player:
        return Refuse("ROUND_WRONG_PLAYER", "The round was started by another player.")
    return None


def _used(found: Round, claim_hash: bytes) -> Refuse | Repeat | None:
    if found.submission_id is None:
        return None
    if found.claim_hash == claim_hash:
        return Repeat(found.submission_id)
    return Refuse("ROUND_ALREADY_USED", "The round was reported before, with another play. Start a new round.")


def _unlike(found: Round, report: Report, rules_hash: bytes) -> Refuse | None:
    if report.chart is not None and chart_hash(report.chart) != found.chart_hash:
        return Refuse("ROUND_WRONG_CHART", "The round was started on another chart.")
    if rules_hash != found.rules_hash:
        return Refuse("ROUND_WRONG_RULES", "The game's rules changed since the round was started. Start a new round.")
    return None


def report(found: Round, submission_id: str, claim_hash: bytes, score: int, refusal: str | None, now_ms: int) -> Round:
    """Return the round after a report that was judged: `refusal` is the code of the check that refuses it."""
    told = replace(
        found,
        updated_at_ms=now_ms,
        reported_at_ms=now_ms,
        claim_hash=claim_hash,
        submission_id=submission_id,
        score=score,
        due_at_ms=None,
    )
    if refusal is not None:
        return replace(told, state=State.INVALIDATED, reason=refusal)
    if found.said is None and found.needs_confirmation:
        return replace(told, state=State.REPORTED, due_at_ms=now_ms + found.confirmation_timeout_s * 1000)
    return replace(told, state=State.ACCEPTED)


def as_reported(found: Round, *, held: bool) -> Round:
    """Return the round as its report left it, whatever became of it since: what its first answer shows."""
    at_ms = found.reported_at_ms or found.updated_at_ms
    before = not held and (found.needs_confirmation or (found.said_at_ms or 0) <= at_ms)
    return replace(
        found,
        state=State.REPORTED if held else State.ACCEPTED,
        updated_at_ms=at_ms,
        due_at_ms=at_ms + found.confirmation_timeout_s * 1000 if held else None,
        said=found.said if before else None,
        reason=None,
    )


# ------------------------------------------------------------------ the confirmation


def confirm(found: Round, said: Said, by: str, now_ms: int) -> Ruling:
    """Return what a game server's word changes. `found` has been through `expire`.

    (1) the same again changes nothing, (2) another after it contradicts, (3) a round that ended without it is over:
    to hear then that it was not valid is no news, (4) not valid, or another score than reported: invalidated,
    (5) before the report: it waits for that, (6) after it: the score is accepted, or its level raised.
    """
    if found.said is not None:
        if found.said == said:  # (1)
            return Step(found)
        return Refuse("CONFIRMATION_CONTRADICTS", f"The round was {_worded(found.said)} before. Nothing was changed.")
    if (over := _over(found)) is not None:  # (3)
        return over if said.valid else Step(found)
    told = replace(found, said=said, said_at_ms=now_ms, said_by=by, updated_at_ms=now_ms)
    if not said.valid or found.score not in (None, said.score):  # (4)
        over_now = replace(told, state=State.INVALIDATED, reason=MISMATCH if said.valid else REFUSED, due_at_ms=None)
        return Step(over_now, _TAKEN_BACK.get(found.state, Effect.NOTHING))
    after, effect = _UPHELD[found.state]  # (5), (6)
    return Step(replace(told, state=after, due_at_ms=found.due_at_ms if after is State.CONFIRMED else None), effect)


_TAKEN_BACK = {State.REPORTED: Effect.REJECT, State.ACCEPTED: Effect.REVOKE}
_UPHELD = {
    State.ACTIVE: (State.CONFIRMED, Effect.NOTHING),
    State.REPORTED: (State.ACCEPTED, Effect.ACCEPT),
    State.ACCEPTED: (State.ACCEPTED, Effect.RAISE),
}


# --------------------------------------------------------------- deadlines, tournaments


def expire(found: Round, now_ms: int) -> Step:
    """Return the round as of now: a deadline that has passed counts from the moment it passed."""
    if found.due_at_ms is None or now_ms < found.due_at_ms:
        return Step(found)
    over = replace(found, updated_at_ms=found.due_at_ms, due_at_ms=None)
    if found.state is State.REPORTED:
        return Step(replace(over, state=State.INVALIDATED, reason=TIMEOUT), Effect.REJECT)
    return Step(replace(over, state=State.EXPIRED, reason=NO_REPORT))


def crowded_out(found: Round, now_ms: int) -> Step:
    """Return the oldest of too many open rounds, expired."""
    if found.state not in UNREPORTED:
        return Step(found)
    return Step(replace(found, state=State.EXPIRED, reason=TOO_MANY, updated_at_ms=now_ms, due_at_ms=None))


def tournament_cancelled(found: Round, now_ms: int) -> Step:
    """Return the round when its tournament is called off: what is accepted stays, what is open ends."""
    if found.state not in OPEN:
        return Step(found)
    over = replace(found, state=State.INVALIDATED, reason=CANCELLED, updated_at_ms=now_ms, due_at_ms=None)
    return Step(over, Effect.REJECT if found.state is State.REPORTED else Effect.NOTHING)


def abandons(resolved: int, unreported: int) -> bool:
    """Whether a player who left `unreported` of the last `resolved` rounds deserves a look: plays are picked."""
    return resolved >= ABANDON_MIN and 100 * unreported > ABANDON_PERCENT * resolved


def _over(found: Round) -> Refuse | None:
    if found.state is State.EXPIRED:
        why = "because too many of the player's rounds were open" if found.reason == TOO_MANY else "without a report"
        return Refuse("ROUND_EXPIRED", f"The round expired {why}. Start a new round.")
    if found.state is State.INVALIDATED:
        return Refuse("ROUND_INVALIDATED", f"The round is invalidated ({found.reason}). Start a new round.")
    return None


def _worded(said: Said) -> str:
    return f"confirmed with a score of {said.score}" if said.valid else "declared invalid"
