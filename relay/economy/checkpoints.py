"""Checkpoints of a game's ledger: when one is due, how far anchors on the chain agree with the ledger, who is right.

Pure. A *checkpoint* is the tree head (RFC 6962) over the ledger's first `size` transactions, of which the last `count`
are new since the one before. Of a game one at a time is under way, because the contract takes anchors in order only:

    waiting ──► queued ──► sent ◄──► included ──► final      as a nonce slot does; back on a reorg
     │  ▲         │         │           │
     │  └─────────┴─────────┴───────────┘  its transaction failed, or another used its nonce
     ├──► final          somebody carried the very same anchor
     ├──► superseded     another checkpoint of this ledger is on the chain: a new one begins where that ends
     └──► contradicted   what the chain holds is no checkpoint of this ledger: nothing is anchored until somebody looked
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from relay.contract_anchors import Anchored
from relay.economy.merkle import Frontier, leaf_hash
from relay.flag_kinds import ANCHOR_KINDS
from relay.guard.flags import Flag
from relay.outbox.batches import remaining_ms

CODE = "LEDGER_CONTRADICTED"
MISSING = "a log of an anchor is missing: the next one that the endpoint shows begins at entry {}, not at {}"


class State(StrEnum):
    """Where a checkpoint is."""

    WAITING = "waiting"
    QUEUED = "queued"
    SENT = "sent"
    INCLUDED = "included"
    FINAL = "final"
    SUPERSEDED = "superseded"
    CONTRADICTED = "contradicted"


UNDER_WAY = (State.QUEUED, State.SENT, State.INCLUDED)
OPEN = (State.WAITING, *UNDER_WAY)


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A checkpoint; `root` is the tree head over all transactions up to its end."""

    checkpoint_id: str  # cp_<26>
    game_id: str
    first_sequence: int
    count: int
    root: bytes
    detail: str | None = None  # why it waits

    @property
    def size(self) -> int:
        """Transactions of the ledger up to its end."""
        return self.first_sequence + self.count


class Cadence(NamedTuple):
    """How often a game that is played is anchored: at most every `every_ms`, unless `most` transactions are new."""

    every_ms: int = 600_000
    most: int = 100_000


def is_due(cadence: Cadence, new: int, since_ms: int | None, now_ms: int) -> bool:
    """Return whether `new` transactions make a checkpoint now; `since_ms`: when the last one was made, None: never."""
    if new <= 0:
        return False
    return new >= cadence.most or since_ms is None or remaining_ms(since_ms, now_ms, cadence.every_ms) == 0


# ------------------------------------------------------------ the chain's own word


class Comparison(NamedTuple):
    """What anchors on the chain are to a ledger.

    `upto`: how many transactions both have alike. `agreed`: the anchors that show it and were not known. `missing`: not
    all logs are there, a sentence. `contradiction`: an anchor is of another ledger, a sentence.
    """

    upto: int = 0
    agreed: tuple[Anchored, ...] = ()
    missing: str | None = None
    contradiction: str | None = None


def compare(known: int, found: Sequence[Anchored], size: int, root_at: Callable[[int], bytes]) -> Comparison:
    """Compare the anchors of an economy, oldest first, with its ledger of `size` transactions.

    Anchors of the first `known` transactions were compared before. `root_at` gives the ledger's own tree heads.
    """
    agreed: list[Anchored] = []
    at = known
    for one in found:
        if one.size <= known:
            continue
        if one.event.first_sequence != at:
            return Comparison(at, tuple(agreed), missing=MISSING.format(one.event.first_sequence, at))
        if one.size > size:
            return Comparison(at, tuple(agreed), contradiction=_ahead(one, size))
        if root_at(one.size) != one.event.merkle_root:
            return Comparison(at, tuple(agreed), contradiction=_differs(one))
        agreed.append(one)
        at = one.size
    return Comparison(at, tuple(agreed))


def _ahead(one: Anchored, size: int) -> str:
    return (
        f"the contract anchors {one.size} transactions (0x{one.tx_hash.hex()}) and this database has {size}: it is not "
        "the ledger's newest copy. Restore that one"
    )


def _differs(one: Anchored) -> str:
    return (
        f"the contract anchors another history of the first {one.size} transactions (0x{one.tx_hash.hex()}): the "
        "ledger in this database was changed, or is not the one that was anchored. Restore that one"
    )


def first_disproved(bodies: Iterable[bytes], checkpoints: Sequence[Checkpoint]) -> Checkpoint | None:
    """Return the first of a game's checkpoints, by size, that its transactions do not lead to; None: all are true.

    `bodies`: the canonical bytes of the game's transactions from the first on, read once.
    """
    frontier = Frontier()
    coming = iter(bodies)
    for checkpoint in checkpoints:
        for body in coming:
            frontier.append(leaf_hash(body))
            if frontier.size == checkpoint.size:
                break
        if frontier.size != checkpoint.size or frontier.root != checkpoint.root:
            return checkpoint
    return None


def contradiction(game_id: str, why: str) -> Flag:
    """Return the flag of a game whose ledger is not the one that was anchored."""
    severity = ANCHOR_KINDS[CODE].severity
    return Flag(game_id, None, "anchor", CODE, severity, why, "economy", game_id, {"action": "anchor"})
