"""What doubt reads and writes: the scores to look at, the doubts on record, how far it came, the flags.

Touches the database on the connection it is given. Flags go into the one table that relay and indexer share.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec
from sqlalchemy import Connection, Select, delete, func, insert, inspect, select, update

from indexer.doubt import ACTION, Change, Doubt, Event, FlagNews, Standing, Stretch, flag_of, out_of_range
from indexer.fold import Fold
from indexer.messages import Entry, FlagMessage, FlagSubject
from indexer.state import Game, Outcome, State
from indexer.store import bulk
from indexer.store.commit import SupersededError, guard, write_messages
from indexer.store.doubt_tables import attestors, doubt, doubts, proofs
from indexer.store.ledger import SqlLedger
from indexer.store.stream import append_flag
from indexer.store.tables import batches, oversized, scores
from relay.store.flags import Resolution, newest_flag, open_flag, raise_flags, resolve

BY = "indexer"  # who closes flags by itself
ABSENT = -1  # the place before all
ROW = 1


def known_attestors(connection: Connection) -> frozenset[bytes]:
    """Return the keys that relays of this database sign, or signed, with."""
    return frozenset(bytes(address) for address in connection.scalars(select(attestors.c.address)))


def remember_attestors(connection: Connection, addresses: Iterable[bytes], now_ms: int) -> None:
    """Note keys that relays of this database sign with."""
    for address in sorted(set(addresses) - known_attestors(connection)):
        connection.execute(insert(attestors).values(address=address, since_ms=now_ms))


# ------------------------------------------------------------------------------- reading


def stretch(connection: Connection, games: Mapping[int, Game], limit: int, now_ms: int) -> Stretch:
    """Return the next scores that were not compared yet."""
    row = connection.execute(select(doubt.c.place, doubt.c.unwound)).first()
    after, unwound = (ABSENT, 0) if row is None else (row.place, row.unwound)
    query = _events(scores.c.place > after, scores.c.game.in_(list(games)))
    rows = connection.execute(query.order_by(scores.c.place).limit(limit)).all()
    events = _with_first(connection, rows, games)
    ends = oversized.c.place <= events[-1].place if len(events) == limit else oversized.c.place > after
    columns = [oversized.c[name] for name in ("place", "game", "round_id", "player", "score", "evidence_hash")]
    large = connection.execute(select(*columns, oversized.c.tx_hash).where(oversized.c.place > after, ends)).all()
    beyond = [_oversized(found, games[found.game]) for found in large if found.game in games]
    to = max((event.place for event in (*events, *beyond)), default=after)
    return Stretch(unwound, after, to, now_ms, events, beyond)


def on_record(
    connection: Connection, games: Mapping[int, Game], limit: int, before_ms: int
) -> list[tuple[Event, Standing]]:
    """Return the doubts on record that were not looked at since `before_ms`, the longest neglected first."""
    query = select(doubts).where(doubts.c.looked_ms < before_ms).order_by(doubts.c.looked_ms, doubts.c.place)
    known = {
        row.place: Standing(row.code, bool(row.disputed), row.since_ms)
        for row in connection.execute(query.limit(limit))
    }
    if not known:
        return []
    rows = connection.execute(
        _events(scores.c.place.in_(list(known)), scores.c.game.in_(list(games))).order_by(scores.c.place)
    ).all()
    return [(event, known[event.place]) for event in _with_first(connection, rows, games)]


def counts(connection: Connection) -> tuple[int, int]:
    """Return how many scores wait for their evidence, and how many are disputed."""
    rows = connection.execute(select(doubts.c.disputed, func.count()).group_by(doubts.c.disputed)).all()
    found = {int(disputed): int(number) for disputed, number in rows}
    return found.get(0, 0), found.get(1, 0)


def _events(*conditions: Any) -> Select[Any]:
    closing = select(batches.c.signer).where(batches.c.game == scores.c.game, batches.c.place > scores.c.place)
    signer = closing.order_by(batches.c.place).limit(1).correlate(scores).scalar_subquery()
    names = ("place", "game", "round_id", "player", "score", "evidence_hash", "rules_hash", "tx_hash")
    return select(*(scores.c[name] for name in names), signer.label("signer")).where(*conditions)


def _with_first(connection: Connection, rows: Sequence[Any], games: Mapping[int, Game]) -> list[Event]:
    """Return the events of some scores, each with the place of the first score that named its evidence."""
    marks = [mark_of(row.evidence_hash) for row in rows]
    held = select(scores.c.evidence_hash, scores.c.place).join(proofs, proofs.c.place == scores.c.place)
    first = {bytes(known): place for known, place in connection.execute(held.where(proofs.c.mark.in_(marks)))}
    events = []
    for row in rows:
        at = first.get(row.evidence_hash)
        at = first[row.evidence_hash] = row.place if at is None or at > row.place else at
        game = games[row.game]
        events.append(Event._make((*row, at, game.key, game.game_id)))
    return events


def _oversized(row: Any, game: Game) -> Event:
    round_id, score, player, evidence = int(row.round_id), int(row.score), row.player, row.evidence_hash
    return Event(
        row.place, row.game, round_id, player, score, evidence, b"", row.tx_hash, b"", row.place, game.key, game.game_id
    )


def mark_of(evidence_hash: bytes) -> int:
    """Return the first eight bytes of a hash as a BIGINT."""
    return int.from_bytes(evidence_hash[:8], "big", signed=True)


# ------------------------------------------------------------------------------- writing


def advance(connection: Connection, looked: Stretch) -> None:
    """Note that a stretch was looked at.

    Raises:
        SupersededError: the chain went back meanwhile, or another process looked at it.
    """
    values = {"place": looked.to, "unwound": looked.unwound}
    same = (doubt.c.place == looked.after, doubt.c.unwound == looked.unwound)
    if not connection.execute(update(doubt).where(*same).values(**values)).rowcount:
        if looked.after != ABSENT or looked.unwound or connection.scalar(select(doubt.c.id)) is not None:
            raise SupersededError
        connection.execute(insert(doubt).values(id=ROW, **values))
    bulk.upsert_proofs(connection, [(mark_of(e.evidence_hash), e.place) for e in looked.events if e.first == e.place])


def settle(
    connection: Connection,
    state: State,
    looked: Stretch | None,
    changes: Sequence[Change],
    *,
    names: dict[bytes, str],
    now_ms: int,
) -> tuple[Outcome, list[FlagNews]]:
    """Write what a look changed: doubts, disputed scores, flags, what readers are told.

    Raises:
        SupersededError: the database is not where `state` is, or `looked` is out of date.
    """
    guard(connection, state)
    if looked is not None:
        advance(connection, looked)
    fold = Fold(state, SqlLedger(connection), names=names, quiet=False, evidence={})
    here = SqlLedger(connection).entries_at([change.event.place for change in changes])
    kept = [change for change in changes if _still(here.get(change.event.place), change.event)]
    for change in kept:
        _record(connection, change, now_ms)
        disputed = change.now is not None and change.now.disputed
        entry = here[change.event.place]
        if bool(entry.disputed) != disputed:
            here[change.event.place] = entry = entry._replace(disputed=int(disputed))
            connection.execute(update(scores).where(scores.c.place == entry.place).values(disputed=int(disputed)))
            fold.learned(entry)
    beyond = [(event, out_of_range(event)) for event in looked.oversized] if looked else []
    news = _flags(connection, kept, beyond, now_ms)
    outcome = Outcome(
        state.tip, state.tip_time_s, state.final_block, state.verified, state.epoch,
        fold.games, [], {}, [], fold.seqs(), fold.messages(), state.recent, None,
    )  # fmt: skip
    write_messages(connection, outcome, now_ms)
    return outcome, news


def _still(entry: Entry | None, event: Event) -> bool:
    return entry is not None and entry.evidence_hash == event.evidence_hash  # else reorganised away since


def _record(connection: Connection, change: Change, now_ms: int) -> None:
    event, now = change.event, change.now
    chosen = doubts.c.place == event.place
    if now is None:
        connection.execute(delete(doubts).where(chosen))
        return
    values = {"code": now.code, "disputed": int(now.disputed), "since_ms": now.since_ms, "looked_ms": now_ms}
    if not connection.execute(update(doubts).where(chosen).values(**values)).rowcount:
        connection.execute(insert(doubts).values(place=event.place, game=event.game, player=event.player, **values))


# --------------------------------------------------------------------------------- flags


def _flags(
    connection: Connection, changes: Sequence[Change], beyond: Sequence[tuple[Event, Doubt]], now_ms: int
) -> list[FlagNews]:
    """Open flags for scores that are disputed now, close those that no disputed score stands behind any more."""
    if not inspect(connection).has_table("audit_flags"):
        return []  # an indexer without the shared tables: the doubts themselves are on record
    raised = [*beyond, *((change.event, change.doubt) for change in changes if change.doubt and _opens(change))]
    raise_flags(connection, [flag_of(event, found) for event, found in raised], now_ms)
    cleared = [change for change in changes if change.was and change.was.disputed and change.now != change.was]
    for change in cleared:
        _close(connection, change, now_ms)
    told = {(event.game, event.game_id, event.player, found.code) for event, found in raised}
    told |= {(c.event.game, c.event.game_id, c.event.player, c.was.code) for c in cleared if c.was}
    return [news for key in sorted(told) if (news := _news(connection, *key, now_ms)) is not None]


def _opens(change: Change) -> bool:
    was, now = change.was, change.now
    return now is not None and now.disputed and (was is None or not was.disputed or was.code != now.code)


def _close(connection: Connection, change: Change, now_ms: int) -> None:
    """Close the flag of a doubt that is no more, unless another score of the player stands behind it."""
    event, was = change.event, change.was
    if was is None:
        return
    mine = (doubts.c.game == event.game, doubts.c.player == event.player, doubts.c.code == was.code)
    if connection.scalar(select(doubts.c.place).where(*mine, doubts.c.disputed == 1).limit(1)) is not None:
        return
    flag = open_flag(connection, event.game_id, "0x" + event.player.hex(), ACTION, was.code)
    if flag is not None:
        note = "The evidence turned up, and the score is what it says." if change.now is None else "Known better now."
        resolve(connection, flag.id, Resolution("dismissed", BY, note), now_ms)


def _news(connection: Connection, game: int, game_id: str, player: bytes, code: str, now_ms: int) -> FlagNews | None:
    flag = newest_flag(connection, game_id, "0x" + player.hex(), ACTION, code)
    if flag is None:
        return None
    message = FlagMessage(
        id=flag.id, game_id=game_id, severity=flag.severity, code=code, reason=flag.reason, player_id=flag.player_id,
        subject=FlagSubject(flag.subject_type, flag.subject_id), occurrences=flag.occurrences, status=flag.status,
    )  # fmt: skip
    body = msgspec.json.encode(message)
    return FlagNews(game, append_flag(connection, game, body, now_ms), body)
