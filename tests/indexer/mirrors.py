"""Providers of one fake chain, each of which may be honest, behind, away or lying; and the pool over them."""

from collections.abc import Callable, Sequence
from enum import Enum

import msgspec

from indexer.chain import RefusedError, TooMuchError, UnreachableError, as_block
from indexer.chain_pool import ChainPool
from indexer.decoding import SCORE_SUBMITTED, RpcLog
from indexer.events import Header, Mark
from indexer.state import Identity
from relay.chain_types import Look
from relay.keccak import keccak
from tests.indexer.fake_chain import FakeChain

LAG = 8


class Lie(Enum):
    """What a provider does in place of answering as it should."""

    NO_FIRST = "leaves out the first log"
    NO_LAST = "leaves out the last log"
    NO_LOGS = "leaves out every log"
    OTHER_SCORE = "gives another score"
    TWICE = "gives a log twice"
    REMOVED = "gives removed logs"
    OTHER_FORK = "gives the logs of another fork"
    OTHER_TIME = "dates logs otherwise"
    NO_STATE = "leaves out every log and has no state to compare with"
    LOST_BLOCKS = "has no blocks although its head is there"
    LOOSE_BLOCKS = "gives blocks that do not follow each other"
    LAGS = "lags behind"
    AWAY = "does not answer"
    REFUSES = "answers everything with an error"
    WRONG_CHAIN = "is on another chain"
    WRONG_CODE = "has another contract there"


PROVED = (
    Lie.NO_FIRST, Lie.NO_LAST, Lie.NO_LOGS, Lie.OTHER_SCORE, Lie.TWICE, Lie.REMOVED, Lie.OTHER_FORK, Lie.OTHER_TIME,
)  # fmt: skip
"""What the contract's own record, or the form of an answer, proves at once."""


def _changed(logs: list[RpcLog], **fields: object) -> list[RpcLog]:
    return [msgspec.structs.replace(log, **fields) for log in logs]


def _other_score(logs: list[RpcLog]) -> list[RpcLog]:
    return [
        msgspec.structs.replace(log, data="0x" + f"{999_999:064x}" + log.data[66:])
        if log.topics[0] == SCORE_SUBMITTED
        else log
        for log in logs
    ]


TAMPER: dict[Lie, Callable[[list[RpcLog]], list[RpcLog]]] = {
    Lie.NO_FIRST: lambda logs: logs[1:],
    Lie.NO_LAST: lambda logs: logs[:-1],
    Lie.NO_LOGS: lambda logs: logs[:0],
    Lie.NO_STATE: lambda logs: logs[:0],
    Lie.OTHER_SCORE: _other_score,
    Lie.TWICE: lambda logs: [*logs[:1], *logs],
    Lie.REMOVED: lambda logs: _changed(logs, removed=True),
    Lie.OTHER_FORK: lambda logs: _changed(logs, block_hash="0x" + "77" * 32),
    Lie.OTHER_TIME: lambda logs: _changed(logs, block_timestamp=hex(1_600_000_000)),
}


class Mirror:
    """One provider of a chain; `lie` can be changed at any time, `chain` as well: then it is on a fork of its own."""

    def __init__(self, chain: FakeChain) -> None:
        self.chain, self.contract = chain, chain.contract
        self.lie: Lie | None = None
        self.range_max = self.results_max = 10**9
        self.calls = 0
        self.ranges: list[int] = []

    @property
    def _height(self) -> int:
        return max(0, self.chain.height - (LAG if self.lie is Lie.LAGS else 0))

    def _asked(self) -> None:
        self.calls += 1
        if self.lie is Lie.AWAY:
            raise UnreachableError("the provider does not answer")
        if self.lie is Lie.REFUSES:
            raise RefusedError(-32601, "the method is not available on your plan")

    async def close(self) -> None:
        """Nothing to let go of."""

    async def look(self, heights: Sequence[int]) -> Look:
        """What it shows."""
        self._asked()
        found = {height: self.chain.blocks[height].header.hash for height in heights if height <= self._height}
        chain_id = 1 if self.lie is Lie.WRONG_CHAIN else self.chain.chain_id
        return Look(chain_id, as_block(await self.head()), found)

    async def identity(self) -> Identity:
        """Which chain it says it is."""
        self._asked()
        found = await self.chain.identity()
        if self.lie is Lie.WRONG_CODE:
            return found._replace(code_hash=keccak(b"other code"))
        return found._replace(chain_id=1) if self.lie is Lie.WRONG_CHAIN else found

    async def head(self) -> Header:
        """Its newest block."""
        self._asked()
        return self.chain.blocks[self._height].header

    async def headers(self, numbers: Sequence[int]) -> list[Header | None]:
        """Blocks by number."""
        self._asked()
        found = [header if header and header.number <= self._height else None
                 for header in await self.chain.headers(numbers)]  # fmt: skip
        if self.lie is Lie.LOST_BLOCKS:
            return [None] * len(found)
        if self.lie is Lie.LOOSE_BLOCKS:
            return [header and header._replace(parent=b"\x99" * 32) for header in found]
        return found

    async def logs(self, first: int, last: int) -> list[RpcLog]:
        """Logs of a range, as it tells them."""
        self._asked()
        self.ranges.append(last - first + 1)
        if last - first + 1 > self.range_max:
            raise TooMuchError(-32005, f"block range is too wide: {self.range_max} at most")
        found = await self.chain.logs(first, min(last, self._height))
        if len(found) > self.results_max:
            raise TooMuchError(-32005, f"query returned more than {self.results_max} results")
        return TAMPER[self.lie](found) if found and self.lie in TAMPER else found

    async def finalized(self) -> int | None:
        """No such tag."""
        self._asked()
        return None

    async def heads(self, games: Sequence[bytes], block: int) -> dict[bytes, bytes] | None:
        """The contract's own heads."""
        self._asked()
        return None if self.lie is Lie.NO_STATE else await self.chain.heads(games, block)

    async def published_rules(self, game: bytes, rules_hash: bytes, first: int, last: int) -> bytes | None:
        """A document that every chain here published in block 5."""
        self._asked()
        self.ranges.append(last - first + 1)
        if last - first + 1 > self.range_max:
            raise TooMuchError(-32005, f"block range is too wide: {self.range_max} at most")
        return b"rules" if first <= 5 <= last and keccak(b"rules") == rules_hash and game else None


class Clock:
    """Seconds that pass when told to."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


def pool(*mirrors: Mirror, clock: Clock | None = None, start_block: int = 0) -> ChainPool:
    """The pool over some providers, named `p0:1`, `p1:1` and so on."""
    named = [(f"p{index}:1", mirror) for index, mirror in enumerate(mirrors)]
    return ChainPool(named, start_block, clock=clock or Clock())


def branch(chain: FakeChain, depth: int) -> FakeChain:
    """A fork of a chain that shares all but its newest blocks."""
    other = FakeChain()
    other.blocks = list(chain.blocks[: len(chain.blocks) - depth])
    other.fork(0)
    return other


def mark(chain: FakeChain, number: int) -> Mark:
    """A block of a chain."""
    return chain.blocks[number].header.mark
