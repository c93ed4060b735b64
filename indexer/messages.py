"""The JSON that leaderboards and streams are made of.

Pure. The same `Row` is in every list and in every stream message, so that a client needs one parser. Integers above
2^53-1 are strings, because JavaScript's numbers end there.
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from functools import lru_cache
from typing import Literal, NamedTuple

import msgspec

from indexer.ordering import LOG_INDEX_BITS, LOG_INDEX_MASK, block_of, log_index_of
from indexer.seasons import Season
from relay.keccak import checksum_address

SAFE_INTEGER = 2**53 - 1

Status = Literal["included", "final"]
Integer = int | str


class Entry(NamedTuple):
    """A recorded score with what is known about it: a line of the scores table."""

    place: int
    game: int  # the indexer's own small number of the game
    round_id: int
    player: bytes
    score: int
    evidence_hash: bytes
    rules_hash: bytes
    tx_hash: bytes
    time_s: int
    submission_id: str | None
    evidence_level: int | None
    disputed: int = 0  # 1: it is not what its evidence says, see indexer.doubt


class Facts(msgspec.Struct, rename="camel", frozen=True):
    """A score as clients see it. `disputed`: its evidence is missing or contradicts it; an auditor was told."""

    player: str
    score: Integer
    timestamp: str
    evidence_level: int | None
    tx_hash: str
    submission_id: str | None
    status: Status
    round_id: Integer
    evidence_hash: str
    position: tuple[int, int]
    disputed: bool


class Row(Facts, rename="camel", frozen=True):
    """A score with its rank."""

    rank: int


class SeasonInfo(msgspec.Struct, rename="camel", frozen=True):
    """A season of a board: `startsAt` belongs to it, `endsAt` (null: never) to the next."""

    name: str
    starts_at: str
    ends_at: str | None


class Snapshot(msgspec.Struct, rename="camel", frozen=True, tag_field="type", tag="snapshot"):
    """The top of a board at one moment; later messages build on it. `order` and `ties` say how rows are ranked."""

    seq: int
    game_id: str
    board: str
    epoch: int
    rows: list[Row]
    total: int
    block_number: int
    season: SeasonInfo
    order: str
    ties: str


class SeasonMessage(msgspec.Struct, rename="camel", frozen=True, tag_field="type", tag="season"):
    """Another season is the current one: `rows` replace all known. Usually none; some where the chain went back."""

    seq: int
    game_id: str
    board: str
    season: SeasonInfo
    rows: list[Row]
    total: int


class ScoreMessage(Facts, rename="camel", frozen=True, tag_field="type", tag="score"):
    """A score was included in a block, or counts again."""

    seq: int
    game_id: str
    board: str
    score_id: str


class StandingMessage(Row, rename="camel", frozen=True, tag_field="type", tag="standing"):
    """A player has a new score or rank; the ranks of those between follow from the order."""

    seq: int
    game_id: str
    board: str
    previous_rank: int | None
    total: int


class AbsentMessage(msgspec.Struct, rename="camel", frozen=True, tag_field="type", tag="standing"):
    """A player has no score on the board any more: a `standing` without rank."""

    seq: int
    game_id: str
    board: str
    player: str
    previous_rank: int
    total: int
    rank: None = None


class FinalMessage(msgspec.Struct, rename="camel", frozen=True, tag_field="type", tag="final"):
    """These scores can no longer be reorganised away."""

    seq: int
    game_id: str
    board: str
    score_ids: list[str]
    block_number: int


class RetractMessage(msgspec.Struct, rename="camel", frozen=True, tag_field="type", tag="retract"):
    """A score does not count any more; a `standing` of its player follows if that changed it."""

    seq: int
    game_id: str
    board: str
    score_id: str
    player: str
    round_id: Integer
    reason: Literal["reorg", "invalidated"]


class FlagSubject(msgspec.Struct, rename="camel", frozen=True):
    """What a flag points at: a score by its id."""

    type: str
    id: str


class FlagMessage(msgspec.Struct, rename="camel", frozen=True, tag_field="type", tag="flag"):
    """An audit flag of the game was opened, seen again or closed; for auditors. A later one of the same id replaces it.

    Numbers of its own, not of the board: `GET /api/audit-flags` has the rest of it.
    """

    id: str
    game_id: str
    severity: str
    code: str
    reason: str
    player_id: str | None
    subject: FlagSubject
    occurrences: int
    status: str


def integer(value: int) -> Integer:
    """Return `value` as JSON can carry it without loss."""
    return value if -SAFE_INTEGER <= value <= SAFE_INTEGER else str(value)


def hexadecimal(value: bytes) -> str:
    """Return 0x and lower-case digits."""
    return "0x" + value.hex()


checksummed = lru_cache(maxsize=65_536)(checksum_address)


@lru_cache(maxsize=4_096)
def rfc3339(time_s: int) -> str:
    """Return unix seconds as an RFC 3339 timestamp in UTC."""
    return datetime.fromtimestamp(time_s, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def score_id(game_id: str, round_id: int) -> str:
    """Return the id under which a score can be asked for."""
    return f"{game_id}:{round_id}"


def status_of(place: int, final_block: int) -> Status:
    """Return whether the score at `place` is beyond reorganisation."""
    return "final" if block_of(place) <= final_block else "included"


def _fields(entry: Entry, final_block: int) -> dict[str, object]:
    return {
        "player": checksummed(entry.player),
        "score": integer(entry.score),
        "timestamp": rfc3339(entry.time_s),
        "evidence_level": entry.evidence_level,
        "tx_hash": hexadecimal(entry.tx_hash),
        "submission_id": entry.submission_id,
        "status": status_of(entry.place, final_block),
        "round_id": integer(entry.round_id),
        "evidence_hash": hexadecimal(entry.evidence_hash),
        "position": (block_of(entry.place), log_index_of(entry.place)),
        "disputed": bool(entry.disputed),
    }


def facts(entry: Entry, final_block: int) -> Facts:
    """Return a score as clients see it."""
    return Facts(**_fields(entry, final_block))  # type: ignore[arg-type]


def row(entry: Entry, final_block: int, rank: int, value: int) -> Row:
    """Return the score that made a player's standing, with its rank and the value ranked by."""
    # By position, in the order of the fields: a page has fifty of them, and this halves its time.
    place, _, round_id, player, _, evidence_hash, _, tx_hash, time_s, submission_id, evidence_level, disputed = entry
    return Row(
        checksummed(player), integer(value), rfc3339(time_s), evidence_level, "0x" + tx_hash.hex(), submission_id,
        status_of(place, final_block), integer(round_id), "0x" + evidence_hash.hex(),
        (place >> LOG_INDEX_BITS, place & LOG_INDEX_MASK), bool(disputed), rank,
    )  # fmt: skip


def season_info(season: Season) -> SeasonInfo:
    """Return a season as clients see it."""
    ends_at = None if season.end_s is None else rfc3339(season.end_s)
    return SeasonInfo(season.name, rfc3339(season.start_s), ends_at)


class Board(NamedTuple):
    """The names that stand in every message of a board."""

    game_id: str
    name: str


def score_message(board: Board, seq: int, entry: Entry, final_block: int) -> ScoreMessage:
    """Return the news that a score counts."""
    return ScoreMessage(
        seq=seq,
        game_id=board.game_id,
        board=board.name,
        score_id=score_id(board.game_id, entry.round_id),
        **_fields(entry, final_block),  # type: ignore[arg-type]
    )


def standing_message(
    board: Board,
    seq: int,
    entry: Entry,
    final_block: int,
    *,
    rank: int,
    value: int,
    previous_rank: int | None,
    total: int,
) -> StandingMessage:
    """Return the news that a player stands where the board did not have them."""
    return StandingMessage(
        seq=seq,
        game_id=board.game_id,
        board=board.name,
        rank=rank,
        previous_rank=previous_rank,
        total=total,
        **_fields(entry, final_block) | {"score": integer(value)},  # type: ignore[arg-type]
    )


def retract_message(board: Board, seq: int, entry: Entry, reason: Literal["reorg", "invalidated"]) -> RetractMessage:
    """Return the news that a score counts no more."""
    return RetractMessage(
        seq=seq,
        game_id=board.game_id,
        board=board.name,
        score_id=score_id(board.game_id, entry.round_id),
        player=checksummed(entry.player),
        round_id=integer(entry.round_id),
        reason=reason,
    )


Message = ScoreMessage | StandingMessage | AbsentMessage | FinalMessage | RetractMessage | SeasonMessage
_encode = msgspec.json.Encoder().encode


def encode(value: Snapshot | Message | Row | Facts | Sequence[Row]) -> bytes:
    """Return the JSON bytes of a message or of rows."""
    return _encode(value)
