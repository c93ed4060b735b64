"""A chain in memory that behaves like a provider: forks, short logs, tags, and lies on demand.

The contract in it keeps heads exactly as Leaderboard.sol does; `test_follower_anvil.py` runs the same scenario on anvil
with the compiled contract, so that this one is not believed blindly.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from indexer.chain import MalformedError, TooMuchError, as_block
from indexer.decoding import RpcLog
from indexer.events import Header, Mark
from indexer.state import Identity
from relay.chain_types import Look, ProviderState
from relay.contract import (
    TOPICS,
    Record,
    ScoreInvalidated,
    ScoreReinstated,
    game_key,
    moderated_head,
    next_head,
    pack_record,
)
from relay.keccak import keccak

CONTRACT = b"\xc0" * 20
SIGNER = b"\x51" * 20
AUDITOR = b"\xa0" * 20
RULES = keccak(b"rules")
REASON = keccak(b"reason")


@dataclass(frozen=True)
class Play:
    """One recorded score, as the oracle knows it."""

    game: str
    round_id: int
    player: bytes
    score: int
    position: tuple[int, int]
    evidence_hash: bytes
    valid: bool = True


@dataclass(frozen=True)
class World:
    """The contract's storage, and all that was ever recorded, after one block."""

    heads: dict[str, bytes] = field(default_factory=dict)
    plays: dict[tuple[str, int], Play] = field(default_factory=dict)


@dataclass(frozen=True)
class Block:
    """One block."""

    header: Header
    logs: tuple[RpcLog, ...]
    world: World


def word(value: int | bytes) -> str:
    """One ABI word as hexadecimal digits."""
    return (value.to_bytes(32, "big") if isinstance(value, int) else value.rjust(32, b"\0")).hex()


def record_of(round_id: int, player: bytes, score: int) -> Record:
    """The record of a play, with evidence of its own."""
    return Record(player, score, round_id, keccak(b"%d %d" % (score, round_id) + player))


def next_round(plays: dict[tuple[str, int], Play], game: str) -> int:
    """The relay's serial of the game's next score."""
    return 1 + sum(1 for other, _ in plays if other == game)


class FakeChain:
    """Blocks 0 to `height`; what `indexer.follower.Chain` asks is answered from them."""

    def __init__(self, *, timestamps_in_logs: bool = True, signer: bytes = SIGNER, auditor: bytes = AUDITOR) -> None:
        self.signer, self.auditor = signer, auditor
        self.contract = "0x" + CONTRACT.hex()
        self.chain_id, self.code_hash = 31337, keccak(b"code")
        self._salt = 0
        self._timestamps = timestamps_in_logs
        genesis = Header(0, keccak(b"genesis"), bytes(32), 1_700_000_000)
        self.blocks = [Block(genesis, (), World())]
        self._pending: list[tuple[str, str, object]] = []
        self.finalized_tag: int | None = None
        self.archive = True
        self.tamper: Callable[[list[RpcLog]], list[RpcLog]] = lambda logs: logs
        self.results_max = 10**9
        self.asked: list[tuple[int, int]] = []
        self.blamed: list[str] = []
        self.calls = 0

    @property
    def height(self) -> int:
        """Number of the newest block."""
        return len(self.blocks) - 1

    @property
    def world(self) -> World:
        """The contract as of the newest block."""
        return self.blocks[-1].world

    # ------------------------------------------------------------------ making blocks

    def submit(self, game: str, scores: Sequence[tuple[bytes, int]]) -> None:
        """Put a batch of (player, score) into the next block."""
        self._pending.append(("batch", game, tuple(scores)))

    def judge(self, game: str, round_id: int, *, invalid: bool) -> None:
        """Put an invalidation or a reinstatement into the next block, if the contract would take it there."""
        self._pending.append(("invalid" if invalid else "valid", game, round_id))

    def mine(self, seconds: int = 1) -> None:
        """Make the next block."""
        parent = self.blocks[-1].header
        number = parent.number + 1
        seed = keccak(parent.hash + bytes([self._salt % 256]) + repr(self._pending).encode())
        header = Header(number, seed, parent.hash, parent.time_s + seconds)
        heads, plays = dict(self.world.heads), dict(self.world.plays)
        logs: list[RpcLog] = []
        for serial, (kind, game, what) in enumerate(self._pending):
            tx_hash = keccak(seed + serial.to_bytes(4, "big"))
            if kind == "batch":
                self._batch(header, tx_hash, game, what, heads, plays, logs)  # type: ignore[arg-type]
            else:
                self._ruling(header, tx_hash, game, what, kind == "invalid", heads, plays, logs)  # type: ignore[arg-type]
        self._pending = []
        self.blocks.append(Block(header, tuple(logs), World(heads, plays)))

    def fork(self, depth: int) -> None:
        """Forget the newest `depth` blocks; what is mined next is another branch."""
        depth = min(depth, self.height)
        if depth:
            del self.blocks[-depth:]
        self._salt += 1

    def _log(self, header: Header, tx_hash: bytes, index: int, topics: list[str], data: str) -> RpcLog:
        return RpcLog(
            self.contract, ["0x" + topic for topic in topics], "0x" + data, hex(header.number),
            "0x" + header.hash.hex(), "0x" + tx_hash.hex(), hex(index),
            block_timestamp=hex(header.time_s) if self._timestamps else None,
        )  # fmt: skip

    def _batch(
        self, header: Header, tx_hash: bytes, game: str, scores: Sequence[tuple[bytes, int]],
        heads: dict[str, bytes], plays: dict[tuple[str, int], Play], logs: list[RpcLog],
    ) -> None:  # fmt: skip
        key = game_key(game)
        first = next_round(plays, game)
        packed = b""
        for offset, (player, score) in enumerate(scores):
            record = record_of(first + offset, player, score)
            evidence = record.evidence_hash
            packed += pack_record(record)
            plays[game, record.round_id] = Play(
                game, record.round_id, player, score, (header.number, len(logs)), evidence
            )
            topics = [TOPICS["ScoreSubmitted"].hex(), key.hex(), word(player), word(record.round_id)]
            logs.append(self._log(header, tx_hash, len(logs), topics, word(score) + evidence.hex() + RULES.hex()))
        records_hash = keccak(packed)
        head = next_head(heads.get(game, bytes(32)), key, RULES, records_hash, self.signer, len(scores))
        heads[game] = head
        topics = [TOPICS["BatchAccepted"].hex(), key.hex(), word(self.signer)]
        data = records_hash.hex() + head.hex() + word(len(scores))
        logs.append(self._log(header, tx_hash, len(logs), topics, data))

    def _ruling(
        self, header: Header, tx_hash: bytes, game: str, round_id: int, invalid: bool,
        heads: dict[str, bytes], plays: dict[tuple[str, int], Play], logs: list[RpcLog],
    ) -> None:  # fmt: skip
        play = plays.get((game, round_id))
        if play is None or play.valid != invalid:
            return  # the contract would revert
        key = game_key(game)
        kind = ScoreInvalidated if invalid else ScoreReinstated
        head = moderated_head(heads[game], kind(key, round_id, self.auditor, REASON, b""))
        heads[game] = head
        plays[game, round_id] = replace(play, valid=not invalid)
        topics = [TOPICS[kind.__name__].hex(), key.hex(), word(round_id), word(self.auditor)]
        logs.append(self._log(header, tx_hash, len(logs), topics, REASON.hex() + head.hex()))

    # ------------------------------------------------------------------ being asked

    async def identity(self) -> Identity:
        """Which chain this is."""
        return Identity(self.chain_id, self.blocks[0].header.hash, CONTRACT, self.code_hash)

    async def head(self) -> Header:
        """The newest block."""
        return self.blocks[-1].header

    async def headers(self, numbers: Sequence[int]) -> list[Header | None]:
        """Blocks by number."""
        return [self.blocks[n].header if 0 <= n <= self.height else None for n in numbers]

    async def logs(self, first: int, last: int) -> list[RpcLog]:
        """Logs of a range, refused when they are too many."""
        self.asked.append((first, last))
        found = [log for block in self.blocks[first : last + 1] for log in block.logs]
        if len(found) > self.results_max:
            raise TooMuchError(-32005, f"query returned more than {self.results_max} results")
        return self.tamper(found)

    async def look(self, heights: Sequence[int]) -> Look:
        """What a pool of providers looks at."""
        known = {number: self.blocks[number].header.hash for number in heights if number <= self.height}
        return Look(self.chain_id, as_block(await self.head()), known)

    async def published_rules(self, game: bytes, rules_hash: bytes, first: int, last: int) -> bytes | None:  # noqa: ARG002
        """Nobody publishes rules here."""
        return None

    def expect(self, chain_id: int, genesis: bytes) -> None:
        """There is nobody else to ask."""

    def blame(self, why: str) -> None:
        """There is nobody else to ask."""
        self.blamed.append(why)

    async def confirms(self, mark: Mark) -> bool:
        """There is nobody else to ask."""
        return mark.number <= self.height

    def providers(self) -> list[ProviderState]:
        """Nobody but this one."""
        return [ProviderState("fake:1", True, self.height, 0, "")]

    async def close(self) -> None:
        """Nothing to let go of."""

    async def finalized(self) -> int | None:
        """The finalized tag."""
        return self.finalized_tag

    async def heads(self, games: Sequence[bytes], block: int) -> dict[bytes, bytes] | None:
        """The contract's own heads."""
        if not self.archive and block < self.height:
            return None
        if block > self.height:
            raise MalformedError("no such block")
        world = {game_key(name): head for name, head in self.blocks[block].world.heads.items()}
        return {game: world.get(game, bytes(32)) for game in games}


def oracle(world: World, game: str) -> list[tuple[bytes, int, tuple[int, int]]]:
    """(player, score, position) in ranking order, by the definition and nothing else."""
    best: dict[bytes, Play] = {}
    for play in sorted(world.plays.values(), key=lambda play: play.position):
        if play.game == game and play.valid and (play.player not in best or play.score > best[play.player].score):
            best[play.player] = play
    ordered = sorted(best.values(), key=lambda play: (-play.score, play.position))
    return [(play.player, play.score, play.position) for play in ordered]
