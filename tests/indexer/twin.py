"""A real node with the compiled contract that is made to do exactly what a fake chain does."""

from dataclasses import replace
from typing import Any

from relay.attestation import Domain, score_batch_digest
from relay.contract import encode_call, encode_submit_scores, game_key, init_code, pack_record
from relay.signer import LocalSigner
from tests.conftest import Anvil
from tests.indexer.fake_chain import REASON, RULES, FakeChain, next_round, record_of

GAS = hex(20_000_000)
DEADLINE = 2**40


class Twin:
    """An anvil without automatic mining, and the fake chain that predicts it."""

    def __init__(self, anvil: Anvil, games: tuple[str, ...]) -> None:
        self._anvil = anvil
        self._account: str = self._rpc("eth_accounts")[0]
        self._signer = LocalSigner(bytes(31) + b"\x07")
        owner = bytes.fromhex(self._account[2:])
        self.fake = FakeChain(signer=self._signer.address, auditor=owner)
        deployed = self._send(None, init_code(owner, 0, self._signer.address, owner, owner))
        self._rpc("evm_mine")
        self.contract = bytes.fromhex(self._rpc("eth_getTransactionReceipt", deployed)["contractAddress"][2:])
        for game in games:
            self._send(self.contract, encode_call("publishRules", game_key(game), b"rules"))
        self._rpc("evm_mine")
        self.fake.mine()
        self.fake.mine()
        self._snapshots = {self.fake.height: self._rpc("evm_snapshot")}

    def _rpc(self, method: str, *params: object) -> Any:
        return self._anvil.rpc(method, *params)

    def _send(self, to: bytes | None, data: bytes) -> str:
        transaction = {"from": self._account, "data": "0x" + data.hex(), "gas": GAS}
        if to is not None:
            transaction["to"] = "0x" + to.hex()
        return str(self._rpc("eth_sendTransaction", transaction))

    def submit(self, game: str, scores: list[tuple[bytes, int]]) -> None:
        """Record one batch in a block of its own, here and there."""
        first = next_round(self.fake.world.plays, game)
        packed = b"".join(
            pack_record(record_of(first + offset, player, score)) for offset, (player, score) in enumerate(scores)
        )
        domain = Domain(self._anvil.chain_id, self.contract)
        digest = score_batch_digest(domain, game_key(game), RULES, DEADLINE, packed)
        signature = self._signer.sign(digest)
        self._send(self.contract, encode_submit_scores(game_key(game), RULES, DEADLINE, packed, signature))
        self.fake.submit(game, scores)
        self.mine()

    def judge(self, game: str, round_id: int, *, invalid: bool) -> None:
        """Rule on one score in a block of its own; the real contract reverts where the fake one does nothing."""
        name = "invalidateScores" if invalid else "reinstateScores"
        self._send(self.contract, encode_call(name, game_key(game), [round_id], REASON))
        self.fake.judge(game, round_id, invalid=invalid)
        self.mine()

    def mine(self) -> None:
        """Make a block, here and there."""
        self.fake.mine()
        self._rpc("evm_mine")
        self._snapshots[self.fake.height] = self._rpc("evm_snapshot")

    def reorganise(self, depth: int) -> None:
        """Let the node replace its newest blocks by as many empty ones, at once, as real chains do."""
        depth = min(depth, self.fake.height - 2)
        self._rpc("anvil_reorg", depth, [])
        self.fake.fork(depth)
        for _ in range(depth):
            self.fake.mine()
        self._snapshots = {}  # they are of the branch that is gone

    def pass_time(self, seconds: int) -> None:
        """Let the next block be so much later; the fake chain's clock is not predicted, see `take_times`."""
        self._rpc("evm_increaseTime", seconds)

    def take_times(self) -> None:
        """Give the fake chain's blocks the times of the real ones."""
        for number, block in enumerate(self.fake.blocks):
            found = self._rpc("eth_getBlockByNumber", hex(number), False)
            self.fake.blocks[number] = replace(block, header=block.header._replace(time_s=int(found["timestamp"], 16)))

    def fork(self, depth: int) -> None:
        """Go back, here and there; what follows differs because its timestamps do."""
        to = max(self.fake.height - depth, 2)
        self.fake.fork(self.fake.height - to)
        assert self._rpc("evm_revert", self._snapshots[to])
        self._snapshots[to] = self._rpc("evm_snapshot")
        self._rpc("evm_increaseTime", 60)
