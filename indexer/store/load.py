"""What a start reads: the checkpoint, the games, the standings, the tail of the stream; or creates, for a new database.

Touches the database on the connection it is given.
"""

from collections.abc import Iterable, Mapping

from sqlalchemy import Connection, insert, select, text

from indexer.events import Header, Mark
from indexer.messages import Board, row
from indexer.ordering import POSITION_BITS, SCORE_MAX, place_of
from indexer.standings import Standings
from indexer.state import DEFAULT_BOARD, BoardState, Game, Identity, State
from indexer.store.ledger import SqlLedger
from indexer.store.tables import blocks, boards, chain, games, stream
from indexer.window import ROWS, Window


def create(connection: Connection, identity: Identity, start: Header, epoch: int) -> None:
    """Write the checkpoint of an indexer that has seen nothing yet; `start` is the block before its first."""
    connection.execute(
        insert(chain).values(
            id=1, chain_id=identity.chain_id, genesis_hash=identity.genesis_hash, contract=identity.contract,
            code_hash=identity.code_hash, start_block=start.number + 1, tip_number=start.number, tip_hash=start.hash,
            tip_time_s=start.time_s, final_number=start.number, verified_number=start.number,
            verified_hash=start.hash, epoch=epoch,
        )
    )  # fmt: skip


def load(connection: Connection, names: Mapping[bytes, str]) -> State | None:
    """Return everything committed, None for a new database. `names` gives the ids of games by their key."""
    found = connection.execute(select(chain)).first()
    if found is None:
        return None
    state = State(
        Identity(found.chain_id, found.genesis_hash, found.contract, found.code_hash),
        found.start_block,
        Mark(found.tip_number, found.tip_hash),
        found.tip_time_s,
        found.final_number,
        Mark(found.verified_number, found.verified_hash),
        found.epoch,
    )
    for number, key, head, recorded in connection.execute(select(games)):
        state.games[key] = Game(number, key, names.get(key, "0x" + key.hex()), head, recorded)
    ids = {game.number: game.game_id for game in state.games.values()}
    for number, game, name, seq in connection.execute(select(boards).order_by(boards.c.number)):
        ranked = _standings(connection, number)
        window = _window(connection, ranked, state.final_block)
        state.boards[number] = BoardState(number, game, Board(ids[game], name), ranked, window, seq)
    for number, known in connection.execute(select(blocks.c.number, blocks.c.hash).order_by(blocks.c.number)):
        state.recent[number] = known
    return state


def ensure_games(connection: Connection, keys: Iterable[bytes]) -> None:
    """Create the games that are configured and not there yet, so that their boards can be followed while empty."""
    known = set(connection.scalars(select(games.c.key)))
    ledger = SqlLedger(connection)
    for key in keys:
        if key not in known:
            ledger.add_game(key, DEFAULT_BOARD)


def stream_tail(connection: Connection, board: int, limit: int) -> list[tuple[int, str, bytes]]:
    """Return the newest messages of a board as (seq, kind, body), oldest first."""
    query = select(stream.c.seq, stream.c.kind, stream.c.body).where(stream.c.board == board)
    rows = connection.execute(query.order_by(stream.c.seq.desc()).limit(limit)).all()
    return [(seq, kind, body) for seq, kind, body in reversed(rows)]


def _standings(connection: Connection, board: int) -> Standings:
    rows = connection.execute(
        text("SELECT player, score, place FROM ix_standings WHERE board = :board"), {"board": board}
    )
    return Standings([((SCORE_MAX - score) << POSITION_BITS | place, player) for player, score, place in rows])


def _window(connection: Connection, ranked: Standings, final_block: int) -> Window:
    top = [place_of(key) for key, _ in ranked.ranking.top(ROWS)]
    found = SqlLedger(connection).entries_at(top)
    return Window((row(found[place], final_block, rank) for rank, place in enumerate(top, 1)), total=len(ranked))
