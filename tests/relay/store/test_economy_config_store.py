"""Versions of settings: none lost, none skipped, each recorded, on both databases."""

import threading
from collections.abc import Iterator
from contextlib import closing
from functools import partial

import pytest
from sqlalchemy import select

from relay.economy.config import DEFAULTS, patched, replaced
from relay.errors import PayloadError
from relay.store import economy_config, migrate
from relay.store.control_tables import operator_actions
from relay.store.controls import By
from relay.store.engine import Database, open_database

BY = By("key_1", "a tournament", 1_000)


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    found = open_database(database_url)
    migrate.upgrade(found, "relay")
    with closing(found):
        yield found


def test_a_game_that_set_none_has_the_defaults(database: Database) -> None:
    row = database.read_now(lambda c: economy_config.current(c, "g"))
    assert (row.version, row.document, row.config.version) == (0, DEFAULTS, 0)
    assert database.read_now(lambda c: economy_config.history(c, "g", 10)) == []


def test_every_change_is_a_version_and_is_recorded(database: Database) -> None:
    with database.write() as c:
        first, new = economy_config.change(c, "g", lambda now: patched(now, {"rateLimits": {"grant": 5}}), BY)
        assert (first.version, new) == (1, True)
        again, new = economy_config.change(c, "g", lambda now: patched(now, {"rateLimits": {"grant": 5}}), BY)
        assert (again.version, new) == (1, False)
        second, _ = economy_config.change(c, "g", lambda _: replaced({"enabled": False}), BY._replace(at_ms=2_000))
        economy_config.change(c, "h", lambda now: patched(now, {"velocityMultiplier": 3}), BY)
    rows = database.read_now(lambda c: economy_config.history(c, "g", 10))
    assert rows == [second, first]
    assert database.read_now(lambda c: economy_config.history(c, "g", 10, before=2)) == [first]
    assert database.read_now(lambda c: economy_config.current(c, "g")) == second
    found = database.read_now(lambda c: economy_config.in_force(c, ["g", "h", "i"]))
    assert {game_id: one.version for game_id, one in found.items()} == {"g": 2, "h": 1, "i": 0}
    assert (found["g"].enabled, found["h"].velocity_multiplier, found["i"].enabled) == (False, 3, True)
    acted = select(operator_actions.c.action, operator_actions.c.subject, operator_actions.c.actor)
    assert {tuple(row) for row in database.read_now(lambda c: c.execute(acted).all())} == {
        ("economy.config", "g@1", "key_1"), ("economy.config", "g@2", "key_1"), ("economy.config", "h@1", "key_1"),
    }  # fmt: skip


def test_a_refused_change_changes_nothing(database: Database) -> None:
    with pytest.raises(PayloadError), database.write() as c:
        economy_config.change(c, "g", lambda now: patched(now, {"enabled": "no"}), BY)
    assert database.read_now(lambda c: economy_config.current(c, "g")).version == 0


def test_patches_at_the_same_moment_all_hold(database_url: str) -> None:
    """Two replicas, eight patches of different fields each: sixteen versions, and the last has all of them."""
    with closing(open_database(database_url)) as first, closing(open_database(database_url)) as second:
        migrate.upgrade(first, "relay")
        actions = ("grant", "spend", "transfer", "purchase", "craft", "loot_roll", "marketplace_buy", "default")
        failures: list[BaseException] = []

        def client(database: Database, setting: str) -> None:
            try:
                for action in actions:
                    patch = {setting: {action: 77}}
                    with database.write() as c:
                        economy_config.change(c, "g", partial(patched, patch=patch), BY)
            except BaseException as error:  # noqa: BLE001 - shown by the test
                failures.append(error)

        pairs = ((first, "rateLimits"), (second, "amountPerWindow"))
        threads = [threading.Thread(target=client, args=pair) for pair in pairs]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert failures == []
        row = first.read_now(lambda c: economy_config.current(c, "g"))
        assert row.version == 16
        assert row.document["amountPerWindow"] == dict.fromkeys(actions, 77)
        assert row.document["rateLimits"] == {**dict.fromkeys(actions, 77), "marketplace_list": 5}
