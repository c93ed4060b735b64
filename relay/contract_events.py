"""What the Leaderboard contract logs, as frozen values, and the hash chain that makes a missing log visible.

Pure. Decoded by hand: every argument is one word, so a general ABI decoder would only cost time.
Source: `contracts/interfaces/ILeaderboard.sol` (a test compares every topic with the compiled ABI).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from relay.contract_records import Record, pack_record
from relay.keccak import keccak

BATCH_LINK = keccak(b"Leaderboard.BatchAccepted")
INVALIDATED_LINK = keccak(b"Leaderboard.ScoreInvalidated")
REINSTATED_LINK = keccak(b"Leaderboard.ScoreReinstated")
ANCHOR_LINK = keccak(b"Leaderboard.EconomyAnchored")
GENESIS_HEAD = bytes(32)


@dataclass(frozen=True, slots=True)
class ScoreSubmitted:
    """A score was recorded."""

    game: bytes
    player: bytes
    round_id: int
    score: int
    evidence_hash: bytes
    rules_hash: bytes


@dataclass(frozen=True, slots=True)
class BatchAccepted:
    """The `accepted` scores logged just before it were recorded together; `head` is the game's new head."""

    game: bytes
    signer: bytes
    records_hash: bytes
    head: bytes
    accepted: int


@dataclass(frozen=True, slots=True)
class ScoreInvalidated:
    """An auditor withdrew a recorded score; `head` is the game's new head."""

    game: bytes
    round_id: int
    auditor: bytes
    reason_hash: bytes
    head: bytes


@dataclass(frozen=True, slots=True)
class ScoreReinstated:
    """An auditor took an invalidation back; `head` is the game's new head."""

    game: bytes
    round_id: int
    auditor: bytes
    reason_hash: bytes
    head: bytes


@dataclass(frozen=True, slots=True)
class EconomyAnchored:
    """The `count` ledger entries from `first_sequence` on were anchored; `head` is the economy's new head."""

    economy: bytes
    signer: bytes
    first_sequence: int
    count: int
    merkle_root: bytes
    head: bytes


@dataclass(frozen=True, slots=True)
class RulesPublished:
    """Rules became active; `document` hashes to `rules_hash`."""

    game: bytes
    rules_hash: bytes
    document: bytes


@dataclass(frozen=True, slots=True)
class RulesRetired:
    """Batches judged by these rules are no longer taken."""

    game: bytes
    rules_hash: bytes


@dataclass(frozen=True, slots=True)
class RoleGranted:
    """`account` holds `role` from here on."""

    role: bytes
    account: bytes
    sender: bytes


@dataclass(frozen=True, slots=True)
class RoleRevoked:
    """`account` no longer holds `role`."""

    role: bytes
    account: bytes
    sender: bytes


@dataclass(frozen=True, slots=True)
class Paused:
    """Recording, moderation, anchors and rules stopped."""

    account: bytes


@dataclass(frozen=True, slots=True)
class Unpaused:
    """They resumed."""

    account: bytes


Moderation = ScoreInvalidated | ScoreReinstated
Event = (
    ScoreSubmitted
    | BatchAccepted
    | Moderation
    | EconomyAnchored
    | RulesPublished
    | RulesRetired
    | RoleGranted
    | RoleRevoked
    | Paused
    | Unpaused
)

# ----------------------------------------------------------------- decoding

Topics = Sequence[bytes]


def _int(word: bytes) -> int:
    return int.from_bytes(word, "big")


def _score_submitted(topics: Topics, data: bytes) -> Event:
    return ScoreSubmitted(topics[1], topics[2][12:], _int(topics[3]), _int(data[:32]), data[32:64], data[64:96])


def _batch_accepted(topics: Topics, data: bytes) -> Event:
    return BatchAccepted(topics[1], topics[2][12:], data[:32], data[32:64], _int(data[64:96]))


def _score_invalidated(topics: Topics, data: bytes) -> Event:
    return ScoreInvalidated(topics[1], _int(topics[2]), topics[3][12:], data[:32], data[32:64])


def _score_reinstated(topics: Topics, data: bytes) -> Event:
    return ScoreReinstated(topics[1], _int(topics[2]), topics[3][12:], data[:32], data[32:64])


def _economy_anchored(topics: Topics, data: bytes) -> Event:
    words = (_int(data[:32]), _int(data[32:64]), data[64:96], data[96:128])
    return EconomyAnchored(topics[1], topics[2][12:], *words)


def _rules_published(topics: Topics, data: bytes) -> Event:
    end = 64 + _int(data[32:64])
    if end > len(data):
        raise ValueError("the document of RulesPublished is cut off")
    return RulesPublished(topics[1], topics[2], data[64:end])


# signature: (indexed arguments, bytes of data at least, reader)
_SHAPES: dict[str, tuple[int, int, Callable[[Topics, bytes], Event]]] = {
    "ScoreSubmitted(bytes32,address,uint64,uint256,bytes32,bytes32)": (3, 96, _score_submitted),
    "BatchAccepted(bytes32,address,bytes32,bytes32,uint256)": (2, 96, _batch_accepted),
    "ScoreInvalidated(bytes32,uint64,address,bytes32,bytes32)": (3, 64, _score_invalidated),
    "ScoreReinstated(bytes32,uint64,address,bytes32,bytes32)": (3, 64, _score_reinstated),
    "EconomyAnchored(bytes32,address,uint64,uint64,bytes32,bytes32)": (2, 128, _economy_anchored),
    "RulesPublished(bytes32,bytes32,bytes)": (2, 64, _rules_published),
    "RulesRetired(bytes32,bytes32)": (2, 0, lambda t, _: RulesRetired(t[1], t[2])),
    "RoleGranted(bytes32,address,address)": (3, 0, lambda t, _: RoleGranted(t[1], t[2][12:], t[3][12:])),
    "RoleRevoked(bytes32,address,address)": (3, 0, lambda t, _: RoleRevoked(t[1], t[2][12:], t[3][12:])),
    "Paused(address)": (0, 32, lambda _, d: Paused(d[12:32])),
    "Unpaused(address)": (0, 32, lambda _, d: Unpaused(d[12:32])),
}
_READERS = {keccak(signature.encode()): shape for signature, shape in _SHAPES.items()}

TOPICS: dict[str, bytes] = {signature.partition("(")[0]: keccak(signature.encode()) for signature in _SHAPES}
"""First topic (32 bytes) of every event that `decode_log` knows, by the event's name."""


def decode_log(topics: Sequence[bytes], data: bytes) -> Event | None:
    """Return the event of a log, or None for an event of another kind; ValueError where a known event is malformed."""
    shape = _READERS.get(topics[0]) if topics else None
    if shape is None:
        return None
    indexed, size, reader = shape
    if len(topics) != indexed + 1 or len(data) < size:
        raise ValueError(f"malformed log: {len(topics)} topics, {len(data)} bytes of data")
    return reader(topics, data)


# -------------------------------------------------------------- hash chains


class HeadMismatchError(ValueError):
    """The logs do not add up to the head that the contract published: one is missing, invented, changed or moved."""


def next_head(head: bytes, game: bytes, rules_hash: bytes, records_hash: bytes, signer: bytes, accepted: int) -> bytes:
    """Return the game's head after a batch, exactly as the contract chains it."""
    tail = bytes(12) + signer + accepted.to_bytes(32, "big")
    return keccak(BATCH_LINK + head + game + rules_hash + records_hash + tail)


def moderated_head(head: bytes, event: Moderation) -> bytes:
    """Return the game's head after one invalidation or reinstatement."""
    link = INVALIDATED_LINK if isinstance(event, ScoreInvalidated) else REINSTATED_LINK
    words = event.round_id.to_bytes(32, "big") + bytes(12) + event.auditor + event.reason_hash
    return keccak(link + head + event.game + words)


def anchored_head(head: bytes, event: EconomyAnchored) -> bytes:
    """Return the economy's head after an anchor."""
    numbers = event.first_sequence.to_bytes(32, "big") + event.count.to_bytes(32, "big")
    return keccak(ANCHOR_LINK + head + event.economy + numbers + event.merkle_root + bytes(12) + event.signer)


class HeadChain:
    """Folds one game's events, in chain order, into its head and refuses a sequence that the contract did not log.

    After the last event `settled` must be true and `head` must equal the contract's `head(game)` at that block.
    """

    __slots__ = ("_pending", "game", "head")

    def __init__(self, game: bytes, head: bytes = GENESIS_HEAD) -> None:
        self.game = game
        self.head = head
        self._pending: list[ScoreSubmitted] = []

    @property
    def settled(self) -> bool:
        """Whether every score seen was followed by its batch."""
        return not self._pending

    def feed(self, event: Event) -> None:
        """Take the next event; those of other games and kinds are ignored. HeadMismatchError where it cannot follow."""
        if isinstance(event, ScoreSubmitted):
            if event.game == self.game:
                self._pending.append(event)
        elif isinstance(event, BatchAccepted):
            if event.game == self.game:
                self._feed_batch(event)
        elif isinstance(event, ScoreInvalidated | ScoreReinstated) and event.game == self.game:
            if self._pending:
                raise HeadMismatchError("scores without their batch")
            self._advance(moderated_head(self.head, event), event.head)

    def _feed_batch(self, batch: BatchAccepted) -> None:
        scores, self._pending = self._pending, []
        if len(scores) != batch.accepted:
            raise HeadMismatchError(f"a batch of {batch.accepted} scores came with {len(scores)}")
        try:
            packed = b"".join(pack_record(Record(s.player, s.score, s.round_id, s.evidence_hash)) for s in scores)
        except ValueError as error:
            raise HeadMismatchError("a score that no record holds") from error
        if keccak(packed) != batch.records_hash:
            raise HeadMismatchError("the scores of a batch are not the ones that were recorded")
        if len({s.rules_hash for s in scores}) != 1:
            raise HeadMismatchError("the scores of a batch name different rules")
        expected = next_head(
            self.head, self.game, scores[0].rules_hash, batch.records_hash, batch.signer, batch.accepted
        )
        self._advance(expected, batch.head)

    def _advance(self, expected: bytes, published: bytes) -> None:
        if expected != published:
            raise HeadMismatchError(f"the contract's head is 0x{published.hex()}, these logs make 0x{expected.hex()}")
        self.head = expected
