"""Boards over HTTP: lists, a player's place, who is around, numbers of the whole.

Touches nothing: answers what `indexer.reading` says.
"""

import msgspec

from indexer.api.params import ADDRESS, LIST_ERRORS, PATHS, PageQuery, TopQuery, address
from indexer.messages import Integer, Row, checksummed, integer, rfc3339
from indexer.reading import Reading, best_score
from relay.api.operations import Answer, Call, Operation, answer

TAG = "Leaderboards"


class Leaderboard(msgspec.Struct, rename="camel", frozen=True):
    """The default board, in the form StreamBeat's clients read."""

    leaderboard: list[Row]
    success: bool = True


class BoardPage(msgspec.Struct, rename="camel", frozen=True):
    """Some rows of a board. `nextCursor` is null at the end."""

    game_id: str
    board: str
    total: int
    rows: list[Row]
    next_cursor: str | None
    block_number: int


class Around(msgspec.Struct, rename="camel", frozen=True):
    """The rows around a player."""

    game_id: str
    board: str
    total: int
    rows: list[Row]
    block_number: int


class PlayerLinks(msgspec.Struct, rename="camel", frozen=True):
    """Where to go on from a player."""

    scores: str
    around: str
    evidence: str


class PlayerRow(Row, rename="camel", frozen=True):
    """A player's row. `percentile` is the share of players, in percent, who do not rank better."""

    game_id: str
    board: str
    total: int
    percentile: float
    links: PlayerLinks


class Stats(msgspec.Struct, rename="camel", frozen=True):
    """Numbers of a whole board."""

    game_id: str
    board: str
    players: int
    scores: int
    best: Integer | None
    block_number: int
    block_time: str
    final_block: int


def percentile(rank: int, total: int) -> float:
    """Return the share of players, in percent with two decimals, whose rank is `rank` or worse."""
    return (total - rank + 1) * 10_000 // total / 100


class Leaderboards:
    """The operations."""

    def __init__(self, reading: Reading) -> None:
        self._reading = reading

    async def legacy(self, call: Call) -> Answer:
        """Return the top of the default board."""
        return answer(Leaderboard(await self._reading.top(call.query.limit)))

    async def page(self, call: Call) -> Answer:
        """Return a page of a board."""
        game_id, name = call.path["gameId"], call.path["board"]
        rows, next_cursor = await self._reading.page(game_id, name, call.query.limit, call.query.cursor)
        board = self._reading.board(game_id, name)
        number = self._reading.state.tip.number
        return answer(BoardPage(game_id, name, len(board.standings), rows, next_cursor, number))

    async def around(self, call: Call) -> Answer:
        """Return the rows around a player."""
        game_id, name = call.path["gameId"], call.path["board"]
        rows = await self._reading.around(game_id, name, address(call.path["address"]), call.query.limit)
        board = self._reading.board(game_id, name)
        return answer(Around(game_id, name, len(board.standings), rows, self._reading.state.tip.number))

    async def player(self, call: Call) -> Answer:
        """Return a player's row."""
        game_id, name, player = call.path["gameId"], call.path["board"], address(call.path["address"])
        row = await self._reading.player(game_id, name, player)
        total, shown = len(self._reading.board(game_id, name).standings), checksummed(player)
        links = PlayerLinks(
            scores=f"/api/players/{shown}/scores?gameId={game_id}",
            around=f"/api/leaderboards/{game_id}/{name}/around/{shown}",
            evidence=f"/api/evidence/{row.evidence_hash}",
        )
        share = percentile(min(row.rank, total), max(total, 1))
        fields = msgspec.structs.asdict(row)
        return answer(PlayerRow(**fields, game_id=game_id, board=name, total=total, percentile=share, links=links))

    async def stats(self, call: Call) -> Answer:
        """Return the numbers of a board."""
        game_id, name = call.path["gameId"], call.path["board"]
        board, game, state = self._reading.board(game_id, name), self._reading.game(game_id), self._reading.state
        best = best_score(board)
        return answer(
            Stats(
                game_id, name, len(board.standings), game.recorded, None if best is None else integer(best),
                state.tip.number, rfc3339(state.tip_time_s), state.final_block,
            )
        )  # fmt: skip

    def operations(self) -> list[Operation]:
        """Return the declarations."""
        base = "/api/leaderboards/{gameId}/{board}"
        one_player = (*LIST_ERRORS, "PLAYER_INVALID", "PLAYER_NOT_RANKED")
        return [
            Operation(
                "GET", "/api/leaderboard", "The default board", self.legacy, {200: Leaderboard},
                ("QUERY_INVALID", "NOT_READY", "STORE_UNAVAILABLE"), query=TopQuery, tag=TAG,
            ),
            Operation(
                "GET", base, "A board, best first", self.page, {200: BoardPage}, LIST_ERRORS,
                query=PageQuery, parameters=PATHS, tag=TAG,
            ),
            Operation(
                "GET", f"{base}/players/{{address}}", "A player's rank", self.player, {200: PlayerRow}, one_player,
                parameters=PATHS | ADDRESS, tag=TAG,
            ),
            Operation(
                "GET", f"{base}/around/{{address}}", "The rows around a player", self.around, {200: Around},
                one_player, query=TopQuery, parameters=PATHS | ADDRESS, tag=TAG,
            ),
            Operation(
                "GET", f"{base}/stats", "Numbers of a board", self.stats, {200: Stats}, LIST_ERRORS,
                parameters=PATHS, tag=TAG,
            ),
        ]  # fmt: skip
