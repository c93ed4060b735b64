"""Rounds as they are stored.

The only SQL on `rounds`, with `relay.store.tournaments` beside it. What changes is decided in `relay.rounds`, while
the row is locked.
"""

from collections.abc import Iterable, Sequence
from dataclasses import fields
from typing import Any, NamedTuple

from sqlalchemy import Connection, Select, bindparam, func, select, update

from relay.rounds import UNREPORTED, Round, Said, State
from relay.store.round_tables import rounds

DUE_ROWS = 500  # per transaction, so that deadlines never hold up submissions
_PLAIN = tuple(field.name for field in fields(Round) if field.name != "said")
_CHANGING = (
    "state", "updated_at_ms", "due_at_ms", "reported_at_ms", "claim_hash", "submission_id", "score", "said_at_ms",
    "said_by", "reason", "confirmation_hash", "first_evidence", "first_level",
)  # fmt: skip
_SAVE = (
    update(rounds)
    .where(rounds.c.id == bindparam("round"))
    .values({name: bindparam(name) for name in (*_CHANGING, "said_valid", "said_score")})
)


class FirstNamed(NamedTuple):
    """What the first answer to a held score named: its evidence then, and that evidence's level."""

    evidence_hash: bytes
    level: int


def lock(c: Connection, ids: Iterable[str]) -> dict[str, Round]:
    """Lock rounds until the commit, in ascending order of their ids; returns those that exist."""
    wanted = sorted(set(ids))
    query = select(rounds).where(rounds.c.id.in_(wanted)).order_by(rounds.c.id).with_for_update()
    return {row.id: _round(row) for row in c.execute(query)}


def insert(c: Connection, new: Round) -> None:
    """Store a round that was just started."""
    c.execute(rounds.insert().values(**{name: getattr(new, name) for name in _PLAIN}, **_said(new.said)))


def save(c: Connection, changed: Sequence[Round]) -> None:
    """Write down rounds that are locked."""
    if changed:
        rows = [
            {"round": one.id, **{name: getattr(one, name) for name in _CHANGING}, **_said(one.said)} for one in changed
        ]
        c.execute(_SAVE, rows)


def find(c: Connection, round_id: str) -> Round | None:
    """Return a round."""
    row = c.execute(select(rounds).where(rounds.c.id == round_id)).first()
    return None if row is None else _round(row)


def of_submission(c: Connection, submission_id: str) -> Round | None:
    """Return the round that a submission reports."""
    row = c.execute(select(rounds).where(rounds.c.submission_id == submission_id)).first()
    return None if row is None else _round(row)


def due(c: Connection, now_ms: int) -> list[Round]:
    """Lock rounds whose deadline has passed, the longest overdue first; those that others hold are left to them."""
    query = select(rounds).where(rounds.c.due_at_ms <= now_ms).order_by(rounds.c.due_at_ms).limit(DUE_ROWS)
    return [_round(row) for row in c.execute(query.with_for_update(skip_locked=True))]


def any_due(c: Connection, now_ms: int) -> bool:
    """Whether some round's deadline has passed."""
    return c.execute(select(rounds.c.id).where(rounds.c.due_at_ms <= now_ms).limit(1)).first() is not None


def unreported(c: Connection, game_id: str, player: bytes) -> list[Round]:
    """Lock a player's rounds that wait for their report, oldest first; one that is being reported now is none."""
    of_player = (rounds.c.game_id == game_id, rounds.c.player == player, rounds.c.state.in_(UNREPORTED))
    query = select(rounds).where(*of_player).order_by(rounds.c.issued_at_ms, rounds.c.id)
    return [_round(row) for row in c.execute(query.with_for_update(skip_locked=True))]


def open_of_tournament(c: Connection, tournament_id: str) -> list[Round]:
    """Lock the open rounds of a tournament, in ascending order of their ids."""
    is_open = (rounds.c.tournament_id == tournament_id, rounds.c.due_at_ms.is_not(None))
    return [_round(row) for row in c.execute(select(rounds).where(*is_open).order_by(rounds.c.id).with_for_update())]


def resolved(c: Connection, game_id: str, player: bytes, limit: int) -> tuple[int, int]:
    """Of a player's last `limit` rounds that ended: how many, and how many of them were never reported."""
    last: Select[Any] = (
        select(rounds.c.state)
        .where(rounds.c.game_id == game_id, rounds.c.player == player, rounds.c.due_at_ms.is_(None))
        .order_by(rounds.c.issued_at_ms.desc())
        .limit(limit)
    )
    states = list(c.scalars(last))
    return len(states), sum(state == State.EXPIRED for state in states)


def attempts(c: Connection, tournament_id: str, player: bytes) -> int:
    """Return how many rounds a player started in a tournament."""
    mine = (rounds.c.tournament_id == tournament_id, rounds.c.player == player)
    return int(c.scalar(select(func.count()).select_from(rounds).where(*mine)) or 0)


def players(c: Connection, tournament_id: str) -> int:
    """Return how many players started a round in a tournament."""
    query = select(func.count(rounds.c.player.distinct())).where(rounds.c.tournament_id == tournament_id)
    return int(c.scalar(query) or 0)


def first_answers(c: Connection, submission_ids: Sequence[str]) -> dict[str, FirstNamed]:
    """Return what the first answers named, of submissions that were held first."""
    held = (rounds.c.submission_id.in_(submission_ids), rounds.c.first_evidence.is_not(None))
    query = select(rounds.c.submission_id, rounds.c.first_evidence, rounds.c.first_level).where(*held)
    return {row[0]: FirstNamed(bytes(row[1]), row[2]) for row in c.execute(query)}


def _said(said: Said | None) -> dict[str, object]:
    return (
        {"said_valid": None, "said_score": None}
        if said is None
        else {"said_valid": said.valid, "said_score": said.score}
    )


def _round(row: Any) -> Round:
    values = {name: getattr(row, name) for name in _PLAIN}
    said = None if row.said_valid is None else Said(row.said_valid, row.said_score)
    return Round(**{**values, "state": State(row.state)}, said=said)
