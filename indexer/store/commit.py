"""One step of the follower as one transaction: rows, standings, stream messages and the checkpoint, or none of them.

Touches the database on the connection it is given; changes nothing in memory.
"""

from collections.abc import Mapping, Sequence

from sqlalchemy import Connection, delete, select, update

from indexer.board_draft import top_rows
from indexer.boards import BoardConfig
from indexer.events import Mark
from indexer.fold import BrokenChainError, Evidence, Fold
from indexer.standings import Draft
from indexer.state import BoardState, Outcome, StandingRow, State, Step
from indexer.store import bulk
from indexer.store.board_tables import builds
from indexer.store.ledger import SqlLedger
from indexer.store.tables import blocks, boards, chain, games, standings, stream
from indexer.store.wakeup import announce
from indexer.window import ROWS, Window
from relay.store.engine import StoreUnavailableError

KEPT_BLOCKS = 1024
MESSAGES_MAX = 20_000  # a reorganisation that would retract more scores than this starts a new epoch instead


class SupersededError(StoreUnavailableError):
    """Another process moved the checkpoint: what is in memory here is out of date."""

    def __init__(self) -> None:
        super().__init__("another indexer moved the checkpoint")


def commit_step(
    connection: Connection,
    state: State,
    step: Step,
    *,
    names: dict[bytes, str],
    evidence: dict[bytes, Evidence],
    now_ms: int,
) -> Outcome:
    """Do `step`; the caller commits, and adopts the outcome only after that.

    Raises:
        BrokenChainError: the facts do not reproduce the contract's heads; nothing must be kept.
        SupersededError: the database is not where `state` is.
    """
    guard(connection, state)
    ledger = SqlLedger(connection)
    base, verified, quiet = state.tip, state.verified, step.bulk
    recent = dict(state.recent)
    unwound = None
    if step.rollback_to is not None:
        base = step.rollback_to
        unwound = ledger.unwind(base.number)
        if base.number < state.final_block or unwound.restored:
            connection.execute(delete(builds))  # what they took in is not so any more: they begin again
        quiet = quiet or len(unwound.orphans) > MESSAGES_MAX
        verified = min(verified, base)
        recent = {number: known for number, known in recent.items() if number <= base.number}
        connection.execute(delete(blocks).where(blocks.c.number > base.number))
    fold = Fold(state, ledger, names=names, quiet=quiet, evidence=evidence)
    if unwound is not None:
        fold.unwind(unwound, base.number)
    fold.apply(step.facts)
    tip, time_s = (base, _time_of(connection, base, state))
    if step.headers:
        tip, time_s = step.headers[-1].mark, step.headers[-1].time_s
    fold.reach(time_s)
    for key, head in (step.heads or {}).items():
        if key in fold.games and fold.games[key].head != head:
            game = fold.games[key].game_id
            raise BrokenChainError(f"game {game}: the contract's head at block {tip.number} is not that of its events")
    if step.heads is not None:
        verified = tip
    fold.finalize(min(step.final_block, tip.number))
    ledger.flush()
    recent.update((header.number, header.hash) for header in step.headers)
    recent = dict(list(recent.items())[-KEPT_BLOCKS:])
    outcome = Outcome(
        tip, time_s, fold.final_block, verified, max(now_ms, state.epoch + 1) if quiet else state.epoch,
        fold.games, fold.new_boards, fold.turns(), fold.rows(), fold.seqs(), fold.messages(), recent, None,
    )  # fmt: skip
    if quiet:
        outcome.windows = {board.number: _window(ledger, board, outcome) for board in _all_boards(state, outcome)}
    _write(connection, state, step, outcome, now_ms)
    return outcome


def guard(connection: Connection, state: State) -> None:
    """Hold the checkpoint until the commit; SupersededError if it is not where `state` is."""
    query = select(chain.c.tip_number, chain.c.tip_hash, chain.c.epoch).with_for_update()  # FOR UPDATE: PostgreSQL only
    found = connection.execute(query).first()
    if found is None or Mark(found.tip_number, found.tip_hash) != state.tip or found.epoch != state.epoch:
        raise SupersededError


def _all_boards(state: State, outcome: Outcome) -> list[BoardState]:
    return [*state.moving(), *outcome.new_boards]


def _window(ledger: SqlLedger, board: BoardState, outcome: Outcome) -> Window:
    turn = outcome.turns.get(board.number)
    draft = Draft(board.standings, quiet=True) if turn is None else turn.draft
    placed = draft.top(ROWS)
    return Window(board.config, top_rows(ledger, board.config, placed, outcome.final_block), total=len(draft))


def _time_of(connection: Connection, mark: Mark, state: State) -> int:
    """Return the time of a block we know; of one that is not kept any more, the tip's."""
    found = connection.scalar(select(blocks.c.time_s).where(blocks.c.number == mark.number, blocks.c.hash == mark.hash))
    return state.tip_time_s if found is None else int(found)


def write_messages(connection: Connection, outcome: Outcome, now_ms: int) -> None:
    """Append the stream messages of an outcome."""
    bulk.insert(connection, stream, [(m.board, m.seq, now_ms, m.kind, m.body) for m in outcome.messages])
    for number, seq in outcome.seqs.items():
        connection.execute(update(boards).where(boards.c.number == number).values(seq=seq))
    announce(connection)


def write_standings(connection: Connection, configs: Mapping[int, BoardConfig], rows: Sequence[StandingRow]) -> None:
    """Write changed standings in the order of their table, so that pages are touched once."""
    kept: list[tuple[int, int, bytes, int, int]] = []
    for board, season_s, player, key in rows:
        if key is not None:
            kept.append((board, season_s, player, *configs[board].standing(key)))
        else:
            gone = (standings.c.board == board, standings.c.season_s == season_s, standings.c.player == player)
            connection.execute(delete(standings).where(*gone))
    bulk.upsert_standings(connection, sorted(kept))


def _write(connection: Connection, state: State, step: Step, outcome: Outcome, now_ms: int) -> None:
    bulk.insert(connection, blocks, step.headers)
    connection.execute(delete(blocks).where(blocks.c.number <= outcome.tip.number - KEPT_BLOCKS))
    configs = {board.number: board.config for board in _all_boards(state, outcome)}
    write_standings(connection, configs, outcome.standings)
    write_messages(connection, outcome, now_ms)
    for game_key, game in outcome.games.items():
        if state.games.get(game_key) != game:
            changed = update(games).where(games.c.number == game.number)
            connection.execute(changed.values(head=game.head, recorded=game.recorded))
    connection.execute(
        update(chain).values(
            tip_number=outcome.tip.number, tip_hash=outcome.tip.hash, tip_time_s=outcome.tip_time_s,
            final_number=outcome.final_block, verified_number=outcome.verified.number,
            verified_hash=outcome.verified.hash, epoch=outcome.epoch,
        )
    )  # fmt: skip
