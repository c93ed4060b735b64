"""Makes the standings of a board anew from the scores: after its configuration changed, or for a check.

Touches the database: reads in stretches, writes in stretches, so that other writers get their turn. A board that was
not finished stays marked, and is begun again.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import NamedTuple

from sqlalchemy import Connection, delete, func, select, update

from indexer.boards import BoardConfig, Standing
from indexer.state import StandingRow
from indexer.store.commit import write_standings
from indexer.store.ledger import BUILT, UNBUILT
from indexer.store.load import read_config
from indexer.store.tables import boards, chain, games, scores, standings
from relay.store.engine import Database
from relay.store.writer import Writer

STRETCH = 20_000

Progress = Callable[[str, int, int], None]  # board as game/name, scores done, scores in all


class Task(NamedTuple):
    """A board to make anew."""

    number: int
    game: int
    label: str
    config: BoardConfig


async def rebuild(database: Database, writer: Writer, names: Mapping[bytes, str], progress: Progress) -> int:
    """Make every marked board anew; returns how many. Nobody may commit scores meanwhile: the follower calls this."""
    tasks = await database.read(partial(pending, names))
    for task in tasks:
        found = await _folded(database, task, progress)
        rows = [
            StandingRow(task.number, season_s, player, task.config.key(s)) for (season_s, player), s in found.items()
        ]
        rows.sort()
        await writer.run(partial(_clear, task.number))
        for start in range(0, len(rows), STRETCH):
            await writer.run(partial(_write, task, rows[start : start + STRETCH]))
        await writer.run(partial(_finish, task.number, database.now_ms))
    return len(tasks)


async def _folded(database: Database, task: Task, progress: Progress) -> dict[tuple[int, bytes], Standing]:
    """Return every player's standing in every season, by start of the season and player."""
    total = await database.read(partial(_count, task.game))
    found: dict[tuple[int, bytes], Standing] = {}
    done, after = 0, -1
    while done < total:
        after, count = await database.read(partial(_fold, task, after, found))
        if not count:
            break
        done += count
        progress(task.label, done, total)
    return found


def pending(names: Mapping[bytes, str], connection: Connection) -> list[Task]:
    """Return the boards that are marked to be made anew."""
    columns = (boards.c.number, boards.c.game, boards.c.name, boards.c.config, games.c.key)
    query = select(*columns).join(games, games.c.number == boards.c.game).where(boards.c.built == UNBUILT)
    return [
        Task(number, game, f"{names.get(key, '0x' + key.hex())}/{name}", read_config(name, document))
        for number, game, name, document, key in connection.execute(query.order_by(boards.c.number))
    ]


def _count(game: int, connection: Connection) -> int:
    return connection.scalar(select(func.count()).select_from(scores).where(scores.c.game == game)) or 0


def _fold(task: Task, after: int, found: dict[tuple[int, bytes], Standing], connection: Connection) -> tuple[int, int]:
    """Take in the next stretch of scores; returns the position reached and how many they were."""
    columns = (scores.c.place, scores.c.player, scores.c.score, scores.c.time_s, scores.c.invalid)
    query = select(*columns).where(scores.c.game == task.game, scores.c.place > after)
    rows = connection.execute(query.order_by(scores.c.place).limit(STRETCH)).all()
    at, joined = task.config.calendar.at, task.config.joined
    for place, player, score, time_s, invalid in rows:
        if not invalid:
            key = (at(time_s).start_s, player)
            found[key] = joined(found.get(key), score, place)
    return (rows[-1].place if rows else after), len(rows)


def _write(task: Task, rows: Sequence[StandingRow], connection: Connection) -> None:
    write_standings(connection, {task.number: task.config}, rows)


def _clear(number: int, connection: Connection) -> None:
    connection.execute(delete(standings).where(standings.c.board == number))


def _finish(number: int, clock: Callable[[Connection], int], connection: Connection) -> None:
    """The board is what it is configured to be; whoever reads its stream begins with a snapshot."""
    connection.execute(update(boards).where(boards.c.number == number).values(built=BUILT))
    epoch = connection.scalar(select(chain.c.epoch)) or 0
    connection.execute(update(chain).values(epoch=max(clock(connection), epoch + 1)))
