"""The list of the relay's operations, and the one application that serves them.

Touches nothing: declarations and wiring.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from importlib import resources
from typing import Any

import msgspec

from relay.api.asgi import Api
from relay.api.economy import economy_operations
from relay.api.economy_metrics import economy_families
from relay.api.economy_parts import EconomyParts
from relay.api.encryption import EncryptionKeys
from relay.api.flag_desk import FlagDesk
from relay.api.flags import FlagPage, FlagQuery, Flags
from relay.api.health import Health, HealthEndpoints, Live, Ready
from relay.api.metrics import Fetch, Metrics, Numbers, RequestCounts
from relay.api.openapi import openapi
from relay.api.operations import Answer, Authenticate, Call, Operation, Response
from relay.api.outbox import outbox_operations
from relay.api.outbox_metrics import families
from relay.api.outbox_parts import OutboxParts
from relay.api.problems import problem_page
from relay.api.revocations import Revocations, revocation_operations
from relay.api.rounds import RoundParts, round_operations
from relay.api.shields import Shields
from relay.api.signing import Signing
from relay.api.submissions import RulesetDocument, SubmissionDocument, SubmissionPage, SubmissionQuery, Submissions
from relay.api.submit import SUBMITTERS, SubmitScore
from relay.api.tournaments import tournament_operations
from relay.errors import PROBLEMS, CallerError
from relay.games import Games
from relay.intake import Intake
from relay.players import Players
from relay.round_desk import RoundDesk
from relay.rules.registry import RULESETS
from relay.store.engine import Database
from relay.store.writer import Writer
from relay.submission import BODY_MAX_REPLAY, ScoreSubmission

HTML = b"text/html; charset=utf-8"
VERSION = "0.1.0"
FLAG_READERS = frozenset({"server", "auditor", "admin"})
ROUND_REFUSALS = tuple(code for code in PROBLEMS if code.startswith("ROUND_"))
CHECK_CODES = tuple(code for code, problem in PROBLEMS.items() if problem.status == 422)
CACHED_BRIEFLY = ((b"cache-control", b"public, max-age=300"),)
PAGE_CSP = (
    (b"content-security-policy", b"default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; "
     b"connect-src 'self'; base-uri 'none'; form-action 'none'"),
    (b"x-content-type-options", b"nosniff"),
)  # fmt: skip


class AcceptedScore(msgspec.Struct, frozen=True, rename="camel"):
    """A score that was recomputed, accepted, signed and stored. `txHash` is null until a transaction is signed.

    `receipt` is null while the score is `held`: it is signed when the game's server confirms its round.
    """

    success: bool
    validated: bool
    score: int
    tx_hash: str | None
    message: str
    submission_id: str
    status: str
    evidence_level: int
    receipt: dict[str, Any] | None
    evidence_hash: str
    links: dict[str, str]


@dataclass(frozen=True)
class RelayParts:
    """What the relay's operations work with. `head` is the newest block known, for counting confirmations."""

    intake: Intake
    database: Database
    revocations: Revocations
    outbox: OutboxParts
    players: Players
    economy: EconomyParts
    head: Callable[[], int | None] = field(default=lambda: None)


def application(
    *,
    ready: Ready,
    relay: RelayParts | None = None,
    authenticate: Authenticate | None = None,
    operations: Sequence[Operation] = (),
    numbers: Sequence[Numbers] = (),
    fetches: Sequence[Fetch] = (),
    games: Games | None = None,
    shields: Shields | None = None,
) -> Api:
    """Return the application: the relay's operations if there is a relay, `operations` of others, and the pages.

    `numbers` are asked and `fetches` awaited at each scrape of /metrics.
    """
    counts = RequestCounts()
    sources = list(numbers)
    listed = list(operations)
    if relay is not None:
        fetches = [*fetches, partial(families, relay.outbox), partial(economy_families, relay.economy)]
        listed = [*relay_operations(relay), *listed]
        games = relay.intake.games
        sources.append(lambda: _intake_numbers(relay.intake))
    if shields is not None:
        sources.append(shields.numbers)
    listed += system_operations(ready, Metrics(counts, sources, fetches))
    listed += page_operations(listed)
    return Api(listed, authenticate, games, counts, shields=shields)


def relay_operations(relay: RelayParts) -> list[Operation]:
    """Return the declarations of the relay's part."""
    attestor = relay.intake.attestor
    domain = attestor.domain if attestor is not None else None
    submissions = Submissions(relay.database, domain, relay.intake.games, relay.head)
    submit = SubmitScore(relay.intake, relay.players)
    database, writer, games = relay.database, relay.outbox.writer, relay.intake.games
    desk = RoundDesk(database, writer, games, relay.players.domain)
    rounds = RoundParts(relay.intake, submit, database, writer, relay.revocations, desk)
    return [
        _submit_operation(submit),
        *round_operations(rounds),
        *tournament_operations(rounds),
        Operation(
            "GET", "/api/submissions/{submissionId}", "One submission: status, checks, receipt, history",
            submissions.one, {200: SubmissionDocument}, ("SUBMISSION_UNKNOWN", "STORE_UNAVAILABLE"),
            parameters={"submissionId": "As answered when it was submitted."}, tag="Scores",
        ),
        Operation(
            "GET", "/api/submissions", "Submissions, newest first", submissions.page, {200: SubmissionPage},
            ("QUERY_INVALID", "PLAYER_INVALID", "STORE_UNAVAILABLE"), query=SubmissionQuery, tag="Scores",
        ),
        *revocation_operations(relay.revocations),
        Operation(
            "GET", "/api/evidence/{evidenceHash}", "Canonical evidence by its keccak-256", submissions.evidence,
            {200: Response(dict[str, Any], "RFC 8785 bytes whose keccak-256 is the hash; they never change."),
             304: Response(None, "The caller has it already.")},
            ("PATH_INVALID", "EVIDENCE_UNKNOWN", "STORE_UNAVAILABLE"),
            parameters={"evidenceHash": "0x and 64 hexadecimal digits."}, tag="Scores",
        ),
        Operation(
            "GET", "/api/games/{gameId}/ruleset", "The rules a game judges by", submissions.ruleset,
            {200: RulesetDocument}, ("GAME_UNKNOWN",), parameters={"gameId": "The game."}, tag="Scores",
        ),
        *Signing(domain).operations(),
        *EncryptionKeys(relay.intake.games, relay.database, relay.outbox.writer).operations(),
        *flag_operations(relay.database, relay.outbox.writer, relay.revocations),
        *outbox_operations(relay.outbox),
        *economy_operations(relay.economy),
    ]  # fmt: skip


def flag_operations(database: Database, writer: Writer, revocations: Revocations | None) -> list[Operation]:
    """Return the declarations about audit flags: the relay's part, or an indexer's that runs alone."""
    return [
        Operation(
            "GET", "/api/audit-flags", "Audit flags, newest first", Flags(database).page, {200: FlagPage},
            ("QUERY_INVALID", "NOT_AUTHENTICATED", "FORBIDDEN_ROLE", "STORE_UNAVAILABLE"), FLAG_READERS,
            query=FlagQuery, tag="Audit", aliases=("/audit-flags", "/api/economy/audit-flags"),
        ),
        *FlagDesk(database, writer, revocations).operations(),
    ]  # fmt: skip


def _submit_operation(endpoint: SubmitScore) -> Operation:
    claims = [ruleset.claim for ruleset in RULESETS.values()]
    return Operation(
        "POST",
        "/api/submit-score",
        "Submit a score with its evidence",
        endpoint,
        {
            200: Response(AcceptedScore, "Accepted, and already in a block."),
            202: Response(AcceptedScore, "Accepted: durable, signed, on its way to the chain. Or held, by its round."),
        },
        (
            "PAYLOAD_MALFORMED", "PLAYER_INVALID", "GAME_REQUIRED", "IDEMPOTENCY_KEY_INVALID", "NOT_AUTHENTICATED",
            "FORBIDDEN_ROLE", "FORBIDDEN_GAME", "FORBIDDEN_PLAYER", "GAME_UNKNOWN", "IDEMPOTENCY_IN_FLIGHT",
            "SIGNATURE_USED", "BODY_TOO_LARGE", "CHAIN_UNAVAILABLE", "ENCRYPTION_REQUIRED", *ROUND_REFUSALS,
            "MEDIA_TYPE_UNSUPPORTED", *CHECK_CODES, "RATE_LIMITED", "STORE_UNAVAILABLE", "SIGNER_UNAVAILABLE",
        ),
        roles=SUBMITTERS,
        guests=True,
        request=ScoreSubmission[claims[0]],  # type: ignore[valid-type]
        raw_body=True,
        body_max=BODY_MAX_REPLAY,
        request_headers={
            "Idempotency-Key": "1 to 255 visible characters, quoted or not: the same request counts once for 24 h.",
            "Prefer": "`respond-async`: answer at once; `wait=N`: wait up to N (at most 30) seconds for inclusion.",
        },
        description=(
            "The score is recomputed; what was computed is signed and stored before the answer. Without "
            "`Prefer`, the answer waits up to 2 s for a signed transaction."
        ),
        tag="Scores",
        operation_id="submitScore",
    )  # fmt: skip


def system_operations(ready: Ready, metrics: Metrics) -> list[Operation]:
    """Return the declarations of health and metrics."""
    health = HealthEndpoints(ready, VERSION)
    return [
        Operation("GET", "/health/live", "The process answers", health.live, {200: Live}, tag="Operations"),
        Operation(
            "GET", "/health/ready", "Every check holds", health.ready,
            {200: Health, 503: Response(Health, "At least one check fails.")}, tag="Operations",
        ),
        Operation("GET", "/health", "All checks that run", health.summary, {200: Health}, tag="Operations"),
        Operation(
            "GET", "/metrics", "Metrics for Prometheus", metrics, {200: Response(None, "Metrics.", "text/plain")},
            tag="Operations",
        ),
    ]  # fmt: skip


def page_operations(listed: Sequence[Operation]) -> list[Operation]:
    """Return the document of `listed`, its page, and the pages of the problems."""
    document = msgspec.json.encode(document_of(listed))
    docs_page = resources.files("relay.api").joinpath("docs.html").read_bytes()

    async def openapi_document(call: Call) -> Answer:  # noqa: ARG001 - every endpoint takes the call
        return Answer(200, document, headers=CACHED_BRIEFLY)

    async def docs(call: Call) -> Answer:  # noqa: ARG001
        return Answer(200, docs_page, HTML, PAGE_CSP)

    async def one_problem(call: Call) -> Answer:
        page = problem_page(call.path["code"])
        if page is None:
            raise CallerError("NOT_FOUND", "There is no problem with this code.")
        return Answer(200, page, HTML, PAGE_CSP + CACHED_BRIEFLY)

    return [
        Operation("GET", "/openapi.json", "This document", openapi_document, hidden=True),
        Operation("GET", "/docs", "The document as a page", docs, hidden=True),
        Operation("GET", "/problems/{code}", "What a problem means", one_problem, hidden=True),
    ]


def document_of(listed: Sequence[Operation]) -> dict[str, Any]:
    """Return the OpenAPI document of `listed`."""
    text = "Recomputes game scores from evidence, signs what it computed, records it on chain, ranks and streams it."
    return openapi(listed, "Fairscore", VERSION, text)


def _intake_numbers(intake: Intake) -> dict[str, float]:
    counted = {f"submissions_{kind}_total": float(count) for kind, count in intake.outcomes.items()}
    return {**counted, "submission_groups_total": float(intake.groups)}
