"""The embedded chain's node: transaction pool, block production and the journal that makes both survive a kill.

Touches the journal file and the clock it is given. Nothing is answered before it is in the journal and fsynced: an
accepted transaction as itself, a block before anyone can see it.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterator
from typing import TYPE_CHECKING

from relay.devnet_evm import EmbeddedChain, OpenBlock, RefusedTransactionError, base_fee, rebuild_block
from relay.devnet_journal import BlockLine, GenesisLine, Journal, JournalError, TransactionLine

if TYPE_CHECKING:
    from eth.abc import SignedTransactionAPI

log = logging.getLogger(__name__)

CONFIRMATIONS = 2  # `finalized` is this far below the head; as many empty blocks follow the last transaction
DRIFT_S = 3  # block times (whole seconds, strictly rising) may run ahead of the clock by this much in a burst
BLOCK_WORK_S = 0.25  # a block is sealed after this much execution, if the next one may begin
EMPTY_PACE_S = 0.5  # time between the trailing empty blocks
POOL_MAX = 4096
POOL_PER_SENDER_MAX = 256
RAW_BYTES_MAX = 131_072  # go-ethereum's limit for one transaction
REPLACEMENT_PERCENT = 10  # both fees must rise by this much (go-ethereum's txpool)


class Pool:
    """Accepted transactions that are in no block yet, by sender and nonce, in order of arrival."""

    def __init__(self) -> None:
        self.by_hash: dict[bytes, SignedTransactionAPI] = {}
        self.by_sender: dict[bytes, dict[int, SignedTransactionAPI]] = {}

    def add(self, transaction: "SignedTransactionAPI") -> None:
        """Insert; a transaction with the same sender and nonce is replaced."""
        queue = self.by_sender.setdefault(bytes(transaction.sender), {})
        old = queue.get(transaction.nonce)
        if old is not None:
            self.by_hash.pop(bytes(old.hash), None)
        queue[transaction.nonce] = transaction
        self.by_hash[bytes(transaction.hash)] = transaction

    def remove(self, sender: bytes, nonce: int) -> None:
        """Forget what is queued there, if anything."""
        queue = self.by_sender.get(sender, {})
        transaction = queue.pop(nonce, None)
        if transaction is not None:
            self.by_hash.pop(bytes(transaction.hash), None)
        if not queue:
            self.by_sender.pop(sender, None)

    def contiguous(self, sender: bytes, nonce: int) -> int:
        """First nonce at or after `nonce` that is not queued."""
        queue = self.by_sender.get(sender, {})
        while nonce in queue:
            nonce += 1
        return nonce


class Node:
    """One chain, one pool, one journal. Single-threaded: `accept` runs between the steps of `mine_forever`."""

    def __init__(self, journal: Journal, genesis: GenesisLine, clock: Callable[[], float]) -> None:
        """Rebuild from the journal; raises JournalError when a rebuilt block differs from the recorded one.

        `clock` gives unix seconds. `genesis` is written only into an empty journal.
        """
        self._journal = journal
        self._clock = clock
        self._wake = asyncio.Event()
        if not journal.lines:
            journal.append([genesis])
        else:
            first = journal.lines[0]
            if not isinstance(first, GenesisLine):
                raise JournalError(f"{journal.path.name}: the first line is not a genesis line")
            if (first.version, first.chain_id, first.alloc) != (genesis.version, genesis.chain_id, genesis.alloc):
                raise JournalError(
                    f"{journal.path.name} was written for other keys or another chain id than devnet-keys.json holds. "
                    "Restore the keys file, or move the whole state folder away to start a new chain."
                )
            genesis = first
        self.chain = EmbeddedChain(genesis)
        self.pool = Pool()
        self._replay()
        journal.lines = []  # they are in the chain now

    def _replay(self) -> None:
        # A transaction that was replaced in the pool may still be the one in the block that was being made.
        known: dict[bytes, SignedTransactionAPI] = {}
        for line in self._journal.lines[1:]:
            if isinstance(line, TransactionLine):
                transaction = self.chain.decode(line.raw)
                known[bytes(transaction.hash)] = transaction
                self.pool.add(transaction)
            elif isinstance(line, BlockLine):
                self._replay_block(line, known)
        for sender, queue in list(self.pool.by_sender.items()):
            for nonce in [nonce for nonce in queue if nonce < self.nonce(sender)]:
                self.pool.remove(sender, nonce)

    def _replay_block(self, line: BlockLine, known: "dict[bytes, SignedTransactionAPI]") -> None:
        name = self._journal.path.name
        advice = (
            "The file was changed, or written by another version of the chain engine (py-evm). "
            "Install the version in requirements.lock, or move the whole state folder away to start a new chain."
        )
        try:
            transactions = [known.pop(item) for item in line.transactions]
            block = rebuild_block(self.chain, transactions, line.timestamp)
        except (KeyError, RefusedTransactionError, ValueError) as error:
            raise JournalError(f"{name}: block {line.number} cannot be rebuilt ({error}). {advice}") from error
        if (block.number, block.hash) != (line.number, line.hash):
            raise JournalError(
                f"{name}: block {line.number} was 0x{line.hash.hex()} but rebuilds as 0x{block.hash.hex()}. {advice}"
            )
        for transaction in transactions:
            self.pool.remove(bytes(transaction.sender), transaction.nonce)

    def nonce(self, sender: bytes) -> int:
        """Next nonce of the account after the head block."""
        from eth_typing import Address  # noqa: PLC0415 - a NewType; kept out of the annotations of this module

        return int(self.chain.state(self.chain.head.number).get_nonce(Address(sender)))

    def pending_nonce(self, sender: bytes) -> int:
        """Next nonce after the head block and what is queued behind it without a gap."""
        return self.pool.contiguous(sender, self.nonce(sender))

    def accept(self, raw: bytes) -> bytes:
        """Take a signed transaction into journal and pool, return its hash; raises RefusedTransactionError."""
        if len(raw) > RAW_BYTES_MAX:
            raise RefusedTransactionError(f"oversized data: transaction size {len(raw)}, limit {RAW_BYTES_MAX}")
        transaction = self.chain.decode(raw)
        self._check(transaction)
        self._journal.append([TransactionLine(raw)])
        self.pool.add(transaction)
        self._wake.set()
        return bytes(transaction.hash)

    def _check(self, transaction: "SignedTransactionAPI") -> None:
        """The pool's rules in go-ethereum's order and words, so that clients classify them as they do elsewhere."""
        sender = bytes(transaction.sender)
        if bytes(transaction.hash) in self.pool.by_hash:
            raise RefusedTransactionError("already known")
        nonce = self.nonce(sender)
        if transaction.nonce < nonce:
            raise RefusedTransactionError(f"nonce too low: next nonce {nonce}, tx nonce {transaction.nonce}")
        queue = self.pool.by_sender.get(sender, {})
        old = queue.get(transaction.nonce)
        if old is not None and not _replaces(old, transaction):
            raise RefusedTransactionError("replacement transaction underpriced")
        if old is None and (len(queue) >= POOL_PER_SENDER_MAX or len(self.pool.by_hash) >= POOL_MAX):
            raise RefusedTransactionError("txpool is full")
        if transaction.max_fee_per_gas < self.chain.base_fee_next():
            raise RefusedTransactionError(
                f"max fee per gas less than block base fee: maxFeePerGas: {transaction.max_fee_per_gas}, "
                f"baseFee: {self.chain.base_fee_next()}"
            )
        cost = transaction.gas * transaction.max_fee_per_gas + transaction.value
        queued = sum(item.gas * item.max_fee_per_gas + item.value for item in queue.values() if item is not old)
        balance = self.chain.state(self.chain.head.number).get_balance(transaction.sender)
        if balance < cost + queued:
            raise RefusedTransactionError(
                f"insufficient funds for gas * price + value: balance {balance}, tx cost {cost}, queued {queued}"
            )

    def _executable(self) -> Iterator["SignedTransactionAPI"]:
        """Queued transactions whose turn it is, by sender in order of arrival, nonces ascending."""
        for sender in list(self.pool.by_sender):
            nonce = self.nonce(sender)
            while (transaction := self.pool.by_sender.get(sender, {}).get(nonce)) is not None:
                yield transaction
                nonce += 1

    async def mine_forever(self, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep) -> None:
        """Make blocks: at once when idle, about one a second under load, empty ones after the last transaction."""
        while True:
            self._wake.clear()
            due = self.chain.head.header.timestamp + 1 - DRIFT_S - self._clock()
            if next(self._executable(), None) is not None:
                await sleep(max(due, 0))
                await self._make_block(sleep)
            elif self._trailing() < CONFIRMATIONS:
                try:
                    async with asyncio.timeout(max(due, EMPTY_PACE_S)):
                        await self._wake.wait()
                except TimeoutError:
                    await self._make_block(sleep)
            else:
                await self._wake.wait()

    def _trailing(self) -> int:
        for count, block in enumerate(reversed(self.chain.blocks[1:])):
            if block.transactions:
                return count
        return CONFIRMATIONS  # no transaction yet: nothing waits for confirmations

    async def _make_block(self, sleep: Callable[[float], Awaitable[None]]) -> None:
        started = self._clock()
        timestamp = max(self.chain.head.header.timestamp + 1, int(started))
        block = self.chain.open_block(timestamp)
        taken: set[bytes] = set()
        while True:
            added = await self._fill(block, taken, started, sleep)
            now = self._clock()
            if not added or (now - started >= BLOCK_WORK_S and timestamp + 1 <= now + DRIFT_S):
                break
        self._seal(block)

    async def _fill(
        self, block: OpenBlock, taken: set[bytes], started: float, sleep: Callable[[float], Awaitable[None]]
    ) -> bool:
        """Execute what is queued until the block's gas or time is used up; False when nothing could be added."""
        added = False
        for transaction in self._executable():
            key = bytes(transaction.hash)
            if key in taken:
                continue
            if not block.fits(transaction) or not block.pays(transaction):
                break
            try:
                block.add(transaction)
            except RefusedTransactionError as error:
                # Its state changed between the pool's check and now (another transaction spent the balance).
                log.warning("dropped a queued transaction", extra={"tx": "0x" + key.hex(), "reason": str(error)})
                self.pool.remove(bytes(transaction.sender), transaction.nonce)
                break
            taken.add(key)
            added = True
            await sleep(0)  # readers and senders get their turn between two executions
            if self._clock() - started >= BLOCK_WORK_S:
                break
        return added

    def _seal(self, block: OpenBlock) -> None:
        """Seal, journal, fsync: no await in between, so nobody sees a block that could still be lost."""
        sealed = self.chain.seal(block)
        hashes = tuple(bytes(item.hash) for item in sealed.transactions)
        self._journal.append([BlockLine(sealed.number, sealed.header.timestamp, sealed.hash, hashes)])
        for transaction in sealed.transactions:
            self.pool.remove(bytes(transaction.sender), transaction.nonce)

    def safe_number(self) -> int:
        """Height of the `safe` tag: one below the head."""
        return max(0, self.chain.head.number - 1)

    def finalized_number(self) -> int:
        """Height of the `finalized` tag."""
        return max(0, self.chain.head.number - CONFIRMATIONS)

    def base_fee_next(self) -> int:
        """Base fee per gas (wei) of the next block."""
        return self.chain.base_fee_next()

    def base_fee(self, number: int) -> int:
        """Base fee per gas (wei) of block `number`."""
        return base_fee(self.chain.blocks[number].header)


def _replaces(old: "SignedTransactionAPI", new: "SignedTransactionAPI") -> bool:
    return all(
        after * 100 >= before * (100 + REPLACEMENT_PERCENT)
        for before, after in (
            (old.max_fee_per_gas, new.max_fee_per_gas),
            (old.max_priority_fee_per_gas, new.max_priority_fee_per_gas),
        )
    )
