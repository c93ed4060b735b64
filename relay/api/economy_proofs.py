"""What anybody checks an economy with, without a key: proofs of transactions, rolls as they were made, commitments.

Touches the database through the store; writes the commitments that nobody asked for before, and the flag of a ledger
that is not the one that was anchored.
"""

from typing import Any

import msgspec

from relay.api.economy_parts import GAME_ERRORS, TAG, EconomyParts, Envelope, GameQuery, envelope
from relay.api.operations import Answer, Call, Headers, Operation, Response
from relay.api.pages import rfc3339, storable
from relay.economy.checkpoints import CODE, contradiction
from relay.economy.proofs import InclusionProof
from relay.economy.rolls import RollDocument
from relay.errors import CallerError, WorldError
from relay.seeds import DAY_MS, day_of, ends_ms
from relay.store import checkpoints, ledger_view, rolls
from relay.store.checkpoints import LedgerChangedError, NotAnchoredError
from relay.store.flags import newest_flag, raise_flags
from relay.store.intake_rows import Connection

BASE = "/api/economy"
ERRORS = (*GAME_ERRORS, "QUERY_INVALID", "STORE_UNAVAILABLE")
FOR_GOOD: Headers = ((b"cache-control", b"public, max-age=86400"),)  # it never changes any more
FOR_NOW: Headers = ((b"cache-control", b"public, max-age=60"),)


class CommitmentDocument(msgspec.Struct, frozen=True, rename="camel"):
    """What was committed to for an epoch, a day (UTC): the SHA-256 of its seed, which is revealed when it is over."""

    epoch: int
    begins_at: str
    revealed_at: str
    commitment: str


class CommitmentsDocument(msgspec.Struct, frozen=True, rename="camel"):
    """The commitments of this epoch and the next. Who keeps them can hold later rolls against them."""

    game_id: str
    commitments: list[CommitmentDocument]


class Proofs:
    """The endpoints."""

    def __init__(self, parts: EconomyParts) -> None:
        self._parts = parts

    async def proof(self, call: Call) -> Answer:
        """Return the proof that a transaction is in an anchored ledger."""
        game_id, wanted = await self._parts.game_of(call), storable(call.path["transactionId"])

        def read(c: Connection) -> dict[str, Any]:
            found = ledger_view.transaction(c, game_id, wanted)
            if found is None:
                raise CallerError("TRANSACTION_UNKNOWN", "The game has no transaction with this id.")
            return checkpoints.prove_inclusion(c, self._parts.where, game_id, found.sequence)

        try:
            return envelope(call, await self._parts.read(read), headers=FOR_GOOD)
        except NotAnchoredError as error:
            raise CallerError("NOT_ANCHORED_YET", sentence(error)) from None
        except LedgerChangedError as error:
            await tell(self._parts, game_id, str(error))
            raise WorldError(CODE, sentence(error)) from None

    async def roll(self, call: Call) -> Answer:
        """Return a roll with all it takes to do it again; its seed once the epoch is over."""
        game_id, wanted = await self._parts.game_of(call), call.path["rollId"]
        database = self._parts.database
        found = await self._parts.read(lambda c: rolls.document(c, game_id, wanted, database.now_ms(c)))
        if found is None:
            raise CallerError("ROLL_UNKNOWN", "The game has no roll with this id.")
        return envelope(call, found, headers=FOR_NOW if found["seed"] is None else FOR_GOOD)

    async def commitments(self, call: Call) -> Answer:
        """Return what this epoch's and the next one's rolls are committed to."""
        game_id = await self._parts.game_of(call)
        database = self._parts.database

        def read(c: Connection) -> dict[int, bytes]:
            return rolls.published(c, game_id, day_of(database.now_ms(c)))

        found = await self._parts.read(read)
        if len(found) < rolls.COMMITTED:  # nobody rolled or asked yet
            found = await self._parts.write(lambda c: rolls.commitments(c, game_id, database.now_ms(c)))
        shown = [
            CommitmentDocument(epoch, rfc3339(epoch * DAY_MS), rfc3339(ends_ms(epoch)), "0x" + commitment.hex())
            for epoch, commitment in sorted(found.items())
        ]
        return envelope(call, CommitmentsDocument(game_id, shown), headers=FOR_NOW)


def sentence(error: Exception) -> str:
    """Return an error's text as a sentence."""
    text = str(error)
    return f"{text[:1].upper()}{text[1:]}."


async def tell(parts: EconomyParts, game_id: str, why: str) -> None:
    """Open the flag of a ledger that is not the one that was anchored, if none is open: anybody may ask again."""
    flag = contradiction(game_id, why)

    def told(c: Connection) -> bool:
        known = newest_flag(c, game_id, flag.about, flag.action, flag.code)
        return known is not None and known.status == "open"

    if not await parts.read(told):
        await parts.write(lambda c: raise_flags(c, [flag], parts.database.now_ms(c)))


def proof_operations(parts: EconomyParts) -> list[Operation]:
    """Return the declarations."""
    here = Proofs(parts)
    return [
        Operation(
            "GET", f"{BASE}/proofs/{{transactionId}}", "Proof that a transaction is in the anchored ledger", here.proof,
            {200: Response(Envelope[InclusionProof], "For `fairscore verify-proof`, which asks the chain only.")},
            (*ERRORS, "TRANSACTION_UNKNOWN", "NOT_ANCHORED_YET", "LEDGER_CONTRADICTED"), query=GameQuery, tag=TAG,
            parameters={"transactionId": "As answered when it was made."},
        ),
        Operation(
            "GET", f"{BASE}/randomness", "What rolls are committed to", here.commitments,
            {200: Envelope[CommitmentsDocument]}, ERRORS, query=GameQuery, tag=TAG,
        ),
        Operation(
            "GET", f"{BASE}/randomness/{{rollId}}", "A roll, and how to do it again", here.roll,
            {200: Response(Envelope[RollDocument], "For `fairscore verify-roll`, which asks nobody.")},
            (*ERRORS, "ROLL_UNKNOWN"), query=GameQuery, tag=TAG,
            parameters={"rollId": "As answered when it was made."},
        ),
    ]  # fmt: skip
