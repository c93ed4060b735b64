"""Step 5 of the loop: fill free slots with what waits, as far as the balance covers it.

Touches the chain, the store and the signers through the desk. A batch is committed with its nonce, then its signed
transaction, then it is sent: three steps, in this order.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from relay.chain_types import Block, ChainAnswerError, Fees
from relay.contract import revert_name
from relay.errors import SignerError
from relay.outbox.batches import GAS_PER_TRANSACTION_MAX
from relay.outbox.cargo import Cargo, Due, Refusal
from relay.outbox.desk import Desk
from relay.outbox.fees import affordable, quote
from relay.outbox.reconcile import next_nonces
from relay.outbox.send import Order, broadcast, sign, with_margin
from relay.outbox.slots import Slot, worst_case
from relay.store.outbox import Sealed, StoredBatch

REVERTED = 3  # the JSON-RPC error code of a call that reverted (geth and most others)


@dataclass(frozen=True)
class Load:
    """A plan and the cargo it is of."""

    cargo: Cargo[Any]
    plan: Sequence[Any]


async def fill(desk: Desk, slots: Sequence[Slot], head: Block) -> int | None:
    """Seal what is due while slots are free; returns milliseconds until more will be due, None when nothing waits."""
    most = 1 if desk.single else desk.settings.in_flight_max
    free = 0 if desk.draining else most - len(slots)
    loads: list[Load] = []
    waits: list[int] = []
    for cargo in desk.cargoes.values():
        if free <= len(loads):
            break
        due = await _due(desk, cargo, head, free - len(loads))
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
    market = await desk.market()
    loads = await _affordable(desk, slots, loads, market)
    if loads and await seal(desk, loads, head, market):
        return 0
    return None  # something is in the way: look again with the chain's next news


async def _due(desk: Desk, cargo: Cargo[Any], head: Block, slots_free: int) -> Due[Any]:
    """Let a cargo choose, with room for as much as this chain's gas prices leave in one transaction.

    Before a plan is larger than any that was estimated, the chain is asked: what one item costs says little of many.
    """
    room = most = min(head.gas_limit, GAS_PER_TRANSACTION_MAX)
    while True:
        fitting = min(int(room / desk.gas_ratio.get(cargo.kind, 1.0)), most)
        due = await desk.due(cargo, replace(head, gas_limit=fitting), slots_free, desk.wait_ms)
        largest = max(due.plans, key=len, default=())
        if not desk.settings.estimate_gas or len(largest) <= desk.gas_known.get(cargo.kind, 0):
            return due
        taken = await _learn_gas(desk, cargo, largest, head)
        if not taken:
            return due
        most = cargo.gas_limit(taken)


async def _learn_gas(desk: Desk, cargo: Cargo[Any], plan: Sequence[Any], head: Block) -> int:
    """Ask the chain what a plan costs: some price storage and logs ten times as high as Ethereum does.

    A plan too large for the endpoint is halved; returns how many items were estimated. 0: the contract refuses it,
    which teaches nothing: it is tried out elsewhere.
    """
    while plan:
        sealed = await asyncio.to_thread(cargo.seal, plan, head)
        try:
            limit = with_margin(
                await desk.chain.estimate_gas(desk.gas_signer.address, desk.domain.contract, sealed.calldata)
            )
        except ChainAnswerError as error:
            if _is_revert(error):
                return 0
            plan = plan[: len(plan) // 2]
            continue
        kind, size = cargo.kind, len(plan)
        desk.gas_ratio[kind] = max(desk.gas_ratio.get(kind, 1.0), limit / cargo.gas_limit(size))
        desk.gas_known[kind] = max(desk.gas_known.get(kind, 0), size)
        return size
    return 0


async def seal(desk: Desk, loads: Sequence[Load], head: Block, market: Fees) -> bool:
    """Commit batches with their nonces, sign, commit the signed, send. False: something is in the way."""
    nonces = await next_nonces(desk, head)
    if nonces is None:
        return False
    try:
        sealed = await asyncio.to_thread(lambda: [load.cargo.seal(load.plan, head) for load in loads])
    except SignerError as error:
        desk.report("signer", str(error))
        return False
    desk.hook("seal")
    made = await desk.store.seal(sealed, *nonces)
    desk.hook("sealed")
    for slot, one in made:
        desk.meter.batch(len(one.items))
        batch = desk.batches[slot.batch_id] = _stored(slot.batch_id, one)
        for ids, status, tx_hash in desk.cargo(batch).queued(one):
            desk.listener.changed(ids, status, tx_hash)
    bid = quote(market, desk.settings.fee_wei_cap)
    attempts = await sign(desk, [Order(slot, bid, void=False) for slot, _ in made], head.number)
    raws = {item.attempt.tx_hash: item.raw for item in attempts}
    await broadcast(desk, list(raws), raws, head.number)
    return True


def _stored(batch_id: int, one: Sealed) -> StoredBatch:
    return StoredBatch(batch_id, one.kind, one.game_id, one.rules_hash, one.calldata, one.items)


async def _affordable(desk: Desk, slots: Sequence[Slot], loads: list[Load], market: Fees) -> list[Load]:
    """As many of the plans as the balance covers besides the worst case of everything under way."""
    balance = await desk.chain.balance(desk.gas_signer.address)
    bid = quote(market, desk.settings.fee_wei_cap)
    reserved = worst_case(slots)
    costs = [bid.cost(desk.gas_bound(load.cargo, len(load.plan))) for load in loads]
    count = affordable(balance, reserved, costs)
    desk.meter.funds(balance, reserved)
    missing = f"the gas account holds {balance} wei and needs {reserved + sum(costs)} to send what waits: fill it"
    desk.report("gas", missing if count < len(loads) else None)
    return loads[:count]


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
            desk.report("contract", f"the contract refuses everything now: {reason}")
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
        await desk.note(effect)
    desk.report("contract", None)
    return passed


async def _reason(desk: Desk, cargo: Cargo[Any], plan: Sequence[Any], head: Block) -> str | None:
    """Why the contract would refuse a plan; None: it would take it."""
    sealed = await asyncio.to_thread(cargo.seal, plan, head)
    try:
        await desk.chain.call(desk.domain.contract, sealed.calldata, desk.gas_signer.address)
    except ChainAnswerError as error:
        if error.revert:
            return revert_name(error.revert)
        if _is_revert(error):
            return error.message
        raise  # an endpoint in trouble is not the contract's word: nothing is parked for it
    return None


def _is_revert(error: ChainAnswerError) -> bool:
    return error.revert is not None or error.code == REVERTED or "revert" in error.message.lower()
