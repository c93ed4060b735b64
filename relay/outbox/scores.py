"""The cargo of scores: accepted submissions, packed and signed into `submitScores`, proved by `ScoreSubmitted` logs.

Touches the chain's logs and the rows of submissions through what it is given. What forms a batch is decided in
`relay.outbox.batches`, what logs prove in `relay.outbox.results`.
"""

import logging
from collections.abc import Iterable, Sequence
from typing import Protocol

from relay.attestation import Domain, score_batch_struct
from relay.chain_types import Block, Log, Receipt
from relay.contract import (
    Record,
    decode_submit_scores,
    encode_call,
    encode_submit_scores,
    game_key,
    pack_record,
    unpack_records,
)
from relay.outbox import results
from relay.outbox.batches import Waiting, choose, due_in_ms
from relay.outbox.cargo import Due, Effect, News, Refusal, Release, Unproven
from relay.outbox.desk import OutboxSettings
from relay.store import outbox_scores as rows
from relay.store.outbox import Sealed, StoredBatch
from relay.store.outbox_scores import Recorded, ScoreRows

log = logging.getLogger(__name__)

FAILURES_MAX = 4  # of transactions with a score in them, the last alone: then it is set aside
ROUNDS_PER_QUERY = 100  # alternatives in one topic filter
# Reverts that say nothing about a score: the whole relay (or one game's rules) cannot record now.
EVERYTHING = {"EnforcedPause", "UnknownSigner", "DeadlinePassed", "RulesNotActive"}


class ScoreChain(Protocol):
    """What this cargo asks the chain."""

    async def calls(self, to: bytes, data: Sequence[bytes]) -> list[bytes]:
        """Several eth_calls."""

    async def logs(
        self, address: bytes, topics: Sequence[bytes | Sequence[bytes] | None], first: int, last: int | None = None
    ) -> list[Log]:
        """eth_getLogs."""


class Attester(Protocol):
    """Signs what was computed; pays for nothing."""

    def attest(self, domain: Domain, struct: bytes) -> bytes:
        """Return r, s, v over an encoded EIP-712 struct."""


class ScoreCargo:
    """Implements `relay.outbox.cargo.Cargo`. `attester` may be replaced while it runs; the next batch takes it."""

    kind = "scores"

    def __init__(
        self, chain: ScoreChain, waiting: ScoreRows, attester: Attester, domain: Domain, settings: OutboxSettings
    ) -> None:
        self.attester = attester
        self._chain = chain
        self._waiting = waiting
        self._domain = domain
        self._settings = settings

    # ---------------------------------------------------------------- planning

    async def due(self, head: Block, slots_free: int, wait_ms: int) -> Due[Waiting]:
        """Choose batches of one game and rules each: full ones, and those whose oldest score has waited."""
        capacity = self._settings.limits.capacity(head.gas_limit)
        waiting, now_ms = await self._waiting.waiting(capacity * slots_free)
        plans = choose(waiting, now_ms, wait_ms, capacity, slots_free)
        return Due(plans, due_in_ms(waiting, now_ms, wait_ms))

    def seal(self, plan: Sequence[Waiting], head: Block) -> Sealed:
        """Pack and sign a batch. The deadline counts from the chain's own time."""
        first = plan[0]
        records = b"".join(pack_record(_record(score)) for score in plan)
        game = game_key(first.game_id)
        deadline = head.timestamp + self._settings.deadline_s
        struct = score_batch_struct(game, first.rules_hash, deadline, records)
        signature = self.attester.attest(self._domain, struct)
        calldata = encode_submit_scores(game, first.rules_hash, deadline, records, signature)
        ids = tuple(score.submission_id for score in plan)
        return Sealed(self.kind, first.game_id, first.rules_hash, calldata, ids, rows.claim(ids))

    def queued(self, sealed: Sealed) -> Sequence[News]:
        """What to tell once it is sealed."""
        return ((sealed.items, "queued", None),)

    def gas_limit(self, size: int) -> int:
        """Upper bound under Ethereum's prices."""
        return self._settings.limits.gas.limit(size)

    # -------------------------------------------------------------- trying out

    def refusal(self, reason: str) -> Refusal:
        """What a revert with this name is about."""
        if reason in EVERYTHING:
            return Refusal.EVERYTHING
        return Refusal.DONE if reason == "NothingToRecord" else Refusal.ITEM

    async def done_elsewhere(self, plan: Sequence[Waiting], finalized: int) -> Effect:
        """All of these rounds are on the contract: take over what its final logs say."""
        first = plan[0]
        ids = tuple(score.submission_id for score in plan)
        batch = results.Batch(game_key(first.game_id), first.rules_hash, ids, tuple(_record(score) for score in plan))
        result = results.read(batch, self._domain.contract, (), await self._logs(batch, range(len(plan)), finalized))
        landed, parked = _elsewhere(batch, result), _contradicted(batch, result)
        return Effect(rows.settle_waiting(landed, parked), _news(landed, "final", parked))

    def park(self, item: Waiting, reason: str) -> Effect:
        """Set a score aside that the contract refuses by itself."""
        log.error("a score is parked", extra={"submission": item.submission_id, "reason": reason})
        parked = [(item.submission_id, reason)]
        return Effect(rows.settle_waiting((), parked), _news((), "", parked))

    # ------------------------------------------------------------- under way

    def sent(self, batch: StoredBatch, tx_hash: bytes) -> Effect:
        """Its first transaction is signed and committed."""
        return Effect(rows.sent(batch.items, tx_hash), ((batch.items, "sent", tx_hash),))

    async def included(self, batch: StoredBatch, receipt: Receipt) -> Effect:
        """Its transaction succeeded in a block: the scores its logs show, and those that others carried, are in."""
        contents = from_calldata(batch)
        landed = _landed(contents, await self._read(contents, receipt, None), receipt)
        return Effect(rows.included(landed), _news(landed, "included"))

    def unmined(self, batch: StoredBatch) -> Effect:
        """That block left the chain."""
        return Effect(rows.sent_again(batch.items))

    async def final(self, batch: StoredBatch, receipt: Receipt, finalized: int) -> Effect | Unproven:
        """Its transaction succeeded in a final block: every score needs its log, here or elsewhere."""
        contents = from_calldata(batch)
        result = await self._read(contents, receipt, finalized)
        if result.missing:  # the contract skipped them, the endpoint shows no log: one of the two is not to be trusted
            return Unproven(f"no ScoreSubmitted log found for {len(result.missing)} scores of batch {batch.batch_id}")
        landed, parked = _landed(contents, result, receipt), _contradicted(contents, result)
        return Effect(rows.close(landed, parked, ()), _news(landed, "final", parked))

    async def released(self, batch: StoredBatch, reason: str, finalized: int, *, blamed: bool) -> Release | Unproven:
        """Its nonce is closed without it: what final logs do not show, and the contract denies, waits again.

        A batch that failed goes again in halves; a score that fails alone, and not for the first time, is set aside.
        """
        contents = from_calldata(batch)
        positions = range(len(contents.records))
        logs = await self._logs(contents, positions, finalized)
        result = results.read(contents, self._domain.contract, (), logs)
        claimed = await self._recorded(contents, result.missing)
        if claimed:
            return Unproven(f"the contract holds {claimed} scores of batch {batch.batch_id} without a final log")
        landed, parked = _elsewhere(contents, result), _contradicted(contents, result)
        back = tuple(batch.items[position] for position in result.missing)
        if blamed and len(back) == len(batch.items) == 1 and await self._waiting.failures(back[0]) >= FAILURES_MAX - 1:
            log.error("a score is parked", extra={"submission": back[0], "reason": reason})
            parked, back = [*parked, (back[0], reason)], ()
        news = (*_news(landed, "final", parked), (back, "accepted", None))
        by = frozenset(found.tx_hash for found in result.elsewhere)
        move = rows.close(landed, parked, back, reason, blamed=blamed)
        return Release(Effect(move, news), not back and not parked, by)

    # ------------------------------------------------------------------- logs

    async def _read(self, batch: results.Batch, receipt: Receipt, last_block: int | None) -> results.Result:
        """Read a receipt's logs; what they lack is looked for in other transactions up to `last_block`."""
        result = results.read(batch, self._domain.contract, receipt.logs)
        if result.missing:
            others = await self._logs(batch, result.missing, last_block)
            result = results.read(batch, self._domain.contract, receipt.logs, others)
        return result

    async def _logs(self, batch: results.Batch, positions: Sequence[int], last_block: int | None) -> list[Log]:
        """ScoreSubmitted logs of these scores' rounds, whoever's transaction made them."""
        found: list[Log] = []
        for start in range(0, len(positions), ROUNDS_PER_QUERY):
            rounds = results.round_topics(batch, positions[start : start + ROUNDS_PER_QUERY])
            topics = [results.SCORE_SUBMITTED, batch.game, None, rounds]
            found += await self._chain.logs(self._domain.contract, topics, self._settings.start_block, last_block)
        return found

    async def _recorded(self, batch: results.Batch, positions: Sequence[int]) -> int:
        """How many of these rounds the contract itself calls recorded: its own word, against which logs are held."""
        rounds = [batch.records[position].round_id for position in positions]
        questions = [encode_call("isRecorded", batch.game, number) for number in rounds]
        answers = await self._chain.calls(self._domain.contract, questions)
        return sum(results.recorded(answer) for answer in answers)


def from_calldata(stored: StoredBatch) -> results.Batch:
    """Read a stored batch's records back from its calldata."""
    call = decode_submit_scores(stored.calldata)
    return results.Batch(call.game, stored.rules_hash, stored.items, tuple(unpack_records(call.records)))


def _record(score: Waiting) -> Record:
    return Record(score.player, score.score, score.round_id, score.evidence_hash)


def _landed(batch: results.Batch, result: results.Result, receipt: Receipt) -> list[Recorded]:
    own = tuple(batch.submission_ids[position] for position in result.recorded)
    return [(own, receipt.tx_hash, receipt.block_number), *_elsewhere(batch, result)]


def _elsewhere(batch: results.Batch, result: results.Result) -> list[Recorded]:
    return [((batch.submission_ids[e.position],), e.tx_hash, e.block_number) for e in result.elsewhere]


def _contradicted(batch: results.Batch, result: results.Result) -> list[tuple[str, str]]:
    parked = [(batch.submission_ids[position], "RECORDED_DIFFERENTLY") for position in result.contradicted]
    for submission_id, _ in parked:
        log.error("the chain holds other values for a round of ours", extra={"submission": submission_id})
    return parked


def _news(landed: Iterable[Recorded], status: str, parked: Sequence[tuple[str, str]] = ()) -> tuple[News, ...]:
    told: list[News] = [(ids, status, tx_hash) for ids, tx_hash, _ in landed]
    if parked:
        told.append(([submission_id for submission_id, _ in parked], "parked", None))
    return tuple(told)
