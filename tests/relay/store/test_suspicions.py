"""The detectors on stored transfers: what they flag, once, whatever crashes, on both databases."""

from collections.abc import Iterator, Sequence
from contextlib import closing
from itertools import pairwise
from typing import Any

import pytest

from relay.economy.config import patched
from relay.store import economy_config, migrate, transfers_seen
from relay.store.controls import By
from relay.store.engine import Database, open_database
from relay.store.flags import FlagFilter, list_flags, raise_flags
from relay.store.suspicions import examine, executed
from relay.store.transfers_seen import Seen

MINUTE = 60_000


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    found = open_database(database_url)
    migrate.upgrade(found, "relay")
    with closing(found):
        yield found


class Economy:
    """One game's movements, as a ledger hands them over."""

    def __init__(self, database: Database, **settings: Any) -> None:
        self.database, self.sequence = database, 0
        if settings:
            with database.write() as c:
                economy_config.change(c, "g", lambda now: patched(now, settings), By("t", "t", 0))

    def seen(self, receiver: str, at_ms: int, sender: str | None = None, amount: int = 10) -> Seen:
        self.sequence += 1
        return Seen("g", "gold", self.sequence, f"txn_{self.sequence}", sender, receiver, amount, at_ms)

    def path(self, *players: str, at_ms: int = 0) -> list[Seen]:
        """a, b, c: a→b, b→c, a millisecond apart."""
        pairs = pairwise(players)
        return [self.seen(receiver, at_ms + number, sender) for number, (sender, receiver) in enumerate(pairs)]

    def execute(self, rows: Sequence[Seen]) -> None:
        with self.database.write() as c:
            configs = economy_config.in_force(c, ["g"])
            raise_flags(c, executed(c, rows, configs), rows[-1].at_ms)

    def examine(self, limit: int = 200) -> int:
        with self.database.write() as c:
            return examine(c, 1_000_000, limit)

    def flags(self) -> list[Any]:
        return list(self.database.read_now(lambda c: list_flags(c, FlagFilter(), 50, None)))

    def counted(self) -> dict[str, int]:
        return self.database.read_now(lambda c: transfers_seen.counted(c, "g"))


@pytest.mark.parametrize("together", [True, False])
def test_five_transfers_to_and_fro_are_one_warning_and_all_execute(database: Database, *, together: bool) -> None:
    game = Economy(database)
    rows = game.path("a", "b", "a", "b", "a", "b", at_ms=1)
    for part in [rows] if together else [[row] for row in rows]:
        game.execute(part)
    (flag,) = game.flags()
    assert (flag.code, flag.severity, flag.occurrences) == ("LAUNDERING_PAIR", "warning", 1)
    while game.examine():
        pass
    assert len(game.flags()) == 1
    assert game.counted() == {"pass": 5}


def test_the_sixth_is_another_occurrence_of_the_same_flag(database: Database) -> None:
    game = Economy(database)
    game.execute(game.path("a", "b", "a", "b", "a", "b", "a", at_ms=1))
    game.execute(game.path("a", "c", "a", "c", "a", "c", at_ms=10))
    assert sorted((flag.about, flag.occurrences) for flag in game.flags()) == [
        ('["a","b","gold"]', 2), ('["a","c","gold"]', 1),
    ]  # fmt: skip


def test_another_currency_or_another_minute_does_not_count(database: Database) -> None:
    game = Economy(database)
    game.execute(game.path("a", "b", "a", "b", "a", at_ms=1))
    game.execute([game.seen("b", 2, "a")._replace(currency_id="gems")])
    game.execute([game.seen("b", MINUTE + 1, "a")])
    assert game.flags() == []


def test_a_cycle_is_found_after_the_commit_and_once(database: Database) -> None:
    game = Economy(database)
    game.execute(game.path("u", "v", "x", "u", at_ms=1))
    assert game.flags() == []
    assert game.counted() == {"waiting": 3}
    assert [game.examine(limit=2), game.examine(limit=2), game.examine(limit=2)] == [2, 1, 0]
    (flag,) = game.flags()
    assert flag.reason == "Laundering cycle: u → v → x → u (3 transfers of gold in 10 min)"
    assert '"configVersion": 0' in flag.context
    assert game.counted() == {"pass": 2, "flag": 1}


def test_a_crash_before_the_end_leaves_all_of_it_to_be_looked_at(database: Database) -> None:
    game = Economy(database)
    game.execute(game.path("u", "v", "x", "u", at_ms=1))
    with database.engine.connect() as c:
        assert examine(c, 1_000) == 3
        c.rollback()
    assert (game.flags(), game.counted()) == ([], {"waiting": 3})
    game.examine()
    assert len(game.flags()) == 1


def test_replicas_share_what_waits(postgres_url: str) -> None:
    """What one replica looks at, the other passes over instead of waiting for it."""
    with closing(open_database(postgres_url)) as database:
        migrate.upgrade(database, "relay")
        game = Economy(database)
        game.execute(game.path("u", "v", "x", "u", at_ms=1))
        with database.write() as slow, database.write() as fast:
            assert examine(slow, 1_000, limit=1) == 1
            assert examine(fast, 1_000) == 2
            assert examine(fast, 1_000) == 0
        assert game.counted() == {"pass": 2, "flag": 1}


def test_grants_far_above_the_others(database: Database) -> None:
    """Twenty others with 100 each; the one with 1,001 is flagged, naming the newest of the grants."""
    game = Economy(database)
    game.execute([game.seen(f"p{number}", 1_000, amount=100) for number in range(20)])
    game.execute([game.seen("me", 1_001, amount=1_000), game.seen("me", 1_002, amount=1)])
    assert game.examine() == 22
    (flag,) = game.flags()
    assert (flag.code, flag.player_id, flag.subject_id, flag.occurrences) == ("GRANT_VELOCITY", "me", "txn_22", 1)
    assert game.counted() == {"insufficient_data": 20, "flag": 2}
    game.execute([game.seen("me", 1_001 + 60 * MINUTE, amount=5_000)])
    game.examine()
    assert game.flags()[0].occurrences == 1  # the others' grants are exactly an hour old: too few to compare with


def test_switched_off_nothing_is_looked_at(database: Database) -> None:
    game = Economy(database)
    game.execute(game.path("u", "v", "x", "u", at_ms=1))
    Economy(database, enabled=False)
    game.execute(game.path(*"abababab", at_ms=10))
    assert game.examine() == 3
    assert (game.flags(), game.counted()) == ([], {"off": 3})


def test_a_threshold_of_the_game(database: Database) -> None:
    game = Economy(database, launderingThreshold=2)
    game.execute(game.path("a", "b", "a"))
    (flag,) = game.flags()
    assert flag.reason == "Laundering suspected: b ↔ a (2 transfers of gold in 60 s)"
    assert '"configVersion": 1' in flag.context


def test_only_what_was_looked_at_is_forgotten(database: Database) -> None:
    game = Economy(database)
    game.execute([*game.path("a", "b", "c", at_ms=1), game.seen("d", 5_000)])
    with database.write() as c:
        assert transfers_seen.sweep(c, "g", 10_000) == 0
    game.examine()
    with database.write() as c:
        assert transfers_seen.sweep(c, "h", 10_000) == 0
        assert transfers_seen.sweep(c, "g", 5_000) == 2
    assert game.counted() == {"insufficient_data": 1}


def test_a_busy_neighbourhood_is_read_player_by_player(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same is found when the group's transfers are too many to be read at once."""
    monkeypatch.setattr(transfers_seen, "NEARBY_MAX", 1)
    game = Economy(database)
    game.execute([*game.path("u", "v", "x", "y", "u", at_ms=1), *game.path("k", "l", "k", at_ms=9)])
    game.examine()
    assert [flag.about for flag in game.flags()] == ['["u","v","x","y","gold"]']


def test_each_group_sees_only_what_came_before_each_transfer(database: Database) -> None:
    """Examined together, the first of a cycle does not see the last: only the closing transfer is flagged."""
    game = Economy(database)
    game.execute(game.path("u", "v", "x", "u", "v", at_ms=1))
    game.examine()
    assert [(flag.subject_id, flag.occurrences) for flag in game.flags()] == [("txn_4", 2)]
    assert game.counted() == {"pass": 2, "flag": 2}
