"""From the contract's facts to rows, standings and stream messages: the one place where events become ranks.

Pure. Reads and writes of rows go through a `Ledger`, which sees this transaction's own writes; nothing is kept if the
fold refuses. Every batch and every ruling must reproduce the contract's chain of heads before it counts.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import NamedTuple, Protocol

from indexer.board_draft import BoardDraft
from indexer.board_draft import Ledger as BoardLedger
from indexer.boards import BoardConfig
from indexer.events import Accepted, Fact, Recorded, Ruled
from indexer.messages import Board, Entry, FinalMessage, score_id
from indexer.ordering import SCORE_MAX, block_of
from indexer.standings import Standings
from indexer.state import BoardState, Game, Published, StandingRow, State, Turn, with_head
from indexer.window import Window
from relay.contract import moderated_head, next_head
from relay.keccak import keccak

FINAL_IDS_MAX = 500


class BrokenChainError(Exception):
    """The events a provider gave do not reproduce the contract's own record; the message says where."""


class Evidence(NamedTuple):
    """What the published evidence of a score says about it."""

    submission_id: str | None
    evidence_level: int | None


class Unwound(NamedTuple):
    """What going back to a block took away."""

    orphans: Sequence[tuple[Entry, bool]]  # scores whose block is gone, newest first; True: was invalidated
    restored: Sequence[tuple[Entry, bool]]  # scores that stay but whose last ruling is gone; True: invalidated now
    heads: dict[int, bytes]  # game number → head at the block gone back to; absent: never moved


class Ledger(BoardLedger, Protocol):
    """Rows of scores, batches and rulings inside the transaction."""

    def add_game(self, key: bytes, board: BoardConfig) -> tuple[int, int]:
        """Create a game and its first board; returns their numbers."""

    def add_score(self, entry: Entry) -> None:
        """Record a score."""

    def add_oversized(self, game: int, score: Recorded) -> None:
        """Keep a score that is too large to rank."""

    def add_batch(self, game: int, batch: Accepted) -> None:
        """Record a batch and the head it left."""

    def add_ruling(self, game: int, ruling: Ruled) -> Entry | None:
        """Record a ruling and mark its score; returns the score, None if the mark was so already or it is unranked."""

    def entry(self, place: int) -> Entry:
        """Return the score at a position."""

    def between(self, game: int, after_block: int, to_block: int) -> list[int]:
        """Return the round ids of the scores in the blocks after `after_block` up to `to_block`, in order."""


class Fold:
    """One transaction's worth of facts on top of a committed state."""

    def __init__(
        self, state: State, ledger: Ledger, *, names: dict[bytes, str], quiet: bool, evidence: dict[bytes, Evidence]
    ) -> None:
        self._ledger = ledger
        self._names = names
        self._quiet = quiet
        self._evidence = evidence
        self._final = state.final_block
        self._time_s = state.tip_time_s
        self.games = dict(state.games)
        self.new_boards: list[BoardState] = []
        self._boards: defaultdict[int, list[BoardDraft]] = defaultdict(list)  # by game
        for board in state.moving():
            self._draft(board)
        self._open: dict[bytes, list[Recorded]] = {}
        self._orphans: dict[int, Entry] = {}  # while they are taken back: one may yet take the place of another

    def _entry(self, place: int) -> Entry:
        return self._orphans.get(place) or self._ledger.entry(place)

    def _draft(self, board: BoardState) -> None:
        draft = BoardDraft(board, self._ledger, self._entry, quiet=self._quiet, final=lambda: self._final)
        self._boards[board.game].append(draft)

    # ------------------------------------------------------------- going forward

    def apply(self, facts: Iterable[Fact]) -> None:
        """Take in facts in the chain's order.

        Raises:
            BrokenChainError: they are not all of the contract's events, or not the contract's.
        """
        for fact in facts:
            if isinstance(fact, Recorded):
                self._open.setdefault(fact.game, []).append(fact)
            elif isinstance(fact, Accepted):
                self._accept(fact, self._open.pop(fact.game, []))
            else:
                self._rule(fact)
        if self._open:
            left = next(iter(self._open.values()))[0]
            raise BrokenChainError(f"block {block_of(left.place)}: scores without the BatchAccepted that closes them")

    def game(self, key: bytes) -> Game:
        """Return the game with this key; a new one gets its rows and its default board."""
        found = self.games.get(key)
        if found is None:
            config = BoardConfig()
            number, board = self._ledger.add_game(key, config)
            found = self.games[key] = Game(number, key, self._names.get(key, "0x" + key.hex()))
            names, season = Board(found.game_id, config.name), config.calendar.at(self._time_s)
            made = BoardState(board, number, names, config, season, Standings(config), Window(config))
            self.new_boards.append(made)
            self._draft(made)
        return found

    def reach(self, time_s: int) -> None:
        """Let every board be in the season of a block's time: of the newest block, at the end."""
        self._time_s = time_s
        for boards in self._boards.values():
            for board in boards:
                board.reach(time_s)

    def _accept(self, batch: Accepted, scores: Sequence[Recorded]) -> None:
        game = self.game(batch.game)
        self._check_batch(game, batch, scores)
        for board in self._boards[game.number]:
            board.reach(scores[0].time_s)
        for score in scores:
            if max(score.score, score.round_id) > SCORE_MAX:
                self._ledger.add_oversized(game.number, score)
                continue
            known = self._evidence.get(score.evidence_hash)
            entry = Entry(
                score.place, game.number, score.round_id, score.player, score.score, score.evidence_hash,
                score.rules_hash, score.tx_hash, score.time_s,
                known.submission_id if known else None, known.evidence_level if known else None,
            )  # fmt: skip
            self._ledger.add_score(entry)
            self._counts(entry)
        self._ledger.add_batch(game.number, batch)
        self.games[batch.game] = with_head(game, batch.head, len(scores))

    def _check_batch(self, game: Game, batch: Accepted, scores: Sequence[Recorded]) -> None:
        """Demand that count, records and head are the contract's own: one lost or invented log is enough to fail."""
        where = f"block {block_of(batch.place)}, game {game.game_id}"
        if len(scores) != batch.accepted:
            raise BrokenChainError(f"{where}: {len(scores)} scores were given of a batch of {batch.accepted}")
        packed = b"".join(
            [s.player + s.score.to_bytes(12, "big") + s.round_id.to_bytes(8, "big") + s.evidence_hash for s in scores]
        )
        if keccak(packed) != batch.records_hash:
            raise BrokenChainError(f"{where}: the scores given are not those of the batch")
        rules = {score.rules_hash for score in scores}
        if len(rules) != 1:
            raise BrokenChainError(f"{where}: the scores of one batch name {len(rules)} rulesets")
        if next_head(game.head, game.key, rules.pop(), batch.records_hash, batch.signer, batch.accepted) != batch.head:
            raise BrokenChainError(f"{where}: the batch does not follow the last one known; events are missing")

    def _rule(self, ruling: Ruled) -> None:
        event = ruling.event
        game = self.game(event.game)
        if event.game in self._open or moderated_head(game.head, event) != event.head:
            raise BrokenChainError(
                f"block {block_of(ruling.place)}, game {game.game_id}: the ruling on round {event.round_id} does not "
                "follow the last event known; events are missing"
            )
        self.games[event.game] = with_head(game, event.head, 0)
        entry = self._ledger.add_ruling(game.number, ruling)
        if entry is not None:
            self._judged(entry, invalid=ruling.invalid)

    def _judged(self, entry: Entry, *, invalid: bool) -> None:
        if invalid:
            for board in self._boards[entry.game]:
                board.withdraw(entry, "invalidated")
        else:
            for board in self._boards[entry.game]:
                board.returns(entry)

    # ---------------------------------------------------------------- going back

    def unwind(self, unwound: Unwound, final_block: int) -> None:
        """Take back what a reorganisation removed, by messages that compensate it; the rows are gone already."""
        self._final = min(self._final, final_block)
        lost: dict[int, int] = {}
        self._orphans = {entry.place: entry for entry, _ in unwound.orphans}
        for entry, was_invalid in unwound.orphans:
            lost[entry.game] = lost.get(entry.game, 0) + 1
            if not was_invalid:
                for board in self._boards[entry.game]:
                    board.withdraw(entry, "reorg")
        self._orphans = {}
        for entry, now_invalid in unwound.restored:
            self._judged(entry, invalid=now_invalid)
        for key, game in self.games.items():
            head = unwound.heads.get(game.number, bytes(32))
            self.games[key] = Game(game.number, key, game.game_id, head, game.recorded - lost.get(game.number, 0))

    # ----------------------------------------------------------------- standings

    def _counts(self, entry: Entry) -> None:
        """Let a score count on every board of its game."""
        for board in self._boards[entry.game]:
            board.counts(entry)

    def learned(self, entry: Entry) -> None:
        """Tell readers that a score's evidence was found after the score was shown without it."""
        for board in self._boards[entry.game]:
            board.learned(entry)

    def finalize(self, to_block: int) -> None:
        """Declare the scores up to `to_block` final."""
        if to_block > self._final and not self._quiet:
            for number, boards in self._boards.items():
                rounds = self._ledger.between(number, self._final, to_block)
                for start in range(0, len(rounds), FINAL_IDS_MAX):
                    for board in boards:
                        self._finalized(board, rounds[start : start + FINAL_IDS_MAX], to_block)
        self._final = max(self._final, to_block)

    def _finalized(self, board: BoardDraft, rounds: Sequence[int], to_block: int) -> None:
        names = board.names
        ids = [score_id(names.game_id, round_id) for round_id in rounds]
        board.finalized(
            lambda seq: FinalMessage(
                seq=seq, game_id=names.game_id, board=names.name, score_ids=ids, block_number=to_block
            )
        )

    # -------------------------------------------------------------------- results

    @property
    def final_block(self) -> int:
        """The newest final block after this fold."""
        return self._final

    def _drafts(self) -> list[BoardDraft]:
        return [board for boards in self._boards.values() for board in boards]

    def turns(self) -> dict[int, Turn]:
        """Return what becomes of the current season of each board that changed."""
        return {board.number: Turn(board.season, board.draft) for board in self._drafts() if board.changed}

    def rows(self) -> list[StandingRow]:
        """Return every standing that changed, of all seasons."""
        return [row for board in self._drafts() for row in board.rows()]

    def messages(self) -> list[Published]:
        """Return what readers are told, in order for each board."""
        return [published for board in self._drafts() for published in board.messages]

    def seqs(self) -> dict[int, int]:
        """Return the last message number of every board that has news."""
        return {published.board: published.seq for published in self.messages()}
