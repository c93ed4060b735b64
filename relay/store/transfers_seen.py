"""What the detectors look at: executed transfers and grants of the last hour, and how far they have looked.

The only SQL on `transfers_seen`. Rows are written in the transaction that executes them, and carry the verdict of the
detectors that run after the commit: one without is waiting, so that no crash lets one slip through.
"""

import json
from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Connection, Select, delete, func, select, text, tuple_, update

from relay.guard.laundering import CYCLE_MS, PAIR_MS, Transfer
from relay.store.bulk import Rows
from relay.store.guard_tables import transfers_seen
from relay.store.pg_arrays import texts

SWEEP_ROWS = 5_000
NEARBY_MAX = 20_000
KEPT_MS = 2 * 3_600_000  # the widest window is an hour


class Seen(NamedTuple):
    """One executed movement of a currency. `sender` is None for a grant. `sequence`: of the game's ledger."""

    game_id: str
    currency_id: str
    sequence: int
    transaction_id: str
    sender: str | None
    receiver: str
    amount: int
    at_ms: int

    @property
    def transfer(self) -> Transfer:
        """It as a transfer between two players; a grant is none."""
        sender = self.sender or ""
        return Transfer(self.sequence, self.transaction_id, sender, self.receiver, self.amount, self.at_ms)


_S = transfers_seen.c
_TRANSFER = (_S.sequence, _S.transaction_id, _S.sender, _S.receiver, _S.amount, _S.at_ms)
_ROWS = Rows(transfers_seen, *Seen._fields)
_COLUMNS = "s.sequence, s.transaction_id, s.sender, s.receiver, s.amount, s.at_ms"
_LATER = "s.game_id = :game_id AND s.currency_id = :currency_id AND s.at_ms > :since_ms"
_BETWEEN = {
    # OFFSET 0 keeps PostgreSQL from turning it around: from reading every transfer of the minute.
    "postgresql": text(
        "SELECT found.* FROM unnest(:senders, :receivers) AS k (sender, receiver) "  # noqa: S608 - columns are ours
        f"CROSS JOIN LATERAL (SELECT {_COLUMNS} FROM transfers_seen s WHERE {_LATER} "
        "AND s.sender = k.sender AND s.receiver = k.receiver OFFSET 0) AS found"
    ),
    "sqlite": text(
        f"SELECT {_COLUMNS} FROM json_each(:pairs) k CROSS JOIN transfers_seen s "  # noqa: S608 - columns are ours
        f"ON {_LATER} AND s.sender = k.value ->> 0 AND s.receiver = k.value ->> 1"
    ),
}


def record(c: Connection, rows: Sequence[Seen]) -> None:
    """Write down what was executed; the detectors that run after the commit will look at it."""
    _ROWS.insert(c, rows)


def between(
    c: Connection, game_id: str, currency_id: str, pairs: Collection[tuple[str, str]], since_ms: int
) -> list[Transfer]:
    """Return the transfers later than `since_ms` from the first to the second of any pair, in the order of the ledger.

    Looked up by sender: who sends much has a limit.
    """
    given: dict[str, Any] = {"game_id": game_id, "currency_id": currency_id, "since_ms": since_ms}
    if c.dialect.name == "postgresql":
        senders, receivers = zip(*pairs, strict=True)
        given |= {"senders": texts(senders), "receivers": texts(receivers)}
    else:
        given["pairs"] = json.dumps(list(pairs))
    return sorted(Transfer._make(row) for row in c.execute(_BETWEEN[c.dialect.name], given))


class TransferGraph:
    """Who transferred to whom, of one game and currency, as `relay.guard.laundering.search` asks for it."""

    def __init__(self, c: Connection, game_id: str, currency_id: str) -> None:
        self._c, self._game_id, self._currency_id = c, game_id, currency_id

    def leaving(self, senders: Sequence[str], since_ms: int, before: int, limit: int) -> Sequence[Transfer]:
        """Return at most `limit` transfers by `senders`, newest first."""
        return self._read(_S.sender.in_(senders), since_ms, before, limit)

    def arriving(self, receivers: Sequence[str], since_ms: int, before: int, limit: int) -> Sequence[Transfer]:
        """Return at most `limit` transfers to `receivers`, newest first."""
        return self._read(_S.receiver.in_(receivers) & _S.sender.is_not(None), since_ms, before, limit)

    def _read(self, whose: ColumnElement[bool], since_ms: int, before: int, limit: int) -> Sequence[Transfer]:
        query = _later(self._game_id, self._currency_id, since_ms).where(whose, _S.sequence < before)
        return _transfers(self._c, query.order_by(_S.at_ms.desc(), _S.sequence.desc()).limit(limit))


class NearbyGraph(TransferGraph):
    """The same for a group of transfers, each of which asks first about its own two: read for all of them at once."""

    def __init__(self, c: Connection, game_id: str, currency_id: str, group: Sequence[Transfer]) -> None:
        super().__init__(c, game_id, currency_id)
        since_ms, before = min(one.at_ms for one in group) - CYCLE_MS, max(one.sequence for one in group)
        senders, receivers = sorted({one.sender for one in group}), sorted({one.receiver for one in group})
        out = super().leaving(receivers, since_ms, before, NEARBY_MAX)
        into = super().arriving(senders, since_ms, before, NEARBY_MAX)
        self._out: dict[str, list[Transfer]] = {}
        self._into: dict[str, list[Transfer]] = {}
        # Where there is more than that, somebody is very busy: then each is asked for by itself, and bounded by itself.
        if len(out) < NEARBY_MAX:
            self._out = {player: [] for player in receivers}
            for one in out:
                self._out[one.sender].append(one)
        if len(into) < NEARBY_MAX:
            self._into = {player: [] for player in senders}
            for one in into:
                self._into[one.receiver].append(one)

    def leaving(self, senders: Sequence[str], since_ms: int, before: int, limit: int) -> Sequence[Transfer]:
        """Return at most `limit` transfers by `senders`, newest first."""
        if all(player in self._out for player in senders):
            return _newest(self._out, senders, since_ms, before)[:limit]
        return super().leaving(senders, since_ms, before, limit)

    def arriving(self, receivers: Sequence[str], since_ms: int, before: int, limit: int) -> Sequence[Transfer]:
        """Return at most `limit` transfers to `receivers`, newest first."""
        if all(player in self._into for player in receivers):
            return _newest(self._into, receivers, since_ms, before)[:limit]
        return super().arriving(receivers, since_ms, before, limit)


def grant_sums(c: Connection, game_id: str, currency_id: str, since_ms: int, until_ms: int) -> dict[str, int]:
    """Return what each player was granted of the currency in (since, until], for those who were granted any."""
    conditions = (_S.game_id == game_id, _S.currency_id == currency_id, _S.sender.is_(None))
    query = select(_S.receiver, func.sum(_S.amount)).where(*conditions, _S.at_ms > since_ms, _S.at_ms <= until_ms)
    return {player: int(total) for player, total in c.execute(query.group_by(_S.receiver))}


def waiting(c: Connection, limit: int) -> list[Seen]:
    """Return the first that no detector has looked at, and keep them from other replicas until the commit."""
    columns = [transfers_seen.c[name] for name in Seen._fields]
    query = select(*columns).where(_S.verdict.is_(None)).order_by(_S.game_id, _S.sequence).limit(limit)
    return [Seen._make(row) for row in c.execute(query.with_for_update(skip_locked=True))]


def any_waiting(c: Connection) -> bool:
    """Return whether there is one that no detector has looked at. Locks nothing."""
    return c.execute(select(_S.sequence).where(_S.verdict.is_(None)).limit(1)).first() is not None


def conclude(c: Connection, verdicts: Mapping[str, Collection[Seen]]) -> None:
    """Write down the detectors' verdict (pass, flag, insufficient_data, off) on each."""
    for verdict, rows in sorted(verdicts.items()):
        keys = [(row.game_id, row.sequence) for row in rows]
        if keys:
            c.execute(update(transfers_seen).where(tuple_(_S.game_id, _S.sequence).in_(keys)).values(verdict=verdict))


def counted(c: Connection, game_id: str) -> dict[str, int]:
    """Return how many are remembered by verdict; those not looked at yet are `waiting`."""
    query = select(_S.verdict, func.count()).where(_S.game_id == game_id).group_by(_S.verdict)
    return {verdict or "waiting": times for verdict, times in c.execute(query)}


def sweep(c: Connection, game_id: str, before_ms: int) -> int:
    """Forget at most 5,000 of a game's oldest, executed before `before_ms` and looked at; returns how many."""
    looked_at = (_S.game_id == game_id, _S.verdict.is_not(None))
    oldest = select(_S.sequence).where(*looked_at).order_by(_S.sequence).limit(SWEEP_ROWS)
    gone = (_S.game_id == game_id, _S.sequence.in_(oldest), _S.verdict.is_not(None), _S.at_ms < before_ms)
    return c.execute(delete(transfers_seen).where(*gone)).rowcount


def pair_window(rows: Sequence[Seen]) -> int:
    """Return since when transfers matter to the pairs of `rows` (epoch ms)."""
    return min(row.at_ms for row in rows) - PAIR_MS


def _later(game_id: str, currency_id: str, since_ms: int) -> Select[Any]:
    return select(*_TRANSFER).where(_S.game_id == game_id, _S.currency_id == currency_id, _S.at_ms > since_ms)


def _newest(
    known: Mapping[str, Sequence[Transfer]], players: Sequence[str], since_ms: int, before: int
) -> list[Transfer]:
    inside = [one for who in players for one in known[who] if one.at_ms > since_ms and one.sequence < before]
    return sorted(inside, key=lambda one: (one.at_ms, one.sequence), reverse=True)


def _transfers(c: Connection, query: Select[Any]) -> list[Transfer]:
    return [Transfer._make(row) for row in c.execute(query)]
