"""One board inside a transaction: how scores move its players, what its readers are told, which rows are written.

Pure. Reads of rows go through the `Ledger` it is handed, which sees this transaction's own writes.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Literal, Protocol

from indexer.boards import BoardConfig, Operator
from indexer.messages import (
    AbsentMessage,
    Entry,
    Message,
    Row,
    SeasonMessage,
    checksummed,
    encode,
    retract_message,
    row,
    score_message,
    season_info,
    standing_message,
)
from indexer.ordering import POSITION_BITS
from indexer.seasons import Season
from indexer.standings import Draft, Placed, Standings
from indexer.state import BoardState, Published, StandingRow
from indexer.window import ROWS


class Ledger(Protocol):
    """Rows of scores and standings inside the transaction."""

    def valid_scores(self, game: int, player: bytes, season: Season) -> Iterable[tuple[int, int]]:
        """Return (score, position) of the player's valid scores of a season, in the chain's order."""

    def entries_at(self, places: Sequence[int]) -> dict[int, Entry]:
        """Return the scores at some positions."""

    def season(self, board: int, config: BoardConfig, season: Season) -> dict[bytes, int]:
        """Return the ordering keys of a season's players as they were before this transaction."""


class BoardDraft:
    """A board's part of one transaction."""

    def __init__(
        self,
        board: BoardState,
        ledger: Ledger,
        entry: Callable[[int], Entry],
        *,
        quiet: bool,
        final: Callable[[], int],
    ) -> None:
        """`entry` gives the score at a position, `final` the newest final block; `quiet`: nobody is told."""
        self.number, self.names, self.config = board.number, board.names, board.config
        self.messages: list[Published] = []
        self.season = board.season
        self.draft = Draft(board.standings, quiet=quiet)
        self._game, self._seq = board.game, board.seq
        self._ledger, self._entry, self._quiet, self._final = ledger, entry, quiet, final
        self._past: dict[tuple[int, bytes], int | None] = {}  # keys by season and player, of seasons left behind
        self._turned = False

    # ---------------------------------------------------------------------- what happens

    def reach(self, time_s: int) -> None:
        """Let the season that a block's time belongs to be the current one."""
        season = self.config.calendar.at(time_s)
        if season.start_s != self.season.start_s:
            self._turn(season)

    def counts(self, entry: Entry) -> None:
        """Let a new score count."""
        if not self._quiet:
            self._tell(lambda seq: score_message(self.names, seq, entry, self._final()))
        season = self.config.calendar.at(entry.time_s)
        if season.start_s != self.season.start_s:
            self._recount(entry.player, season)
            return
        before = self.draft.key(entry.player)
        self._stand(entry.player, self.config.joined(before, entry.score, entry.place), entry)

    def returns(self, entry: Entry) -> None:
        """Let a score count that was withdrawn.

        The player's scores are gone through anew: a total may hold it already, where a reorganisation took others away.
        """
        self._tell(lambda seq: score_message(self.names, seq, entry, self._final()))
        season = self.config.calendar.at(entry.time_s)
        if season.start_s != self.season.start_s:
            self._recount(entry.player, season)
        else:
            self._stand(entry.player, self._left(entry.player, season), entry)

    def withdraw(self, entry: Entry, reason: Literal["reorg", "invalidated"]) -> None:
        """Let a score count no more; what is left of the player's takes over."""
        self._tell(lambda seq: retract_message(self.names, seq, entry, reason))
        season = self.config.calendar.at(entry.time_s)
        if season.start_s != self.season.start_s:
            self._recount(entry.player, season)
            return
        before = self.draft.key(entry.player)
        single = self.config.operator in {Operator.BEST, Operator.LATEST}
        if before is None or (single and self.config.standing(before).place != entry.place):
            return
        self._stand(entry.player, self._left(entry.player, season), None)

    def learned(self, entry: Entry) -> None:
        """Tell readers that a score's evidence was found after the score was shown without it."""
        key = self.draft.key(entry.player)
        if key is not None and self.config.standing(key).place == entry.place and self._shows(self.draft.ordinal(key)):
            rank = self.draft.rank(key)
            self._stands(entry, key, rank)

    def finalized(self, make: Callable[[int], Message]) -> None:
        """Tell readers what is final now."""
        self._tell(make)

    def rows(self) -> list[StandingRow]:
        """Return every standing that changed."""
        now = {(self.season.start_s, player): key for player, key in self.draft.changes.items()}
        return [
            StandingRow(self.number, season_s, player, key) for (season_s, player), key in (self._past | now).items()
        ]

    @property
    def changed(self) -> bool:
        """Whether memory has anything to adopt."""
        return bool(self.draft.changes) or self._turned

    # -------------------------------------------------------------------------- seasons

    def _turn(self, season: Season) -> None:
        self._past |= {(self.season.start_s, player): key for player, key in self.draft.changes.items()}
        known: Mapping[bytes, int | None] = self._ledger.season(self.number, self.config, season)
        here = {player: key for (season_s, player), key in self._past.items() if season_s == season.start_s}
        entries = [(key, player) for player, key in {**known, **here}.items() if key is not None]
        self.season, self.draft = season, Draft(Standings(self.config, entries), quiet=self._quiet)
        self._turned = True
        if not self._quiet:
            rows = top_rows(self._ledger, self.config, self.draft.top(ROWS), self._final())
            self._tell(
                lambda seq: SeasonMessage(
                    seq=seq, game_id=self.names.game_id, board=self.names.name, season=season_info(season), rows=rows,
                    total=len(self.draft),
                )
            )  # fmt: skip

    def _recount(self, player: bytes, season: Season) -> None:
        """Set a player's standing in a season that is not the current one: nobody is told, pages show it."""
        self._past[season.start_s, player] = self._left(player, season)

    def _left(self, player: bytes, season: Season) -> int | None:
        key: int | None = None
        for score, place in self._ledger.valid_scores(self._game, player, season):
            key = self.config.joined(key, score, place)
        return key

    # -------------------------------------------------------------------------- standing

    def _stand(self, player: bytes, key: int | None, entry: Entry | None) -> None:
        """Put a player where `key` belongs, or take the player off the board with None."""
        draft = self.draft
        before = draft.key(player)
        if key == before:
            return
        if self._quiet:
            draft.put(player, key)
            return
        was = None if before is None else draft.ordinal(before)
        was_rank = None if before is None or was is None or not self._shows(was) else draft.rank(before)
        draft.put(player, key)
        now = None if key is None else draft.ordinal(key)
        if key is not None and now is not None and self._shows(now):
            place = self.config.standing(key).place
            self._stands(entry if entry and entry.place == place else self._entry(place), key, was_rank)
        elif was_rank is not None:
            self._absent(player, was_rank)
        for limit in sorted({ROWS, self.config.capacity or ROWS}):
            self._pass(limit, was, now, tied=before is not None and self._level(before) == self._level_at(limit))

    def _pass(self, limit: int, was: int | None, now: int | None, *, tied: bool) -> None:
        """When one player passes a limit, another passes it the other way, and whoever keeps only so many must hear it.

        The limits are what a stream's reader keeps, and what the board shows at all.
        """
        draft = self.draft
        inside_before, inside_now = was is not None and was <= limit, now is not None and now <= limit
        if inside_before and not inside_now and draft.players >= limit and self._shows(limit):
            key, _ = draft.at(limit)
            rank = draft.rank(key)
            came = limit == self.config.capacity
            self._stands(self._entry(self.config.standing(key).place), key, None if came else rank + (not tied))
        elif inside_now and not inside_before and limit == self.config.capacity and draft.players > limit:
            self._absent(draft.at(limit + 1)[1], limit)

    def _level(self, key: int) -> int:
        return key >> POSITION_BITS if self.config.shared else -1

    def _level_at(self, limit: int) -> int:
        return self._level(self.draft.at(limit)[0]) if self.config.shared and self.draft.players >= limit else -2

    def _shows(self, ordinal: int) -> bool:
        return self.config.capacity is None or ordinal <= self.config.capacity

    def _stands(self, entry: Entry, key: int, previous_rank: int | None) -> None:
        rank, total, value = self.draft.rank(key), len(self.draft), self.config.standing(key).value
        self._tell(
            lambda seq: standing_message(
                self.names, seq, entry, self._final(), rank=rank, value=value, previous_rank=previous_rank, total=total
            )
        )

    def _absent(self, player: bytes, previous_rank: int) -> None:
        self._tell(
            lambda seq: AbsentMessage(
                seq=seq, game_id=self.names.game_id, board=self.names.name, player=checksummed(player),
                previous_rank=previous_rank, total=len(self.draft),
            )
        )  # fmt: skip

    def _tell(self, make: Callable[[int], Message]) -> None:
        if self._quiet:
            return
        self._seq += 1
        message = make(self._seq)
        kind = str(message.__struct_config__.tag)
        self.messages.append(Published(self.number, self._seq, kind, encode(message), message))


def top_rows(ledger: Ledger, config: BoardConfig, placed: Sequence[Placed], final_block: int) -> list[Row]:
    """Return the rows of some players with the scores that put them there."""
    standings = [config.standing(one.key) for one in placed]
    found = ledger.entries_at([standing.place for standing in standings])
    return [
        row(found[standing.place], final_block, one.rank, standing.value)
        for one, standing in zip(placed, standings, strict=True)
    ]
