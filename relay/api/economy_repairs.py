"""A balance that is not what its entries add up to, set right by an auditor: its wallet can be used again.

Touches the database through the store. Entries are chained and anchored, and never changed; a balance is only their
sum.
"""

from typing import Annotated

import msgspec
from msgspec import Meta

from relay.api.economy_parts import BODY_ERRORS, EconomyParts, Envelope, credential_of, envelope
from relay.api.operations import Answer, Call, Operation
from relay.api.pages import storable
from relay.api.revocations import AUDITORS
from relay.store import ledger_reconcile
from relay.store.controls import By
from relay.store.intake_rows import Connection
from relay.store.ledger_reconcile import Mended
from relay.strict_json import Request


class RepairRequest(Request, frozen=True):
    """What the auditor found out; kept with the flag and in the record of actions."""

    note: Annotated[str, Meta(min_length=1, max_length=500, pattern=r"\S")]


class RepairDocument(msgspec.Struct, frozen=True, rename="camel"):
    """The balance that the flag is about. `recorded` and `balance`: before and now, null where it was right already.

    `thawed`: it was frozen, and can be moved again.
    """

    flag_id: str
    account: str
    asset: str
    recorded: int | None
    balance: int | None
    thawed: bool


class Repairs:
    """The endpoint."""

    def __init__(self, parts: EconomyParts) -> None:
        self._parts = parts

    async def repair(self, call: Call) -> Answer:
        """Set the balance right that a flag is about."""
        flag_id, body, credential = storable(call.path["flagId"]), call.body, credential_of(call)
        database = self._parts.database

        def job(c: Connection) -> Mended:
            by = By(credential.key_id, storable(body.note), database.now_ms(c))
            return ledger_reconcile.mend(c, flag_id, credential.game_id, by)

        (account, asset), mismatch, thawed = await self._parts.write(job)
        recorded, balance = (None, None) if mismatch is None else (mismatch.recorded, mismatch.recomputed)
        return envelope(call, RepairDocument(flag_id, account, asset, recorded, balance, thawed))


def repair_operations(parts: EconomyParts) -> list[Operation]:
    """Return the declaration."""
    return [
        Operation(
            "POST", "/api/audit-flags/{flagId}/repair", "Set a balance to what its entries add up to, and thaw it",
            Repairs(parts).repair, {200: Envelope[RepairDocument]},
            ("NOT_AUTHENTICATED", "FORBIDDEN_ROLE", "FLAG_UNKNOWN", "FLAG_NOT_REPAIRABLE", "STORE_UNAVAILABLE",
             *BODY_ERRORS),
            AUDITORS, request=RepairRequest, parameters={"flagId": "As listed."}, tag="Audit",
            description="The flag is confirmed with the note. Again, there is nothing left to do, and nothing is done.",
        )
    ]  # fmt: skip
