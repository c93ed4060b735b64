"""Revoking an accepted score and reinstating it, over HTTP.

Touches the database through `relay.store.revocations`. The order is durable before the answer; the outbox of an
auditor's key carries it to the contract.
"""

from collections.abc import Callable
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from relay.api.idempotency import HEADER_TEXT, answer_of, claim_of, idempotency_key
from relay.api.operations import Answer, Call, Operation, Response
from relay.api.pages import rfc3339, storable
from relay.api.problems import problem
from relay.errors import CallerError, WorldError
from relay.progress import Progress
from relay.revocation import UNDER_WAY, Action, State
from relay.store import revocations as store
from relay.store.engine import Database, StoreUnavailableError
from relay.store.intake_rows import Connection
from relay.store.kept_answers import Kept, once
from relay.store.writer import Writer
from relay.strict_json import Request

AUDITORS = frozenset({"auditor", "admin"})
ERRORS = (
    "PAYLOAD_MALFORMED", "IDEMPOTENCY_KEY_INVALID", "NOT_AUTHENTICATED", "FORBIDDEN_ROLE", "FORBIDDEN_GAME",
    "SUBMISSION_UNKNOWN", "SUBMISSION_NOT_ACCEPTED", "BODY_TOO_LARGE", "MEDIA_TYPE_UNSUPPORTED",
    "IDEMPOTENCY_KEY_REUSED", "STORE_UNAVAILABLE",
)  # fmt: skip


class RevocationRequest(Request, frozen=True):
    """Why a score is revoked or reinstated: published with the evidence, so it names no private thing."""

    reason: Annotated[str, Meta(min_length=1, max_length=500, pattern=r"\S", description="public, kept as evidence")]
    idempotency_key: Annotated[str, Meta(max_length=257)] | None = None


class RevocationDocument(msgspec.Struct, frozen=True, rename="camel"):
    """An order to the contract; `reasonHash` names the evidence sealed with it.

    `status` ends as `final`, as `lapsed` (the score is not on the chain and cannot get there any more), or as
    `withdrawn` (the opposite was asked for first).
    """

    revocation_id: str
    action: Literal["revoke", "reinstate"]
    status: Literal["waiting", "queued", "sent", "included", "final", "lapsed", "withdrawn"]
    reason: str
    detail: str | None
    reason_hash: str | None
    tx_hash: str | None
    block_number: int | None
    requested_at: str
    resolved_at: str | None


class RevocationAnswer(msgspec.Struct, frozen=True, rename="camel"):
    """What became of the request: the submission's status, and the order that carries it out."""

    success: bool
    submission_id: str
    status: str
    revocation: RevocationDocument
    links: dict[str, str]


class Revocations:
    """The endpoints. `wake` lets a sender look for work."""

    def __init__(self, database: Database, writer: Writer, progress: Progress, wake: Callable[[], None]) -> None:
        self._database, self._writer, self._progress, self._wake = database, writer, progress, wake

    async def revoke(self, call: Call) -> Answer:
        """Take an accepted score back."""
        return await self._ask(call, Action.REVOKE)

    async def reinstate(self, call: Call) -> Answer:
        """Put a revoked score back."""
        return await self._ask(call, Action.REINSTATE)

    async def _ask(self, call: Call, action: Action) -> Answer:
        """Answer one request: 1. read, 2. replay or decide, in one commit, 3. tell the sender, 4. answer."""
        body: RevocationRequest = call.body
        credential = call.credential
        if credential is None:
            raise CallerError("NOT_AUTHENTICATED", "This operation needs a key.")
        submission_id, reason = storable(call.path["submissionId"]), storable(body.reason)
        key = idempotency_key(call.headers.get(b"idempotency-key"), body.idempotency_key)
        claim = claim_of(credential, f"POST /api/submissions/…/{action.value}", key, submission_id, reason)
        request = store.Request(submission_id, action, reason, credential.key_id, credential.game_id)
        found: list[store.Shown] = []

        def make(connection: Connection, now_ms: int) -> Kept:
            found.clear()  # a job may run again
            try:
                found.append(store.ask(connection, request, now_ms))
            except CallerError as refusal:  # kept as well: a refusal is an answer
                return Kept(refusal.status, problem(refusal, call.request_id).body)
            return _kept(found[0])

        def job(connection: Connection) -> Kept:
            now_ms = self._database.now_ms(connection)
            return once(connection, claim, now_ms, lambda: make(connection, now_ms))

        try:
            kept = await self._writer.run(job)
        except StoreUnavailableError:
            raise WorldError("STORE_UNAVAILABLE", "The request could not be stored; try again.") from None
        if found:
            self.tell(found[0])
        return answer_of(kept)

    def tell(self, asked: store.Shown) -> None:
        """Pass on what a committed request changed: to whoever waits for the submission, and to the sender."""
        if asked.changed:
            self._progress.changed([asked.order.submission_id], asked.status, asked.tx_hash)
            self._wake()


def _kept(found: store.Shown) -> Kept:
    order = found.order
    links = {"self": f"/api/submissions/{order.submission_id}"}
    document = RevocationAnswer(True, order.submission_id, found.status, revocation_document(order), links)
    on_its_way = order.state == State.WAITING.value or order.state in UNDER_WAY
    return Kept(202 if on_its_way else 200, msgspec.json.encode(document))


def revocation_document(order: Any) -> RevocationDocument:
    """Return what is shown of an order (a row of `revocations`)."""
    return RevocationDocument(
        revocation_id=order.id,
        action=order.action,
        status=order.state,
        reason=order.reason,
        detail=order.detail,
        reason_hash="0x" + order.reason_hash.hex() if order.reason_hash else None,
        tx_hash="0x" + order.tx_hash.hex() if order.tx_hash else None,
        block_number=order.block_number,
        requested_at=rfc3339(order.asked_at_ms),
        resolved_at=rfc3339(order.resolved_at_ms) if order.resolved_at_ms is not None else None,
    )


def revocation_operations(revocations: Revocations) -> list[Operation]:
    """Return the declarations."""
    responses = {
        202: Response(RevocationAnswer, "Durable, and on its way to the contract; `revocation` says how far."),
        200: Response(RevocationAnswer, "Nothing is left to do: it is so already."),
    }

    def operation(action: Action, summary: str, description: str, *errors: str) -> Operation:
        return Operation(
            "POST",
            f"/api/submissions/{{submissionId}}/{action.value}",
            summary,
            revocations.revoke if action is Action.REVOKE else revocations.reinstate,
            responses,
            (*ERRORS, *errors),
            AUDITORS,
            request=RevocationRequest,
            parameters={"submissionId": "As answered when it was submitted."},
            request_headers={"Idempotency-Key": HEADER_TEXT},
            description=description,
            tag="Audit",
        )

    return [
        operation(
            Action.REVOKE,
            "Take an accepted score back",
            "The submission is `revoked` from the answer on. A score that no transaction carries yet is never sent; "
            "one that is on the chain, or gets there by its receipt, is invalidated there. The same request again "
            "finds the same revocation.",
        ),
        operation(
            Action.REINSTATE,
            "Put a revoked score back",
            "A revocation that has not been sent is withdrawn at once. Else the contract is told, after the "
            "revocation is final, and the submission stays `revoked` until that is final, too.",
            "SUBMISSION_NOT_REVOKED",
        ),
    ]
