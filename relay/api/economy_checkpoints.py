"""Checkpoints of ledgers over HTTP, and proofs that a later ledger begins with an earlier one.

Touches the database through the store. Anybody may look at a named game's; the list of all games' takes a key that is
good for every game.
"""

from typing import Any, Literal

import msgspec

from relay.api.economy_parts import GAME_ERRORS, EconomyParts, Envelope, GameQuery, envelope, page_of
from relay.api.economy_proofs import FOR_GOOD, sentence, tell
from relay.api.operations import Answer, Call, Operation, Query, Response
from relay.api.pages import Cursor, Limit, cursor_of, read_cursor, rfc3339, storable
from relay.contract import game_key
from relay.economy.checkpoints import CODE
from relay.economy.proofs import ConsistencyProof
from relay.errors import CallerError, FieldError, WorldError
from relay.keccak import checksum_address
from relay.store import checkpoints
from relay.store.checkpoints import LedgerChangedError, NotAnchoredError
from relay.store.intake_rows import Connection

BASE = "/api/audit/checkpoints"
ERRORS = ("QUERY_INVALID", "STORE_UNAVAILABLE")
OF_ALL_GAMES = frozenset({"auditor", "admin"})


class CheckpointDocument(msgspec.Struct, frozen=True, rename="camel"):
    """A tree head (RFC 6962) over a ledger's first `size` transactions, of which the last `count` are new.

    `head`: the contract's `economyHead` after it, `signer`: whose signature it carried; both of a final one. `detail`:
    why it waits or was given up, shown to who has a key.
    """

    checkpoint_id: str
    game_id: str
    economy_id: str
    state: Literal["waiting", "queued", "sent", "included", "final", "superseded", "contradicted"]
    first_sequence: int
    count: int
    size: int
    root: str
    created_at: str
    resolved_at: str | None
    tx_hash: str | None
    block_number: int | None
    head: str | None
    signer: str | None
    detail: str | None


class CheckpointPage(msgspec.Struct, frozen=True, rename="camel"):
    """A page of checkpoints, newest first, and the contract that holds the final ones."""

    chain_id: int
    contract: str
    checkpoints: list[CheckpointDocument]
    next_cursor: str | None


class CheckpointQuery(GameQuery, frozen=True):
    """A page of a game's checkpoints."""

    limit: Limit = 50
    cursor: Cursor | None = None


class ConsistencyQuery(Query, frozen=True):
    """The later checkpoint's id; by default the newest final one."""

    to: str | None = None


class Checkpoints:
    """The endpoints."""

    def __init__(self, parts: EconomyParts) -> None:
        self._parts = parts

    async def page(self, call: Call) -> Answer:
        """Return a page of checkpoints."""
        query, keyed = call.query, call.credential
        every = keyed is not None and keyed.role in OF_ALL_GAMES and (keyed.game_id, query.game_id) == (None, None)
        game_id = None if every else await self._parts.game_of(call)
        before = read_cursor(query.cursor, "cp_")

        rows = await self._parts.read(lambda c: checkpoints.listed(c, game_id, before, query.limit + 1))
        shown, following = page_of(list(rows), query.limit, lambda row: cursor_of(row.id))
        documents = [checkpoint_document(row, detailed=keyed is not None) for row in shown]
        where = self._parts.where
        page = CheckpointPage(where.chain_id, checksum_address(where.contract), documents, following)
        return envelope(call, page)

    async def consistency(self, call: Call) -> Answer:
        """Return the proof that the ledger of one checkpoint begins with the ledger of another."""
        earlier = storable(call.path["checkpointId"])
        later = None if call.query.to is None else storable(call.query.to)
        game_id = await self._parts.read(lambda c: checkpoints.game_of(c, earlier))
        if game_id is None:
            raise CallerError("CHECKPOINT_UNKNOWN", "There is no checkpoint with this id.")

        def read(c: Connection) -> dict[str, Any]:
            return checkpoints.prove_consistency(c, self._parts.where, game_id, earlier, later)

        try:
            proof = await self._parts.read(read)
        except NotAnchoredError as error:
            raise CallerError("CHECKPOINT_NOT_FINAL", sentence(error)) from None
        except LedgerChangedError as error:
            await tell(self._parts, game_id, str(error))
            raise WorldError(CODE, sentence(error)) from None
        except ValueError:
            wrong = FieldError("?to", "FIELD_INVALID", "is a checkpoint of a smaller ledger: swap the two")
            raise CallerError("QUERY_INVALID", f"Query parameter 'to': {wrong.detail}.", fields=[wrong]) from None
        return envelope(call, proof, headers=() if later is None else FOR_GOOD)


def checkpoint_document(row: Any, *, detailed: bool) -> CheckpointDocument:
    """Return a checkpoint (a row) as shown."""
    return CheckpointDocument(
        checkpoint_id=row.id,
        game_id=row.game_id,
        economy_id="0x" + game_key(row.game_id).hex(),
        state=row.state,
        first_sequence=row.first_sequence,
        count=row.entries,
        size=row.first_sequence + row.entries,
        root="0x" + bytes(row.root).hex(),
        created_at=rfc3339(row.created_at_ms),
        resolved_at=None if row.resolved_at_ms is None else rfc3339(row.resolved_at_ms),
        tx_hash=_hex(row.tx_hash),
        block_number=row.block_number,
        head=_hex(row.head),
        signer=None if row.signer is None else checksum_address(bytes(row.signer)),
        detail=row.detail if detailed else None,
    )


def _hex(value: bytes | None) -> str | None:
    return None if value is None else "0x" + bytes(value).hex()


def checkpoint_operations(parts: EconomyParts) -> list[Operation]:
    """Return the declarations."""
    here = Checkpoints(parts)
    return [
        Operation(
            "GET", BASE, "Checkpoints of a game's ledger, newest first", here.page, {200: Envelope[CheckpointPage]},
            (*GAME_ERRORS, *ERRORS), query=CheckpointQuery, tag="Audit",
            description="Of every game for an auditor's or administrator's key that is good for all, and names none.",
        ),
        Operation(
            "GET", f"{BASE}/{{checkpointId}}/consistency", "Proof that a later ledger begins with an earlier one",
            here.consistency,
            {200: Response(Envelope[ConsistencyProof], "For `fairscore verify-proof`, which asks the chain only.")},
            (*ERRORS, "CHECKPOINT_UNKNOWN", "CHECKPOINT_NOT_FINAL", CODE), query=ConsistencyQuery, tag="Audit",
            parameters={"checkpointId": "The earlier checkpoint."},
        ),
    ]  # fmt: skip
