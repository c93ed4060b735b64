"""The Leaderboard on a real chain, for tests: the same calls on eth-tester (py-evm) and on anvil.

Touches loopback HTTP, where the chain is an anvil.
"""

from ast import literal_eval
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from eth_tester import EthereumTester, PyEVMBackend
from eth_tester.exceptions import TransactionFailed
from web3 import EthereumTesterProvider, HTTPProvider, Web3
from web3.exceptions import ContractLogicError
from web3.types import RPCEndpoint

from relay.attestation import Domain, score_batch_digest
from relay.contract import (
    Event,
    Record,
    decode_log,
    decode_result,
    encode_call,
    encode_submit_scores,
    init_code,
    pack_record,
    revert_name,
)
from relay.keccak import checksum_address, keccak
from relay.signer import LocalSigner
from tests.conftest import start_anvil

GAS_LIMIT = 8_000_000
FAR = 4_000_000_000  # a deadline (unix seconds) that no test chain reaches


def actor(name: str) -> LocalSigner:
    """The account of that name: the same on every chain and in every run."""
    return LocalSigner(keccak(name.encode()))


class RevertedError(Exception):
    """A call reverted; `name` is the contract's error."""

    def __init__(self, data: bytes) -> None:
        super().__init__(revert_name(data))
        self.name = revert_name(data)
        self.data = data


class Chain:
    """One chain that mines every transaction at once, whatever runs it."""

    def __init__(self, web3: Web3, tester: EthereumTester | None) -> None:
        self.web3 = web3
        self.tester = tester
        self.chain_id = web3.eth.chain_id
        self._funded: set[bytes] = set()

    def _rpc(self, method: str, *params: object) -> Any:
        return self.web3.provider.make_request(RPCEndpoint(method), list(params))

    def _fund(self, address: bytes) -> None:
        if address in self._funded:
            return
        self._funded.add(address)
        rich = self.web3.eth.accounts[0]
        transfer = {"from": rich, "to": Web3.to_checksum_address(checksum_address(address)), "value": 10**20}
        self.web3.eth.wait_for_transaction_receipt(self.web3.eth.send_transaction(transfer), 10, 0.005)  # type: ignore[arg-type]

    def send(self, sender: LocalSigner, data: bytes, to: bytes | None = None) -> Any:
        """Mine one transaction and return its receipt; its `status` says whether it succeeded."""
        self._fund(sender.address)
        fields = {
            "chainId": self.chain_id,
            "nonce": self.web3.eth.get_transaction_count(Web3.to_checksum_address(checksum_address(sender.address))),
            "gas": GAS_LIMIT,
            "maxFeePerGas": 10**11,
            "maxPriorityFeePerGas": 10**9,
            "value": 0,
            "data": data,
            "to": to,
        }
        raw, _ = sender.sign_transaction(fields)
        return self.web3.eth.wait_for_transaction_receipt(self.web3.eth.send_raw_transaction(raw), 10, 0.005)

    def call(self, to: bytes, data: bytes, sender: bytes | None = None) -> bytes:
        """Run a call on the newest block; RevertedError where it reverts."""
        if sender is not None:
            self._fund(sender)  # py-evm demands the gas of a call, too
        fields = {
            "to": checksum_address(to),
            "from": checksum_address(sender) if sender else self.web3.eth.accounts[0],
            "data": "0x" + data.hex(),
        }
        try:
            return bytes(self.web3.eth.call(fields))  # type: ignore[arg-type]
        except ContractLogicError as error:
            raise RevertedError(bytes.fromhex(str(error.data)[2:])) from error
        except TransactionFailed as error:  # eth-tester answers with the revert data as the text of a bytes literal
            raise RevertedError(literal_eval(str(error).removeprefix("execution reverted: "))) from error

    def now_s(self) -> int:
        """Timestamp of the newest block."""
        return int(self.web3.eth.get_block("latest")["timestamp"])

    def next_block_at(self, timestamp_s: int) -> None:
        """Give the next block this timestamp."""
        if self.tester is None:
            self._rpc("evm_setNextBlockTimestamp", timestamp_s)
        else:
            self.tester.time_travel(timestamp_s)


@contextmanager
def open_chain(kind: str) -> Iterator[Chain]:
    """A fresh chain: `eth-tester` in this process or `anvil` (Prague rules) beside it."""
    if kind == "eth-tester":
        tester = EthereumTester(PyEVMBackend())
        yield Chain(Web3(EthereumTesterProvider(tester)), tester)
        return
    node = start_anvil("--hardfork", "prague")
    try:
        yield Chain(Web3(HTTPProvider(node.url)), None)
    finally:
        node.process.kill()
        node.process.wait()


class Board:
    """A freshly deployed Leaderboard with one actor per role."""

    def __init__(self, chain: Chain, game: bytes) -> None:
        self.chain = chain
        self.admin, self.guardian, self.auditor = actor("admin"), actor("guardian"), actor("auditor")
        self.signer, self.carrier = actor("signer"), actor("carrier")
        self.game = game
        people = (self.signer.address, self.guardian.address, self.auditor.address)
        receipt = chain.send(self.admin, init_code(self.admin.address, 3600, *people))
        assert receipt["status"] == 1
        self.address = bytes.fromhex(receipt["contractAddress"][2:])
        self.deployed_in = receipt
        self.domain = Domain(chain.chain_id, self.address)
        self.rules = keccak(b'{"id":"test@1"}')
        self.receipts: list[Any] = []
        self.do(self.admin, "publishRules", self.game, b'{"id":"test@1"}')

    def transact(self, sender: LocalSigner, data: bytes) -> Any:
        """Send calldata that must succeed; return the receipt."""
        receipt = self.chain.send(sender, data, self.address)
        assert receipt["status"] == 1, self.failure(sender, data)
        self.receipts.append(receipt)
        return receipt

    def do(self, sender: LocalSigner, name: str, *args: object) -> Any:
        """Call a function in a transaction that must succeed; return the receipt."""
        return self.transact(sender, encode_call(name, *args))

    def failure(self, sender: LocalSigner, data: bytes) -> str:
        """Name of the error that calldata reverts with; empty where it does not revert."""
        try:
            self.chain.call(self.address, data, sender.address)
        except RevertedError as error:
            return error.name
        return ""

    def ask(self, name: str, *args: object) -> Any:
        """Call a view."""
        return decode_result(name, self.chain.call(self.address, encode_call(name, *args)))

    def batch(
        self,
        records: list[Record],
        signer: LocalSigner | None = None,
        deadline: int = FAR,
        domain: Domain | None = None,
    ) -> bytes:
        """Calldata of a signed batch."""
        packed = b"".join(map(pack_record, records))
        digest = score_batch_digest(domain or self.domain, self.game, self.rules, deadline, packed)
        signature = (signer or self.signer).sign(digest)
        return encode_submit_scores(self.game, self.rules, deadline, packed, signature)

    def submit(self, records: list[Record], signer: LocalSigner | None = None) -> Any:
        """Record a signed batch; return the receipt."""
        return self.transact(self.carrier, self.batch(records, signer))

    def events(self, *receipts: Any) -> list[Event]:
        """Decoded events of these receipts (of everything sent so far, without arguments)."""
        logs = [log for receipt in (receipts or self.receipts) for log in receipt["logs"]]
        decoded = [decode_log([bytes(t) for t in log["topics"]], bytes(log["data"])) for log in logs]
        return [event for event in decoded if event is not None]


def some_records(count: int, first_round: int = 1) -> list[Record]:
    """Records that look like real ones: random accounts and hashes, small scores, consecutive rounds."""
    return [
        Record(keccak(b"player %d" % n)[12:], 1_000 + n * 37 % 900_000, n, keccak(b"evidence %d" % n))
        for n in range(first_round, first_round + count)
    ]
