"""Steps 1 and 2 of the loop: observe the chain, and close or reopen slots accordingly.

Touches the chain and the store through the desk. What each slot needs is decided in `relay.outbox.slots`.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass

from relay.chain_types import Block, ChainAnswerError, Fees, Log, Receipt
from relay.contract import revert_name
from relay.outbox import results
from relay.outbox.desk import Desk
from relay.outbox.slots import Action, Estrange, Finalize, Mine, Seen, Slot, SlotState, Unmine, decide
from relay.store.outbox import Landed, Recorded

log = logging.getLogger(__name__)

ROUNDS_PER_QUERY = 100  # alternatives in one topic filter
NO_MARKET = Fees(None, 0, 0)


@dataclass(frozen=True)
class Todo:
    """What is left for the sender after settling: slots with their action, lowest nonce first."""

    actions: tuple[tuple[Slot, Action], ...]
    seen: Seen


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
        market = await desk.chain.fees()
    # Asked only when it matters: an old block's state is not free on every node.
    if any(slot.nonce < nonce and not any(a.tx_hash in receipts for a in slot.attempts) for slot in live):
        nonce_final = await desk.chain.nonce(address, finalized)
    return Seen(head.number, finalized, nonce, nonce_final, receipts, canonical, market, desk.sent_at, desk.clock())


async def settle(desk: Desk, slots: Sequence[Slot], head: Block) -> Todo:
    """Bring the slots' states up to date with the chain; return what the sender has to do."""
    seen = await observe(desk, slots, head)
    mined: list[tuple[Slot, Receipt]] = []
    final: list[tuple[Slot, Receipt]] = []
    rest: list[tuple[Slot, Action]] = []
    for slot in slots:
        action = decide(slot, seen, desk.settings.policy)
        if isinstance(action, Mine):
            mined.append((slot, action.receipt))
        elif isinstance(action, Finalize):
            final.append((slot, action.receipt))
        elif isinstance(action, Unmine):
            await _unmine(desk, slot)
        elif isinstance(action, Estrange):
            await _estrange(desk, slot, seen)
        else:
            rest.append((slot, action))
    if mined:
        await _mine(desk, mined)
    if final:
        await _finalize(desk, final, seen)
    return Todo(tuple(rest), seen)


async def _mine(desk: Desk, mined: Sequence[tuple[Slot, Receipt]]) -> None:
    landed = [(await _landed(desk, slot, receipt, None))[0] for slot, receipt in mined]
    desk.hook("settle")
    await desk.store.mined(landed)
    desk.hook("settled")
    for item in landed:
        if item.succeeded:
            await _tell(desk, item, "included")


async def _landed(
    desk: Desk, slot: Slot, receipt: Receipt, last_block: int | None
) -> tuple[Landed, results.Result | None]:
    """Read a receipt's logs; what they lack is looked for in other transactions up to `last_block`."""
    at = (slot.nonce, slot.batch_id, receipt.tx_hash, receipt.block_number, receipt.block_hash, receipt.succeeded)
    if not receipt.succeeded:
        return Landed(*at), None
    batch = await desk.batch(slot.batch_id)
    result = results.read(batch, desk.domain.contract, receipt.logs)
    if result.missing:
        others = await find_logs(desk, batch, result.missing, last_block)
        result = results.read(batch, desk.domain.contract, receipt.logs, others)
    return Landed(*at, _recorded(batch, result), _withheld(batch, result)), result


async def find_logs(desk: Desk, batch: results.Batch, positions: Sequence[int], last_block: int | None) -> list[Log]:
    """ScoreSubmitted logs of these scores' rounds, whoever's transaction made them."""
    found: list[Log] = []
    for start in range(0, len(positions), ROUNDS_PER_QUERY):
        rounds = results.round_topics(batch, positions[start : start + ROUNDS_PER_QUERY])
        topics = [results.SCORE_SUBMITTED, batch.game, None, rounds]
        found += await desk.chain.logs(desk.domain.contract, topics, desk.settings.start_block, last_block)
    return found


def _recorded(batch: results.Batch, result: results.Result) -> tuple[Recorded, ...]:
    return tuple((batch.submission_ids[e.position], e.tx_hash, e.block_number) for e in result.elsewhere)


def _withheld(batch: results.Batch, result: results.Result) -> tuple[str, ...]:
    return tuple(batch.submission_ids[position] for position in (*result.contradicted, *result.missing))


async def _finalize(desk: Desk, final: Sequence[tuple[Slot, Receipt]], seen: Seen) -> None:
    """Verify once more, from a receipt fetched now whose block is canonical and final, then close."""
    done: list[tuple[Landed, list[tuple[str, str]]]] = []
    for slot, receipt in final:
        landed, result = await _landed(desk, slot, receipt, seen.finalized)
        if result is None:
            await _failed(desk, slot, seen)
            continue
        batch = await desk.batch(slot.batch_id)
        if result.missing:
            # The contract says it has them, the endpoint shows no log: one of the two is not to be trusted yet.
            desk.trouble["logs"] = (
                f"no ScoreSubmitted log found for {len(result.missing)} scores of batch {slot.batch_id}"
            )
            continue
        desk.trouble.pop("logs", None)
        parked = [(batch.submission_ids[position], "RECORDED_DIFFERENTLY") for position in result.contradicted]
        for submission_id, _ in parked:
            log.error("the chain holds other values for a round of ours", extra={"submission": submission_id})
        done.append((landed, parked))
    if not done:
        return
    desk.hook("finish")
    await desk.store.finish(done)
    desk.hook("finished")
    for landed, _ in done:
        await _tell(desk, landed, "final")
        desk.close(landed.batch_id, [landed.tx_hash])


async def _tell(desk: Desk, landed: Landed, status: str) -> None:
    batch = await desk.batch(landed.batch_id)
    apart = {item[0] for item in landed.elsewhere} | set(landed.withheld)
    for submission_id, tx_hash, _ in landed.elsewhere:
        desk.listener.changed([submission_id], status, tx_hash)
    desk.listener.changed([item for item in batch.submission_ids if item not in apart], status, landed.tx_hash)


async def _unmine(desk: Desk, slot: Slot) -> None:
    log.warning("reorg: a mined transaction is live again", extra={"nonce": slot.nonce, "block": slot.block_number})
    desk.hook("unmine")
    await desk.store.unmined(slot)
    desk.hook("unmined")
    desk.sent_at.clear()  # whether the pool took it back is unknown: send again


async def _failed(desk: Desk, slot: Slot, seen: Seen) -> None:
    """A transaction that is final and failed: what the contract lacks of its scores waits again, to be tried out first.

    It lacks none where the players carried all of them to the contract themselves: then there was nothing to record.
    """
    batch = await desk.batch(slot.batch_id)
    logs = await find_logs(desk, batch, range(len(batch.records)), seen.finalized)
    result = results.read(batch, desk.domain.contract, (), logs)
    reason = "every score was recorded by another transaction"
    if len(result.elsewhere) < len(batch.records):
        reason = await _why(desk, slot.batch_id)
        log.error("a batch failed on the chain", extra={"nonce": slot.nonce, "reason": reason})
        desk.careful = True
    desk.hook("give_up")
    await desk.store.give_up(slot, SlotState.FINAL, reason, _recorded(batch, result))
    desk.hook("gave_up")
    for item in result.elsewhere:
        desk.listener.changed([batch.submission_ids[item.position]], "final", item.tx_hash)
    desk.close(slot.batch_id, [attempt.tx_hash for attempt in slot.attempts])


async def _why(desk: Desk, batch_id: int) -> str:
    """Ask the chain why a batch's call fails; it may not fail any more."""
    stored = await desk.store.batch(batch_id)
    try:
        await desk.chain.call(desk.domain.contract, stored.calldata, desk.gas_signer.address)
    except ChainAnswerError as error:
        return f"transaction failed: {revert_name(error.revert) if error.revert else error.message}"
    return "transaction failed"


async def _estrange(desk: Desk, slot: Slot, seen: Seen) -> None:
    """Someone else's transaction used the nonce for good: what the contract lacks of the batch waits again."""
    log.error("another transaction of the gas key used a nonce of ours", extra={"nonce": slot.nonce})
    batch = await desk.batch(slot.batch_id)
    logs = await find_logs(desk, batch, range(len(batch.records)), seen.finalized)
    result = results.read(batch, desk.domain.contract, (), logs)
    desk.hook("give_up")
    await desk.store.give_up(slot, SlotState.FOREIGN, "nonce used by another transaction", _recorded(batch, result))
    desk.hook("gave_up")
    desk.close(slot.batch_id, [attempt.tx_hash for attempt in slot.attempts])
