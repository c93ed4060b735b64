"""Makes the standings of a board anew from the scores, beside a follower that goes on committing scores meanwhile.

Touches the database: reads in stretches, writes in stretches, so that other writers get their turn. What cannot be
reorganised away any more is taken in first; the rest, and what was ruled since, in the one transaction that ends it. A
board that was not finished stays marked, and is begun again. Of several processes that find a mark, one makes the board
and the others wait and watch; each write demands in its own transaction that the claim still holds. Who takes the claim
away: another configuration of the board, a removal, another process (a builder that was not heard of), a reorganisation
of what was beyond it (`indexer.store.commit`). Where finality is so far behind that much is left, that is taken in
early, too, and the end demands that the block it rests on still stands.
"""

import asyncio
import secrets
from collections.abc import Callable, Mapping
from functools import partial
from typing import NamedTuple

from sqlalchemy import Connection, delete, func, insert, select, update

from indexer.boards import BoardConfig
from indexer.events import Mark
from indexer.ordering import POSITION_MAX, SCORE_MAX, position
from indexer.seasons import Season
from indexer.standings import Standings
from indexer.state import StandingRow
from indexer.store import bulk
from indexer.store.board_tables import builds
from indexer.store.commit import write_standings
from indexer.store.ledger import BUILT, UNBUILT, SqlLedger
from indexer.store.load import read_config
from indexer.store.tables import blocks, boards, chain, games, rulings, scores, standings
from indexer.store.wakeup import announce
from relay.store.engine import Database
from relay.store.writer import Job, Writer

STRETCH = 20_000  # scores read at once
WRITTEN = 5_000  # standings written at once: a commit of the follower waits for no more than these
WAIT_S = 0.25
DEAD_MS = 10_000  # a builder that was not heard of for so long is replaced

Progress = Callable[[str, int, int], None]  # board as game/name, scores done, scores in all
Seat = tuple[int, bytes]  # start of a season, player


class OvertakenError(Exception):
    """What is being made is not asked for any more, or not of these scores."""


class Task(NamedTuple):
    """A board to make anew."""

    number: int
    game: int
    label: str
    config: BoardConfig


class Build(NamedTuple):
    """A claim on a task. Rulings before the position `since` are known to every read of it."""

    task: Task
    builder: str
    since: int
    total: int  # scores


class Elsewhere(NamedTuple):
    """Another process makes the board, and has got so far."""

    done: int
    total: int


class Made(NamedTuple):
    """Everything up to a position, as it is written; the standings are of one season, the newest then."""

    build: Build
    after: int
    mark: Mark | None  # the block it rests on, where that was not final
    found: dict[Seat, int]  # ordering keys
    season: Season
    standings: Standings


class Settled(NamedTuple):
    """What the end of a build changed, and the epoch it began."""

    keys: dict[Seat, int | None]
    epoch: int


async def rebuild(
    database: Database, writer: Writer, names: Mapping[bytes, str], progress: Progress, most: int | None = None
) -> int:
    """Make every marked board of a game with at most so many scores (None: all); returns how many were made here.

    For whoever does nothing else meanwhile.
    """
    made, builder = 0, secrets.token_hex(8)
    while tasks := await database.read(partial(pending, names, most)):
        built = await make(database, writer, tasks[0], builder, progress)
        if built is not None:
            try:
                await writer.run(lambda connection: settle(connection, built, database.now_ms(connection)))  # noqa: B023 - run at once
                made += 1
                progress(tasks[0].label, built.build.total, built.build.total)
            except OvertakenError:
                continue
    return made


async def make(database: Database, writer: Writer, task: Task, builder: str, progress: Progress) -> Made | None:
    """Make a board up to where `settle` can end it; None where there is nothing to end here, to be looked at again.

    `builder` is of one who makes one board at a time: a claim of its own is one it left behind.
    """
    claimed = await writer.run(partial(_claim, task, builder, database.now_ms))
    if isinstance(claimed, Elsewhere):
        progress(task.label, *claimed)
        await asyncio.sleep(WAIT_S)
    elif claimed is not None:
        try:
            return await _Builder(database, writer, claimed, progress).make()
        except OvertakenError:
            pass
    return None


class _Builder:
    """One attempt."""

    def __init__(self, database: Database, writer: Writer, build: Build, progress: Progress) -> None:
        self._database, self._writer, self._build, self._progress = database, writer, build, progress
        self._found: dict[Seat, int] = {}
        self._touched: set[Seat] = set()  # since they were last written
        self._after, self._done = -1, 0

    async def make(self) -> Made:
        """Read the scores, write the standings; OvertakenError where that is in vain."""
        task = self._build.task
        await self._write(partial(_clear, task.number))
        few, mark = False, None
        while not few:
            at = await self._database.read(_at)
            await self._fold_to(position(at.final + 1, 0) - 1)
            few = len(self._touched) < STRETCH
            await self._write_touched()
        if await self._database.read(partial(_many, task, self._after)):  # finality is far behind: not in one commit
            mark = at.tip
            await self._fold_to(position(mark.number + 1, 0) - 1)
            await self._write_touched()
        season = task.config.calendar.at(at.time_s)
        column = await self._database.read(
            partial(bulk.season_column, board=task.number, season_s=season.start_s, descending=task.config.descending)
        )
        ranked = await asyncio.to_thread(Standings.of_column, task.config, column)
        return Made(self._build, self._after, mark, self._found, season, ranked)

    async def _fold_to(self, last: int) -> None:
        """Take in the scores up to a position."""
        task = self._build.task
        while self._after < last:
            job = partial(_fold, task, self._after, last, self._found, self._touched)
            after, count = await self._database.read(job)
            self._after = after if count == STRETCH else last
            if count:
                self._done += count
                self._progress(task.label, self._done, max(self._done, self._build.total))
                await self._write(partial(_reached, task.number, self._done))

    async def _write_touched(self) -> None:
        task = self._build.task
        shelves = await asyncio.to_thread(_shelved, self._touched)
        self._touched.clear()
        for shelf in sorted(shelves):
            rows = [StandingRow(task.number, *seat, self._found[seat]) for seat in sorted(shelves[shelf])]
            for start in range(0, len(rows), WRITTEN):
                some = rows[start : start + WRITTEN]
                await self._write(partial(write_standings, configs={task.number: task.config}, rows=some))

    async def _write(self, job: Job[None]) -> None:
        """Do one part in a transaction of its own, if the claim still holds there."""

        def guarded(connection: Connection) -> None:
            _hold(connection, self._build, self._database.now_ms(connection))
            job(connection)

        await self._writer.run(guarded)


def pending(names: Mapping[bytes, str], most: int | None, connection: Connection) -> list[Task]:
    """Return the boards that are marked to be made anew, of games with at most so many scores."""
    columns = (boards.c.number, boards.c.game, boards.c.name, boards.c.config, games.c.key)
    query = select(*columns).join(games, games.c.number == boards.c.game).where(boards.c.built == UNBUILT)
    if most is not None:
        query = query.where(games.c.recorded <= most)
    return [
        Task(number, game, f"{names.get(key, '0x' + key.hex())}/{name}", read_config(name, document))
        for number, game, name, document, key in connection.execute(query.order_by(boards.c.number))
    ]


def settle(connection: Connection, made: Made, now_ms: int) -> Settled:
    """Take in what came since, and let the board be what it is configured to be; the caller commits.

    Whoever reads streams begins with a snapshot: a new epoch.

    Raises:
        OvertakenError: the claim does not hold any more.
    """
    task, ledger = made.build.task, SqlLedger(connection)
    at = connection.execute(select(chain.c.epoch).with_for_update()).one()  # before the claim, as commits do
    _hold(connection, made.build, now_ms)
    if made.mark is not None and not _stands(connection, made.mark):
        raise OvertakenError
    touched: set[Seat] = set()
    after, count = made.after, STRETCH
    while count == STRETCH:
        after, count = _fold(task, after, POSITION_MAX, made.found, touched, connection)
    for player, time_s in _judged(connection, made.build):
        season = task.config.calendar.at(time_s)
        _recount(ledger, task, season, player, made.found)
        touched.add((season.start_s, player))
    keys = {seat: made.found.get(seat) for seat in sorted(touched)}
    rows = [StandingRow(task.number, *seat, key) for seat, key in keys.items()]
    write_standings(connection, {task.number: task.config}, rows)
    connection.execute(update(boards).where(boards.c.number == task.number).values(built=BUILT))
    connection.execute(delete(builds).where(builds.c.board == task.number))
    epoch = max(now_ms, at.epoch + 1)
    connection.execute(update(chain).values(epoch=epoch))
    announce(connection)
    return Settled(keys, epoch)


def disclaim(builder: str, connection: Connection) -> None:
    """Let another make what a builder began."""
    connection.execute(delete(builds).where(builds.c.builder == builder))


def _shelved(seats: set[Seat]) -> dict[tuple[int, int], list[Seat]]:
    """Return seats by season and the player's first byte: to sort a million at once would stop this whole process."""
    shelves: dict[tuple[int, int], list[Seat]] = {}
    for seat in seats:
        shelves.setdefault((seat[0], seat[1][0]), []).append(seat)
    return shelves


def _judged(connection: Connection, build: Build) -> list[tuple[bytes, int]]:
    """Return (player, time) of the game's scores that may have been read before a ruling on them."""
    ruled = select(rulings.c.round_id).where(rulings.c.game == build.task.game, rulings.c.place >= build.since)
    rounds = {int(round_id) for round_id in connection.scalars(ruled)}
    chosen = select(scores.c.player, scores.c.time_s).where(scores.c.game == build.task.game)
    found = [
        connection.execute(chosen.where(scores.c.round_id == round_id)).first()
        for round_id in sorted(rounds)
        if round_id <= SCORE_MAX
    ]
    return [(row.player, row.time_s) for row in found if row is not None]


def _recount(ledger: SqlLedger, task: Task, season: Season, player: bytes, found: dict[Seat, int]) -> None:
    found.pop((season.start_s, player), None)
    for score, place in ledger.valid_scores(task.game, player, season):
        before = found.get((season.start_s, player))
        found[season.start_s, player] = task.config.joined(before, score, place)


def _claim(
    task: Task, builder: str, clock: Callable[[Connection], int], connection: Connection
) -> Build | Elsewhere | None:
    """Take a task, or say how far another process is; None where there is nothing to do any more."""
    final = connection.scalar(select(chain.c.final_number).with_for_update())
    marked = (boards.c.number == task.number, boards.c.built == UNBUILT)
    document = connection.scalar(select(boards.c.config).where(*marked))
    if final is None or document is None or read_config(task.config.name, document) != task.config:
        return None
    now_ms = clock(connection)
    there = connection.execute(select(builds).where(builds.c.board == task.number)).first()
    if there is not None and there.builder != builder and now_ms - there.touched_at_ms < DEAD_MS:
        return Elsewhere(there.done, there.total)
    total = connection.scalar(select(func.count()).select_from(scores).where(scores.c.game == task.game)) or 0
    connection.execute(delete(builds).where(builds.c.board == task.number))
    row = {"board": task.number, "builder": builder, "touched_at_ms": now_ms, "done": 0, "total": total}
    connection.execute(insert(builds).values(row))
    return Build(task, builder, position(final + 1, 0), total)


def _hold(connection: Connection, build: Build, now_ms: int) -> None:
    """Demand that the claim holds, and refresh it; the row stays locked until the commit."""
    mine = (builds.c.board == build.task.number, builds.c.builder == build.builder)
    if connection.execute(update(builds).where(*mine).values(touched_at_ms=now_ms)).rowcount != 1:
        raise OvertakenError


class _At(NamedTuple):
    final: int
    tip: Mark
    time_s: int


def _at(connection: Connection) -> _At:
    """Return the newest final block, the newest block and its time."""
    row = connection.execute(select(chain)).one()
    return _At(row.final_number, Mark(row.tip_number, row.tip_hash), row.tip_time_s)


def _many(task: Task, after: int, connection: Connection) -> bool:
    """Return whether there are more scores behind a position than one commit should take in."""
    behind = select(scores.c.place).where(scores.c.game == task.game, scores.c.place > after)
    return connection.scalar(behind.order_by(scores.c.place).offset(STRETCH).limit(1)) is not None


def _stands(connection: Connection, mark: Mark) -> bool:
    """Return whether a block is still of the chain that is followed; one that is not kept any more counts as not."""
    return connection.scalar(select(blocks.c.hash).where(blocks.c.number == mark.number)) == mark.hash


def _reached(number: int, done: int, connection: Connection) -> None:
    connection.execute(update(builds).where(builds.c.board == number).values(done=done))


def _fold(
    task: Task, after: int, last: int, found: dict[Seat, int], touched: set[Seat], connection: Connection
) -> tuple[int, int]:
    """Take in the next stretch of scores; returns the position reached and how many they were."""
    columns = (scores.c.place, scores.c.player, scores.c.score, scores.c.time_s, scores.c.invalid)
    query = select(*columns).where(scores.c.game == task.game, scores.c.place > after, scores.c.place <= last)
    rows = connection.execute(query.order_by(scores.c.place).limit(STRETCH)).all()
    at, joined = task.config.calendar.at, task.config.joined
    for place, player, score, time_s, invalid in rows:
        if not invalid:
            seat = (at(time_s).start_s, player)
            found[seat] = joined(found.get(seat), score, place)
            touched.add(seat)
    return (rows[-1].place if rows else after), len(rows)


def _clear(number: int, connection: Connection) -> None:
    connection.execute(delete(standings).where(standings.c.board == number))
