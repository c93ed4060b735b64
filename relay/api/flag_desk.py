"""One audit flag over HTTP: its history, and what an auditor makes of it.

Touches the database through `relay.store.flag_desk`.
"""

from collections.abc import Awaitable
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from relay.api.flags import AuditFlag, flag_document
from relay.api.operations import Answer, Call, Operation, answer
from relay.api.pages import rfc3339, storable
from relay.api.revocations import AUDITORS, RevocationDocument, Revocations, revocation_document
from relay.errors import CallerError, FieldError, PayloadError, WorldError
from relay.store import flag_desk as store
from relay.store.engine import Database, StoreUnavailableError
from relay.store.writer import Writer
from relay.strict_json import Request

ERRORS = ("NOT_AUTHENTICATED", "FORBIDDEN_ROLE", "FLAG_UNKNOWN", "STORE_UNAVAILABLE")


class FlagJudgement(Request, frozen=True):
    """What an auditor decides. `revoke` takes back the score that a confirmed flag is about; `note` is its reason."""

    status: Literal["confirmed", "false_positive", "dismissed"]
    note: Annotated[str, Meta(min_length=1, max_length=500, pattern=r"\S", description="public where it revokes")]
    revoke: bool = False


class FlagStep(msgspec.Struct, frozen=True, rename="camel"):
    """A decision about a flag, kept for ever."""

    at: str
    by: str
    status: Literal["open", "confirmed", "false_positive", "dismissed"]
    note: str


class FlagDocument(msgspec.Struct, frozen=True, rename="camel"):
    """A flag with every decision about it, oldest first; `revocation` is the order that came with this one."""

    success: bool
    flag: AuditFlag
    history: list[FlagStep]
    revocation: RevocationDocument | None


class FlagDesk:
    """The endpoints. Without `revocations` (an indexer alone) no score can be taken back here."""

    def __init__(self, database: Database, writer: Writer, revocations: Revocations | None) -> None:
        self._database, self._writer, self._revocations = database, writer, revocations

    async def one(self, call: Call) -> Answer:
        """Return a flag."""
        flag_id, game_id = storable(call.path["flagId"]), call.credential.game_id if call.credential else None
        return _document(await _stored(self._database.read(lambda c: store.look(c, flag_id, game_id))))

    async def judge(self, call: Call) -> Answer:
        """Give a flag another status, and take back its score where that is asked for."""
        body: FlagJudgement = call.body
        credential = call.credential
        if credential is None:
            raise CallerError("NOT_AUTHENTICATED", "This operation needs a key.")
        if body.revoke and body.status != "confirmed":
            detail = "Only a confirmed flag takes its score back."
            raise PayloadError(detail, [FieldError("/revoke", "FIELD_INVALID", detail)])
        if body.revoke and self._revocations is None:
            raise CallerError("FLAG_NOT_REVOCABLE", "This process takes no score back: ask the relay.")
        flag_id, note = storable(call.path["flagId"]), storable(body.note)
        wanted = store.Wanted(flag_id, body.status, note, body.revoke, credential.key_id, credential.game_id)
        found = await _stored(self._writer.run(lambda c: store.judge(c, wanted, self._database.now_ms(c))))
        if found.revocation is not None and self._revocations is not None:
            self._revocations.tell(found.revocation)
        return _document(found)

    def operations(self) -> list[Operation]:
        """Return the declarations."""
        parameters = {"flagId": "As listed."}
        return [
            Operation(
                "GET", "/api/audit-flags/{flagId}", "One audit flag with its history", self.one, {200: FlagDocument},
                ERRORS, frozenset({"server", *AUDITORS}), parameters=parameters, tag="Audit",
            ),
            Operation(
                "PATCH", "/api/audit-flags/{flagId}", "Decide about an audit flag", self.judge, {200: FlagDocument},
                (*ERRORS, "PAYLOAD_MALFORMED", "BODY_TOO_LARGE", "MEDIA_TYPE_UNSUPPORTED", "FLAG_NOT_REVOCABLE",
                 "FORBIDDEN_GAME", "SUBMISSION_UNKNOWN", "SUBMISSION_NOT_ACCEPTED"),
                AUDITORS, request=FlagJudgement, parameters=parameters, tag="Audit",
                description="The same decision again changes nothing. A later one is another line of the history.",
            ),
        ]  # fmt: skip


async def _stored(work: Awaitable[store.Desk]) -> store.Desk:
    try:
        return await work
    except StoreUnavailableError:
        raise WorldError("STORE_UNAVAILABLE", "The flag could not be read or stored; try again.") from None


def _document(found: store.Desk) -> Answer:
    history = [FlagStep(rfc3339(step.at_ms), step.actor, step.status, step.note) for step in found.history]
    order = None if found.revocation is None else revocation_document(found.revocation.order)
    return answer(FlagDocument(True, flag_document(found.flag), history, order))
