"""What the contract's logs say, as values: the only facts that standings are made of.

Pure. The events themselves are documented in contracts/interfaces/ILeaderboard.sol.
"""

from typing import NamedTuple

from relay.contract import Moderation, ScoreInvalidated


class Recorded(NamedTuple):
    """ScoreSubmitted: a score entered the chain."""

    place: int  # see indexer.ordering.position
    game: bytes
    round_id: int
    player: bytes
    score: int
    evidence_hash: bytes
    rules_hash: bytes
    tx_hash: bytes
    time_s: int  # the block's timestamp, unix seconds


class Accepted(NamedTuple):
    """BatchAccepted: closes the scores of one batch and moves the head of its game."""

    place: int
    game: bytes
    signer: bytes
    records_hash: bytes
    head: bytes
    accepted: int
    tx_hash: bytes
    block_hash: bytes


class Ruled(NamedTuple):
    """ScoreInvalidated or ScoreReinstated: an auditor withdrew a score or took that back."""

    place: int
    event: Moderation
    tx_hash: bytes
    block_hash: bytes

    @property
    def invalid(self) -> bool:
        """Whether the score stopped counting."""
        return isinstance(self.event, ScoreInvalidated)


Fact = Recorded | Accepted | Ruled


class Mark(NamedTuple):
    """One block, named so that no other chain's block can be taken for it."""

    number: int
    hash: bytes


class Header(NamedTuple):
    """What the indexer needs of a block."""

    number: int
    hash: bytes
    parent: bytes
    time_s: int

    @property
    def mark(self) -> Mark:
        """Number and hash."""
        return Mark(self.number, self.hash)
