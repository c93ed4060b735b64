"""A simulated chain for the outbox: mempool, blocks, reorgs, drops, a fee market with the 10 % rule, lost answers.

It is a fake, not a mock: `tests/relay/outbox/test_fake_chain.py` runs one suite over it and over the real embedded
chain. The contract's own protection against repeats can be switched off, so that the outbox's is really exercised.
"""

# ruff: noqa: ARG002 - the parameters are the port's, whether this chain needs them or not

from collections.abc import Sequence
from dataclasses import dataclass, field

import rlp

from relay.chain_types import Block, ChainAnswerError, ChainUnavailableError, Fees, Log, Receipt, SendAnswer
from relay.contract import (
    GENESIS_HEAD,
    SUBMIT_SCORES,
    TOPICS,
    EconomyAnchored,
    anchored_head,
    decode_submit_scores,
    encode_call,
    selector,
    unpack_records,
)
from relay.contract_anchors import ECONOMY_ANCHORED, WRONG_SEQUENCE, anchored, decode_anchor
from relay.contract_moderation import FUNCTIONS, LOGGED, NOT_RECORDED, decode_moderation, marks
from relay.keccak import keccak
from relay.revocation import Action

GWEI = 10**9
MODERATES = {encode_call(name, bytes(32), [], bytes(32))[:4]: action for action, name in FUNCTIONS.items()}
ANCHORS, NEXT_SEQUENCE = selector("anchorEconomy"), selector("nextSequence")
IS_RECORDED = keccak(b"isRecorded(bytes32,uint64)")[:4]


@dataclass(frozen=True)
class Tx:
    """A transaction as the pool sees it."""

    tx_hash: bytes
    nonce: int
    fee: int
    tip: int
    gas: int
    data: bytes


@dataclass
class FakeBlock:
    """A block and the receipts of its transactions."""

    header: Block
    txs: list[Tx] = field(default_factory=list)
    receipts: list[Receipt] = field(default_factory=list)


class FakeChain:
    """One account, one contract. Time only moves by `mine`."""

    def __init__(self, contract: bytes, *, dedupe: bool = True, confirmations: int = 2) -> None:
        self.contract = contract
        self.dedupe = dedupe
        self.base_fee = GWEI
        self.money = 10**21
        self.paused = False
        self.auditor = True  # the account may moderate
        self.signer = True  # the attestation key may sign anchors
        self.poison: set[int] = set()  # rounds the contract chokes on
        self.gas_fault: set[int] = set()  # nonces whose transaction fails once
        self.spoilt: set[int] = set()  # rounds whose transactions fail, though a call of the same passes
        self.down = False
        self.fate: list[str] = []  # of the next sends: "lose request", "lose answer", "drop"
        self.sends = 0
        self.code_at = b""  # of the account: EIP-7702
        self.agreed = True  # what the second provider says
        self.pool: dict[int, Tx] = {}
        self.first_nonce = 0
        self._salt = 0
        self.confirmations = confirmations
        self.blocks_list = [self._empty(0, bytes(32))]

    # ------------------------------------------------------------ what tests do to it

    def _empty(self, number: int, parent: bytes) -> FakeBlock:
        self._salt += 1
        made = keccak(number.to_bytes(8, "big") + parent + self._salt.to_bytes(8, "big"))
        return FakeBlock(Block(number, made, parent, 1_700_000_000 + number, self.base_fee, 30_000_000))

    def mine(self, count: int = 1, *, limit: int = 1000) -> None:
        """Make blocks from the pool, nonces in order, only what pays the base fee."""
        for _ in range(count):
            head = self.blocks_list[-1].header
            block = self._empty(head.number + 1, head.hash)
            nonce = self.next_nonce()
            while len(block.txs) < limit and nonce in self.pool and self.pool[nonce].fee >= self.base_fee:
                tx = self.pool.pop(nonce)
                block.receipts.append(self._execute(tx, block.header, block.receipts))
                block.txs.append(tx)
                nonce += 1
            self.blocks_list.append(block)

    def reorg(self, depth: int, *, back_to_pool: bool) -> None:
        """Replace the newest `depth` blocks by as many empty ones."""
        depth = min(depth, len(self.blocks_list) - 1)
        keep = len(self.blocks_list) - depth
        gone, self.blocks_list = self.blocks_list[keep:], self.blocks_list[:keep]
        for block in gone:
            if back_to_pool:
                self.pool.update({tx.nonce: tx for tx in block.txs})
        for _ in gone:
            head = self.blocks_list[-1].header
            self.blocks_list.append(self._empty(head.number + 1, head.hash))

    def someone_else(self, nonce: int) -> None:
        """Put a transaction into the pool that is not the outbox's."""
        self.pool[nonce] = Tx(keccak(b"foreign" + nonce.to_bytes(8, "big")), nonce, 10**12, 10**12, 21_000, b"")

    # ------------------------------------------------------------- what it computes

    def next_nonce(self, upto: int | None = None) -> int:
        """Nonces used up to a block."""
        blocks = self.blocks_list if upto is None else self.blocks_list[: upto + 1]
        return self.first_nonce + sum(len(block.txs) for block in blocks)

    def all_logs(self) -> list[Log]:
        """Every log in chain order."""
        return [log for block in self.blocks_list for receipt in block.receipts for log in receipt.logs]

    def recorded(self) -> list[tuple[bytes, int]]:
        """(game, round) of every ScoreSubmitted event, repeats included."""
        return [
            (log.topics[1], int.from_bytes(log.topics[3], "big"))
            for log in self.all_logs()
            if log.topics[0] == TOPICS["ScoreSubmitted"]
        ]

    def _logs_of(self, tx: Tx, at: Block, before: Sequence[Log]) -> tuple[Log, ...] | bytes:
        """The logs of a call, or its revert data."""
        if not tx.data:
            return ()
        if self.paused:
            return keccak(b"EnforcedPause()")[:4]
        if tx.data[:4] == ANCHORS:
            return self._anchor(tx, at, before)
        if tx.data[:4] != SUBMIT_SCORES:
            return self._moderate(tx, at, before)
        call = decode_submit_scores(tx.data)
        records = unpack_records(call.records)
        if any(record.round_id in self.poison for record in records):
            return keccak(b"Panic(uint256)")[:4] + (0x11).to_bytes(32, "big")
        known = set(self.recorded()) | {
            (log.topics[1], int.from_bytes(log.topics[3], "big")) for log in before if len(log.topics) == 4
        }
        logs: list[Log] = []
        for record in records:
            if self.dedupe and (call.game, record.round_id) in known:
                continue
            topics = (
                TOPICS["ScoreSubmitted"],
                call.game,
                bytes(12) + record.player,
                record.round_id.to_bytes(32, "big"),
            )
            data = record.score.to_bytes(32, "big") + record.evidence_hash + call.rules_hash
            index = len(before) + len(logs)
            logs.append(Log(self.contract, topics, data, at.number, at.hash, tx.tx_hash, index))
        return tuple(logs) if logs else keccak(b"NothingToRecord()")[:4]

    def _moderate(self, tx: Tx, at: Block, before: Sequence[Log]) -> tuple[Log, ...] | bytes:
        """The logs of a call that invalidates or reinstates, or its revert data."""
        action, call = MODERATES[tx.data[:4]], decode_moderation(tx.data)
        if not self.auditor:
            return keccak(b"AccessControlUnauthorizedAccount(address,bytes32)")[:4] + bytes(64)
        past = [*self.all_logs(), *before]
        scores = (log for log in past if log.topics[:2] == (TOPICS["ScoreSubmitted"], call.game))
        known = {int.from_bytes(log.topics[3], "big") for log in scores}
        logs: list[Log] = []
        for round_id in call.round_ids:
            if round_id not in known:
                return NOT_RECORDED + call.game + round_id.to_bytes(32, "big")
            done = marks(call.game, self.contract, [*past, *logs]).get(round_id)
            if (done[-1].action if done else Action.REINSTATE) is action:
                continue
            topics = (LOGGED[action], call.game, round_id.to_bytes(32, "big"), bytes(32))
            index = len(before) + len(logs)
            data = call.reason_hash + bytes(32)
            logs.append(Log(self.contract, topics, data, at.number, at.hash, tx.tx_hash, index))
        return tuple(logs) if logs else keccak(b"NothingToRecord()")[:4]

    def anchors(self, economy: bytes, before: Sequence[Log] = ()) -> list[EconomyAnchored]:
        """Every anchor of an economy, oldest first."""
        return [one.event for one in anchored(economy, self.contract, [*self.all_logs(), *before])]

    def _anchor(self, tx: Tx, at: Block, before: Sequence[Log]) -> tuple[Log, ...] | bytes:
        """The log of a call that anchors, or its revert data."""
        call = decode_anchor(tx.data)
        if not self.signer:
            return keccak(b"UnknownSigner(address)")[:4] + bytes(32)
        past = self.anchors(call.economy, before)
        expected = past[-1].first_sequence + past[-1].count if past else 0
        numbers = call.first_sequence.to_bytes(32, "big")
        if call.first_sequence != expected:
            return WRONG_SEQUENCE + call.economy + expected.to_bytes(32, "big") + numbers
        made = EconomyAnchored(call.economy, bytes(20), call.first_sequence, call.count, call.merkle_root, bytes(32))
        head = anchored_head(past[-1].head if past else GENESIS_HEAD, made)
        topics = (ECONOMY_ANCHORED, call.economy, bytes(32))
        data = numbers + call.count.to_bytes(32, "big") + call.merkle_root + head
        return (Log(self.contract, topics, data, at.number, at.hash, tx.tx_hash, len(before)),)

    def marked(self, game: bytes, round_id: int) -> list[Action]:
        """Every invalidation and reinstatement of a round."""
        return [mark.action for mark in marks(game, self.contract, self.all_logs()).get(round_id, [])]

    def _spoils(self, tx: Tx) -> bool:
        if not self.spoilt or tx.data[:4] != SUBMIT_SCORES:
            return False
        return any(record.round_id in self.spoilt for record in unpack_records(decode_submit_scores(tx.data).records))

    def _execute(self, tx: Tx, at: Block, done: Sequence[Receipt]) -> Receipt:
        before = [log for receipt in done for log in receipt.logs]
        logs = self._logs_of(tx, at, before)
        failed = isinstance(logs, bytes) or tx.nonce in self.gas_fault or self._spoils(tx)
        self.gas_fault.discard(tx.nonce)
        shown: tuple[Log, ...] = () if failed or isinstance(logs, bytes) else logs
        return Receipt(tx.tx_hash, at.number, at.hash, not failed, 21_000, shown, None)

    def _up(self) -> None:
        if self.down:
            raise ChainUnavailableError("down")

    # --------------------------------------------------------------- OutboxChain

    async def head(self) -> Block:
        self._up()
        return self.blocks_list[-1].header

    async def block(self, tag: int | str) -> Block | None:
        self._up()
        number = tag if isinstance(tag, int) else len(self.blocks_list) - 1
        return self.blocks_list[number].header if number < len(self.blocks_list) else None

    async def blocks(self, numbers: Sequence[int]) -> list[Block | None]:
        return [await self.block(number) for number in numbers]

    async def finalized(self, confirmations: int, head: Block) -> int:
        self._up()
        return max(0, head.number - (confirmations or self.confirmations))

    async def nonce(self, address: bytes, tag: int | str = "latest") -> int:
        self._up()
        return self.next_nonce(tag if isinstance(tag, int) else None)

    async def balance(self, address: bytes) -> int:
        self._up()
        return self.money

    async def code(self, address: bytes) -> bytes:
        self._up()
        return self.code_at

    async def confirm_absent(self, address: bytes, hashes: Sequence[bytes], nonce: int, block: int) -> bool:
        self._up()
        return self.agreed

    async def confirm_failed(self, tx_hash: bytes, block_hash: bytes) -> bool:
        self._up()
        return self.agreed

    async def fees(self) -> Fees:
        self._up()
        return Fees(self.base_fee, GWEI, self.base_fee + GWEI)

    async def call(self, to: bytes, data: bytes, sender: bytes | None = None, gas: int | None = None) -> bytes:
        self._up()
        if data[:4] == IS_RECORDED:
            asked = data[4:36], int.from_bytes(data[36:68], "big")
            return int(asked in self.recorded()).to_bytes(32, "big")
        if data[:4] == NEXT_SEQUENCE:
            last = self.anchors(data[4:36])[-1:]
            return sum(one.first_sequence + one.count for one in last).to_bytes(32, "big")
        logs = self._logs_of(Tx(bytes(32), 0, 0, 0, 0, data), self.blocks_list[-1].header, ())
        if isinstance(logs, bytes):
            raise ChainAnswerError(3, "execution reverted", logs)
        return len(logs).to_bytes(32, "big")

    async def calls(self, to: bytes, data: Sequence[bytes]) -> list[bytes]:
        return [await self.call(to, one) for one in data]

    async def estimate_gas(self, sender: bytes, to: bytes | None, data: bytes) -> int:
        await self.call(to or b"", data, sender)
        return 100_000

    async def receipts(self, hashes: Sequence[bytes]) -> list[Receipt | None]:
        self._up()
        found = {receipt.tx_hash: receipt for block in self.blocks_list for receipt in block.receipts}
        return [found.get(item) for item in hashes]

    async def logs(
        self, address: bytes, topics: Sequence[bytes | Sequence[bytes] | None], first: int, last: int | None = None
    ) -> list[Log]:
        self._up()
        top = len(self.blocks_list) - 1 if last is None else last

        def fits(log: Log) -> bool:
            wanted = zip(topics, log.topics, strict=False)
            return all(one is None or (seen == one if isinstance(one, bytes) else seen in one) for one, seen in wanted)

        return [log for log in self.all_logs() if first <= log.block_number <= top and fits(log)]

    async def send_raw(self, raw: bytes) -> SendAnswer:
        self.sends += 1
        fate = self.fate.pop(0) if self.fate else ""
        if self.down or fate == "lose request":
            return SendAnswer(False, None, "TimeoutError")
        answer = self._accept(raw)
        if fate == "drop":
            self.pool.clear()
        return SendAnswer(False, None, "TimeoutError") if fate == "lose answer" else answer

    def _accept(self, raw: bytes) -> SendAnswer:
        if raw[0] == 2:
            fields = rlp.decode(raw[1:])
            nonce, tip, fee, gas, data = (fields[1], fields[2], fields[3], fields[4], fields[7])
        else:
            fields = rlp.decode(raw)
            nonce, tip, fee, gas, data = (fields[0], fields[1], fields[1], fields[2], fields[5])
        number = {
            name: int.from_bytes(value, "big") for name, value in zip("ntfg", (nonce, tip, fee, gas), strict=True)
        }
        tx = Tx(keccak(raw), number["n"], number["f"], number["t"], number["g"], bytes(data))
        if tx.nonce < self.next_nonce():
            return SendAnswer(False, -32000, f"nonce too low: next nonce {self.next_nonce()}, tx nonce {tx.nonce}")
        old = self.pool.get(tx.nonce)
        if old is not None and old.tx_hash == tx.tx_hash:
            return SendAnswer(False, -32000, "already known")
        if old is not None and (tx.fee * 10 < old.fee * 11 or tx.tip * 10 < old.tip * 11):
            return SendAnswer(False, -32000, "replacement transaction underpriced")
        if tx.fee < self.base_fee:
            return SendAnswer(False, -32000, "max fee per gas less than block base fee")
        if tx.fee * tx.gas > self.money:
            return SendAnswer(False, -32000, "insufficient funds for gas * price + value")
        self.pool[tx.nonce] = tx
        return SendAnswer(True)
