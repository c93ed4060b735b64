"""The cargo of anchors: checkpoints of ledgers, signed and carried into `anchorEconomy`, proved by the contract's logs.

Touches the chain and the rows of checkpoints through what it is given. When a checkpoint is due and what anchors of
others mean is decided in `relay.economy.checkpoints`. Each is tried out before it is sealed: a game's anchors have an
order, and whoever has a signed one can carry it.
"""

import asyncio
import logging
from collections.abc import Sequence
from typing import NamedTuple, Protocol

from relay.attestation import Domain, economy_anchor_struct
from relay.chain_types import Block, ChainAnswerError, Log, Receipt
from relay.contract import decode_result, encode_call, game_key, revert_name
from relay.contract_anchors import (
    ECONOMY_ANCHORED,
    Anchor,
    Anchored,
    anchored,
    decode_anchor,
    encode_anchor,
    expected_sequence,
    says,
)
from relay.economy.checkpoints import Checkpoint, Comparison
from relay.errors import SignerError
from relay.outbox.batches import GasModel
from relay.outbox.cargo import Due, Effect, News, Refusal, Release, Unproven
from relay.outbox.desk import OutboxSettings
from relay.store import checkpoint_moves as rows
from relay.store.checkpoint_moves import CheckpointRows
from relay.store.outbox import Move, Sealed, StoredBatch

log = logging.getLogger(__name__)

NO_RULES = bytes(32)
REVERTED = 3  # the JSON-RPC error code of a call that reverted (geth and most others)
# A game's first anchor writes two fresh words of storage: 81,669 gas (the committed snapshot), half as much again.
GAS = GasModel(fixed=125_000, per_score=0)


class AnchorChain(Protocol):
    """What this cargo asks the chain."""

    async def finalized(self, confirmations: int, head: Block) -> int:
        """Highest final block number."""

    async def call(self, to: bytes, data: bytes, sender: bytes | None = None) -> bytes:
        """eth_call."""

    async def logs(
        self, address: bytes, topics: Sequence[bytes | Sequence[bytes] | None], first: int, last: int | None = None
    ) -> list[Log]:
        """eth_getLogs."""


class Attester(Protocol):
    """Signs what was computed; pays for nothing."""

    def attest(self, domain: Domain, struct: bytes) -> bytes:
        """Return r, s, v over an encoded EIP-712 struct."""


class _Tried(NamedTuple):
    """What the contract says to an anchor: whether it would take it, else what became clear, and what is in the way."""

    takes: bool = False
    move: Move | None = None
    trouble: str | None = None


class AnchorCargo:
    """Implements `relay.outbox.cargo.Cargo`; a plan is one checkpoint. `attester` may be replaced while it runs."""

    kind = "anchor"

    def __init__(
        self,
        chain: AnchorChain,
        waiting: CheckpointRows,
        attester: Attester,
        domain: Domain,
        settings: OutboxSettings,
    ) -> None:
        self.attester = attester
        self._chain = chain
        self._waiting = waiting
        self._domain = domain
        self._settings = settings

    # ---------------------------------------------------------------- planning

    async def due(self, head: Block, slots_free: int, wait_ms: int) -> Due[Checkpoint]:
        """Choose the checkpoints that the contract would take now; each is one of its game, so none waits for more."""
        del wait_ms
        plans: list[list[Checkpoint]] = []
        moves: list[Move] = []
        trouble: str | None = None
        for checkpoint in await self._waiting.waiting(slots_free):
            try:
                tried = await self._try(checkpoint, head)
            except SignerError as error:
                tried = _Tried(trouble=str(error))
            if tried.takes:
                plans.append([checkpoint])
            if tried.move is not None:
                moves.append(tried.move)
            trouble = trouble or tried.trouble
        return Due(plans, 0 if plans else None, Effect(rows.together(moves)) if moves else None, trouble)

    async def _try(self, checkpoint: Checkpoint, head: Block) -> _Tried:
        """Let the contract try an anchor."""
        sealed = await asyncio.to_thread(self.seal, [checkpoint], head)
        try:
            await self._chain.call(self._domain.contract, sealed.calldata)
        except ChainAnswerError as error:
            if error.revert is None and error.code != REVERTED and "revert" not in error.message.lower():
                raise  # an endpoint in trouble is not the contract's word
            expected = expected_sequence(error.revert or b"")
            if expected is None:
                why = self._in_the_way(revert_name(error.revert) if error.revert else error.message)
                return _Tried(move=_waits(checkpoint, why), trouble=why)
            _, seen = await self._compare(checkpoint.game_id, await self._final_block(head))
            if seen.upto > checkpoint.first_sequence or seen.contradiction is not None:
                return _Tried(move=rows.take_over(checkpoint.game_id, seen), trouble=seen.contradiction)
            why = seen.missing or _elsewhere(checkpoint.first_sequence, expected)
            return _Tried(move=_waits(checkpoint, why), trouble=why)
        return _Tried(takes=True)

    async def _final_block(self, head: Block) -> int:
        return await self._chain.finalized(self._settings.confirmations, head)

    def _in_the_way(self, name: str) -> str:
        if name == "EnforcedPause":
            return "the contract is paused: the admin can unpause it"
        if name == "UnknownSigner":
            return "the attestation key is no signer on the contract: run `fairscore roles grant signer <address>`"
        return f"the contract refuses anchorEconomy: {name}"

    def seal(self, plan: Sequence[Checkpoint], head: Block) -> Sealed:
        """Sign the anchor and fix the calldata. The deadline counts from the chain's own time."""
        (one,) = plan
        economy, deadline = game_key(one.game_id), head.timestamp + self._settings.deadline_s
        struct = economy_anchor_struct(economy, one.first_sequence, one.count, one.root, deadline)
        signature = self.attester.attest(self._domain, struct)
        calldata = encode_anchor(Anchor(economy, one.first_sequence, one.count, one.root, deadline, signature))
        claim = rows.claim(one.checkpoint_id)
        return Sealed(self.kind, one.game_id, NO_RULES, calldata, (one.checkpoint_id,), claim)

    def queued(self, sealed: Sealed) -> Sequence[News]:  # noqa: ARG002 - nobody waits for a checkpoint
        """Nothing to tell."""
        return ()

    def gas_limit(self, size: int) -> int:
        """Upper bound under Ethereum's prices: an anchor costs the same however many transactions it covers."""
        return GAS.limit(size)

    # -------------------------------------------------------------- trying out

    def refusal(self, reason: str) -> Refusal:
        """What a revert with this name is about."""
        return Refusal.DONE if reason == "WrongSequence" else Refusal.EVERYTHING

    async def done_elsewhere(self, plan: Sequence[Checkpoint], finalized: int) -> Effect:
        """Between trying it out and sealing it, the contract went on: take over what its final logs say."""
        (one,) = plan
        _, seen = await self._compare(one.game_id, finalized)
        return Effect(rows.take_over(one.game_id, seen))

    def park(self, item: Checkpoint, reason: str) -> Effect:
        """Checkpoints are not set aside: whatever is in the way may go away."""
        return Effect(rows.wait(item.checkpoint_id, reason))

    # --------------------------------------------------------------- under way

    def sent(self, batch: StoredBatch, tx_hash: bytes) -> Effect:
        """Its first transaction is signed and committed."""
        return Effect(rows.sent(batch.items, tx_hash))

    async def included(self, batch: StoredBatch, receipt: Receipt) -> Effect:
        """Its transaction succeeded in a block that is not final."""
        return Effect(rows.included(batch.items, receipt.tx_hash, receipt.block_number))

    def unmined(self, batch: StoredBatch) -> Effect:
        """That block left the chain."""
        return Effect(rows.sent_again(batch.items))

    async def final(self, batch: StoredBatch, receipt: Receipt, finalized: int) -> Effect | Unproven:
        """Its transaction succeeded in a final block: the receipt must hold the log of this very anchor."""
        del finalized
        call = decode_anchor(batch.calldata)
        for one in anchored(call.economy, self._domain.contract, receipt.logs):
            if says(one.event, call):
                return Effect(rows.take_over(batch.game_id, Comparison(one.size, (one,))))
        return Unproven(f"no EconomyAnchored log found for the checkpoint of batch {batch.batch_id}")

    async def released(
        self,
        batch: StoredBatch,
        reason: str,
        finalized: int,
        *,
        blamed: bool,  # noqa: ARG002 - each anchor is tried out before it is sealed, whatever happened to it
    ) -> Release | Unproven:
        """Its nonce is closed without it: final logs show who anchored instead, else it waits again.

        The contract's own `nextSequence` must agree: an endpoint that hides a log would have it carried for nothing.
        """
        call = decode_anchor(batch.calldata)
        found, seen = await self._compare(batch.game_id, finalized)
        if seen.upto > call.first_sequence or seen.contradiction is not None:
            by = frozenset(one.tx_hash for one in found if says(one.event, call))
            return Release(Effect(rows.take_over(batch.game_id, seen)), bool(by), by)
        answer = await self._chain.call(self._domain.contract, encode_call("nextSequence", call.economy))
        expected = int(decode_result("nextSequence", answer))
        if seen.missing is not None or expected > call.first_sequence:
            return Unproven(seen.missing or _elsewhere(call.first_sequence, expected))
        return Release(Effect(rows.wait(batch.items[0], reason)), complete=False)

    # ------------------------------------------------------------------- logs

    async def _compare(self, game_id: str, finalized: int) -> tuple[list[Anchored], Comparison]:
        """Read every final anchor of a game's economy, whoever carried it, and hold them against the ledger."""
        economy = game_key(game_id)
        topics = [ECONOMY_ANCHORED, economy]
        logs = await self._chain.logs(self._domain.contract, topics, self._settings.start_block, finalized)
        found = anchored(economy, self._domain.contract, logs)
        seen = await self._waiting.compare(game_id, found)
        if seen.contradiction is not None:
            log.error("the chain contradicts a ledger", extra={"game": game_id, "why": seen.contradiction})
        return found, seen


def _waits(checkpoint: Checkpoint, why: str) -> Move | None:
    """Note why a checkpoint waits, if that is news."""
    return None if checkpoint.detail == why else rows.wait(checkpoint.checkpoint_id, why)


def _elsewhere(first_sequence: int, expected: int) -> str:
    if expected > first_sequence:
        return f"the contract has an anchor up to entry {expected} already; waiting until that is final"
    return (
        f"the contract expects entry {expected}, not {first_sequence}: it does not have the anchors that this database "
        "knows as final. Is it the same contract, and the same chain?"
    )
