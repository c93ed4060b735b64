"""Single scores over HTTP: one by its id, all of a player.

Touches nothing: answers what `indexer.reading` says.
"""

import msgspec

from indexer.api.params import ADDRESS, HistoryQuery, address
from indexer.messages import (
    Entry,
    Integer,
    checksummed,
    hexadecimal,
    integer,
    rfc3339,
    score_id,
    status_of,
)
from indexer.ordering import SCORE_MAX, block_of, log_index_of
from indexer.reading import Reading
from relay.api.operations import Answer, Call, Operation, answer
from relay.errors import CallerError

TAG = "Scores"


class ScoreLinks(msgspec.Struct, rename="camel", frozen=True):
    """Where to go on from a score."""

    evidence: str
    submission: str | None


class Score(msgspec.Struct, rename="camel", frozen=True):
    """A score on the chain. `status` is included, final, or revoked for one that was withdrawn.

    `disputed`: its evidence is missing or contradicts it; an auditor was told.
    """

    score_id: str
    game_id: str
    player: str
    score: Integer
    round_id: Integer
    timestamp: str
    status: str
    evidence_level: int | None
    submission_id: str | None
    evidence_hash: str
    rules_hash: str
    tx_hash: str
    block_number: int
    log_index: int
    position: tuple[int, int]
    disputed: bool
    links: ScoreLinks


class History(msgspec.Struct, rename="camel", frozen=True):
    """A player's scores, newest first. `nextCursor` is null at the end."""

    player: str
    scores: list[Score]
    next_cursor: str | None


class Scores:
    """The operations."""

    def __init__(self, reading: Reading) -> None:
        self._reading = reading

    async def one(self, call: Call) -> Answer:
        """Return one score."""
        game_id, _, digits = call.path["scoreId"].rpartition(":")
        if not game_id or not digits.isascii() or not digits.isdigit() or len(digits) > 20:
            raise CallerError("PATH_INVALID", "A score's id is <gameId>:<roundId>.")
        if int(digits) > SCORE_MAX:
            raise CallerError("SCORE_UNKNOWN", "No round of this number is indexed.")
        entry, withdrawn = await self._reading.score(game_id, int(digits))
        return answer(self._score(entry, withdrawn=withdrawn))

    async def of_player(self, call: Call) -> Answer:
        """Return a player's scores."""
        player, query = address(call.path["address"]), call.query
        found, next_cursor = await self._reading.scores_of(player, query.game_id, query.limit, query.cursor)
        scores = [self._score(entry, withdrawn=withdrawn) for entry, withdrawn in found]
        return answer(History(checksummed(player), scores, next_cursor))

    def _score(self, entry: Entry, *, withdrawn: bool) -> Score:
        game_id, evidence = self._reading.game_id(entry.game), hexadecimal(entry.evidence_hash)
        submission = None if entry.submission_id is None else f"/api/submissions/{entry.submission_id}"
        return Score(
            score_id=score_id(game_id, entry.round_id),
            game_id=game_id,
            player=checksummed(entry.player),
            score=integer(entry.score),
            round_id=integer(entry.round_id),
            timestamp=rfc3339(entry.time_s),
            status="revoked" if withdrawn else status_of(entry.place, self._reading.state.final_block),
            evidence_level=entry.evidence_level,
            submission_id=entry.submission_id,
            evidence_hash=evidence,
            rules_hash=hexadecimal(entry.rules_hash),
            tx_hash=hexadecimal(entry.tx_hash),
            block_number=block_of(entry.place),
            log_index=log_index_of(entry.place),
            position=(block_of(entry.place), log_index_of(entry.place)),
            disputed=bool(entry.disputed),
            links=ScoreLinks(f"/api/evidence/{evidence}", submission),
        )

    def operations(self) -> list[Operation]:
        """Return the declarations."""
        return [
            Operation(
                "GET", "/api/scores/{scoreId}", "A score on the chain", self.one, {200: Score},
                ("PATH_INVALID", "GAME_UNKNOWN", "SCORE_UNKNOWN", "NOT_READY", "STORE_UNAVAILABLE"),
                parameters={"scoreId": "`<gameId>:<roundId>`"}, tag=TAG,
            ),
            Operation(
                "GET", "/api/players/{address}/scores", "A player's scores", self.of_player, {200: History},
                ("QUERY_INVALID", "PLAYER_INVALID", "GAME_UNKNOWN", "NOT_READY", "STORE_UNAVAILABLE"),
                query=HistoryQuery, parameters=ADDRESS, tag=TAG,
            ),
        ]  # fmt: skip
