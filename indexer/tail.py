"""Follows another indexer's log: memory, ranks and streams of a process that does not write.

Touches the database through the store it is handed. The log's messages say all that changes: they are folded into the
same state that the writing process has. Where they do not (history in bulk, another configuration) it is read anew.
"""

import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime
from typing import NamedTuple, Protocol

import msgspec

from indexer.boards import Standing
from indexer.events import Mark
from indexer.messages import (
    AbsentMessage,
    FinalMessage,
    Message,
    RetractMessage,
    Row,
    ScoreMessage,
    SeasonMessage,
    StandingMessage,
)
from indexer.ordering import position
from indexer.seasons import NEVER
from indexer.standings import Draft, Standings
from indexer.state import Audience, BoardState, Game, Outcome, Published, StandingRow, State, Turn, adopt
from indexer.stream_ring import Told
from relay.store.engine import StoreUnavailableError

log = logging.getLogger(__name__)


class News(NamedTuple):
    """What was committed since a state."""

    tip: Mark
    tip_time_s: int
    final_block: int
    verified: Mark
    games: Mapping[bytes, tuple[bytes, int]]  # key → head and recorded scores
    told: Mapping[int, Sequence[Told]]  # board → its new messages
    flags: Mapping[int, Sequence[Told]]  # game → its new flags


class TailStore(Protocol):
    """What tailing needs of the database."""

    async def view(self) -> State | None:
        """Return everything committed, None for a new database."""

    async def news(self, state: State, flags: Mapping[int, int]) -> News | None:
        """Return what follows a state, None where everything must be read anew."""


class UnknownError(Exception):
    """The messages do not say all of it: read anew."""


class Tail:
    """A state kept like another process's; an audience of this process's own follower, which takes its place."""

    def __init__(
        self,
        store: TailStore,
        audiences: Sequence[Audience],
        tell_flag: Callable[[int, int, bytes], None],
        wait: Callable[[], Awaitable[None]],
    ) -> None:
        self._store, self._audiences, self._tell_flag, self._wait = store, audiences, tell_flag, wait
        self._flags: dict[int, int] = {}
        self.state: State | None = None

    async def run(self) -> None:
        """Tail until cancelled. Trouble with the database is waited out."""
        while True:
            try:
                await self.step()
            except StoreUnavailableError as error:
                log.warning("tailing paused: %s", error)
            except Exception:
                log.exception("tailing failed")
                self.state = None
            await self._wait()

    async def reset(self, state: State) -> None:  # noqa: ARG002 - every audience hears the state
        """Forget everything: this process writes from now on, and shows what it wrote."""
        self.state = None

    def tell(self, state: State, outcome: Outcome) -> None:
        """Hear of a commit of this process's own: nothing to do."""

    def go_on(self, state: State) -> None:
        """Tail from what this process knew when it wrote last."""
        shrink(state)
        self._flags = {board.game: 0 for board in state.boards.values()}
        self.state = state

    async def step(self) -> None:
        """Take over what is new."""
        if self.state is not None:
            news = await self._store.news(self.state, self._flags)
            if news is not None and self._take(self.state, news):
                return
        state = await self._store.view()
        if state is not None:
            for audience in self._audiences:
                await audience.reset(state)
            self.go_on(state)

    def _take(self, state: State, news: News) -> bool:
        for game, flags in news.flags.items():
            for flag in flags:
                self._tell_flag(game, flag.seq, flag.body)
                self._flags[game] = flag.seq
        if news.tip == state.tip and news.final_block == state.final_block and not news.told:
            return True
        try:
            outcome = outcome_of(state, news)
        except UnknownError:
            return False
        adopt(state, outcome)
        for audience in self._audiences:
            audience.tell(state, outcome)
        return True


def shrink(state: State) -> None:
    """Forget the players a board of limited capacity does not show: no message says what becomes of them."""
    for board in state.boards.values():
        if board.config.capacity is not None:
            shown = board.standings.page(None, board.config.capacity)
            board.standings = Standings(board.config, [(one.key, one.player) for one in shown])


def outcome_of(state: State, news: News) -> Outcome:
    """Return what the messages say as the outcome of one commit.

    Raises:
        UnknownError: they do not say all of it.
    """
    turns: dict[int, Turn] = {}
    messages: list[Published] = []
    past: list[StandingRow] = []
    for number, told in news.told.items():
        board = state.boards[number]
        turn = Turn(board.season, Draft(board.standings, quiet=True))
        for one in told:
            message = read(one.kind, one.body)
            messages.append(Published(number, one.seq, one.kind, one.body, message))
            turn = _turned(board, turn, message)
            past += _past(board, turn, message)
        turns[number] = turn
    games = {
        key: Game(game.number, key, game.game_id, *news.games.get(key, (game.head, game.recorded)))
        for key, game in state.games.items()
    }
    seqs = {number: told[-1].seq for number, told in news.told.items() if told}
    return Outcome(
        news.tip, news.tip_time_s, news.final_block, news.verified, state.epoch,
        games, [], turns, past, seqs, messages, state.recent, None,
    )  # fmt: skip


_KINDS: dict[str, type[Message]] = {
    "score": ScoreMessage, "standing": StandingMessage, "final": FinalMessage, "retract": RetractMessage,
    "season": SeasonMessage,
}  # fmt: skip


class _Rank(msgspec.Struct):
    rank: int | None = None


def read(kind: str, body: bytes) -> Message:
    """Return a message of the log as the value it was made of."""
    of: type[Message] = _KINDS[kind]
    if kind == "standing" and msgspec.json.decode(body, type=_Rank).rank is None:
        of = AbsentMessage
    return msgspec.json.decode(body, type=of)


def _turned(board: BoardState, turn: Turn, message: Message) -> Turn:
    if isinstance(message, StandingMessage):
        turn.draft.put(_bytes(message.player), _key(board, message))
    elif isinstance(message, AbsentMessage):
        turn.draft.put(_bytes(message.player), None)
    elif isinstance(message, SeasonMessage):
        season = board.config.calendar.named(message.season.name)
        if season is None or message.total != len(message.rows):
            raise UnknownError
        entries = [(_key(board, row), _bytes(row.player)) for row in message.rows]
        return Turn(season, Draft(Standings(board.config, entries), quiet=True))
    return turn


def _past(board: BoardState, turn: Turn, message: Message) -> list[StandingRow]:
    """Return whose standing of a season that is over is not what it was, if that may be."""
    if isinstance(message, RetractMessage) and board.config.season != NEVER:
        raise UnknownError  # of whichever season: it does not say
    if not isinstance(message, ScoreMessage):
        return []
    season = board.config.calendar.at(int(datetime.fromisoformat(message.timestamp).timestamp()))
    if season.start_s == turn.season.start_s:
        return []
    return [StandingRow(board.number, season.start_s, _bytes(message.player), None)]


def _bytes(player: str) -> bytes:
    return bytes.fromhex(player[2:])


def _key(board: BoardState, row: Row) -> int:
    return board.config.key(Standing(int(row.score), position(*row.position)))
