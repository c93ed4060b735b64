"""Step 5 of the loop: fill free slots with what waits, as far as the balance covers it.

Touches the chain, the store and the signers through the desk. A batch is committed with its nonce, then its signed
transaction, then it is sent: three steps, in this order.
"""

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from relay.chain_types import Block, ChainAnswerError
from relay.contract import revert_name
from relay.errors import SignerError
from relay.outbox.cargo import Cargo, Due, Refusal
from relay.outbox.desk import Desk
from relay.outbox.fees import quote
from relay.outbox.send import broadcast, sign
from relay.outbox.slots import Slot
from relay.store.outbox import SealConflictError, Sealed, StoredBatch

log = logging.getLogger(__name__)

REVERTED = 3  # the JSON-RPC error code of a call that reverted (geth and most others)


@dataclass(frozen=True)
class Load:
    """A plan and the cargo it is of."""

    cargo: Cargo[Any]
    plan: Sequence[Any]


async def fill(desk: Desk, slots: Sequence[Slot], head: Block) -> int | None:
    """Seal what is due while slots are free; returns milliseconds until more will be due, None when nothing waits."""
    free = 0 if desk.draining else desk.settings.in_flight_max - len(slots)
    loads: list[Load] = []
    waits: list[int] = []
    for cargo in desk.cargoes.values():
        if free <= len(loads):
            return None
        due = await cargo.due(head, free - len(loads), desk.settings.limits.wait_ms)
        await _note(desk, cargo, due)
        if due.wait_ms is None:
            desk.careful.discard(cargo.kind)
        elif not due.plans:
            waits.append(due.wait_ms)
        elif cargo.kind in desk.careful:
            loads += await preflight(desk, cargo, due.plans, head)
        else:
            loads += [Load(cargo, plan) for plan in due.plans]
    if not loads:
        return min(waits, default=None)
    if await _affordable(desk, slots, loads) and await seal(desk, loads, head):
        return 0
    return None  # something is in the way: look again with the chain's next news


async def _note(desk: Desk, cargo: Cargo[Any], due: Due[Any]) -> None:
    """Write down what became clear while a cargo chose."""
    if due.effect is not None:
        desk.hook("note")
        await desk.store.apply(due.effect.move)
        desk.hook("noted")
        desk.tell(due.effect)
    if due.trouble is not None:
        desk.trouble[cargo.kind] = due.trouble
    else:
        desk.trouble.pop(cargo.kind, None)


async def seal(desk: Desk, loads: Sequence[Load], head: Block) -> bool:
    """Commit batches with their nonces, sign, commit the signed, send. False: something is in the way."""
    nonces = await _nonces(desk, head)
    if nonces is None:
        return False
    try:
        sealed = await asyncio.to_thread(lambda: [load.cargo.seal(load.plan, head) for load in loads])
    except SignerError as error:
        desk.trouble["signer"] = str(error)
        return False
    desk.hook("seal")
    try:
        made = await desk.store.seal(sealed, *nonces)
    except SealConflictError:
        return False  # another sender, or an operator, moved one of them: look again
    desk.hook("sealed")
    for slot, load, one in zip(made, loads, sealed, strict=True):
        desk.batches[slot.batch_id] = _stored(slot.batch_id, one)
        for ids, status, tx_hash in load.cargo.queued(one):
            desk.listener.changed(ids, status, tx_hash)
    bid = quote(await desk.chain.fees(), desk.settings.fee_wei_cap)
    attempts = await sign(desk, [(slot, bid) for slot in made], head.number)
    raws = {item.attempt.tx_hash: item.raw for item in attempts}
    await broadcast(desk, list(raws), raws, head.number)
    return True


def _stored(batch_id: int, one: Sealed) -> StoredBatch:
    return StoredBatch(batch_id, one.kind, one.game_id, one.rules_hash, one.calldata, one.items)


async def _nonces(desk: Desk, head: Block) -> tuple[int, int] | None:
    """Where a key without history begins, and below what nonces are foreign; None: wait until that is final."""
    address = desk.gas_signer.address
    ours = await desk.store.next_nonce()
    used = await desk.chain.nonce(address)
    if ours is None or used <= ours:
        return used, 0
    finalized = await desk.chain.finalized(desk.settings.confirmations, head)
    final = await desk.chain.nonce(address, finalized)
    if final < used:
        desk.trouble["nonce"] = "another program uses the gas key; waiting until its transactions are final"
        return None
    desk.trouble.pop("nonce", None)
    log.error("nonces of the gas key were used elsewhere", extra={"from": ours, "below": final})
    return used, final


async def _affordable(desk: Desk, slots: Sequence[Slot], loads: Sequence[Load]) -> bool:
    """Whether the balance covers the worst case of everything under way and of what is planned."""
    balance = await desk.chain.balance(desk.gas_signer.address)
    bid = quote(await desk.chain.fees(), desk.settings.fee_wei_cap)
    reserved = sum(slot.attempts[-1].bid.cost(slot.attempts[-1].gas_limit) for slot in slots if slot.attempts)
    planned = sum(bid.cost(load.cargo.gas_limit(len(load.plan))) for load in loads)
    if balance >= reserved + planned:
        desk.trouble.pop("gas", None)
        return True
    desk.trouble["gas"] = f"the gas account holds {balance} wei and needs {reserved + planned}: fill it"
    return False


# ----------------------------------------------------------------------- trying out


async def preflight(desk: Desk, cargo: Cargo[Any], plans: Sequence[Sequence[Any]], head: Block) -> list[Load]:
    """Let the chain try each plan without sending it; returns those it would take.

    One that it would refuse is halved until the item that spoils it stands alone, which is parked with the reason.
    """
    passed: list[Load] = []
    stack = list(reversed(plans))
    while stack and len(passed) < len(plans):
        plan = stack.pop()
        reason = await _reason(desk, cargo, plan, head)
        if reason is None:
            passed.append(Load(cargo, plan))
            continue
        refusal = cargo.refusal(reason)
        if refusal is Refusal.EVERYTHING:
            desk.trouble["contract"] = f"the contract refuses everything now: {reason}"
            return passed
        if refusal is Refusal.ITEM and len(plan) > 1:
            middle = len(plan) // 2
            stack += [plan[middle:], plan[:middle]]
            continue
        if refusal is Refusal.DONE:
            finalized = await desk.chain.finalized(desk.settings.confirmations, head)
            effect = await cargo.done_elsewhere(plan, finalized)
        else:
            effect = cargo.park(plan[0], reason)
        await desk.store.apply(effect.move)
        desk.tell(effect)
    desk.trouble.pop("contract", None)
    return passed


async def _reason(desk: Desk, cargo: Cargo[Any], plan: Sequence[Any], head: Block) -> str | None:
    """Why the contract would refuse a plan; None: it would take it."""
    sealed = await asyncio.to_thread(cargo.seal, plan, head)
    try:
        await desk.chain.call(desk.domain.contract, sealed.calldata, desk.gas_signer.address)
    except ChainAnswerError as error:
        if error.revert:
            return revert_name(error.revert)
        if error.code == REVERTED or "revert" in error.message.lower():
            return error.message
        raise  # an endpoint in trouble is not the contract's word: nothing is parked for it
    return None
