"""A process that says nothing more amid a transaction: PostgreSQL ends it, and its row locks with it."""

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from relay.store import engine, intake_postgres
from relay.store.engine import open_database, unavailable
from relay.store.metadata import metadata
from relay.store.outbox_tables import batches

ROWS = [
    {"game_id": "g", "rules_hash": bytes(32), "size": 1, "calldata": b"", "state": "open", "created_at_ms": 1}
    for _ in range(3)
]


@pytest.mark.parametrize("rows", [1, 3], ids=["one row", "several rows"])
def test_locks_do_not_outlive_their_holder(postgres_url: str, rows: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the last statement was: also one of several rows, where psycopg's pipeline would hide the silence."""
    other = open_database(postgres_url)
    metadata.create_all(other.engine)
    with other.write() as c:
        c.execute(batches.insert(), ROWS[:1])
    monkeypatch.setattr(engine, "POSTGRESQL_IDLE_MS", 1000)  # of the one that stops only: a busy machine pauses anybody
    stopped = open_database(postgres_url)
    with pytest.raises(DBAPIError) as ended, stopped.write() as c:  # noqa: PT012 - the end of the block is what raises
        c.execute(text("SELECT id FROM batches FOR UPDATE"))
        c.execute(batches.insert(), ROWS[:rows])
        with other.write() as beside:  # waits for as long as the one that is as if stopped holds its locks
            beside.execute(text("SET LOCAL lock_timeout = '60s'"))
            assert beside.execute(text("UPDATE batches SET size = 7")).rowcount == 1, "only what was committed"
        c.execute(text("UPDATE batches SET size = 8"))
    assert unavailable(ended.value)
    assert other.read_now(lambda c: c.execute(text("SELECT size FROM batches")).scalars().all()) == [7]
    stopped.close()
    other.close()


def test_an_intake_that_stops_between_its_locks_and_its_rows(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The locks of a group of submissions are taken in a pipeline: the server limits that transaction as a whole."""
    monkeypatch.setattr(intake_postgres, "LIMIT", "SET LOCAL transaction_timeout = 1000")
    stopped, other = open_database(postgres_url), open_database(postgres_url)
    metadata.create_all(other.engine)
    store = intake_postgres.PostgresIntakeStore()
    with pytest.raises(DBAPIError) as ended, stopped.write() as c:  # noqa: PT012 - the end of the block is what raises
        store.lock_windows(c, "g", "submit", [b"player"])
        with other.write() as beside:  # waits for as long as the one that is as if stopped holds its locks
            beside.execute(text("SET LOCAL lock_timeout = '60s'"))
            assert set(store.lock_windows(beside, "g", "submit", [b"player"])) == {b"player"}
        c.execute(text("SELECT 1"))
    assert unavailable(ended.value)
    stopped.close()
    other.close()
