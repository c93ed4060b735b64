"""What the indexer holds in memory: a mirror of what it has committed, never ahead of it.

Pure. Rebuilt from the database at every start (`indexer.store.load`) and after any failed commit.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple, Protocol

from indexer.boards import BoardConfig
from indexer.events import Fact, Header, Mark
from indexer.messages import Board, Message
from indexer.seasons import Season
from indexer.standings import Draft, Standings
from indexer.window import Window

GENESIS_HEAD = bytes(32)


class Identity(NamedTuple):
    """Which chain and which contract the stored rows belong to."""

    chain_id: int
    genesis_hash: bytes
    contract: bytes
    code_hash: bytes


@dataclass(frozen=True, slots=True)
class Game:
    """A game of the contract, as far as it is indexed."""

    number: int  # ours, small: rows carry it instead of the 32-byte key
    key: bytes  # keccak-256 of the game's id
    game_id: str  # the id, or the key in hexadecimal where the id is not configured
    head: bytes = GENESIS_HEAD  # the contract's head(game) as our events give it
    recorded: int = 0  # scores, invalidated ones included


@dataclass(slots=True)
class BoardState:
    """One leaderboard of a game, in its current season: the one that the newest block belongs to."""

    number: int
    game: int
    names: Board
    config: BoardConfig
    season: Season
    standings: Standings
    window: Window
    seq: int = 0  # of the last stream message
    still: bool = False  # shown as it was: it is configured otherwise, and made anew (`indexer.building`)


class StandingRow(NamedTuple):
    """A row of standings to be written: None takes the player off that season of the board."""

    board: int
    season_s: int  # start of the season
    player: bytes
    key: int | None


class Published(NamedTuple):
    """One committed stream message, encoded once."""

    board: int
    seq: int
    kind: str
    body: bytes
    message: Message


@dataclass(slots=True)
class State:
    """Everything that was committed up to `tip`."""

    identity: Identity
    start_block: int
    tip: Mark
    tip_time_s: int
    final_block: int
    verified: Mark  # the last block at which the contract's own heads were compared with ours
    epoch: int  # of the streams: changes whenever history was applied without messages
    games: dict[bytes, Game] = field(default_factory=dict)
    boards: dict[int, BoardState] = field(default_factory=dict)
    recent: dict[int, bytes] = field(default_factory=dict)  # number → hash of the newest blocks, ascending
    unmade: dict[int, Board] = field(default_factory=dict)  # boards that are configured and not made yet

    def boards_of(self, game: int) -> list[BoardState]:
        """Return the boards that a game's scores count for."""
        return [board for board in self.boards.values() if board.game == game]

    def moving(self) -> list[BoardState]:
        """Return the boards that scores count for now."""
        return [board for board in self.boards.values() if not board.still]

    def find(self, game_id: str, board: str) -> BoardState | None:
        """Return a board by its public names."""
        return next((one for one in self.boards.values() if one.names == (game_id, board)), None)

    def game_named(self, game_id: str) -> Game | None:
        """Return a game by its public id."""
        return next((game for game in self.games.values() if game.game_id == game_id), None)

    def marks(self) -> list[Mark]:
        """Return the newest blocks we know by hash, newest first."""
        return [Mark(number, self.recent[number]) for number in sorted(self.recent, reverse=True)]


@dataclass(frozen=True, slots=True)
class Step:
    """One thing to do in one transaction: go back to a block (or not), then take in what follows it."""

    rollback_to: Mark | None
    headers: Sequence[Header]  # of the blocks taken in, ascending; for a bulk step the last one only
    facts: Sequence[Fact]  # in the chain's order
    final_block: int
    heads: dict[bytes, bytes] | None = None  # game → the contract's own head at the last block, where it could be read
    bulk: bool = False  # history nobody waits for: no messages, a new epoch


class Turn(NamedTuple):
    """What becomes of a board's current season; where the season changed, the draft is of that one's standings."""

    season: Season
    draft: Draft


@dataclass(slots=True)
class Outcome:
    """What a committed step changes in memory."""

    tip: Mark
    tip_time_s: int
    final_block: int
    verified: Mark
    epoch: int
    games: dict[bytes, Game]
    new_boards: list[BoardState]
    turns: dict[int, Turn]
    standings: list[StandingRow]
    seqs: dict[int, int]
    messages: list[Published]
    recent: dict[int, bytes]
    windows: dict[int, Window] | None  # after a bulk step: read anew


def unchanged(state: State) -> Outcome:
    """Return what changes nothing; `dataclasses.replace` gives it what does."""
    return Outcome(
        state.tip, state.tip_time_s, state.final_block, state.verified, state.epoch,
        state.games, [], {}, [], {}, [], state.recent, None,
    )  # fmt: skip


class Audience(Protocol):
    """Whoever is told what was committed."""

    async def reset(self, state: State) -> None:
        """Start from what is committed: after a start, or when memory had to be read anew."""

    def tell(self, state: State, outcome: Outcome) -> None:
        """Hear of one commit; the state has adopted it."""


def adopt(state: State, outcome: Outcome) -> None:
    """Make `state` what was committed. Runs on the event loop without a pause, so readers see all of it or nothing."""
    state.tip, state.tip_time_s = outcome.tip, outcome.tip_time_s
    state.final_block, state.verified, state.epoch = outcome.final_block, outcome.verified, outcome.epoch
    state.games, state.recent = outcome.games, outcome.recent
    if outcome.new_boards:
        made = {board.number: board for board in outcome.new_boards}
        state.boards = dict(sorted((state.boards | made).items()))
        state.unmade = {number: names for number, names in state.unmade.items() if number not in made}
    for number, (season, draft) in outcome.turns.items():
        board = state.boards[number]
        board.season, board.standings = season, draft.base
        board.standings.adopt(draft.changes)
    for number, seq in outcome.seqs.items():
        state.boards[number].seq = seq
    for published in outcome.messages:
        state.boards[published.board].window.apply(published.message)
    for number, window in (outcome.windows or {}).items():
        state.boards[number].window = window


def with_head(game: Game, head: bytes, recorded: int) -> Game:
    """Return `game` after a link of its chain of heads."""
    return replace(game, head=head, recorded=game.recorded + recorded)
