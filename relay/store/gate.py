"""The economy's guard over a group of operations: windows locked, ruled on in order, written back with the flags.

The only SQL on `amount_windows`; `limit_windows` through the intake's store. Exact over replicas: a player's windows of
an action are locked before the clock is read, and until the commit. One group of a writer is one gate:

    gate = Gate(connection, intake_store(database), places, economy_config.in_force(connection, games))
    for attempt in attempts:
        ruling = gate.rule(attempt)              # refused: answer ruling.refusal (429 and Retry-After, or 422)
        ...                                      # execute; then, if it took effect:
        gate.executed(attempt)
    gate.save()                                  # before the commit, refusals and all

Lock order: idempotency keys, then this, then the ledger's heads, so that no two groups wait for each other in a circle.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from sqlalchemy import Connection, delete, select
from sqlalchemy.dialects import postgresql, sqlite

from relay.economy.config import EconomyConfig
from relay.guard import amounts, gate, limits
from relay.guard.amounts import Moved
from relay.guard.flags import Flag
from relay.guard.gate import Attempt, Ruling
from relay.guard.limits import Window
from relay.store.flags import raise_flags
from relay.store.guard_tables import amount_windows
from relay.store.intake_rows import IntakeStore, WindowRow

SWEEP_ROWS = 5_000


class Place(NamedTuple):
    """Whose windows: a player's, of one action in one game."""

    game_id: str
    action: str
    player: str


class Gate:
    """The guard of one group of operations, in one transaction. `now_ms`: the database's clock under the locks."""

    def __init__(
        self, c: Connection, store: IntakeStore, places: Iterable[Place], configs: Mapping[str, EconomyConfig]
    ) -> None:
        self._c, self._store, self._configs = c, store, configs
        self._flags: list[Flag] = []
        self._rates: dict[Place, Window] = {}
        self._moved: dict[Place, dict[str, Moved]] = {}
        self._touched: set[tuple[Place, str]] = set()
        wanted: dict[tuple[str, str], set[str]] = {}
        for game_id, action, player in places:
            if configs[game_id].enabled:
                wanted.setdefault((game_id, action), set()).add(player)
        for (game_id, action), players in sorted(wanted.items()):
            self._lock(game_id, action, players)
        self.now_ms = store.now_ms(c)

    def rule(self, attempt: Attempt) -> Ruling:
        """Rule on an attempt at one of the places, in the order in which they are to count."""
        place = place_of(attempt)
        rate, moved = self._rates.get(place) or limits.empty(), self._moved_at(place, attempt)
        ruling = gate.rule(attempt, self._configs[attempt.game_id], rate, moved, self.now_ms)
        self._flags += ruling.flags
        return ruling

    def executed(self, attempt: Attempt) -> None:
        """Count what an admitted attempt moved."""
        place, config = place_of(attempt), self._configs[attempt.game_id]
        gate.executed(attempt, config, self._moved_at(place, attempt), self.now_ms)
        if config.enabled and config.amount_limit(attempt.action) is not None:
            self._touched |= {(place, currency_id) for currency_id in attempt.amounts}

    def flag(self, flags: Sequence[Flag]) -> None:
        """Raise these, too: what the detectors found about the operations that executed."""
        self._flags += flags

    def save(self) -> None:
        """Write windows and flags."""
        groups: dict[tuple[str, str], list[WindowRow]] = {}
        for (game_id, action, player), (admitted, refused) in self._rates.items():
            row = WindowRow(player.encode(), admitted.tobytes(), refused.tobytes())
            groups.setdefault((game_id, action), []).append(row)
        for (game_id, action), rows in sorted(groups.items()):
            self._store.save_windows(self._c, game_id, action, rows, self.now_ms)
        if self._touched:
            self._save_amounts()
        raise_flags(self._c, self._flags, self.now_ms)

    def _moved_at(self, place: Place, attempt: Attempt) -> dict[str, Moved]:
        if self._configs[attempt.game_id].amount_limit(attempt.action) is None:
            return {}  # nothing of it is looked at
        moved = self._moved.setdefault(place, {})
        for currency_id in attempt.amounts:
            moved.setdefault(currency_id, amounts.empty())
        return moved

    def _lock(self, game_id: str, action: str, players: Iterable[str]) -> None:
        subjects = sorted(player.encode() for player in players)
        for subject, row in self._store.lock_windows(self._c, game_id, action, subjects).items():
            self._rates[Place(game_id, action, subject.decode())] = limits.unpack(row.admitted, row.refused)
        if self._configs[game_id].amount_limit(action) is None:
            return
        a = amount_windows.c
        columns = (a.subject, a.currency_id, a.at_ms, a.amounts)
        query = select(*columns).where(a.game_id == game_id, a.action == action, a.subject.in_(subjects))
        for subject, currency_id, at_ms, moved in self._c.execute(query):
            place = Place(game_id, action, bytes(subject).decode())
            self._moved.setdefault(place, {})[currency_id] = amounts.unpack(bytes(at_ms), bytes(moved))

    def _save_amounts(self) -> None:
        rows = []
        for place, currency_id in sorted(self._touched):
            at_ms, moved = self._moved[place][currency_id]
            key = {"game_id": place.game_id, "action": place.action, "subject": place.player.encode()}
            values = {"at_ms": at_ms.tobytes(), "amounts": moved.tobytes(), "updated_at_ms": self.now_ms}
            rows.append({**key, "currency_id": currency_id, **values})
        self._c.execute(_upsert(self._c), rows)


def sweep_amounts(c: Connection, before_ms: int) -> int:
    """Forget at most 5,000 windows in which nothing moved since `before_ms`; returns how many."""
    a = amount_windows.c
    key = (a.game_id, a.action, a.subject, a.currency_id)
    old = select(*key).where(a.updated_at_ms < before_ms).order_by(a.updated_at_ms).limit(SWEEP_ROWS)
    gone = c.execute(old).all()
    for one in gone:
        same = [column == value for column, value in zip(key, one, strict=True)]
        c.execute(delete(amount_windows).where(*same, a.updated_at_ms < before_ms))
    return len(gone)


def place_of(attempt: Attempt) -> Place:
    """Return whose windows an attempt counts in."""
    return Place(attempt.game_id, attempt.action, attempt.player)


def _upsert(c: Connection) -> Any:
    insert = postgresql.insert if c.dialect.name == "postgresql" else sqlite.insert
    statement = insert(amount_windows)
    written = {name: statement.excluded[name] for name in ("at_ms", "amounts", "updated_at_ms")}
    return statement.on_conflict_do_update(index_elements=list(amount_windows.primary_key), set_=written)
