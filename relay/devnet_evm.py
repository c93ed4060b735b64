"""The embedded chain itself: py-evm under Prague rules, one block at a time, with the indexes JSON-RPC needs.

Touches memory only: no clock, file or socket. The same lines of a journal always give the same block hashes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from eth.chains.base import MiningChain
from eth.consensus.applier import ConsensusApplier
from eth.consensus.noproof import NoProofConsensus
from eth.constants import BLANK_ROOT_HASH, ZERO_ADDRESS, ZERO_HASH32
from eth.db.atomic import AtomicDB
from eth.exceptions import Revert
from eth.vm.forks.prague import PragueVM
from eth.vm.spoof import SpoofTransaction
from eth_typing import Address
from eth_utils.exceptions import ValidationError

from relay.devnet_journal import GenesisLine

if TYPE_CHECKING:
    from eth.abc import BlockHeaderAPI, ReceiptAPI, SignedTransactionAPI, StateAPI, VirtualMachineAPI

CALL_BALANCE_WEI = 2**128  # lent to the caller of eth_call and eth_estimateGas, which never pay
BLOB_TRANSACTION = 3


class RefusedTransactionError(Exception):
    """The transaction can never be mined here; the message is worded as go-ethereum words it."""


class CallFailedError(Exception):
    """A call that ended in an error. `data` is the revert data, None when it was not a revert."""

    def __init__(self, message: str, data: bytes | None) -> None:
        super().__init__(message)
        self.data = data


@dataclass(frozen=True)
class SealedBlock:
    """A block of the chain with what it did. `logs_before[i]` counts the block's logs before transaction i."""

    header: BlockHeaderAPI
    hash: bytes
    transactions: tuple[SignedTransactionAPI, ...]
    receipts: tuple[ReceiptAPI, ...]
    logs_before: tuple[int, ...]

    @property
    def number(self) -> int:
        """Height."""
        return int(self.header.block_number)


@dataclass(frozen=True)
class Call:
    """What eth_call and eth_estimateGas run. Gas None means all a block has."""

    sender: bytes
    to: bytes
    data: bytes
    value: int
    gas: int | None


def base_fee(header: BlockHeaderAPI) -> int:
    """Base fee per gas in wei; every block of this chain has one (London and later)."""
    return int(header.base_fee_per_gas or 0)


class OpenBlock:
    """The block under construction: transactions run as they are added, nothing is visible until it is sealed."""

    def __init__(self, vm: VirtualMachineAPI, header: BlockHeaderAPI) -> None:
        self._vm = vm
        self._header = header
        self.transactions: list[SignedTransactionAPI] = []
        self.receipts: list[ReceiptAPI] = []

    def fits(self, transaction: SignedTransactionAPI) -> bool:
        """Whether the block has gas left for it."""
        return int(self._header.gas_used) + int(transaction.gas) <= int(self._header.gas_limit)

    def pays(self, transaction: SignedTransactionAPI) -> bool:
        """Whether it offers at least this block's base fee."""
        return int(transaction.max_fee_per_gas) >= base_fee(self._header)

    def add(self, transaction: SignedTransactionAPI) -> None:
        """Execute; raises RefusedTransactionError when it is not valid in this state (nothing is changed then)."""
        try:
            receipt, _ = self._vm.apply_transaction(self._header, transaction)
        except ValidationError as error:
            raise RefusedTransactionError(str(error)) from error
        self._header = self._vm.add_receipt_to_header(self._header, receipt)
        self.transactions.append(transaction)
        self.receipts.append(receipt)

    def finish(self) -> Any:
        """Compute the roots; returns py-evm's block."""
        vm = cast("PragueVM", self._vm)
        filled = vm.set_block_transactions_and_withdrawals(
            vm.get_block(), self._header, tuple(self.transactions), tuple(self.receipts)
        )
        return vm.mine_block(filled).block


class EmbeddedChain:
    """The chain and its indexes by hash. Blocks come only from `open_block` and `seal`."""

    def __init__(self, genesis: GenesisLine) -> None:
        class Devnet(MiningChain):
            chain_id = genesis.chain_id
            vm_configuration = ConsensusApplier(NoProofConsensus).amend_vm_configuration(((0, PragueVM),))

        params: dict[str, Any] = {
            "coinbase": ZERO_ADDRESS,
            "difficulty": 0,
            "extra_data": b"fairscore devnet",
            "gas_limit": genesis.gas_limit,
            "mix_hash": ZERO_HASH32,
            "nonce": bytes(8),
            "receipt_root": BLANK_ROOT_HASH,
            "timestamp": genesis.timestamp,
            "transaction_root": BLANK_ROOT_HASH,
            "base_fee_per_gas": genesis.base_fee,
        }
        alloc: dict[Address, Any] = {
            Address(bytes.fromhex(address[2:])): {"balance": balance, "nonce": 0, "code": b"", "storage": {}}
            for address, balance in genesis.alloc.items()
        }
        self.chain_id = genesis.chain_id
        self._chain = Devnet.from_genesis(AtomicDB(), params, alloc)
        first = self._chain.get_canonical_head()
        self.blocks = [SealedBlock(first, bytes(first.hash), (), (), ())]
        self.number_of = {self.blocks[0].hash: 0}
        self.position_of: dict[bytes, tuple[int, int]] = {}

    @property
    def head(self) -> SealedBlock:
        """The newest block."""
        return self.blocks[-1]

    def base_fee_next(self) -> int:
        """Base fee per gas (wei) of the block after the head (EIP-1559)."""
        return base_fee(self._next_header(self.head.header.timestamp + 1))

    def decode(self, raw: bytes) -> SignedTransactionAPI:
        """Decode a signed raw transaction; raises RefusedTransactionError in go-ethereum's words."""
        if raw[:1] == bytes([BLOB_TRANSACTION]):
            raise RefusedTransactionError("transaction type not supported")
        try:
            transaction = self._chain.get_vm_class(self.head.header).get_transaction_builder().decode(raw)
            transaction.validate()
            transaction.check_signature_validity()
        except Exception as error:  # untrusted bytes: py-evm's nested decoders raise anything
            raise RefusedTransactionError(f"rlp: cannot decode the transaction ({type(error).__name__})") from error
        if transaction.chain_id is None:
            raise RefusedTransactionError("only replay-protected (EIP-155) transactions allowed over RPC")
        if transaction.chain_id != self.chain_id:
            raise RefusedTransactionError(
                f"invalid chain id for signer: have {transaction.chain_id} want {self.chain_id}"
            )
        if transaction.intrinsic_gas > transaction.gas:
            raise RefusedTransactionError(
                f"intrinsic gas too low: gas {transaction.gas}, minimum needed {transaction.intrinsic_gas}"
            )
        if transaction.gas > self.head.header.gas_limit:
            raise RefusedTransactionError("exceeds block gas limit")
        return transaction

    def _next_header(self, timestamp: int) -> BlockHeaderAPI:
        parent = self.head.header
        return self._chain.create_header_from_parent(parent, timestamp=timestamp, gas_limit=parent.gas_limit)

    def open_block(self, timestamp: int) -> OpenBlock:
        """Start the block after the head; `timestamp` (unix seconds) must be later than the head's."""
        header = self._next_header(timestamp)
        return OpenBlock(self._chain.get_vm(header), header)

    def seal(self, open_block: OpenBlock) -> SealedBlock:
        """Make it the head."""
        block = open_block.finish()
        cast("MiningChain", self._chain).persist_block(block)
        counts = [len(receipt.logs) for receipt in open_block.receipts]
        sealed = SealedBlock(
            block.header,
            bytes(block.hash),
            tuple(open_block.transactions),
            tuple(open_block.receipts),
            tuple(sum(counts[:index]) for index in range(len(counts))),
        )
        self.blocks.append(sealed)
        self.number_of[sealed.hash] = sealed.number
        for index, transaction in enumerate(sealed.transactions):
            self.position_of[bytes(transaction.hash)] = (sealed.number, index)
        return sealed

    def state(self, number: int) -> StateAPI:
        """State after block `number`; changes made to it are not kept."""
        return cast("PragueVM", self._chain.get_vm(self.blocks[number].header)).state

    def call(self, call: Call, number: int) -> bytes:
        """eth_call on the state after block `number`; raises CallFailedError."""
        computation, _ = self._run(call, number, call.gas or int(self.head.header.gas_limit))
        return bytes(computation.output)

    def estimate_gas(self, call: Call, number: int) -> int:
        """Smallest gas limit with which the call succeeds (within 1 %); raises CallFailedError when none does."""
        limit = call.gas or int(self.head.header.gas_limit)
        computation, transaction = self._run(call, number, limit)
        spent = limit - int(computation.get_gas_remaining())
        low = max(spent, spent + int(computation.data_floor_gas), int(transaction.intrinsic_gas))
        # What it used is usually enough. A nested call keeps back 1/64 of its gas (EIP-150), so it may need more.
        for candidate in _gas_candidates(low, limit):
            try:
                self._run(call, number, candidate)
            except CallFailedError:
                continue
            return candidate
        return limit

    def _run(self, call: Call, number: int, gas: int) -> tuple[Any, Any]:
        state = self.state(number)
        sender = Address(call.sender)
        if call.value > state.get_balance(sender):
            raise CallFailedError("insufficient funds for transfer", None)
        builder = self._chain.get_vm_class(self.head.header).get_transaction_builder()
        unsigned = cast("Any", builder).new_unsigned_dynamic_fee_transaction(
            self.chain_id,
            state.get_nonce(sender),
            0,
            self.blocks[number].header.base_fee_per_gas,
            gas,
            call.to,
            call.value,
            call.data,
            (),
        )
        transaction = cast("Any", SpoofTransaction(unsigned, from_=sender))
        state.set_balance(sender, state.get_balance(sender) + CALL_BALANCE_WEI)
        try:
            computation = state.apply_transaction(transaction)
        except ValidationError as error:
            raise CallFailedError(str(error), None) from error
        if computation.is_error:
            raise _call_error(computation.error)
        return computation, transaction


def _gas_candidates(low: int, limit: int) -> Iterator[int]:
    candidate = low
    while candidate < limit:
        yield candidate
        candidate += max(candidate // 64, 1)


def _call_error(error: Exception) -> CallFailedError:
    if not isinstance(error, Revert):
        return CallFailedError(str(error) or type(error).__name__, None)
    data = bytes(error.args[0]) if error.args and isinstance(error.args[0], bytes) else b""
    return CallFailedError("execution reverted" + revert_reason(data), data)


def revert_reason(data: bytes) -> str:
    """`: text` of a Solidity `Error(string)`, else the empty string (custom errors are for the caller's ABI)."""
    if data[:4] != bytes.fromhex("08c379a0") or len(data) < 68:
        return ""
    length = int.from_bytes(data[36:68], "big")
    return ": " + data[68 : 68 + length].decode("utf-8", "replace")


def rebuild_block(chain: EmbeddedChain, transactions: Sequence[SignedTransactionAPI], timestamp: int) -> SealedBlock:
    """Execute and seal a block whose content is already decided (the journal's)."""
    block = chain.open_block(timestamp)
    for transaction in transactions:
        block.add(transaction)
    return chain.seal(block)
