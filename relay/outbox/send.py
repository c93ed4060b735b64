"""Steps 3 to 5 of the loop: sign, send again, raise fees, and fill free slots with new batches.

Touches the chain, the store and the two signers through the desk. A signed transaction is committed before it is
sent, and no answer to a send ends anything.
"""

import asyncio
import logging
from collections.abc import Mapping, Sequence

from relay.attestation import score_batch_digest
from relay.chain_types import Block, ChainAnswerError
from relay.contract import encode_submit_scores, game_key, pack_record, revert_name
from relay.contract_records import Record
from relay.outbox import results
from relay.outbox.batches import Waiting, choose, due_in_ms
from relay.outbox.desk import Desk
from relay.outbox.fees import Bid, bump, quote
from relay.outbox.send_errors import SendClass, classify
from relay.outbox.settle import Todo, find_logs
from relay.outbox.slots import Attempt, Raise, Send, Sent, Sign, Slot
from relay.store.outbox import NewAttempt, SealConflictError, Sealed, StoredBatch

log = logging.getLogger(__name__)

ESTIMATE_MARGIN_PERCENT = 25
# Reverts that say nothing about a score: the whole relay (or one game's rules) cannot record now.
REVERTED = 3  # the JSON-RPC error code of a call that reverted (geth and most others)
WHOLE_RELAY = {"EnforcedPause", "UnknownSigner", "DeadlinePassed", "RulesNotActive"}


# ------------------------------------------------------------------ signing and sending


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
    """Make attempts and commit them; nothing is sent here."""
    if not wanted:
        return []
    made = []
    for slot, bid in wanted:
        stored = desk.stored.get(slot.batch_id) or await desk.store.batch(slot.batch_id)
        known = slot.attempts[-1].gas_limit if slot.attempts else None
        gas = known or await gas_limit(desk, stored.calldata, len(stored.submission_ids))
        raw, tx_hash = await asyncio.to_thread(_signed, desk, slot.nonce, stored.calldata, gas, bid)
        made.append(NewAttempt(slot.nonce, slot.batch_id, raw, Attempt(tx_hash, bid, gas, head)))
    desk.hook("record")
    await desk.store.record_attempts(made)
    desk.hook("recorded")
    for item in made:
        desk.stored.pop(item.batch_id, None)
        batch = await desk.batch(item.batch_id)
        desk.listener.changed(batch.submission_ids, "sent", item.attempt.tx_hash)
    return made


async def gas_limit(desk: Desk, calldata: bytes, size: int) -> int:
    """Gas for a batch: what the chain estimates plus a quarter, or the model's bound."""
    bound = desk.settings.limits.gas.limit(size)
    if not desk.settings.estimate_gas:
        return bound
    try:
        estimate = await desk.chain.estimate_gas(desk.gas_signer.address, desk.domain.contract, calldata)
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


# ------------------------------------------------------------------------- filling


async def fill(desk: Desk, slots: Sequence[Slot], head: Block) -> int | None:
    """Seal what is due while slots are free; returns milliseconds until more will be due, None when nothing waits."""
    free = desk.settings.in_flight_max - len(slots)
    if free <= 0:
        return None
    limits = desk.settings.limits
    capacity = limits.capacity(head.gas_limit)
    waiting, now_ms = await desk.store.waiting(capacity * free)
    if not waiting:
        desk.careful = False
        return None
    plans: Sequence[Sequence[Waiting]] = choose(waiting, now_ms, limits, capacity, free)
    if not plans:
        return due_in_ms(waiting, now_ms, limits)
    if desk.careful:
        plans = await preflight(desk, plans, head)
    if plans and await _affordable(desk, slots, plans) and await seal(desk, plans, head):
        return 0
    return None  # something is in the way: look again with the chain's next news


async def seal(desk: Desk, plans: Sequence[Sequence[Waiting]], head: Block) -> bool:
    """Commit batches with their nonces, then their signed transactions, then send: three steps, in this order."""
    nonces = await _nonces(desk, head)
    if nonces is None:
        return False
    sealed = await asyncio.to_thread(lambda: [attest(desk, plan, head) for plan in plans])
    desk.hook("seal")
    try:
        made = await desk.store.seal(sealed, *nonces)
    except SealConflictError:
        return False  # another sender, or an operator, moved one of them: look again
    desk.hook("sealed")
    for slot, plan, one in zip(made, plans, sealed, strict=True):
        desk.listener.changed(one.submission_ids, "queued", None)
        members = (one.game_id, one.rules_hash, one.calldata, one.submission_ids)
        desk.stored[slot.batch_id] = StoredBatch(slot.batch_id, *members)
        desk.batches[slot.batch_id] = as_batch(slot.batch_id, plan)
    market = await desk.chain.fees()
    bid = quote(market, desk.settings.fee_wei_cap)
    attempts = await sign(desk, [(slot, bid) for slot in made], head.number)
    raws = {item.attempt.tx_hash: item.raw for item in attempts}
    await broadcast(desk, list(raws), raws, head.number)
    return True


def attest(desk: Desk, plan: Sequence[Waiting], head: Block) -> Sealed:
    """Pack and sign a batch. The deadline counts from the chain's own time."""
    first = plan[0]
    records = b"".join(pack_record(_record(score)) for score in plan)
    game = game_key(first.game_id)
    deadline = head.timestamp + desk.settings.deadline_s
    signature = desk.attester.sign(score_batch_digest(desk.domain, game, first.rules_hash, deadline, records))
    calldata = encode_submit_scores(game, first.rules_hash, deadline, records, signature)
    return Sealed(first.game_id, first.rules_hash, calldata, tuple(score.submission_id for score in plan))


def as_batch(batch_id: int, plan: Sequence[Waiting]) -> results.Batch:
    """The scores as what their logs are compared with."""
    first = plan[0]
    ids = tuple(score.submission_id for score in plan)
    return results.Batch(
        batch_id, game_key(first.game_id), first.rules_hash, ids, tuple(_record(score) for score in plan)
    )


def _record(score: Waiting) -> Record:
    return Record(score.player, score.score, score.round_id, score.evidence_hash)


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


async def _affordable(desk: Desk, slots: Sequence[Slot], plans: Sequence[Sequence[Waiting]]) -> bool:
    """Whether the balance covers the worst case of everything under way and of what is planned."""
    balance = await desk.chain.balance(desk.gas_signer.address)
    bid = quote(await desk.chain.fees(), desk.settings.fee_wei_cap)
    reserved = sum(slot.attempts[-1].bid.cost(slot.attempts[-1].gas_limit) for slot in slots if slot.attempts)
    planned = sum(bid.cost(desk.settings.limits.gas.limit(len(plan))) for plan in plans)
    if balance >= reserved + planned:
        desk.trouble.pop("gas", None)
        return True
    desk.trouble["gas"] = f"the gas account holds {balance} wei and needs {reserved + planned}: fill it"
    return False


# ----------------------------------------------------------------------- trying out


async def preflight(desk: Desk, plans: Sequence[Sequence[Waiting]], head: Block) -> list[Sequence[Waiting]]:
    """Let the chain try each batch without sending it; returns those it would take.

    One that it would refuse is halved until the score that spoils it stands alone, which is parked with the reason.
    """
    passed: list[Sequence[Waiting]] = []
    stack = list(reversed(plans))
    while stack and len(passed) < len(plans):
        plan = stack.pop()
        reason = await _refusal(desk, plan, head)
        if reason is None:
            passed.append(plan)
        elif reason in WHOLE_RELAY:
            desk.trouble["contract"] = f"the contract refuses every score now: {reason}"
            return passed
        elif reason == "NothingToRecord":
            await _already_recorded(desk, plan, head)
        elif len(plan) > 1:
            middle = len(plan) // 2
            stack += [plan[middle:], plan[:middle]]
        else:
            log.error("a score is parked", extra={"submission": plan[0].submission_id, "reason": reason})
            await desk.store.settle_waiting((), [(plan[0].submission_id, reason)])
            desk.listener.changed([plan[0].submission_id], "parked", None)
    desk.trouble.pop("contract", None)
    return passed


async def _refusal(desk: Desk, plan: Sequence[Waiting], head: Block) -> str | None:
    calldata = attest(desk, plan, head).calldata
    try:
        await desk.chain.call(desk.domain.contract, calldata, desk.gas_signer.address)
    except ChainAnswerError as error:
        if error.revert:
            return revert_name(error.revert)
        if error.code == REVERTED or "revert" in error.message.lower():
            return error.message
        raise  # an endpoint in trouble is not the contract's word: a score is not parked for it
    return None


async def _already_recorded(desk: Desk, plan: Sequence[Waiting], head: Block) -> None:
    """All of these rounds are on the contract: take over what its final logs say."""
    finalized = await desk.chain.finalized(desk.settings.confirmations, head)
    batch = as_batch(0, plan)
    ids = batch.submission_ids
    logs = await find_logs(desk, batch, range(len(plan)), finalized)
    result = results.read(batch, desk.domain.contract, (), logs)
    recorded = [(ids[found.position], found.tx_hash, found.block_number) for found in result.elsewhere]
    parked = [(ids[position], "RECORDED_DIFFERENTLY") for position in result.contradicted]
    await desk.store.settle_waiting(recorded, parked)
    for submission_id, tx_hash, _ in recorded:
        desk.listener.changed([submission_id], "final", tx_hash)
    for submission_id, _ in parked:
        desk.listener.changed([submission_id], "parked", None)
