"""Steps 3 and 4 of the loop: sign, send again, raise fees.

Touches the chain, the store and the gas signer through the desk. A signed transaction is committed before it is sent,
and no answer to a send ends anything.
"""

import asyncio
import logging
from collections.abc import Mapping, Sequence

from relay.chain_types import ChainAnswerError
from relay.errors import SignerError
from relay.outbox.cargo import Effect
from relay.outbox.desk import Desk
from relay.outbox.fees import Bid, bump, quote
from relay.outbox.send_errors import SendClass, classify
from relay.outbox.settle import Todo
from relay.outbox.slots import Attempt, Raise, Send, Sent, Sign, Slot
from relay.store.outbox import NewAttempt, StoredBatch

log = logging.getLogger(__name__)

ESTIMATE_MARGIN_PERCENT = 25


async def carry_out(desk: Desk, todo: Todo) -> None:
    """Do what the decisions asked for, in nonce order."""
    desk.trouble.pop("fees", None)
    fresh: list[tuple[Slot, Bid]] = []
    queue: list[tuple[int, bytes]] = []
    for slot, action in todo.actions:
        if isinstance(action, Sign):
            fresh.append((slot, quote(todo.seen.market, desk.settings.fee_wei_cap)))
        elif isinstance(action, Raise):
            bid = bump(slot.attempts[-1].bid, todo.seen.market, desk.settings.fee_wei_cap)
            if bid is None:
                desk.trouble["fees"] = f"nonce {slot.nonce} is stuck and the fee cap is reached"
                queue.append((slot.nonce, slot.attempts[-1].tx_hash))
            else:
                fresh.append((slot, bid))
        elif isinstance(action, Send):
            queue.append((slot.nonce, slot.attempts[-1].tx_hash))
    made = await sign(desk, fresh, todo.seen.head)
    raws = {item.attempt.tx_hash: item.raw for item in made}
    queue += [(item.nonce, item.attempt.tx_hash) for item in made]
    await broadcast(desk, [tx_hash for _, tx_hash in sorted(queue)], raws, todo.seen.head)


async def sign(desk: Desk, wanted: Sequence[tuple[Slot, Bid]], head: int) -> list[NewAttempt]:
    """Make attempts and commit them; nothing is sent here. A signer that is away leaves the rest unsigned."""
    made: list[NewAttempt] = []
    effects: list[Effect] = []
    for slot, bid in wanted:
        batch = await desk.batch(slot.batch_id)
        cargo = desk.cargo(batch)
        known = slot.attempts[-1].gas_limit if slot.attempts else None
        gas = known or await gas_limit(desk, batch, cargo.gas_limit(len(batch.items)))
        try:
            raw, tx_hash = await asyncio.to_thread(_signed, desk, slot.nonce, batch.calldata, gas, bid)
        except SignerError as error:
            desk.trouble["signer"] = str(error)
            break
        desk.trouble.pop("signer", None)
        effect = cargo.sent(batch, tx_hash)
        made.append(NewAttempt(slot.nonce, raw, Attempt(tx_hash, bid, gas, head), effect.move))
        if not slot.attempts:
            effects.append(effect)
    if not made:
        return []
    desk.hook("record")
    await desk.store.record_attempts(made)
    desk.hook("recorded")
    for effect in effects:
        desk.tell(effect)
    return made


async def gas_limit(desk: Desk, batch: StoredBatch, bound: int) -> int:
    """Gas for a batch: what the chain estimates plus a quarter, or the cargo's bound."""
    if not desk.settings.estimate_gas:
        return bound
    try:
        estimate = await desk.chain.estimate_gas(desk.gas_signer.address, desk.domain.contract, batch.calldata)
    except ChainAnswerError:
        return bound  # it is committed to its nonce and goes out all the same; its receipt will tell
    return estimate * (100 + ESTIMATE_MARGIN_PERCENT) // 100


def _signed(desk: Desk, nonce: int, calldata: bytes, gas: int, bid: Bid) -> tuple[bytes, bytes]:
    fields: dict[str, object] = {
        "chainId": desk.domain.chain_id,
        "nonce": nonce,
        "gas": gas,
        "to": desk.domain.contract,
        "value": 0,
        "data": calldata,
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
        found = classify(answer)
        if answer.accepted or answer.code is not None:
            desk.sent_at[tx_hash] = Sent(head, desk.clock())
        if found is SendClass.INSUFFICIENT_FUNDS:
            desk.trouble["gas"] = "the node says the gas account cannot pay for the next transaction"
        elif found is SendClass.NEVER_VALID:
            desk.trouble["send"] = f"the node will never take a transaction of ours: {answer.message}"
        elif found in (SendClass.ACCEPTED, SendClass.ALREADY_KNOWN):
            desk.trouble.pop("send", None)
        if found not in (SendClass.ACCEPTED, SendClass.ALREADY_KNOWN):
            log.warning("send", extra={"tx": "0x" + tx_hash.hex(), "class": found.value, "answer": answer.message})
        if found is SendClass.AMBIGUOUS and answer.code is None:
            break  # no answer: the endpoint is away, the rest would only wait for it one by one
