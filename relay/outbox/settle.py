"""Steps 1 and 2 of the loop: observe the chain, and close or reopen slots accordingly.

Touches the chain and the store through the desk. What each slot needs is decided in `relay.outbox.slots`, what it
means for what the slot carries by its cargo.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass

from relay.chain_types import Block, ChainAnswerError, Fees, Receipt
from relay.contract import revert_name
from relay.outbox.cargo import Effect, Refusal, Release, Unproven
from relay.outbox.desk import Desk
from relay.outbox.reconcile import sweep
from relay.outbox.slots import Action, Estrange, Finalize, Mine, Seen, Slot, SlotState, Unmine, decide
from relay.store.outbox import Landed, StoredBatch

log = logging.getLogger(__name__)

NO_MARKET = Fees(None, 0, 0)
NO_EFFECT = Effect(lambda _c, _now_ms: None)
FOREIGN = "nonce used by another transaction"


@dataclass(frozen=True)
class Todo:
    """What is left for the sender after settling: slots with their action, lowest nonce first.

    `moved`: a slot is in a block now, and may be final at once: the same head is worth a second look.
    """

    actions: tuple[tuple[Slot, Action], ...]
    seen: Seen
    moved: bool


async def observe(desk: Desk, slots: Sequence[Slot], head: Block) -> Seen:
    """Ask the chain for everything the decisions need, in a handful of requests."""
    finalized = await desk.chain.finalized(desk.settings.confirmations, head)
    live = [slot for slot in slots if slot.state is SlotState.LIVE]
    hashes = [attempt.tx_hash for slot in live for attempt in slot.attempts]
    mined = [slot for slot in slots if slot.state is SlotState.MINED and slot.block_number is not None]
    hashes += [slot.tx_hash for slot in mined if slot.tx_hash and (slot.block_number or 0) <= finalized]
    found = await desk.chain.receipts(hashes) if hashes else []
    receipts = {receipt.tx_hash: receipt for receipt in found if receipt is not None}
    heights = sorted({r.block_number for r in receipts.values()} | {slot.block_number or 0 for slot in mined})
    blocks = await desk.chain.blocks(heights) if heights else []
    canonical = {block.number: block.hash for block in blocks if block is not None}
    address = desk.gas_signer.address
    nonce = nonce_final = 0
    market = NO_MARKET
    if any(slot.state is not SlotState.MINED for slot in slots):
        nonce = await desk.chain.nonce(address)
        market = await desk.market()
    # Asked only when it matters: an old block's state is not free on every node.
    if any(slot.nonce < nonce and not any(a.tx_hash in receipts for a in slot.attempts) for slot in live):
        nonce_final = await desk.chain.nonce(address, finalized)
    return Seen(
        head=head.number,
        finalized=finalized,
        nonce=nonce,
        nonce_final=nonce_final,
        receipts=receipts,
        canonical=canonical,
        market=market,
        sent_at=desk.sent_at,
        now_s=desk.clock(),
        underpriced=desk.underpriced,
    )


async def settle(desk: Desk, slots: Sequence[Slot], head: Block) -> Todo:
    """Bring the slots' states up to date with the chain; return what the sender has to do."""
    seen = await observe(desk, slots, head)
    desk.report("logs", None)
    desk.report("foreign", None)
    mined: list[tuple[Slot, Receipt]] = []
    final: list[tuple[Slot, Receipt]] = []
    rest: list[tuple[Slot, Action]] = []
    for slot in slots:
        action = decide(slot, seen, desk.policy)
        if isinstance(action, Mine):
            mined.append((slot, action.receipt))
        elif isinstance(action, Finalize):
            final.append((slot, action.receipt))
        elif isinstance(action, Unmine):
            await _unmine(desk, slot, head)
        elif isinstance(action, Estrange):
            await _estrange(desk, slot, seen, head)
        else:
            rest.append((slot, action))
    if mined:
        await _mine(desk, mined)
    if final:
        await _finalize(desk, final, seen)
    return Todo(tuple(rest), seen, moved=bool(mined))


async def _mine(desk: Desk, mined: Sequence[tuple[Slot, Receipt]]) -> None:
    changes: list[tuple[Landed, Effect]] = []
    for slot, receipt in mined:
        batch, landed = await desk.batch(slot.batch_id), _landed(slot, receipt)
        carried = receipt.succeeded and not landed.void
        changes.append((landed, await desk.cargo(batch).included(batch, receipt) if carried else NO_EFFECT))
    desk.hook("settle")
    await desk.store.mined([(item, effect.move) for item, effect in changes])
    desk.hook("settled")
    for _, effect in changes:
        desk.tell(effect)


def _landed(slot: Slot, receipt: Receipt) -> Landed:
    where = (receipt.tx_hash, receipt.block_number, receipt.block_hash)
    void = slot.attempt(receipt.tx_hash).void
    return Landed(slot.nonce, slot.batch_id, *where, receipt.succeeded, receipt.gas_used, void)


async def _finalize(desk: Desk, final: Sequence[tuple[Slot, Receipt]], seen: Seen) -> None:
    """Verify once more, from a receipt fetched now whose block is canonical and final, then close."""
    changes: list[tuple[Slot, Landed, Effect]] = []
    for slot, receipt in final:
        landed = _landed(slot, receipt)
        if landed.void:  # whether it failed is all the same: the nonce is used up
            await _give_up(desk, slot, SlotState.FINAL, f"voided by {slot.void_by}", seen)
        elif not receipt.succeeded:
            await _fail(desk, slot, receipt, seen)
        else:
            batch = await desk.batch(slot.batch_id)
            effect = await desk.cargo(batch).final(batch, receipt, seen.finalized)
            if isinstance(effect, Unproven):
                desk.report("logs", effect.why)
            else:
                changes.append((slot, landed, effect))
    if not changes:
        return
    desk.hook("finish")
    await desk.store.finish([(landed, effect.move) for _, landed, effect in changes])
    desk.hook("finished")
    for slot, landed, effect in changes:
        batch = await desk.batch(slot.batch_id)
        desk.meter.gas(landed.gas_used, len(batch.items) if batch.kind == "scores" else 0)
        desk.tell(effect)
        _close(desk, slot)


async def _fail(desk: Desk, slot: Slot, receipt: Receipt, seen: Seen) -> None:
    """A final transaction of ours has status 0: if others agree, its batch is free, to be tried out before it goes."""
    if not await desk.chain.confirm_failed(receipt.tx_hash, receipt.block_hash):
        desk.report("logs", f"nonce {slot.nonce}: one provider shows a failed transaction, no other one confirms it")
        return
    batch = await desk.batch(slot.batch_id)
    name = await _why(desk, batch)
    blamed = name is None or desk.cargo(batch).refusal(name) is not Refusal.EVERYTHING
    reason = f"transaction failed: {name or 'it would not fail now'}"
    release = await _give_up(desk, slot, SlotState.FINAL, reason, seen, blamed=blamed)
    if release is not None and not release.complete:
        log.error("a batch failed on the chain", extra={"nonce": slot.nonce, "reason": reason})
        desk.careful.add(batch.kind)
        desk.meter.failed()


async def _estrange(desk: Desk, slot: Slot, seen: Seen, head: Block) -> None:
    """The nonce is used for good and none of ours did it: if others agree, its batch is free.

    Whoever used it may have been ourselves, before this database was restored from a backup: then whatever waits may
    be on the chain already, and is looked up first.
    """
    hashes = [attempt.tx_hash for attempt in slot.attempts]
    if not await desk.chain.confirm_absent(desk.gas_signer.address, hashes, slot.nonce, seen.finalized):
        desk.report("foreign", f"nonce {slot.nonce} seems used by another program; no second provider confirms it")
        return
    if not await sweep(desk, head, seen.finalized):
        return
    if await _give_up(desk, slot, SlotState.FOREIGN, FOREIGN, seen) is not None:
        log.error("another transaction of the gas key used a nonce of ours", extra={"nonce": slot.nonce})
        desk.meter.foreign()


async def _give_up(
    desk: Desk, slot: Slot, closed_as: SlotState, reason: str, seen: Seen, *, blamed: bool = False
) -> Release | None:
    """The nonce is closed for good without its batch: what the contract lacks of it waits again. None: not yet.

    It lacks nothing where others (the players themselves) carried all of it: then there was nothing left to do.
    """
    batch = await desk.batch(slot.batch_id)
    release = await desk.cargo(batch).released(batch, reason, seen.finalized, blamed=blamed)
    if isinstance(release, Unproven):
        desk.report("logs", release.why)
        return None
    if any(attempt.tx_hash in release.by for attempt in slot.attempts):
        desk.report(
            "logs", f"nonce {slot.nonce}: the endpoint shows logs of our transaction and denies that it succeeded"
        )
        return None
    desk.hook("give_up")
    await desk.store.give_up(slot, closed_as, release.effect.move)
    desk.hook("gave_up")
    desk.tell(release.effect)
    _close(desk, slot)
    return release


def _close(desk: Desk, slot: Slot) -> None:
    desk.close(slot.batch_id, [attempt.tx_hash for attempt in slot.attempts])


async def _unmine(desk: Desk, slot: Slot, head: Block) -> None:
    log.warning("reorg: a mined transaction is live again", extra={"nonce": slot.nonce, "block": slot.block_number})
    batch = await desk.batch(slot.batch_id)
    effect = desk.cargo(batch).unmined(batch)
    desk.hook("unmine")
    await desk.store.unmined(slot, effect.move)
    desk.hook("unmined")
    desk.tell(effect)
    desk.meter.reorged(head.number - (slot.block_number or head.number))
    desk.sent_at.clear()  # whether the pool took it back is unknown: send again


async def _why(desk: Desk, batch: StoredBatch) -> str | None:
    """Ask the chain why a batch's call fails; None: it would not fail any more."""
    try:
        await desk.chain.call(desk.domain.contract, batch.calldata, desk.gas_signer.address)
    except ChainAnswerError as error:
        return revert_name(error.revert) if error.revert else error.message
    return None
