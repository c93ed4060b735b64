"""Submissions, evidence and rulesets over HTTP.

Touches the database through `relay.store.queries` only.
"""

import json
import re
from collections.abc import Callable
from typing import Any, Literal, TypeVar

import msgspec

from relay.api.accepted import receipt_of
from relay.api.operations import Answer, Call, Headers, Query, answer
from relay.api.pages import Cursor, Limit, cursor_of, read_cursor, rfc3339, storable
from relay.api.revocations import RevocationDocument, revocation_document
from relay.attestation import Domain
from relay.errors import CallerError, WorldError
from relay.games import Games
from relay.keccak import checksum_address
from relay.store import queries
from relay.store.engine import Database, StoreUnavailableError
from relay.store.intake_rows import FIRST_ANSWER_COLUMNS, FirstAnswer
from relay.submission import read_address

T = TypeVar("T")

IMMUTABLE: Headers = ((b"cache-control", b"public, max-age=31536000, immutable"),)
EVIDENCE_HASH = re.compile(r"0x[0-9a-fA-F]{64}")
Status = Literal[
    "accepted", "queued", "sent", "included", "final", "rejected", "held", "revoked", "parked"
]  # fmt: skip


class Step(msgspec.Struct, frozen=True):
    """One change of status."""

    status: str
    at: str
    detail: str | None


class Attempt(msgspec.Struct, frozen=True, rename="camel"):
    """One transaction signed to carry the score."""

    tx_hash: str
    nonce: int
    signed_at: str


class SubmissionSummary(msgspec.Struct, frozen=True, rename="camel"):
    """A submission in a list."""

    submission_id: str
    game_id: str
    player: str
    status: str
    score: int | None
    round_id: int | None
    evidence_level: int
    evidence_hash: str
    tx_hash: str | None
    block_number: int | None
    code: str | None
    received_at: str
    accepted_at: str | None


class SubmissionDocument(SubmissionSummary, frozen=True, rename="camel"):
    """Everything about a submission. `confirmations` is null while it is in no block, `revocation` without one."""

    external_round_id: str | None
    rules_hash: str
    confirmations: int | None
    checks: list[dict[str, str | int | None]]
    attempts: list[Attempt]
    receipt: dict[str, Any] | None
    revocation: RevocationDocument | None
    history: list[Step]


class SubmissionPage(msgspec.Struct, frozen=True, rename="camel"):
    """A page of submissions, newest first."""

    submissions: list[SubmissionSummary]
    next_cursor: str | None


class SubmissionQuery(Query, frozen=True):
    """Filters of the list."""

    player: str | None = None
    game_id: str | None = None
    status: Status | None = None
    limit: Limit = 50
    cursor: Cursor | None = None


class RulesetDocument(msgspec.Struct, frozen=True, rename="camel"):
    """The rules a game judges by. `document` is what `hash` is the keccak-256 of, in canonical form."""

    game_id: str
    ruleset: str
    version: int
    parameters: dict[str, int | None]
    hash: str
    document: dict[str, Any]


class Submissions:
    """The endpoints. `head` returns the number of the newest block known here, None if none is."""

    def __init__(self, database: Database, domain: Domain | None, games: Games, head: Callable[[], int | None]) -> None:
        self._database = database
        self._domain = domain
        self._games = games
        self._head = head

    async def one(self, call: Call) -> Answer:
        """Return one submission, for whoever knows its id."""
        submission_id = call.path["submissionId"]
        whole = await self._read(lambda connection: queries.submission(connection, storable(submission_id)))
        if whole is None:
            raise CallerError("SUBMISSION_UNKNOWN", "No submission has this id.")
        return answer(self._document(whole))

    async def page(self, call: Call) -> Answer:
        """Return a page of submissions."""
        query: SubmissionQuery = call.query
        before = read_cursor(query.cursor, "sub_")
        player = None if query.player is None else read_address(query.player, "?player")
        wanted = queries.SubmissionFilter(
            player, None if query.game_id is None else storable(query.game_id), query.status
        )
        rows = await self._read(lambda c: queries.list_submissions(c, wanted, query.limit + 1, before))
        shown = [_summary(row) for row in rows[: query.limit]]
        following = cursor_of(shown[-1].submission_id) if len(rows) > query.limit else None
        return answer(SubmissionPage(shown, following))

    async def evidence(self, call: Call) -> Answer:
        """Return the canonical bytes of a piece of evidence (or of a ruleset): they never change."""
        text = call.path["evidenceHash"]
        if EVIDENCE_HASH.fullmatch(text) is None:
            raise CallerError("PATH_INVALID", "An evidence hash is 0x and 64 hexadecimal digits.")
        etag = b'"%b"' % text.lower().encode()
        headers: Headers = (*IMMUTABLE, (b"etag", etag))
        body = await self._read(lambda connection: queries.evidence_body(connection, bytes.fromhex(text[2:])))
        if body is None:
            raise CallerError("EVIDENCE_UNKNOWN", "No evidence with this hash is stored here.")
        known = [tag.strip().removeprefix(b"W/") for tag in call.headers.get(b"if-none-match", b"").split(b",")]
        if etag in known or b"*" in known:
            return Answer(304, b"", headers=headers)
        return Answer(200, body, headers=headers)

    async def ruleset(self, call: Call) -> Answer:
        """Return the rules a game judges by."""
        game = self._games.by_id.get(call.path["gameId"])
        if game is None:
            raise CallerError("GAME_UNKNOWN", "This relay does not serve the game.")
        rules = game.rules
        document = rules.document()
        parameters = msgspec.to_builtins(rules.parameters)
        shown = RulesetDocument(
            game.id, rules.ruleset.id, rules.ruleset.version, parameters, "0x" + rules.hash.hex(), document
        )
        return answer(shown)

    async def _read(self, job: Callable[[Any], T]) -> T:
        try:
            return await self._database.read(job)
        except StoreUnavailableError:
            raise WorldError("STORE_UNAVAILABLE", "The database cannot be read now; try again.") from None

    def _document(self, whole: queries.Whole) -> SubmissionDocument:
        row = whole.submission
        first = FirstAnswer(*(getattr(row, name) for name in FIRST_ANSWER_COLUMNS))
        head = self._head()
        in_block = row.block_number is not None and head is not None and head >= row.block_number
        return SubmissionDocument(
            **msgspec.structs.asdict(_summary(row)),
            external_round_id=row.external_round,
            rules_hash="0x" + row.rules_hash.hex(),
            confirmations=head - row.block_number + 1 if in_block and head is not None else None,
            checks=json.loads(whole.evidence or b"{}").get("checks", []),
            attempts=[Attempt("0x" + a.tx_hash.hex(), a.nonce, rfc3339(a.created_at_ms)) for a in whole.attempts],
            receipt=receipt_of(first, self._domain) if self._domain is not None else None,
            revocation=None if whole.revocation is None else revocation_document(whole.revocation),
            history=[Step(step.status, rfc3339(step.at_ms), step.detail) for step in whole.history],
        )


def _summary(row: Any) -> SubmissionSummary:
    return SubmissionSummary(
        submission_id=row.id,
        game_id=row.game_id,
        player=checksum_address(row.player),
        status=row.status,
        score=row.score,
        round_id=row.round_id,
        evidence_level=row.evidence_level,
        evidence_hash="0x" + row.evidence_hash.hex(),
        tx_hash="0x" + row.tx_hash.hex() if row.tx_hash else None,
        block_number=row.block_number,
        code=row.code,
        received_at=rfc3339(row.received_at_ms),
        accepted_at=rfc3339(row.accepted_at_ms) if row.accepted_at_ms is not None else None,
    )
