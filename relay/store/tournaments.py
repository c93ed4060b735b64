"""Tournaments, starting a round, and standings.

The only SQL on `tournaments`. Who starts a round holds the tournament's row, so that it is not called off meanwhile;
where attempts or players are counted, alone, so that the counts are exact however many ask at once.
"""

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple, TypeAlias

from sqlalchemy import Connection, func, insert, select, tuple_, update

from relay.errors import CallerError
from relay.rounds import Round, Step, tournament_cancelled
from relay.store import held
from relay.store import rounds as round_rows
from relay.store.round_tables import rounds, tournaments
from relay.store.tables import submissions
from relay.tournaments import Standing, Tournament

# What a score has to be to count: one that is held, refused, set aside or taken back does not.
COUNTING = ("accepted", "queued", "sent", "included", "final")

Lock: TypeAlias = Literal["shared", "alone"]


class Place(NamedTuple):
    """Where a page of standings goes on: behind this row."""

    score: int
    at_ms: int
    submission_id: str


def create(c: Connection, new: Tournament) -> Tournament:
    """Store a tournament; the same again finds the first one.

    Raises:
        CallerError: TOURNAMENT_EXISTS, the id stands for another.
    """
    found = find(c, new.id)
    if found is None:
        c.execute(insert(tournaments).values(**new._asdict()))
        return new
    if found.terms() != new.terms():
        raise CallerError("TOURNAMENT_EXISTS", "Another tournament has this id.")
    return found


def find(c: Connection, tournament_id: str, *, lock: Lock | None = None) -> Tournament | None:
    """Return a tournament; locked, it stays as it is until the commit, `alone` nobody else looks at it so."""
    query = select(tournaments).where(tournaments.c.id == tournament_id)
    row = c.execute(query if lock is None else query.with_for_update(read=lock == "shared")).first()
    return None if row is None else Tournament(*row)


def page(c: Connection, game_id: str | None, limit: int, before: tuple[int, str] | None) -> list[Tournament]:
    """Return tournaments, newest first."""
    t = tournaments.c
    query = select(tournaments).order_by(t.created_at_ms.desc(), t.id.desc()).limit(limit)
    if game_id is not None:
        query = query.where(t.game_id == game_id)
    if before is not None:
        query = query.where(tuple_(t.created_at_ms, t.id) < before)
    return [Tournament(*row) for row in c.execute(query)]


def cancel(c: Connection, found: Tournament, reason: str, by: str, now_ms: int) -> Tournament:
    """Call a tournament off: its open rounds end, what is accepted stays."""
    values = {"cancelled_at_ms": now_ms, "cancelled_by": by, "cancel_reason": reason}
    c.execute(update(tournaments).where(tournaments.c.id == found.id).values(values))
    carry_out(c, [tournament_cancelled(one, now_ms) for one in round_rows.open_of_tournament(c, found.id)], now_ms)
    return found._replace(cancelled_at_ms=now_ms, cancelled_by=by, cancel_reason=reason)


def carry_out(c: Connection, steps: Sequence[Step], now_ms: int) -> list[Round]:
    """Write down what became of locked rounds without their players or servers doing anything."""
    changed = [step.round for step in steps]
    held.reject(c, [(one.submission_id, one.reason or "") for one in changed if one.submission_id is not None], now_ms)
    round_rows.save(c, changed)
    return changed


def unresolved(c: Connection, tournament_id: str, now_ms: int) -> int:
    """Return how many rounds of a tournament still wait for something."""
    is_open = (rounds.c.tournament_id == tournament_id, rounds.c.due_at_ms > now_ms)
    return int(c.scalar(select(func.count()).select_from(rounds).where(*is_open)) or 0)


def standings(c: Connection, tournament_id: str, limit: int, after: Place | None) -> list[Standing]:
    """Return each player's best score that counts, the best first; of equal ones the earlier."""
    s = submissions.c
    best = (s.score.desc(), s.received_at_ms, s.id)
    mine = (
        select(
            rounds.c.player, rounds.c.player_id, rounds.c.id.label("round_id"), s.score, s.received_at_ms,
            s.id.label("submission_id"), s.evidence_level, s.status, s.tx_hash,
            func.row_number().over(partition_by=rounds.c.player, order_by=best).label("nth"),
        )
        .join(submissions, s.id == rounds.c.submission_id)
        .where(rounds.c.tournament_id == tournament_id, s.status.in_(COUNTING))
        .subquery()
    )  # fmt: skip
    m = mine.c
    columns = [m[name] for name in Standing._fields]
    query = select(*columns).where(m.nth == 1)
    if after is not None:
        query = query.where(tuple_(-m.score, m.received_at_ms, m.submission_id) > (-after.score, *after[1:]))
    rows: Sequence[Any] = c.execute(
        query.order_by(m.score.desc(), m.received_at_ms, m.submission_id).limit(limit)
    ).all()
    return [Standing(*row) for row in rows]
