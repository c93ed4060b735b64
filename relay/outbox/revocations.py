"""The cargo of moderation: orders to take recorded scores back, or to put them back, proved by the contract's logs.

Touches the chain and the rows of orders through what it is given. When an order waits, is due or lapses is decided in
`relay.revocation`. Each plan is tried out first: the contract refuses a whole call for one round that it does not have.
"""

import logging
from collections.abc import Sequence
from typing import NamedTuple, Protocol

from relay.attestation import Domain
from relay.chain_types import Block, ChainAnswerError, Log, Receipt
from relay.contract import MAX_BATCH, encode_call, game_key, revert_name
from relay.contract_moderation import (
    FUNCTIONS,
    LOGGED,
    Marked,
    decode_moderation,
    encode_moderation,
    marks,
    unrecorded_round,
)
from relay.keccak import checksum_address, keccak
from relay.outbox import results
from relay.outbox.batches import GAS_PER_TRANSACTION_MAX, GasModel, remaining_ms
from relay.outbox.cargo import Due, Effect, News, Refusal, Release, Unproven
from relay.outbox.desk import OutboxSettings
from relay.revocation import Action, WaitingOrder, evidence, lapses, plans, since_ms, why_unrecorded
from relay.store import revocation_moves as rows
from relay.store.outbox import Sealed, StoredBatch
from relay.store.revocation_moves import Done, OrderRows, Standing

log = logging.getLogger(__name__)

KINDS = {Action.REVOKE: "invalidate", Action.REINSTATE: "reinstate"}
NO_RULES = bytes(32)
ASKED_PER_STEP = 20  # orders whose score we did not record: one small call each
ROUNDS_PER_QUERY = 100  # alternatives in one topic filter
REVERTED = 3  # the JSON-RPC error code of a call that reverted (geth and most others)
# Worst case: every round in bitmap words of its own, of which the marks' is new. A test measures it.
GAS = GasModel(fixed=80_000, per_score=34_000)
LAPSED = "the score is not on the chain, and every signature that could bring it there has expired"
DONE_ELSEWHERE = "the contract has it already, from another sender; waiting until that is final"


class ModerationChain(Protocol):
    """What this cargo asks the chain."""

    async def block(self, tag: int | str) -> Block | None:
        """A block by number or tag."""

    async def finalized(self, confirmations: int, head: Block) -> int:
        """Highest final block number."""

    async def call(self, to: bytes, data: bytes, sender: bytes | None = None) -> bytes:
        """eth_call."""

    async def logs(
        self, address: bytes, topics: Sequence[bytes | Sequence[bytes] | None], first: int, last: int | None = None
    ) -> list[Log]:
        """eth_getLogs."""


class _Tried(NamedTuple):
    """What the contract says to a plan: orders it takes now, what became clear of others, and what is in the way."""

    plan: Sequence[WaitingOrder]
    standing: Standing = Standing()
    trouble: str | None = None


class ModerationCargo:
    """Implements `relay.outbox.cargo.Cargo` for one of the two actions; `auditor` is the account that sends."""

    def __init__(
        self,
        action: Action,
        chain: ModerationChain,
        orders: OrderRows,
        auditor: bytes,
        domain: Domain,
        settings: OutboxSettings,
    ) -> None:
        self.kind = KINDS[action]
        self._action = action
        self._chain = chain
        self._orders = orders
        self._auditor = auditor
        self._domain = domain
        self._settings = settings
        self._asked = 0  # the order asked about last, in rounds through all whose score we did not record
        self._round_at: int | None = None  # time of the head at which the last round was complete

    # ---------------------------------------------------------------- planning

    async def due(self, head: Block, slots_free: int, wait_ms: int) -> Due[WaitingOrder]:
        """Choose batches of one game each, of orders whose scores the contract has, and let it try them out."""
        capacity = self._capacity(head.gas_limit)
        ready, now_ms = await self._orders.ready(self._action, capacity * slots_free)
        found, clear = await self._ask(head) if self._action is Action.REVOKE else ([], Standing())
        ready = sorted([*ready, *found])
        passed: list[Sequence[WaitingOrder]] = []
        trouble: str | None = None
        chosen = plans(ready, now_ms, wait_ms, capacity)[:slots_free]
        for plan in chosen:
            tried = await self._try(plan, head)
            clear = clear.plus(tried.standing)
            trouble = trouble or tried.trouble
            if tried.plan:
                passed.append(tried.plan)
        effect = Effect(rows.settle_waiting(clear)) if any(clear) else None
        waits = remaining_ms(since_ms(ready), now_ms, wait_ms) if ready and (passed or not chosen) else None
        return Due(passed, waits, effect, trouble)

    def _capacity(self, gas_max: int) -> int:
        by_gas = (min(gas_max, GAS_PER_TRANSACTION_MAX) - GAS.fixed) // GAS.per_score
        return max(1, min(self._settings.limits.size, MAX_BATCH, by_gas))

    async def _ask(self, head: Block) -> tuple[list[WaitingOrder], Standing]:
        """Ask the contract for scores that we did not record, some in each step, all once per new block at most."""
        if self._round_at is not None and head.timestamp > self._round_at:
            self._asked, self._round_at = 0, None
        orders = await self._orders.unknown(self._action, self._asked, ASKED_PER_STEP)
        found: list[WaitingOrder] = []
        clear = Standing()
        for order in orders:
            if await self._recorded(order):
                found.append(order)
            else:
                clear = await self._unrecorded(order, head, clear)
        self._asked = orders[-1].seq if orders else self._asked
        if len(orders) < ASKED_PER_STEP and self._round_at is None:
            self._round_at = head.timestamp
        return found, clear

    async def _recorded(self, order: WaitingOrder) -> bool:
        question = encode_call("isRecorded", game_key(order.game_id), order.round_id)
        return results.recorded(await self._chain.call(self._domain.contract, question))

    async def _unrecorded(self, order: WaitingOrder, head: Block, clear: Standing) -> Standing:
        final = await self._chain.block(await self._chain.finalized(self._settings.confirmations, head))
        if final is not None and lapses(order, self._settings.deadline_s, final.timestamp):
            return clear._replace(lapsed=(*clear.lapsed, (order.order_id, LAPSED)))
        return _wait(clear, order, why_unrecorded(order))

    async def _try(self, plan: Sequence[WaitingOrder], head: Block) -> _Tried:
        """Let the contract try a plan; what it does not have is taken out, one round after the other."""
        clear = Standing()
        while plan:
            error = await self._refused(plan, head)
            if error is None:
                return _Tried(plan, clear)
            name = revert_name(error.revert) if error.revert else error.message
            missing = unrecorded_round(error.revert or b"")
            if missing is not None and any(order.round_id == missing for order in plan):
                out = next(order for order in plan if order.round_id == missing)
                clear = _wait(clear, out, why_unrecorded(out))
                plan = [order for order in plan if order is not out]
                continue
            if name == "NothingToRecord":
                return _Tried((), clear.plus(await self._done(plan, head)))
            trouble = self._in_the_way(name)
            for order in plan:
                clear = _wait(clear, order, trouble)
            return _Tried((), clear, trouble)
        return _Tried((), clear)

    async def _refused(self, plan: Sequence[WaitingOrder], head: Block) -> ChainAnswerError | None:
        try:
            await self._chain.call(self._domain.contract, self.seal(plan, head).calldata, self._auditor)
        except ChainAnswerError as error:
            if error.revert or error.code == REVERTED or "revert" in error.message.lower():
                return error
            raise  # an endpoint in trouble is not the contract's word
        return None

    def _in_the_way(self, name: str) -> str:
        """What keeps the contract from taking any order, and what to do about it."""
        if name == "AccessControlUnauthorizedAccount":
            account = checksum_address(self._auditor)
            return f"{account} is no auditor on the contract: run `fairscore roles grant auditor {account}`"
        if name == "EnforcedPause":
            return "the contract is paused: the admin can unpause it"
        return f"the contract refuses {FUNCTIONS[self._action]}: {name}"

    async def _done(self, plan: Sequence[WaitingOrder], head: Block) -> Standing:
        """Somebody else did all of this: take over what is final."""
        finalized = await self._chain.finalized(self._settings.confirmations, head)
        found = await self._marks(game_key(plan[0].game_id), [order.round_id for order in plan], finalized)
        clear = Standing()
        for order in plan:
            last = found.get(order.round_id, [])[-1:]
            if last and last[0].action is self._action:
                done: Done = ((order.order_id,), last[0].tx_hash, last[0].block_number)
                clear = clear._replace(done=(*clear.done, done))
            else:
                clear = _wait(clear, order, DONE_ELSEWHERE)
        return clear._replace(landed=tuple(await self._landed([ids[0] for ids, _, _ in clear.done], finalized)))

    def seal(self, plan: Sequence[WaitingOrder], head: Block) -> Sealed:  # noqa: ARG002 - orders have no deadline
        """Fix the calldata: the rounds, and the hash of the evidence, which is stored in the same commit."""
        document = evidence(self._domain, self._action, plan)
        reason_hash = keccak(document)
        game_id, ids = plan[0].game_id, tuple(order.order_id for order in plan)
        calldata = encode_moderation(self._action, game_key(game_id), [order.round_id for order in plan], reason_hash)
        return Sealed(self.kind, game_id, NO_RULES, calldata, ids, rows.claim(ids, reason_hash, document))

    def queued(self, sealed: Sealed) -> Sequence[News]:  # noqa: ARG002
        """Nothing to tell: the submissions were revoked when it was asked for."""
        return ()

    def gas_limit(self, size: int) -> int:
        """Upper bound under Ethereum's prices."""
        return GAS.limit(size)

    # -------------------------------------------------------------- trying out

    def refusal(self, reason: str) -> Refusal:
        """What a revert with this name is about."""
        if reason == "NothingToRecord":
            return Refusal.DONE
        return Refusal.ITEM if reason == "NotRecorded" else Refusal.EVERYTHING

    async def done_elsewhere(self, plan: Sequence[WaitingOrder], finalized: int) -> Effect:
        """Between trying it out and sealing it, somebody else did it: the next round will find out."""
        del finalized
        return Effect(rows.settle_waiting(Standing(waits=tuple((order.order_id, DONE_ELSEWHERE) for order in plan))))

    def park(self, item: WaitingOrder, reason: str) -> Effect:
        """Orders are not set aside: whatever is in the way may go away."""
        return Effect(rows.settle_waiting(Standing(waits=((item.order_id, f"the contract refuses it: {reason}"),))))

    # --------------------------------------------------------------- under way

    def sent(self, batch: StoredBatch, tx_hash: bytes) -> Effect:
        """Its first transaction is signed and committed."""
        return Effect(rows.sent(batch.items, tx_hash))

    async def included(self, batch: StoredBatch, receipt: Receipt) -> Effect:
        """Its transaction succeeded in a block: what it marked, and what was marked before it."""
        done, _ = await self._read(batch, receipt, None)
        return Effect(rows.included(done))

    def unmined(self, batch: StoredBatch) -> Effect:
        """That block left the chain."""
        return Effect(rows.sent_again(batch.items))

    async def final(self, batch: StoredBatch, receipt: Receipt, finalized: int) -> Effect | Unproven:
        """Its transaction succeeded in a final block: every round needs its log, here or before."""
        done, missing = await self._read(batch, receipt, finalized)
        if missing:  # the contract skipped them, the endpoint shows no log: one of the two is not to be trusted
            return Unproven(f"no log of {FUNCTIONS[self._action]} found for {missing} scores of batch {batch.batch_id}")
        return Effect(rows.close(done, await self._landed(batch.items, finalized)))

    async def released(
        self,
        batch: StoredBatch,
        reason: str,
        finalized: int,
        *,
        blamed: bool,  # noqa: ARG002 - each plan is tried out before it is sealed, whatever happened to it
    ) -> Release | Unproven:
        """Its nonce is closed without it: what no final log shows as done waits again, to be tried out first."""
        call = decode_moderation(batch.calldata)
        found = await self._marks(call.game, call.round_ids, finalized)
        done: list[Done] = []
        back: list[str] = []
        for order_id, round_id in zip(batch.items, call.round_ids, strict=True):
            last = found.get(round_id, [])[-1:]
            if last and last[0].action is self._action:
                done.append(((order_id,), last[0].tx_hash, last[0].block_number))
            else:
                back.append(order_id)
        landed = await self._landed([ids[0] for ids, _, _ in done], finalized)
        by = frozenset(tx_hash for _, tx_hash, _ in done)
        return Release(Effect(rows.close(done, landed, back, reason)), not back, by)

    # ------------------------------------------------------------------- logs

    async def _read(self, batch: StoredBatch, receipt: Receipt, last_block: int | None) -> tuple[list[Done], int]:
        """Match a batch with its receipt; what the contract skipped was marked by a transaction before."""
        call = decode_moderation(batch.calldata)
        own = marks(call.game, self._domain.contract, receipt.logs)
        mine = [i for i, r in zip(batch.items, call.round_ids, strict=True) if self._marked(own.get(r, ()))]
        done: list[Done] = [(mine, receipt.tx_hash, receipt.block_number)] if mine else []
        skipped = {r: i for i, r in zip(batch.items, call.round_ids, strict=True) if i not in set(mine)}
        others = await self._marks(call.game, list(skipped), last_block) if skipped else {}
        missing = 0
        for round_id, order_id in skipped.items():
            mark = self._marked(others.get(round_id, ()))
            if mark is None:
                missing += 1
            else:
                done.append(((order_id,), mark.tx_hash, mark.block_number))
        return done, missing

    def _marked(self, found: Sequence[Marked]) -> Marked | None:
        return next((mark for mark in reversed(found) if mark.action is self._action), None)

    async def _marks(self, game: bytes, round_ids: Sequence[int], last_block: int | None) -> dict[int, list[Marked]]:
        """Every invalidation and reinstatement of these rounds, whoever's transaction made it."""
        found: dict[int, list[Marked]] = {}
        for start in range(0, len(round_ids), ROUNDS_PER_QUERY):
            rounds = [round_id.to_bytes(32, "big") for round_id in round_ids[start : start + ROUNDS_PER_QUERY]]
            topics: list[bytes | Sequence[bytes]] = [list(LOGGED.values()), game, rounds]
            logs = await self._chain.logs(self._domain.contract, topics, self._settings.start_block, last_block)
            found |= marks(game, self._domain.contract, logs)
        return found

    async def _landed(self, order_ids: Sequence[str], finalized: int) -> list[Done]:
        """Where the scores of these orders are that no transaction of ours carried: others had their receipts."""
        scores = await self._orders.uncarried(order_ids) if order_ids else []
        landed: list[Done] = []
        for score in scores:
            batch = results.Batch(score.game, score.rules_hash, (score.submission_id,), (score.record,))
            topics = [results.SCORE_SUBMITTED, batch.game, None, results.round_topics(batch, [0])]
            logs = await self._chain.logs(self._domain.contract, topics, self._settings.start_block, finalized)
            result = results.read(batch, self._domain.contract, (), logs)
            landed += [((score.submission_id,), found.tx_hash, found.block_number) for found in result.elsewhere]
        return landed


def _wait(clear: Standing, order: WaitingOrder, why: str) -> Standing:
    """Note why an order waits, if that is news."""
    return clear if order.detail == why else clear._replace(waits=(*clear.waits, (order.order_id, why)))
