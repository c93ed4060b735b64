"""Boards over HTTP: lists, a player's place, who is around, numbers of the whole.

Touches nothing: answers what `indexer.reading` says.
"""

import msgspec

from indexer.api.params import ADDRESS, LIST_ERRORS, PATHS, AroundQuery, PageQuery, SeasonQuery, TopQuery, address
from indexer.messages import Integer, Row, SeasonInfo, checksummed, integer, rfc3339, season_info
from indexer.reading import Reading, Seat, best_value
from indexer.state import BoardState
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
    season: SeasonInfo
    total: int
    rows: list[Row]
    next_cursor: str | None
    block_number: int


class Around(msgspec.Struct, rename="camel", frozen=True):
    """The rows around a player."""

    game_id: str
    board: str
    season: SeasonInfo
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
    season: SeasonInfo
    total: int
    percentile: float
    links: PlayerLinks


class Stats(msgspec.Struct, rename="camel", frozen=True):
    """Numbers of a board in one season; `scores` are the game's, of all time and withdrawn ones included."""

    game_id: str
    board: str
    season: SeasonInfo
    players: int
    scores: int
    best: Integer | None
    block_number: int
    block_time: str
    final_block: int


class BoardDocument(msgspec.Struct, rename="camel", frozen=True):
    """A board: what its operator makes of a player's scores, how that is ranked, and its current season."""

    board: str
    operator: str
    order: str
    ties: str
    season_rule: str
    capacity: int | None
    season: SeasonInfo
    players: int
    links: dict[str, str]


class Boards(msgspec.Struct, rename="camel", frozen=True):
    """The boards of a game."""

    game_id: str
    boards: list[BoardDocument]


class Seasons(msgspec.Struct, rename="camel", frozen=True):
    """The newest 1,000 seasons of a board in which somebody stands, and the current one; newest first."""

    game_id: str
    board: str
    seasons: list[SeasonInfo]


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

    async def boards(self, call: Call) -> Answer:
        """Return the boards of a game."""
        game = self._reading.game(call.path["gameId"])
        return answer(Boards(game.game_id, [_document(board) for board in self._reading.state.boards_of(game.number)]))

    async def seasons(self, call: Call) -> Answer:
        """Return the seasons of a board."""
        game_id, name = call.path["gameId"], call.path["board"]
        found = await self._reading.seasons(game_id, name)
        return answer(Seasons(game_id, name, [season_info(season) for season in found]))

    async def page(self, call: Call) -> Answer:
        """Return some rows of a board."""
        query = call.query
        page = await self._reading.page(*_names(call), query.season, query.limit, query.cursor)
        return answer(BoardPage(*_head(page.seat), page.rows, page.next_cursor, self._reading.state.tip.number))

    async def around(self, call: Call) -> Answer:
        """Return the rows around a player."""
        player, query = address(call.path["address"]), call.query
        page = await self._reading.around(*_names(call), query.season, player, query.limit)
        return answer(Around(*_head(page.seat), page.rows, self._reading.state.tip.number))

    async def player(self, call: Call) -> Answer:
        """Return a player's row."""
        player = address(call.path["address"])
        page = await self._reading.around(*_names(call), call.query.season, player, 1)
        row, (game_id, name, season, total), shown = page.rows[0], _head(page.seat), checksummed(player)
        links = PlayerLinks(
            scores=f"/api/players/{shown}/scores?gameId={game_id}",
            around=f"/api/leaderboards/{game_id}/{name}/around/{shown}?season={season.name}",
            evidence=f"/api/evidence/{row.evidence_hash}",
        )
        share = percentile(min(row.rank, total), max(total, 1))
        fields = msgspec.structs.asdict(row)
        return answer(
            PlayerRow(
                **fields, game_id=game_id, board=name, season=season, total=total, percentile=share, links=links
            )
        )  # fmt: skip

    async def stats(self, call: Call) -> Answer:
        """Return the numbers of a board."""
        seat = await self._reading.seat(*_names(call), call.query.season)
        game_id, name, season, total = _head(seat)
        game, state, best = self._reading.game(game_id), self._reading.state, best_value(seat)
        return answer(
            Stats(
                game_id, name, season, total, game.recorded, None if best is None else integer(best),
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
                "GET", "/api/leaderboards/{gameId}", "The boards of a game", self.boards, {200: Boards},
                ("GAME_UNKNOWN", "NOT_READY", "STORE_UNAVAILABLE"), parameters={"gameId": PATHS["gameId"]}, tag=TAG,
            ),
            Operation(
                "GET", f"{base}/seasons", "The seasons of a board", self.seasons, {200: Seasons},
                ("GAME_UNKNOWN", "BOARD_UNKNOWN", "NOT_READY", "STORE_UNAVAILABLE"), parameters=PATHS, tag=TAG,
            ),
            Operation(
                "GET", base, "A board, best first", self.page, {200: BoardPage}, LIST_ERRORS,
                query=PageQuery, parameters=PATHS, tag=TAG,
            ),
            Operation(
                "GET", f"{base}/players/{{address}}", "A player's rank", self.player, {200: PlayerRow}, one_player,
                query=SeasonQuery, parameters=PATHS | ADDRESS, tag=TAG,
            ),
            Operation(
                "GET", f"{base}/around/{{address}}", "The rows around a player", self.around, {200: Around},
                one_player, query=AroundQuery, parameters=PATHS | ADDRESS, tag=TAG,
            ),
            Operation(
                "GET", f"{base}/stats", "Numbers of a board", self.stats, {200: Stats}, LIST_ERRORS,
                query=SeasonQuery, parameters=PATHS, tag=TAG,
            ),
        ]  # fmt: skip


def _names(call: Call) -> tuple[str, str]:
    return call.path["gameId"], call.path["board"]


def _head(seat: Seat) -> tuple[str, str, SeasonInfo, int]:
    names = seat.board.names
    return names.game_id, names.name, season_info(seat.season), len(seat.standings)


def _document(board: BoardState) -> BoardDocument:
    config, base = board.config, f"/api/leaderboards/{board.names.game_id}/{board.names.name}"
    return BoardDocument(
        board=config.name, operator=config.operator, order=config.order, ties=config.ties, season_rule=config.season,
        capacity=config.capacity, season=season_info(board.season), players=len(board.standings),
        links={"self": base, "seasons": f"{base}/seasons", "stream": f"{base}/stream"},
    )  # fmt: skip
