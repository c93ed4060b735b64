"""What a transaction's logs say about each score of its batch.

Pure. A score counts as recorded only when a `ScoreSubmitted` log of our contract has its very values.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from relay.chain_types import ChainAnswerError, Log
from relay.contract import TOPICS, Record, decode_result

SCORE_SUBMITTED = TOPICS["ScoreSubmitted"]


@dataclass(frozen=True, slots=True)
class Batch:
    """What a batch says: ids and records have the same order."""

    game: bytes  # keccak-256 of the game's id
    rules_hash: bytes
    submission_ids: tuple[str, ...]
    records: tuple[Record, ...]


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """A score recorded by another transaction: the player carried the receipt to the chain."""

    position: int
    tx_hash: bytes
    block_number: int


@dataclass(frozen=True, slots=True)
class Result:
    """Positions by what happened. `missing`: no log found; `contradicted`: the round is recorded with other values."""

    recorded: tuple[int, ...]
    elsewhere: tuple[Elsewhere, ...]
    contradicted: tuple[int, ...]
    missing: tuple[int, ...]


def read(batch: Batch, contract: bytes, own: Iterable[Log], others: Iterable[Log] = ()) -> Result:
    """Match a batch with the logs of its own transaction and, for what that skipped, with logs found elsewhere.

    A log elsewhere may name other rules (an earlier receipt after the rules were published anew), but not another
    player, score or evidence.
    """
    mine = _by_round(batch, contract, own)
    found = _by_round(batch, contract, others)
    recorded: list[int] = []
    elsewhere: list[Elsewhere] = []
    contradicted: list[int] = []
    missing: list[int] = []
    for position, record in enumerate(batch.records):
        log = mine.get(record.round_id)
        if log is not None and _says(log, record) and log.data[64:96] == batch.rules_hash:
            recorded.append(position)
            continue
        log = log or found.get(record.round_id)
        if log is None:
            missing.append(position)
        elif _says(log, record):
            elsewhere.append(Elsewhere(position, log.tx_hash, log.block_number))
        else:
            contradicted.append(position)
    return Result(tuple(recorded), tuple(elsewhere), tuple(contradicted), tuple(missing))


def _by_round(batch: Batch, contract: bytes, logs: Iterable[Log]) -> dict[int, Log]:
    return {
        int.from_bytes(log.topics[3], "big"): log
        for log in logs
        if len(log.topics) == 4
        and log.topics[0] == SCORE_SUBMITTED
        and log.topics[1] == batch.game
        and log.address == contract
        and len(log.data) == 96
    }


def _says(log: Log, record: Record) -> bool:
    return (
        log.topics[2][12:] == record.player
        and int.from_bytes(log.data[:32], "big") == record.score
        and log.data[32:64] == record.evidence_hash
    )


def recorded(answer: bytes) -> bool:
    """Read what `isRecorded` answered. ChainAnswerError for no bytes: on that chain there is no contract of ours."""
    if not answer:
        raise ChainAnswerError(0, "the contract does not answer: the endpoint may serve another chain", None)
    return bool(decode_result("isRecorded", answer))


def round_topics(batch: Batch, positions: Sequence[int]) -> list[bytes]:
    """Third indexed topic of each score's log, for eth_getLogs."""
    return [batch.records[position].round_id.to_bytes(32, "big") for position in positions]
