"""The truth of a simulated chain: accounts, pool, fee market, blocks, forks, finality, and what the contract recorded.

Pure: time and chance arrive as arguments. What an endpoint *says* about it is in `endpoint`.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache

import rlp

from relay.chain_types import Block, Log, Receipt
from relay.contract import TOPICS, Record, decode_submit_scores, encode_call, unpack_records
from relay.contract_moderation import FUNCTIONS, LOGGED, NOT_RECORDED, decode_moderation
from relay.keccak import keccak
from relay.revocation import Action

GWEI = 10**9
SCORE_SUBMITTED = TOPICS["ScoreSubmitted"]
IS_RECORDED = encode_call("isRecorded", bytes(32), 0)[:4]
MODERATES = {encode_call(name, bytes(32), [], bytes(32))[:4]: action for action, name in FUNCTIONS.items()}
GAS_PER_BLOCK = 30_000_000
Round = tuple[bytes, int]  # game key, round id


@dataclass(frozen=True, slots=True)
class Tx:
    """A transaction as a node decodes it; fees in wei per gas. A legacy one has tip = fee = gas price."""

    tx_hash: bytes
    sender: bytes
    nonce: int
    fee: int
    tip: int
    gas: int
    to: bytes
    value: int
    data: bytes
    chain_id: int


@dataclass(slots=True, eq=False)
class SimBlock:
    """A block of any fork: its transactions with their receipts, and every account's next nonce after it."""

    header: Block
    nonces: dict[bytes, int]
    txs: list[Tx] = field(default_factory=list)
    receipts: dict[bytes, Receipt] = field(default_factory=dict)

    @property
    def number(self) -> int:
        """Height."""
        return self.header.number


Branch = list[SimBlock]  # from the first block to a tip


@dataclass(frozen=True, slots=True)
class Call:
    """Decoded submitScores calldata."""

    game: bytes
    rules_hash: bytes
    deadline: int
    records: tuple[Record, ...]


@lru_cache(maxsize=512)
def decode(data: bytes) -> Call:
    """Decode calldata; cached, for a batch is tried, mined, unwound and mined again."""
    call = decode_submit_scores(data)
    return Call(call.game, call.rules_hash, call.deadline, tuple(unpack_records(call.records)))


def read_raw(raw: bytes, sender: bytes) -> Tx:
    """Decode a signed transaction (EIP-155 legacy or EIP-1559)."""
    number = int.from_bytes
    if raw[0] == 2:
        chain, nonce, tip, fee, gas, to, value, data = rlp.decode(raw[1:])[:8]
        chain_id = number(chain, "big")
    else:
        nonce, fee, gas, to, value, data, v = rlp.decode(raw)[:7]
        tip, chain_id = fee, (number(v, "big") - 35) // 2
    numbers = (number(nonce, "big"), number(fee, "big"), number(tip, "big"), number(gas, "big"))
    return Tx(keccak(raw), sender, *numbers, bytes(to), number(value, "big"), bytes(data), chain_id)


class World:
    """One chain with one contract. `confirmations`: how far below the highest head a block is final, for good."""

    def __init__(self, chain_id: int, contract: bytes, *, dedupe: bool, confirmations: int, legacy: bool) -> None:
        self.chain_id = chain_id
        self.contract = contract
        self.dedupe = dedupe
        self.confirmations = confirmations
        self.legacy = legacy
        self.base_fee = GWEI
        self.tip = GWEI
        self.poor = False  # no account can pay
        self.delegated = False  # every account has code (EIP-7702): one transaction of it at a time
        self.paused = False
        self.poison: set[int] = set()  # rounds the contract chokes on
        self.failing = 0  # transactions of the senders watched that will fail next, whatever they carry
        self.pools: dict[bytes, dict[int, Tx]] = {}
        self.ever: dict[bytes, Tx] = {}  # whatever was once sent can come back
        self.final = 0
        self.old_forks: list[Branch] = []
        self._salt = 0
        self._marks: dict[Round, list[tuple[SimBlock, Log]]] = {}
        self._places: dict[bytes, list[SimBlock]] = {}
        self.chain: Branch = [self._block(0, bytes(32), 1_700_000_000, {})]

    def _block(self, number: int, parent: bytes, timestamp: int, nonces: dict[bytes, int]) -> SimBlock:
        self._salt += 1
        made = keccak(number.to_bytes(8, "big") + parent + self._salt.to_bytes(8, "big"))
        base = None if self.legacy else self.base_fee
        return SimBlock(Block(number, made, parent, timestamp, base, GAS_PER_BLOCK), dict(nonces))

    # -------------------------------------------------------------------- time moves

    def mine(self, now_s: float, limit: int = 1000) -> SimBlock:
        """Make the next block from what the pool holds and can pay."""
        parent = self.chain[-1]
        block = self._block(parent.number + 1, parent.header.hash, int(now_s), parent.nonces)
        for sender, pool in self.pools.items():
            nonce = block.nonces.get(sender, 0)
            while len(block.txs) < limit and nonce in pool and self._payable(pool[nonce]):
                self._execute(pool.pop(nonce), block)
                nonce += 1
            for stale in [one for one in pool if one < nonce]:
                del pool[stale]
        self.chain.append(block)
        self.final = max(self.final, block.number - self.confirmations)
        return block

    def _payable(self, tx: Tx) -> bool:
        if self.poor:
            return False
        if self.legacy:
            return tx.fee >= self.base_fee + self.tip // 2
        return tx.fee >= self.base_fee and 2 * min(tx.tip, tx.fee - self.base_fee) >= self.tip

    def reorg(self, depth: int, now_s: float, back: Sequence[bool], longer: int) -> int:
        """Replace the newest blocks, never a final one; `back` says in turn which transactions return to the pool.

        Returns the depth. The new fork is as long, plus `longer`, and mines what returned.
        """
        depth = min(depth, len(self.chain) - 1 - self.final)
        if depth <= 0:
            return 0
        self.old_forks = [*self.old_forks[-2:], self.chain]
        gone, self.chain = self.chain[-depth:], self.chain[:-depth]
        number = 0
        for block in gone:
            for tx in block.txs:
                if back[number % len(back)]:
                    self.pools.setdefault(tx.sender, {}).setdefault(tx.nonce, tx)
                number += 1
        for step in range(depth + longer):
            self.mine(now_s, limit=step)  # the first stays empty: what returned lands elsewhere than it was
        return depth

    def stranger(self, senders: Iterable[bytes]) -> Branch:
        """Another chain, as high as this one, on which the same keys have sent much."""
        nonces = dict.fromkeys(senders, 99)
        return [SimBlock(replace(block.header, hash=keccak(block.header.hash)), nonces) for block in self.chain]

    # ---------------------------------------------------------------------- contract

    def _execute(self, tx: Tx, block: SimBlock) -> None:
        outcome = self.outcome(tx, block)
        fails = isinstance(outcome, bytes)
        if self.failing and tx.data and not fails:
            self.failing -= 1
            fails = True
        logs = () if fails or isinstance(outcome, bytes) else outcome
        block.receipts[tx.tx_hash] = Receipt(
            tx.tx_hash, block.number, block.header.hash, not fails, 21_000 + 5_000 * len(logs), logs, None
        )
        block.txs.append(tx)
        block.nonces[tx.sender] = tx.nonce + 1
        self._places.setdefault(tx.tx_hash, []).append(block)
        for log in logs:
            number = log.topics[3 if log.topics[0] == SCORE_SUBMITTED else 2]
            self._marks.setdefault((log.topics[1], int.from_bytes(number, "big")), []).append((block, log))

    def outcome(self, tx: Tx, block: SimBlock) -> tuple[Log, ...] | bytes:
        """The logs a transaction makes on top of `block` (and its transactions so far), or its revert data."""
        if tx.to != self.contract or not tx.data:
            return ()
        if self.paused:
            return encode_error("EnforcedPause()")
        if tx.data[:4] in MODERATES:
            return self._moderate(tx, block)
        call = decode(tx.data)
        if block.header.timestamp > call.deadline:
            return encode_error("DeadlinePassed(uint64)", call.deadline)
        if any(record.round_id in self.poison for record in call.records):
            return encode_error("Panic(uint256)", 0x11)
        told = [
            (_topics(call.game, record), _data(call, record))
            for record in call.records
            if not (self.dedupe and self.is_recorded((call.game, record.round_id), self.chain, block))
        ]
        return self._log(tx, block, told)

    def _moderate(self, tx: Tx, block: SimBlock) -> tuple[Log, ...] | bytes:
        action, call = MODERATES[tx.data[:4]], decode_moderation(tx.data)
        told = []
        for round_id in call.round_ids:
            what = (call.game, round_id)
            if not self.is_recorded(what, self.chain, block):
                return NOT_RECORDED + call.game + round_id.to_bytes(32, "big")
            if self.is_invalid(what, self.chain, block) is not (action is Action.REVOKE):
                topics = (LOGGED[action], call.game, round_id.to_bytes(32, "big"), bytes(12) + tx.sender)
                told.append((topics, call.reason_hash + bytes(32)))
        return self._log(tx, block, told)

    def _log(self, tx: Tx, block: SimBlock, told: Sequence[tuple[tuple[bytes, ...], bytes]]) -> tuple[Log, ...] | bytes:
        at, first = block.header, sum(len(receipt.logs) for receipt in block.receipts.values())
        logs = tuple(
            Log(self.contract, topics, data, at.number, at.hash, tx.tx_hash, first + index)
            for index, (topics, data) in enumerate(told)
        )
        return logs or encode_error("NothingToRecord()")

    # --------------------------------------------------------------------- questions

    def is_recorded(self, what: Round, branch: Branch, block: SimBlock) -> bool:
        """Whether a round is recorded at `block`, the tip of `branch` or the one being made on it."""
        return any(log.topics[0] == SCORE_SUBMITTED for log in self._standing(what, branch, block))

    def is_invalid(self, what: Round, branch: Branch, block: SimBlock) -> bool:
        """Whether it is withdrawn there."""
        kinds = [log.topics[0] for log in self._standing(what, branch, block) if log.topics[0] != SCORE_SUBMITTED]
        return bool(kinds) and kinds[-1] == LOGGED[Action.REVOKE]

    def _standing(self, what: Round, branch: Branch, block: SimBlock) -> list[Log]:
        """A round's logs up to `block`, oldest first."""
        found = [(one, log) for one, log in self._marks.get(what, ()) if one is block or _on(one, branch, block.number)]
        return [log for _, log in sorted(found, key=lambda pair: (pair[0].number, pair[1].index))]

    def receipt(self, tx_hash: bytes, branch: Branch, tip: int) -> Receipt | None:
        """The receipt as of a branch's block `tip`."""
        places = self._places.get(tx_hash, ())
        return next((block.receipts[tx_hash] for block in places if _on(block, branch, tip)), None)

    def marks(self, what: Round, branch: Branch, tip: int) -> Iterator[Log]:
        """Every log of a round."""
        return (log for block, log in self._marks.get(what, ()) if _on(block, branch, tip))

    def recorded(self) -> Counter[Round]:
        """How many times each round is on the canonical chain."""
        tip = self.chain[-1].number
        counts = {
            what: sum(log.topics[0] == SCORE_SUBMITTED for log in self.marks(what, self.chain, tip))
            for what in self._marks
        }
        return Counter({what: count for what, count in counts.items() if count})

    def final_tx(self, sender: bytes, nonce: int) -> Tx | None:
        """The transaction that used a nonce for good."""
        if self.chain[self.final].nonces.get(sender, 0) <= nonce:
            return None
        blocks = self.chain[: self.final + 1]
        return next(tx for block in blocks for tx in block.txs if tx.sender == sender and tx.nonce == nonce)

    def next_nonce(self, sender: bytes) -> int:
        """Nonces used on the canonical chain."""
        return self.chain[-1].nonces.get(sender, 0)


def encode_error(signature: str, *numbers: int) -> bytes:
    """Revert data."""
    return keccak(signature.encode())[:4] + b"".join(number.to_bytes(32, "big") for number in numbers)


def _on(block: SimBlock, branch: Branch, tip: int) -> bool:
    return block.number <= tip and block.number < len(branch) and branch[block.number] is block


def _topics(game: bytes, record: Record) -> tuple[bytes, ...]:
    return SCORE_SUBMITTED, game, bytes(12) + record.player, record.round_id.to_bytes(32, "big")


def _data(call: Call, record: Record) -> bytes:
    return record.score.to_bytes(32, "big") + record.evidence_hash + call.rules_hash
