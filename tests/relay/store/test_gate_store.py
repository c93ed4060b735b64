"""The guard over groups: exact over replicas and restarts, refusals committed, on both databases."""

import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import pytest
from sqlalchemy import func, select

from relay.economy.config import DEFAULTS, EconomyConfig, patched, read
from relay.guard.gate import Attempt, Ruling
from relay.store import migrate
from relay.store.engine import Database, open_database
from relay.store.flags import FlagFilter, list_flags
from relay.store.gate import Gate, place_of, sweep_amounts
from relay.store.guard_tables import amount_windows
from relay.store.intake import intake_store
from relay.store.tables import limit_windows


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    with closing(opened(database_url)) as found:
        yield found


def opened(url: str) -> Database:
    found = open_database(url)
    migrate.upgrade(found, "relay")
    return found


def settings(**changes: Any) -> dict[str, EconomyConfig]:
    """The settings of game g."""
    return {"g": read(patched(DEFAULTS, changes), 1)}


def attempt(gold: int = 1, action: str = "grant", player: str = "alice") -> Attempt:
    return Attempt("g", action, player, {"gold": gold})


def group(database: Database, attempts: list[Attempt], configs: dict[str, EconomyConfig] | None = None) -> list[Ruling]:
    """Rule on attempts in one transaction; those admitted are executed."""
    rulings = []
    with database.write() as connection:
        gate = Gate(connection, intake_store(database), map(place_of, attempts), configs or settings())
        for one in attempts:
            ruling = gate.rule(one)
            if ruling.admit:
                gate.executed(one)
            rulings.append(ruling)
        gate.save()
    return rulings


def test_a_thousand_refusals_are_one_flag(database: Database) -> None:
    """And they are committed, although nothing was executed; a restart changes nothing."""
    assert all(ruling.admit for ruling in group(database, [attempt()] * 60))
    for _ in range(10):
        assert not any(ruling.admit for ruling in group(database, [attempt()] * 100))
    with closing(open_database(str(database.engine.url.render_as_string(hide_password=False)))) as restarted:
        (flag,) = restarted.read_now(lambda c: list_flags(c, FlagFilter(), 10, None))
        assert not group(restarted, [attempt()])[0].admit
    assert (flag.occurrences, flag.code, flag.player_id) == (1_000, "RATE_LIMITED", "alice")
    assert flag.reason == "Rate limit exceeded: grant (1060/60 per minute)"


@pytest.mark.parametrize("groups_of", [1, 3])
def test_two_replicas_under_sixteen_connections_admit_exactly_sixty(database_url: str, groups_of: int) -> None:
    """Hundreds of attempts at once, of one player: sixty pass, and each action counts by itself."""
    with closing(opened(database_url)) as first, closing(open_database(database_url)) as second:
        admitted: list[int] = []
        failures: list[BaseException] = []
        start = threading.Barrier(16)

        def client(database: Database) -> None:
            try:
                start.wait()
                for number in range(24 // groups_of):
                    other = attempt(action="craft", player=f"p{number}")
                    rulings = group(database, [attempt(), other] * groups_of)
                    admitted.append(sum(ruling.admit for ruling in rulings[::2]))
            except BaseException as error:  # noqa: BLE001 - shown by the test
                failures.append(error)

        threads = [threading.Thread(target=client, args=(one,)) for one in (first, second) * 8]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert failures == []
        assert sum(admitted) == 60


def test_two_replicas_let_no_more_than_the_amount_through(database_url: str) -> None:
    """Forty attempts to move 7 of 100 within a minute: fourteen pass."""
    with closing(opened(database_url)) as first, closing(open_database(database_url)) as second:
        configs = settings(amountPerWindow={"spend": 100}, rateLimits={"spend": 1_000})
        admitted: list[bool] = []

        def client(database: Database) -> None:
            for _ in range(5):
                admitted.extend(ruling.admit for ruling in group(database, [attempt(7, "spend")], configs))

        threads = [threading.Thread(target=client, args=(one,)) for one in (first, second) * 4]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert (len(admitted), sum(admitted)) == (40, 14)


def test_within_one_group_each_attempt_sees_those_before_it(database: Database) -> None:
    configs = settings(amountPerWindow={"spend": 100})
    rulings = group(database, [attempt(60, "spend"), attempt(60, "spend"), attempt(40, "spend")], configs)
    assert [ruling.admit for ruling in rulings] == [True, False, True]
    assert [ruling.refusal.code for ruling in rulings if ruling.refusal] == ["AMOUNT_WINDOW_EXCEEDED"]
    assert not group(database, [attempt(1, "spend")], configs)[0].admit


def test_a_group_that_is_rolled_back_consumed_nothing(database: Database) -> None:
    def lost() -> None:
        with database.write() as connection:
            gate = Gate(connection, intake_store(database), [place_of(attempt())], settings())
            assert all(gate.rule(attempt()).admit for _ in range(60))
            gate.save()
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        lost()
    assert all(ruling.admit for ruling in group(database, [attempt()] * 60))


def test_switched_off_nothing_is_locked_or_written(database: Database) -> None:
    assert all(ruling.admit for ruling in group(database, [attempt(10**9)] * 100, settings(enabled=False)))
    assert count(database, limit_windows) == 0


def test_amounts_that_left_every_window_are_forgotten(database: Database) -> None:
    configs = settings(amountPerWindow={"default": 100})
    group(database, [attempt(player="a"), attempt(player="b"), attempt(action="craft")], configs)
    assert count(database, amount_windows) == 3
    with database.write() as connection:
        assert sweep_amounts(connection, 1_000) == 0
        assert sweep_amounts(connection, database.now_ms(connection) + 1) == 3
    assert count(database, amount_windows) == 0


def count(database: Database, table: Any) -> int:
    job: Callable[[Any], Any] = lambda c: c.scalar(select(func.count()).select_from(table))  # noqa: E731
    return int(database.read_now(job))
