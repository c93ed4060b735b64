"""Steps 3 and 4 of the loop: sign, send again, raise fees.

Touches the chain, the store and the gas signer through the desk. A signed transaction is committed before it is sent,
and no answer to a send ends anything.
"""

import asyncio
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from relay.chain_types import ChainAnswerError
from relay.errors import SignerError
from relay.outbox.batches import GAS_PER_TRANSACTION_MAX
from relay.outbox.cargo import Effect
from relay.outbox.desk import Desk
from relay.outbox.fees import Bid, bump, quote
from relay.outbox.send_errors import SendClass, classify
from relay.outbox.settle import NO_EFFECT, Todo
from relay.outbox.slots import Attempt, Raise, Seen, Send, Sent, Sign, Slot, Void
from relay.store.outbox import NewAttempt, StoredBatch

log = logging.getLogger(__name__)

ESTIMATE_MARGIN_PERCENT = 25
TRANSFER_GAS = 21_000


@dataclass(frozen=True)
class Order:
    """An attempt to be made: of the slot's batch, or a void."""

    slot: Slot
    bid: Bid
    void: bool


async def carry_out(desk: Desk, todo: Todo) -> None:
    """Do what the decisions asked for, in nonce order."""
    desk.report("fees", None)
    fresh: list[Order] = []
    queue: list[tuple[int, bytes]] = []
    for slot, action in todo.actions:
        if isinstance(action, Sign):
            fresh.append(Order(slot, quote(todo.seen.market, desk.settings.fee_wei_cap), slot.void_by is not None))
        elif isinstance(action, Raise | Void):
            order = _raised(desk, slot, todo.seen, void=isinstance(action, Void) or slot.attempts[-1].void)
            if order is not None:
                fresh.append(order)
            elif desk.policy.resend_due(desk.sent_at.get(slot.attempts[-1].tx_hash), todo.seen.head, todo.seen.now_s):
                queue.append((slot.nonce, slot.attempts[-1].tx_hash))
        elif isinstance(action, Send):
            queue.append((slot.nonce, slot.attempts[-1].tx_hash))
    made = await sign(desk, fresh, todo.seen.head)
    raws = {item.attempt.tx_hash: item.raw for item in made}
    queue += [(item.nonce, item.attempt.tx_hash) for item in made]
    await broadcast(desk, [tx_hash for _, tx_hash in sorted(queue)], raws, todo.seen.head)


def _raised(desk: Desk, slot: Slot, seen: Seen, *, void: bool) -> Order | None:
    """The next attempt of a nonce with higher fees; None at the cap, where the newest one is sent on and on."""
    bid = bump(slot.attempts[-1].bid, seen.market, desk.settings.fee_wei_cap)
    if bid is None:
        cap = desk.settings.fee_wei_cap
        desk.report("fees", f"nonce {slot.nonce} needs a higher fee than the cap of {cap} wei per gas allows: raise it")
        desk.meter.fee_capped()
        return None
    return Order(slot, bid, void)


async def sign(desk: Desk, orders: Sequence[Order], head: int) -> list[NewAttempt]:
    """Make attempts and commit them; nothing is sent here. A signer that is away leaves the rest unsigned.

    Returns those that may be sent: a batch of which a score was revoked before anything was signed is voided instead.
    """
    made: list[NewAttempt] = []
    effects: dict[bytes, Effect] = {}
    for order in orders:
        slot, batch = order.slot, await desk.batch(order.slot.batch_id)
        to, data, gas = await _content(desk, order, batch)
        try:
            raw, tx_hash = await asyncio.to_thread(_signed, desk, slot.nonce, to, data, gas, order.bid)
        except SignerError as error:
            desk.report("signer", str(error))
            break
        desk.report("signer", None)
        effect = NO_EFFECT if order.void else desk.cargo(batch).sent(batch, tx_hash)
        made.append(NewAttempt(slot.nonce, raw, Attempt(tx_hash, order.bid, gas, head, order.void), effect.move))
        if not slot.attempts:
            effects[tx_hash] = effect
    if not made:
        return []
    desk.hook("record")
    stored = await desk.store.record_attempts(made)
    desk.hook("recorded")
    nonces = {item.nonce for item in stored}
    _count(desk, [order for order in orders if order.slot.nonce in nonces])
    for item in stored:
        if (first := effects.get(item.attempt.tx_hash)) is not None:
            desk.tell(first)
    return stored


def _count(desk: Desk, orders: Sequence[Order]) -> None:
    for order in orders:
        desk.meter.attempt()
        voided_before = any(attempt.void for attempt in order.slot.attempts)
        if order.void and not voided_before:
            desk.meter.voided()
        elif order.slot.attempts:
            desk.meter.bumped()


async def _content(desk: Desk, order: Order, batch: StoredBatch) -> tuple[bytes, bytes, int]:
    """Receiver, calldata and gas limit: never another content than the batch's, or nothing at all to ourselves."""
    slot = order.slot
    to, data = (desk.gas_signer.address, b"") if order.void else (desk.domain.contract, batch.calldata)
    known = next((attempt.gas_limit for attempt in slot.attempts if attempt.void == order.void), None)
    bound = TRANSFER_GAS if order.void else desk.gas_bound(desk.cargo(batch), len(batch.items))
    return to, data, known or await _gas_limit(desk, to, data, bound)


async def _gas_limit(desk: Desk, to: bytes, data: bytes, bound: int) -> int:
    """What the chain estimates plus a quarter, or the bound. A plain transfer costs exactly the same everywhere."""
    if not desk.settings.estimate_gas:
        return bound
    try:
        estimate = await desk.chain.estimate_gas(desk.gas_signer.address, to, data)
    except ChainAnswerError:
        return bound  # it is committed to its nonce and goes out all the same; its receipt will tell
    return estimate if estimate == TRANSFER_GAS else min(with_margin(estimate), GAS_PER_TRANSACTION_MAX)


def with_margin(estimate: int) -> int:
    """A gas limit for what a node estimated: the state may change until it is mined."""
    return estimate * (100 + ESTIMATE_MARGIN_PERCENT) // 100


def _signed(desk: Desk, nonce: int, to: bytes, data: bytes, gas: int, bid: Bid) -> tuple[bytes, bytes]:
    fields: dict[str, object] = {
        "chainId": desk.domain.chain_id,
        "nonce": nonce,
        "gas": gas,
        "to": to,
        "value": 0,
        "data": data,
    }
    if bid.tip_max is None:
        fields["gasPrice"] = bid.fee_max
    else:
        fields |= {"maxFeePerGas": bid.fee_max, "maxPriorityFeePerGas": bid.tip_max}
    return desk.gas_signer.sign_transaction(fields)


async def broadcast(desk: Desk, hashes: Sequence[bytes], raws: Mapping[bytes, bytes], head: int) -> None:
    """Send committed attempts in the order given; answers only change when to look again, and what to report."""
    for tx_hash in hashes:
        raw = raws.get(tx_hash) or await desk.store.raw(tx_hash)
        desk.hook("send")
        answer = await desk.chain.send_raw(raw)
        desk.hook("sent")
        for provider, one in answer.by:
            desk.meter.sent(provider, classify(one).value)
        found = classify(answer)
        if answer.accepted or answer.code is not None:
            if found is SendClass.NONCE_TOO_HIGH:
                desk.sent_at.clear()  # a predecessor is missing there: all of them go out again, in nonce order
            desk.sent_at[tx_hash] = Sent(head, desk.clock())
        _note(desk, tx_hash, found, answer.message)
        if found is SendClass.AMBIGUOUS and answer.code is None:
            break  # no answer: the endpoint is away, the rest would only wait for it one by one


def _note(desk: Desk, tx_hash: bytes, found: SendClass, message: str) -> None:
    """Remember what an answer suggests; none of it decides what becomes of the transaction."""
    if found in (SendClass.ACCEPTED, SendClass.ALREADY_KNOWN):
        desk.report("send", None)
        return
    if found is SendClass.UNDERPRICED:
        desk.underpriced.add(tx_hash)
    elif found is SendClass.INSUFFICIENT_FUNDS:
        desk.report("gas", "the node says the gas account cannot pay for the next transaction: fill it")
    elif found is SendClass.NEVER_VALID:
        desk.report("send", f"the node will never take a transaction of ours: {message}")
    log.warning("send", extra={"tx": "0x" + tx_hash.hex(), "class": found.value, "answer": message})
