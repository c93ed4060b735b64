"""Doubt: is a score of the chain what its published evidence says, by the rules it names, signed by whom we know?

Pure. A contract believes any key with the signer's role; this does not. What a difference is called, and why it
deserves an auditor's look, is the table `relay.flag_kinds.DOUBT_KINDS`. A board is no part of it: evidence and chain
know games only, and which boards a game has is decided here.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import msgspec

from relay.canonical import canonical_ascii
from relay.contract import game_key
from relay.flag_kinds import DOUBT_KINDS
from relay.guard.flags import Flag
from relay.keccak import checksum_address, keccak
from relay.proof import SIGNED, level_of
from relay.rounds import CONFIRMED_LEVEL
from relay.rules.registry import bind
from relay.rules.ruleset import BoundRuleset, Context, RulesetError
from relay.rules.verdict import Result, Verdict
from relay.strict_json import nested_deeply

EVIDENCE_TYPE = "fairscore-evidence@1"
ACTION = "score"  # of the flags
CLAIM_EXTRAS = ("deadline", "roundId", "signature")  # what evidence writes into the claim beside the ruleset's own
TEXT_MAX = 500  # characters of evidence that a flag repeats
SIGNER_PATIENCE_S = 3.0  # a relay that just changed its key says so within a second
SILENT_PATIENCE_S = 300.0  # evidence that cannot be asked for this long is as good as none


class Event(NamedTuple):
    """A score as the chain has it."""

    place: int
    game: int  # the indexer's own number
    round_id: int
    player: bytes
    score: int
    evidence_hash: bytes
    rules_hash: bytes
    tx_hash: bytes
    signer: bytes  # of the batch that recorded it
    first: int  # place of the first score that named this evidence: usually this one
    key: bytes  # of the game
    game_id: str


class Missing(NamedTuple):
    """Why there is nothing to compare with, and how long that may be so before it counts."""

    reason: str
    patience_s: float


class Known(NamedTuple):
    """What an event is compared with."""

    attestors: frozenset[bytes]  # empty: not known, any signer that the contract takes will do
    body: bytes | Missing  # bytes whose keccak-256 is the evidence hash
    rules: BoundRuleset | Missing


class Doubt(NamedTuple):
    """What is wrong with a score, and for how long it may be the world's slowness rather than somebody's doing."""

    code: str
    reason: str
    numbers: Mapping[str, int | str]
    patience_s: float = 0.0


class Standing(NamedTuple):
    """A doubt that is on record."""

    code: str
    disputed: bool  # the patience is over
    since_ms: int


class Stretch(NamedTuple):
    """Scores to look at: all between two places."""

    unwound: int  # how often the chain had gone back when they were read
    after: int
    to: int
    now_ms: int  # the database's clock
    events: Sequence[Event]
    oversized: Sequence[Event]  # no board ranks them


class Change(NamedTuple):
    """What a look at a score changes: its doubt (None: it is sound) and what is on record from now on."""

    event: Event
    was: Standing | None
    now: Standing | None
    doubt: Doubt | None


class FlagNews(NamedTuple):
    """A flag that was opened, raised again or closed, as an auditor's stream shows it; `game` is our own number."""

    game: int
    seq: int
    body: bytes


class Document(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    """Evidence as `relay.submission.evidence` writes it."""

    type: str
    game_id: str
    player: str
    score: int | None
    evidence_level: int
    outcome: str
    rules_hash: str
    ruleset: str
    submission_id: str
    received_at: int
    claim: dict[str, Any]
    checks: list[dict[str, Any]]
    round: dict[str, Any] | None = None
    confirmation: dict[str, Any] | None = None
    proof: dict[str, str] | None = None  # who signed it, where the player did


def judge(event: Event, known: Known) -> Doubt | None:
    """Return what is wrong with `event`, None if it is what its evidence says."""
    document = read(known.body) if isinstance(known.body, bytes) else None
    doubt = _signed(event, known.attestors) or _published(event, known.body, document)
    if doubt is not None or document is None:
        return doubt
    # 6. The rules are known.
    if isinstance(known.rules, Missing):
        return Doubt("RULES_UNKNOWN", known.rules.reason, {}, known.rules.patience_s)
    # 7. They give the score, the level and every line of the verdict that does not depend on the player's history.
    return _recomputed(event, document, known.rules)


def _signed(event: Event, attestors: frozenset[bytes]) -> Doubt | None:
    # 1. The signer is a relay we know, not merely one that the contract takes.
    if not attestors or event.signer in attestors:
        return None
    signer = checksum_address(event.signer)
    return Doubt("SIGNER_UNKNOWN", f"Signed by {signer}, no known relay", {"signer": signer}, SIGNER_PATIENCE_S)


def _published(event: Event, body: bytes | Missing, document: Document | None) -> Doubt | None:
    # 2. Evidence with the event's hash is published.
    if isinstance(body, Missing):
        return Doubt("EVIDENCE_MISSING", body.reason, {}, body.patience_s)
    # 3. It is the evidence of a score, written the one way that is hashed.
    if document is None:
        return Doubt("EVIDENCE_MISMATCH", "What is published under the hash is not the evidence of a score", {})
    # 4. It says the same as the event: game, player, score, rules, and that the score was accepted.
    if (difference := _difference(event, document)) is not None:
        return difference
    # 5. No earlier score named it.
    if event.first != event.place:
        numbers = {"submissionId": document.submission_id}
        return Doubt("EVIDENCE_REUSED", "The evidence is that of an earlier score", numbers)
    return None


def read(body: bytes) -> Document | None:
    """Return the evidence of a score; None if `body` is something else, or not written canonically."""
    if nested_deeply(body):
        return None
    try:
        value = msgspec.json.decode(body)
        return msgspec.convert(value, Document) if canonical_ascii(value) == body else None
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        return None


def _difference(event: Event, document: Document) -> Doubt | None:
    said = {
        "type": (document.type, EVIDENCE_TYPE),
        "game": (game_key(document.game_id).hex(), event.key.hex()),
        "player": (document.player, "0x" + event.player.hex()),
        "score": (document.score, event.score),
        "rules": (document.rules_hash, "0x" + event.rules_hash.hex()),
        "outcome": (document.outcome, "accepted"),
    }
    for name, (evidence, chain) in said.items():
        if evidence != chain:
            reason = f"The evidence says another {name} than the chain: {evidence}, not {chain}"
            numbers = {"submissionId": document.submission_id, "field": name}
            return Doubt("EVIDENCE_MISMATCH", reason, numbers)
    return None


def _judged(event: Event, document: Document, rules: BoundRuleset) -> Verdict | str:
    """Return what the rules say about the play, or why they can say nothing."""
    ruleset = rules.ruleset
    fields = {field.encode_name for field in msgspec.structs.fields(ruleset.claim)}
    claim = {name: value for name, value in document.claim.items() if name in fields or name not in CLAIM_EXTRAS}
    try:
        play = msgspec.convert(claim, ruleset.claim)
    except msgspec.ValidationError as error:
        return f"The claim is not one of {ruleset.id}: {error}"
    try:
        return rules.judge(play, Context(event.player, (), "signature" in document.claim))
    except Exception as error:  # noqa: BLE001 - rules of others: what they fail at must not keep the rest from a look
        return f"The rules cannot judge the play ({type(error).__name__})"


def _recomputed(event: Event, document: Document, rules: BoundRuleset) -> Doubt | None:
    numbers: dict[str, int | str] = {"submissionId": document.submission_id}
    ruleset, verdict = rules.ruleset, _judged(event, document, rules)
    if isinstance(verdict, str):
        return Doubt("RECOMPUTATION_DIFFERS", verdict, numbers)
    if verdict.refusal is not None:
        reason = f"The rules refuse the play: {verdict.refusal.reason}"
        return Doubt("RECOMPUTATION_DIFFERS", reason, {**numbers, "check": verdict.refusal.code})
    if verdict.score != event.score:
        computed = {} if verdict.score is None else {"computed": verdict.score}
        reason = f"The rules give {verdict.score}, not {event.score}"
        return Doubt("RECOMPUTATION_DIFFERS", reason, {**numbers, **computed})
    level = _level(document, verdict)
    if document.ruleset != ruleset.id or document.evidence_level != level:
        return Doubt("RECOMPUTATION_DIFFERS", f"The rules are {ruleset.id}, level {level}", numbers)
    if (code := _line_apart(verdict, document.checks)) is not None:
        return Doubt("RECOMPUTATION_DIFFERS", f"The rules say otherwise about {code}", {**numbers, "check": code})
    return None


def _level(document: Document, verdict: Verdict) -> int:
    """Return the evidence level that the rules give, with the game server's word or the player's on the same score."""
    confirmed = document.confirmation is not None and document.confirmation.get("score") == document.claim.get("score")
    signed = document.proof is not None and document.proof.get("method") in SIGNED
    level = level_of(verdict.level, signed=signed)
    return max(level, CONFIRMED_LEVEL) if confirmed else level


def _line_apart(verdict: Verdict, published: list[dict[str, Any]]) -> str | None:
    """Return the code of a check of which the published line is another than the recomputed one.

    Lines of no check of the rules are the guard's (rate limits, the same play again): it knows what no evidence holds.
    """
    lines = {line.get("code"): line for line in published}
    for check in verdict.checks:
        line = lines.get(check.code)
        history = check.result is Result.INSUFFICIENT_DATA  # the relay knew the player's scores
        if line is None or (not history and line != check.document()):
            return check.code
    return None


def out_of_range(event: Event) -> Doubt:
    """Return the doubt about a score or round that does not fit a ranking."""
    reason = f"A score of {event.score} in round {event.round_id}: never ranked"
    return Doubt("SCORE_OUT_OF_RANGE", reason, {"score": str(event.score)})


def rules_of(document: bytes, rules_hash: bytes) -> BoundRuleset:
    """Return the ruleset that a published rules document describes.

    Raises:
        RulesetError: it is not the document with that hash, or not one this program can judge by.
    """
    if keccak(document) != rules_hash:
        raise RulesetError("what is published under the rules' hash is another document")
    if nested_deeply(document):
        raise RulesetError("the rules that the contract publishes are nested too deeply to be a ruleset's")
    try:
        value = msgspec.json.decode(document)
        switches = {check["code"]: check["mode"] for check in value["checks"]}
        bound = bind(value["id"], value["parameters"], switches)
    except RulesetError:
        raise
    except (msgspec.MsgspecError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise RulesetError("the rules that the contract publishes are not a ruleset's document") from None
    if bound.hash != rules_hash:
        raise RulesetError(f"this program has another version of {bound.ruleset.id}")
    return bound


def decide(was: Standing | None, doubt: Doubt | None, now_ms: int) -> Standing | None:
    """Return what is on record from now on, given what was and what a new look found; None: nothing is wrong.

    What was found wrong stays so while a second look cannot be had: only what contradicts it replaces it.
    """
    if doubt is None:
        return None
    if was is not None and was.disputed and doubt.patience_s:
        return was
    since_ms = now_ms if was is None else was.since_ms
    return Standing(doubt.code, now_ms >= since_ms + int(doubt.patience_s * 1000), since_ms)


def flag_of(event: Event, doubt: Doubt) -> Flag:
    """Return the flag that a doubt opens: one for each player and kind of doubt, its subject the newest score."""
    context: dict[str, object] = {
        "roundId": str(event.round_id),
        "evidenceHash": "0x" + event.evidence_hash.hex(),
        "txHash": "0x" + event.tx_hash.hex(),
        **{name: _plain(number) if isinstance(number, str) else number for name, number in doubt.numbers.items()},
    }
    severity = DOUBT_KINDS[doubt.code].severity
    subject = f"{event.game_id}:{event.round_id}"
    player = "0x" + event.player.hex()
    return Flag(event.game_id, player, ACTION, doubt.code, severity, _plain(doubt.reason), "score", subject, context)


def _plain(text: str) -> str:
    """Return what a forger may have written so that every database takes it, and an auditor can read it."""
    return "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in text[:TEXT_MAX])
