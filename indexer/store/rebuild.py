"""Makes the standings of a board anew from the scores: after its configuration changed, or for a check.

Touches the database: reads in stretches, writes in stretches, so that other writers get their turn. A board that was
not finished stays marked, and is begun again. Of several processes that find a mark, one makes the board and the others
wait and watch; what each write rests on is checked in its own transaction, so a builder that was taken for dead or
overtaken by a commit spoils nothing.
"""

import asyncio
import secrets
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import NamedTuple

from sqlalchemy import Connection, delete, func, insert, select, update

from indexer.boards import BoardConfig
from indexer.state import StandingRow
from indexer.store.board_tables import builds
from indexer.store.commit import write_standings
from indexer.store.ledger import BUILT, UNBUILT
from indexer.store.load import read_config
from indexer.store.tables import boards, chain, games, scores, standings
from relay.store.engine import Database
from relay.store.writer import Job, Writer

STRETCH = 20_000
WAIT_S = 0.25
DEAD_MS = 10_000  # a builder that was not heard of for so long is replaced

Progress = Callable[[str, int, int], None]  # board as game/name, scores done, scores in all


class OvertakenError(Exception):
    """What is being made is not asked for any more, or not of these scores."""


class Task(NamedTuple):
    """A board to make anew."""

    number: int
    game: int
    label: str
    config: BoardConfig


class Build(NamedTuple):
    """A claim on a task: everything is made of the scores at the checkpoint `mark`."""

    task: Task
    builder: str
    mark: tuple[bytes, int]  # hash of the newest block, epoch
    total: int  # scores


class Elsewhere(NamedTuple):
    """Another process makes the board, and has got so far."""

    done: int
    total: int


async def rebuild(database: Database, writer: Writer, names: Mapping[bytes, str], progress: Progress) -> int:
    """Make every marked board anew; returns how many were made here. The follower calls this, and commits no scores."""
    made, builder = 0, secrets.token_hex(8)
    while tasks := await database.read(partial(pending, names)):
        claimed = await writer.run(partial(_claim, tasks[0], builder, database.now_ms))
        if isinstance(claimed, Elsewhere):
            progress(tasks[0].label, *claimed)
            await asyncio.sleep(WAIT_S)
        elif claimed is not None:
            try:
                await _Builder(database, writer, claimed, progress).make()
                made += 1
            except OvertakenError:
                continue
    return made


class _Builder:
    """One attempt."""

    def __init__(self, database: Database, writer: Writer, build: Build, progress: Progress) -> None:
        self._database, self._writer, self._build, self._progress = database, writer, build, progress

    async def make(self) -> None:
        """Read the scores, write the standings; OvertakenError where that is in vain."""
        task = self._build.task
        found = await self._folded()
        rows = [StandingRow(task.number, season_s, player, key) for (season_s, player), key in found.items()]
        rows.sort()
        await self._write(partial(_clear, task.number))
        for start in range(0, len(rows), STRETCH):
            await self._write(partial(_stand, task, rows[start : start + STRETCH]))
        await self._write(partial(_finish, self._build, self._database.now_ms))

    async def _folded(self) -> dict[tuple[int, bytes], int]:
        """Return every player's standing in every season, by start of the season and player."""
        task, total = self._build.task, self._build.total
        found: dict[tuple[int, bytes], int] = {}
        done, after = 0, -1
        while done < total:
            after, count = await self._database.read(partial(_fold, task, after, found))
            if not count:
                break
            done += count
            self._progress(task.label, done, total)
            await self._write(partial(_reached, task.number, done))
        return found

    async def _write(self, job: Job[None]) -> None:
        """Do one part in a transaction of its own, if the claim still holds there."""

        def guarded(connection: Connection) -> None:
            _hold(connection, self._build, self._database.now_ms(connection))
            job(connection)

        await self._writer.run(guarded)


def pending(names: Mapping[bytes, str], connection: Connection) -> list[Task]:
    """Return the boards that are marked to be made anew."""
    columns = (boards.c.number, boards.c.game, boards.c.name, boards.c.config, games.c.key)
    query = select(*columns).join(games, games.c.number == boards.c.game).where(boards.c.built == UNBUILT)
    return [
        Task(number, game, f"{names.get(key, '0x' + key.hex())}/{name}", read_config(name, document))
        for number, game, name, document, key in connection.execute(query.order_by(boards.c.number))
    ]


def _claim(
    task: Task, builder: str, clock: Callable[[Connection], int], connection: Connection
) -> Build | Elsewhere | None:
    """Take a task, or say how far another process is; None where there is nothing to do any more."""
    at = connection.execute(select(chain.c.tip_hash, chain.c.epoch).with_for_update()).first()
    marked = (boards.c.number == task.number, boards.c.built == UNBUILT)
    document = connection.scalar(select(boards.c.config).where(*marked))
    if at is None or document is None or read_config(task.config.name, document) != task.config:
        return None
    now_ms = clock(connection)
    there = connection.execute(select(builds).where(builds.c.board == task.number)).first()
    if there is not None and there.builder != builder and now_ms - there.touched_at_ms < DEAD_MS:
        return Elsewhere(there.done, there.total)
    total = connection.scalar(select(func.count()).select_from(scores).where(scores.c.game == task.game)) or 0
    connection.execute(delete(builds).where(builds.c.board == task.number))
    row = {"board": task.number, "builder": builder, "touched_at_ms": now_ms, "done": 0, "total": total}
    connection.execute(insert(builds).values(row))
    return Build(task, builder, (at.tip_hash, at.epoch), total)


def _hold(connection: Connection, build: Build, now_ms: int) -> None:
    """Demand that the claim holds, and refresh it; the row stays locked until the commit."""
    mine = (builds.c.board == build.task.number, builds.c.builder == build.builder)
    if connection.execute(update(builds).where(*mine).values(touched_at_ms=now_ms)).rowcount != 1:
        raise OvertakenError


def _reached(number: int, done: int, connection: Connection) -> None:
    connection.execute(update(builds).where(builds.c.board == number).values(done=done))


def _fold(task: Task, after: int, found: dict[tuple[int, bytes], int], connection: Connection) -> tuple[int, int]:
    """Take in the next stretch of scores; returns the position reached and how many they were."""
    columns = (scores.c.place, scores.c.player, scores.c.score, scores.c.time_s, scores.c.invalid)
    query = select(*columns).where(scores.c.game == task.game, scores.c.place > after)
    rows = connection.execute(query.order_by(scores.c.place).limit(STRETCH)).all()
    at, joined = task.config.calendar.at, task.config.joined
    for place, player, score, time_s, invalid in rows:
        if not invalid:
            seat = (at(time_s).start_s, player)
            found[seat] = joined(found.get(seat), score, place)
    return (rows[-1].place if rows else after), len(rows)


def _stand(task: Task, rows: Sequence[StandingRow], connection: Connection) -> None:
    write_standings(connection, {task.number: task.config}, rows)


def _clear(number: int, connection: Connection) -> None:
    connection.execute(delete(standings).where(standings.c.board == number))


def _finish(build: Build, clock: Callable[[Connection], int], connection: Connection) -> None:
    """The board is what it is configured to be; whoever reads its stream begins with a snapshot.

    Raises:
        OvertakenError: scores were committed since the claim.
    """
    at = connection.execute(select(chain.c.tip_hash, chain.c.epoch).with_for_update()).first()
    if at is None or (at.tip_hash, at.epoch) != build.mark:
        raise OvertakenError
    number = build.task.number
    connection.execute(update(boards).where(boards.c.number == number).values(built=BUILT))
    connection.execute(delete(builds).where(builds.c.board == number))
    connection.execute(update(chain).values(epoch=max(clock(connection), at.epoch + 1)))
