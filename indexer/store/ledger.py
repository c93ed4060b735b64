"""The rows of scores, batches and rulings inside one transaction: what `indexer.fold` calls its ledger.

Touches the database on the connection it is given. Inserts are held back and written in bulk before the first read that
could miss them.
"""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, Select, delete, func, insert, select, update

from indexer.boards import BoardConfig
from indexer.events import Accepted, Recorded, Ruled
from indexer.fold import Unwound
from indexer.messages import Entry
from indexer.ordering import SCORE_MAX, position
from indexer.seasons import Season
from indexer.standings import Standings
from indexer.state import GENESIS_HEAD
from indexer.store import bulk
from indexer.store.board_tables import board_changes
from indexer.store.doubt_tables import doubt, doubts
from indexer.store.tables import FROM_FILE, batches, boards, games, oversized, rulings, scores

BUILT, UNBUILT = 1, 0  # whether a board's standings are those of its configuration
ENTRY = [scores.c[name] for name in Entry._fields]


def entries(connection: Connection, query: Select[Any]) -> list[Entry]:
    """Return the scores that a query over the columns `ENTRY` finds."""
    return [Entry(*row) for row in connection.execute(query)]


def add_board(connection: Connection, game: int, config: BoardConfig, built: int, origin: str = FROM_FILE) -> int:
    """Create a board; returns its number, which no board had before it: who has not heard of a deletion writes on."""
    used = select(func.max(boards.c.number)).union_all(select(func.max(board_changes.c.board)))
    number = max((number or 0 for number in connection.scalars(used)), default=0) + 1
    document = config.document().decode()
    row = {"number": number, "game": game, "name": config.name, "seq": 0, "config": document, "origin": origin}
    connection.execute(insert(boards).values(**row, built=built))
    return number


class SqlLedger:
    """The ledger of one transaction."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._scores: list[Entry] = []
        self._oversized: list[tuple[object, ...]] = []
        self._batches: list[tuple[object, ...]] = []

    # --------------------------------------------------------------------- writes

    def add_game(self, key: bytes, board: BoardConfig) -> tuple[int, int]:
        """Create a game and its first board; returns their numbers."""
        connection = self._connection
        number = (connection.scalar(select(func.max(games.c.number))) or 0) + 1
        connection.execute(insert(games).values(number=number, key=key, head=GENESIS_HEAD, recorded=0))
        return number, add_board(connection, number, board, BUILT)

    def add_score(self, entry: Entry) -> None:
        """Record a score."""
        self._scores.append(entry)

    def add_oversized(self, game: int, score: Recorded) -> None:
        """Keep a score or round number that no BIGINT holds."""
        fields = (score.place, game, str(score.round_id), score.player, str(score.score))
        self._oversized.append((*fields, score.evidence_hash, score.tx_hash))

    def add_batch(self, game: int, batch: Accepted) -> None:
        """Record a batch and the head it left."""
        fields = (batch.place, game, batch.signer, batch.records_hash, batch.head, batch.accepted)
        self._batches.append((*fields, batch.tx_hash, batch.block_hash))

    def add_ruling(self, game: int, ruling: Ruled) -> Entry | None:
        """Record a ruling and mark its score; returns the score, None if the mark was so already or it is unranked."""
        self.flush()
        event = ruling.event
        self._connection.execute(
            insert(rulings).values(
                place=ruling.place, game=game, round_id=str(event.round_id), invalid=int(ruling.invalid),
                auditor=event.auditor, reason_hash=event.reason_hash, head=event.head, tx_hash=ruling.tx_hash,
                block_hash=ruling.block_hash,
            )
        )  # fmt: skip
        return self._mark(game, event.round_id, invalid=ruling.invalid)

    def _mark(self, game: int, round_id: int, *, invalid: bool) -> Entry | None:
        if round_id > SCORE_MAX:
            return None
        chosen = (scores.c.game == game, scores.c.round_id == round_id, scores.c.invalid == int(not invalid))
        found = entries(self._connection, select(*ENTRY).where(*chosen))
        if not found:
            return None
        self._connection.execute(update(scores).where(*chosen).values(invalid=int(invalid)))
        return found[0]

    def flush(self) -> None:
        """Write what was held back."""
        bulk.insert(self._connection, scores, self._scores)
        bulk.insert(self._connection, oversized, self._oversized)
        bulk.insert(self._connection, batches, self._batches)
        self._scores, self._oversized, self._batches = [], [], []

    # ---------------------------------------------------------------------- reads

    def valid_scores(self, game: int, player: bytes, season: Season) -> list[tuple[int, int]]:
        """Return (score, position) of the player's valid scores of a season, in the chain's order."""
        self.flush()
        mine = [scores.c.player == player, scores.c.game == game, scores.c.invalid == 0]
        mine.append(scores.c.time_s >= season.start_s)
        if season.end_s is not None:
            mine.append(scores.c.time_s < season.end_s)
        query = select(scores.c.score, scores.c.place).where(*mine).order_by(scores.c.place)
        return [(score, place) for score, place in self._connection.execute(query)]

    def season(self, board: int, config: BoardConfig, season: Season) -> dict[bytes, int]:
        """Return the ordering keys of a season's players as they were before this transaction."""
        column = bulk.season_column(self._connection, board, season.start_s, descending=config.descending)
        return Standings.of_column(config, column).keys

    def entry(self, place: int) -> Entry:
        """Return the score at a position."""
        self.flush()
        return entries(self._connection, select(*ENTRY).where(scores.c.place == place))[0]

    def entries_at(self, places: Sequence[int]) -> dict[int, Entry]:
        """Return the scores at some positions."""
        self.flush()
        found = bulk.rows_at(self._connection, scores, Entry._fields, places)
        return {row[0]: Entry._make(row) for row in found}

    def between(self, game: int, after_block: int, to_block: int) -> list[int]:
        """Return the round ids of the scores in the blocks after `after_block` up to `to_block`, in order."""
        self.flush()
        first, end = position(max(after_block + 1, 0), 0), position(to_block + 1, 0)
        query = select(scores.c.round_id).where(scores.c.game == game, scores.c.place >= first, scores.c.place < end)
        return list(self._connection.scalars(query.order_by(scores.c.place)))

    # ----------------------------------------------------------------- going back

    def unwind(self, to_block: int) -> Unwound:
        """Delete everything above a block and say what that took away."""
        connection, first = self._connection, position(to_block + 1, 0)
        gone = select(*ENTRY, scores.c.invalid).where(scores.c.place >= first).order_by(scores.c.place.desc())
        orphans = [(Entry(*row[:-1]), bool(row[-1])) for row in connection.execute(gone)]
        lost = select(rulings.c.game, rulings.c.round_id).where(rulings.c.place >= first)
        judged = dict.fromkeys((row[0], row[1]) for row in connection.execute(lost.order_by(rulings.c.place)))
        for table in (scores, oversized, batches, rulings, doubts):
            connection.execute(delete(table).where(table.c.place >= first))
        connection.execute(update(doubt).values(unwound=doubt.c.unwound + 1))
        connection.execute(update(doubt).where(doubt.c.place >= first).values(place=first - 1))
        restored: list[tuple[Entry, bool]] = []
        for game, round_id in judged:
            last = select(rulings.c.invalid).where(rulings.c.game == game, rulings.c.round_id == round_id)
            invalid = bool(connection.scalar(last.order_by(rulings.c.place.desc()).limit(1)))
            entry = self._mark(game, int(round_id), invalid=invalid)
            if entry is not None:
                restored.append((entry, invalid))
        return Unwound(orphans, restored, self._heads())

    def _heads(self) -> dict[int, bytes]:
        """Return the head of every game as its last remaining event left it."""
        found: dict[int, tuple[int, bytes]] = {}
        for table in (batches, rulings):
            latest = select(func.max(table.c.place)).group_by(table.c.game)
            rows = self._connection.execute(
                select(table.c.game, table.c.place, table.c.head).where(table.c.place.in_(latest))
            )
            for game, place, head in rows:
                if game not in found or place > found[game][0]:
                    found[game] = (place, head)
        return {game: head for game, (_, head) in found.items()}
