"""What one RPC endpoint says about the world: late, stale, on a dead fork, wrong, or nothing at all.

Touches the world it is given. It implements the outbox's port; chance comes seeded, and every lie is named in `LIES`.
"""

# ruff: noqa: ARG002 - the parameters are the port's, whether this endpoint needs them or not

import random
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from relay.chain_types import Block, ChainAnswerError, ChainUnavailableError, Fees, Log, Look, Receipt, SendAnswer
from relay.contract import SUBMIT_SCORES
from relay.keccak import keccak
from tests.simulator.world import GWEI, IS_RECORDED, MODERATES, Branch, Tx, World, read_raw

LIES = (  # that a single endpoint may tell: nobody is asked but itself
    "other block",  # a receipt with a block hash that no chain has
    "flipped status",
    "no receipt",
    "no logs",  # a receipt without its logs
    "empty eth_getLogs",
    "nonce too low",
    "nonce too high",
    "stale head",  # this answer is some blocks behind, the next one is not: the head goes back
)
GRAVE_LIES = (  # that need another endpoint which does not tell them
    "nonce final too high",
    "not recorded",
    "stranger",  # it serves another chain
)
SEND_LIES = {
    "already known": SendAnswer(False, -32000, "already known"),
    "nonce too low": SendAnswer(False, -32000, "nonce too low"),
    "nonce too high": SendAnswer(False, -32000, "nonce too high"),
    "underpriced": SendAnswer(False, -32000, "replacement transaction underpriced"),
    "no funds": SendAnswer(False, -32000, "insufficient funds for gas * price + value"),
    "pool full": SendAnswer(False, -32000, "txpool is full"),
    "accepted": SendAnswer(True),  # and forgotten
    "nonsense": SendAnswer(False, -32603, "internal error"),
    "lose request": SendAnswer(False, None, "TimeoutError"),
    "lose answer": SendAnswer(False, None, "TimeoutError"),
}


@dataclass
class Mood:
    """How an endpoint behaves now. Probabilities are per answer."""

    down: bool = False
    flaky: float = 0.0  # no answer
    lag: int = 0  # blocks behind, always
    fork: Branch | None = None  # it has not noticed a reorg
    lies: dict[str, float] = field(default_factory=dict)
    sends: dict[str, float] = field(default_factory=dict)  # what becomes of a send
    slow_s: float = 0.0

    def clear(self) -> None:
        """Behave."""
        vars(self).update(vars(Mood()))


class Endpoint:
    """One provider. `pause` is awaited at every call: where a process is stopped, killed or kept waiting."""

    def __init__(
        self,
        world: World,
        mood: Mood,
        chance: random.Random,
        senders: dict[bytes, bytes],
        pause: Callable[[str, float], Awaitable[None]],
        committed: Callable[[bytes], None],
    ) -> None:
        """`senders`: account by transaction hash. `committed` is told of each hash before it reaches any pool."""
        self.world = world
        self.mood = mood
        self._chance = chance
        self._senders = senders
        self._pause = pause
        self._committed = committed

    async def _view(self, what: str) -> tuple[Branch, int]:
        """Wait for the answer's moment; the fork and height it is of."""
        mood = self.mood
        await self._pause(what, mood.slow_s)
        mood = self.mood
        if mood.down or (mood.flaky and self._chance.random() < mood.flaky):
            raise ChainUnavailableError("HTTP 503")
        if "stranger" in mood.lies:
            stranger = self.world.stranger(self._senders.values())
            return stranger, len(stranger) - 1
        branch = mood.fork or self.world.chain
        behind = mood.lag
        if self._lies("stale head"):
            behind += self._chance.randint(1, max(1, self.world.confirmations - 1 - behind))
        return branch, max(0, len(branch) - 1 - behind)

    def _lies(self, lie: str) -> bool:
        odds = self.mood.lies.get(lie, 0.0)
        return odds > 0 and self._chance.random() < odds

    # ------------------------------------------------------------------------ blocks

    async def close(self) -> None:
        """There is nothing to close."""

    async def look(self, heights: Sequence[int]) -> Look:
        branch, tip = await self._view("look")
        hashes = {height: branch[height].header.hash for height in heights if height <= tip}
        return Look(self.world.chain_id + ("stranger" in self.mood.lies), branch[tip].header, hashes)

    async def chain_id(self) -> int:
        await self._view("chain_id")
        return self.world.chain_id + ("stranger" in self.mood.lies)

    async def head(self) -> Block:
        branch, tip = await self._view("head")
        return branch[tip].header

    async def block(self, tag: int | str) -> Block | None:
        branch, tip = await self._view("block")
        number = {"latest": tip, "finalized": self._final(tip), "safe": self._final(tip), "earliest": 0}.get(
            str(tag), tag
        )
        assert isinstance(number, int)
        return branch[number].header if number <= tip else None

    async def blocks(self, numbers: Sequence[int]) -> list[Block | None]:
        branch, tip = await self._view("blocks")
        return [branch[number].header if number <= tip else None for number in numbers]

    def _final(self, tip: int) -> int:
        return max(0, min(self.world.final, tip - self.world.confirmations))

    async def finalized(self, confirmations: int, head: Block) -> int:
        if confirmations:
            return max(0, head.number - confirmations)
        _, tip = await self._view("finalized")
        return self._final(tip)

    # ---------------------------------------------------------------------- accounts

    async def nonce(self, address: bytes, tag: int | str = "latest") -> int:
        branch, tip = await self._view("nonce")
        if isinstance(tag, int):
            if tag > tip:
                raise ChainAnswerError(-32000, "header not found", None)
            return branch[tag].nonces.get(address, 0) + 3 * self._lies("nonce final too high")
        nonce = branch[tip].nonces.get(address, 0)
        if self._lies("nonce too low"):
            return max(0, nonce - self._chance.randint(1, 3))
        return nonce + self._chance.randint(1, 3) if self._lies("nonce too high") else nonce

    async def balance(self, address: bytes) -> int:
        await self._view("balance")
        return 10**9 if self.world.poor else 10**24

    async def code(self, address: bytes) -> bytes:
        await self._view("code")
        return b"\x60" if address == self.world.contract or self.world.delegated else b""

    async def fees(self) -> Fees:
        await self._view("fees")
        base, tip = self.world.base_fee, self.world.tip
        return Fees(None, 0, base + tip) if self.world.legacy else Fees(base, tip, base + tip)

    # ------------------------------------------------------------------ the contract

    async def call(self, to: bytes, data: bytes, sender: bytes | None = None, gas: int | None = None) -> bytes:
        return self._call(to, data, *await self._view("call"))

    async def calls(self, to: bytes, data: Sequence[bytes]) -> list[bytes]:
        branch, tip = await self._view("calls")
        return [self._call(to, one, branch, tip) for one in data]

    def _call(self, to: bytes, data: bytes, branch: Branch, tip: int) -> bytes:
        if "stranger" in self.mood.lies:
            return b""  # nothing is there
        if data[:4] == IS_RECORDED:
            what = (data[4:36], int.from_bytes(data[36:68], "big"))
            if self._lies("not recorded"):
                return bytes(32)
            return int(self.world.is_recorded(what, branch, branch[tip])).to_bytes(32, "big")
        if data[:4] != SUBMIT_SCORES and data[:4] not in MODERATES:
            raise ChainAnswerError(-32601, f"the simulated contract has no {data[:4].hex()}", None)
        result = self.world.outcome(Tx(bytes(32), bytes(20), 0, 0, 0, 0, to, 0, data, 0), branch[tip])
        if isinstance(result, bytes):
            raise ChainAnswerError(3, "execution reverted", result)
        return len(result).to_bytes(32, "big")

    async def estimate_gas(self, sender: bytes, to: bytes | None, data: bytes) -> int:
        await self.call(to or b"", data, sender)
        return 100_000

    async def receipts(self, hashes: Sequence[bytes]) -> list[Receipt | None]:
        branch, tip = await self._view("receipts")
        return [self._receipt(item, branch, tip) for item in hashes]

    def _receipt(self, tx_hash: bytes, branch: Branch, tip: int) -> Receipt | None:
        receipt = self.world.receipt(tx_hash, branch, tip)
        if receipt is None or self._lies("no receipt"):
            return None
        if self._lies("other block"):
            receipt = replace(receipt, block_hash=keccak(receipt.block_hash))
        if self._lies("flipped status"):
            receipt = replace(receipt, succeeded=not receipt.succeeded)
        return replace(receipt, logs=()) if self._lies("no logs") else receipt

    async def logs(
        self, address: bytes, topics: Sequence[bytes | Sequence[bytes] | None], first: int, last: int | None = None
    ) -> list[Log]:
        branch, tip = await self._view("logs")
        if self._lies("empty eth_getLogs") or address != self.world.contract:
            return []
        kinds, game, *named = topics
        rounds = next(one for one in named if one is not None)
        assert isinstance(game, bytes)
        assert kinds is not None
        found = [
            log
            for one in ([rounds] if isinstance(rounds, bytes) else rounds)
            for log in self.world.marks((game, int.from_bytes(one, "big")), branch, tip)
            if log.topics[0] in ([kinds] if isinstance(kinds, bytes) else kinds)
            and first <= log.block_number <= (tip if last is None else last)
        ]
        return sorted(found, key=lambda log: (log.block_number, log.index))

    # ------------------------------------------------------------------------- sends

    async def send_raw(self, raw: bytes) -> SendAnswer:
        tx_hash = keccak(raw)
        await self._pause("send", self.mood.slow_s)
        if self.mood.down or "stranger" in self.mood.lies:
            return SendAnswer(False, None, "ConnectionError")
        fate = next((name for name, odds in self.mood.sends.items() if self._chance.random() < odds), "")
        if fate and fate != "lose answer":
            return SEND_LIES[fate]
        self._committed(tx_hash)
        answer = self._accept(read_raw(raw, self._senders[tx_hash]))
        await self._pause("sent", 0.0)
        return SEND_LIES[fate] if fate else answer

    def _accept(self, tx: Tx) -> SendAnswer:
        """The rules of go-ethereum's pool."""
        refusal = self._refusal(tx, self.world.pools.setdefault(tx.sender, {}))
        if refusal:
            return SendAnswer(False, -32000, refusal)
        self.world.pools[tx.sender][tx.nonce] = self.world.ever[tx.tx_hash] = tx
        return SendAnswer(True)

    def _refusal(self, tx: Tx, pool: Mapping[int, Tx]) -> str:
        world, old, due = self.world, pool.get(tx.nonce), self.world.next_nonce(tx.sender)
        early = world.delegated and tx.nonce != due
        checks = {
            "nonce too low": tx.nonce < due,
            "already known": old is not None and old.tx_hash == tx.tx_hash,
            "replacement transaction underpriced": old is not None
            and (tx.fee * 10 < old.fee * 11 or tx.tip * 10 < old.tip * 11),
            "transaction underpriced": tx.fee < GWEI,
            "in-flight transaction limit reached for delegated accounts": early and due in pool,
            "gapped-nonce tx from delegated accounts": early,
            "insufficient funds for gas * price + value": world.poor,
        }
        return next((text for text, holds in checks.items() if holds), "")
