"""From a provider's logs to facts.

Pure. ScoreSubmitted, nearly all there is, is decoded here straight from the hexadecimal text; everything else goes
through `relay.contract.decode_log`. Measured per score, 10,000 logs: 2.6 µs this way with position, transaction and
sorting; 3.2 µs for the values alone by way of bytes and the general reader; 8.8 µs for the data alone with eth_abi.
"""

from collections.abc import Iterable, Mapping
from functools import lru_cache

import msgspec

from indexer.events import Accepted, Fact, Recorded, Ruled
from indexer.ordering import position
from relay.contract import TOPICS, BatchAccepted, ScoreInvalidated, ScoreReinstated, decode_log

SCORE_SUBMITTED = "0x" + TOPICS["ScoreSubmitted"].hex()
FOLLOWED = ("ScoreSubmitted", "BatchAccepted", "ScoreInvalidated", "ScoreReinstated")
FOLLOWED_TOPICS = ["0x" + TOPICS[name].hex() for name in FOLLOWED]
WORD = 64  # hexadecimal digits of one ABI word


class LogError(ValueError):
    """A log is not of the form its first topic promises, or is not one we asked for."""


class RpcLog(msgspec.Struct, rename="camel"):
    """A log as JSON-RPC gives it (Ethereum execution API, `Log`); what is not needed is skipped while parsing."""

    address: str
    topics: list[str]
    data: str
    block_number: str
    block_hash: str
    transaction_hash: str
    log_index: str
    removed: bool = False
    block_timestamp: str | None = None


def decode(logs: Iterable[RpcLog], contract: str, times: Mapping[int, int]) -> list[Fact]:
    """Return the facts in `logs`, in the chain's order.

    `contract` is the address in lower-case hexadecimal, `times` the timestamp (unix seconds) of every block whose logs
    do not carry it, and of any other that is known.

    Raises:
        LogError: a log of another contract, one that is removed, malformed, or dated otherwise than its block.
    """
    facts = []
    for log in logs:
        if log.removed or (log.address != contract and log.address.lower() != contract):
            raise LogError(f"a log that is removed or of another contract ({log.address}) was given for {contract}")
        try:
            fact = _decode_score(log, times) if log.topics[0] == SCORE_SUBMITTED else _decode_other(log)
        except (ValueError, IndexError, KeyError) as error:
            raise LogError(f"block {log.block_number}, log {log.log_index}: {error!r}") from error
        if fact is not None:
            facts.append(fact)
    facts.sort(key=_place)
    return facts


def _place(fact: Fact) -> int:
    return fact.place


@lru_cache(maxsize=1024)
def _word(text: str) -> bytes:
    """Return a word that comes again and again: thousands of logs share a game and, a batch each, a transaction."""
    return bytes.fromhex(text[2:])


def _decode_score(log: RpcLog, times: Mapping[int, int]) -> Recorded:
    _, game, player, round_id = log.topics
    data = bytes.fromhex(log.data[2:])
    number = int(log.block_number, 16)
    if len(data) != 96 or len(player) != WORD + 2:
        raise LogError("malformed ScoreSubmitted")
    known, stamp = times.get(number), log.block_timestamp
    time_s = times[number] if stamp is None else int(stamp, 16)
    if known is not None and known != time_s:
        raise LogError("dated otherwise than its block")
    return Recorded(
        position(number, int(log.log_index, 16)),
        _word(game),
        int(round_id, 16),
        bytes.fromhex(player[26:]),
        int.from_bytes(data[:32], "big"),
        data[32:64],
        data[64:],
        _word(log.transaction_hash),
        time_s,
    )


def _decode_other(log: RpcLog) -> Fact | None:
    event = decode_log([bytes.fromhex(topic[2:]) for topic in log.topics], bytes.fromhex(log.data[2:]))
    place = position(int(log.block_number, 16), int(log.log_index, 16))
    tx_hash, block_hash = bytes.fromhex(log.transaction_hash[2:]), bytes.fromhex(log.block_hash[2:])
    if isinstance(event, BatchAccepted):
        return Accepted(
            place, event.game, event.signer, event.records_hash, event.head, event.accepted, tx_hash, block_hash
        )
    if isinstance(event, ScoreInvalidated | ScoreReinstated):
        return Ruled(place, event, tx_hash, block_hash)
    return None
