"""Which waiting scores form a batch, and when a batch is sealed.

Pure. A batch has one game and one rules hash, because the contract takes them once per call.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from relay.contract_records import MAX_BATCH, RECORD_SIZE

GAS_PER_TRANSACTION_MAX = 16_777_216  # EIP-7825
CALLDATA_BYTES_MAX = 120 * 1024  # nodes take 128 KiB per transaction; the rest is for its other fields
CALLDATA_FIXED_BYTES = 4 + 32 * 9  # selector, five heads, two lengths, padding, signature


@dataclass(frozen=True, slots=True)
class Waiting:
    """An accepted score that no batch holds. Times in epoch ms."""

    submission_id: str
    game_id: str
    rules_hash: bytes
    player: bytes
    score: int
    round_id: int
    evidence_hash: bytes
    accepted_at_ms: int
    failures: int = 0  # batches with it that the chain executed and that failed


@dataclass(frozen=True, slots=True)
class GasModel:
    """Upper bound of a batch's gas under Ethereum's prices: `fixed` plus `per_score` for each score.

    The contract costs 54,000 at one score and 4,600 each at a hundred (the committed gas snapshot); a fresh bitmap
    word costs 22,100 and a batch of 500 touches at most three, so the bound holds with a quarter to spare.
    """

    fixed: int = 140_000
    per_score: int = 5_600

    def limit(self, size: int) -> int:
        """Gas limit for `size` scores."""
        return self.fixed + self.per_score * size


@dataclass(frozen=True, slots=True)
class BatchLimits:
    """`size`: scores per batch at most; `wait_ms`: how long the oldest waits for company, None: by the chain's pace."""

    size: int
    wait_ms: int | None = None
    gas: GasModel = GasModel()

    def capacity(self, gas_max: int) -> int:
        """Scores that fit into one transaction: by setting, contract, gas and calldata; at least one."""
        by_gas = (min(gas_max, GAS_PER_TRANSACTION_MAX) - self.gas.fixed) // self.gas.per_score
        by_bytes = (CALLDATA_BYTES_MAX - CALLDATA_FIXED_BYTES) // RECORD_SIZE
        return max(1, min(self.size, MAX_BATCH, by_gas, by_bytes))


def choose(
    waiting: Sequence[Waiting], now_ms: int, wait_ms: int, capacity: int, slots_free: int
) -> list[list[Waiting]]:
    """Return the batches to seal now, oldest first, at most `slots_free`.

    A group of one game and rules hash is cut into batches of `capacity` in the order given; its last, smaller batch
    is sealed only when its oldest score has waited `wait_ms`. Scores of a batch that failed go in halves of it, by
    themselves, so that after a few failures the one that spoils them stands alone.
    """
    groups: dict[tuple[str, bytes, int], list[Waiting]] = {}
    for score in waiting:
        groups.setdefault((score.game_id, score.rules_hash, score.failures), []).append(score)
    due: list[list[Waiting]] = []
    for (_, _, failures), group in groups.items():
        size = max(1, capacity >> failures)
        for start in range(0, len(group), size):
            batch = group[start : start + size]
            if len(batch) == size or not remaining_ms(oldest_ms(batch), now_ms, wait_ms):
                due.append(batch)
    due.sort(key=oldest_ms)
    return due[:slots_free]


def oldest_ms(batch: Sequence[Waiting]) -> int:
    """When the batch's oldest score was accepted."""
    return min(score.accepted_at_ms for score in batch)


def due_in_ms(waiting: Sequence[Waiting], now_ms: int, wait_ms: int) -> int | None:
    """Milliseconds until the oldest waiting score must be sealed; None when nothing waits."""
    return remaining_ms(oldest_ms(waiting), now_ms, wait_ms) if waiting else None


def remaining_ms(since_ms: int, now_ms: int, wait_ms: int) -> int:
    """Milliseconds that what came at `since_ms` still waits for company.

    What seems to come from the future has waited long enough: the clock was set back since.
    """
    return max(0, since_ms + wait_ms - now_ms) if since_ms <= now_ms else 0
