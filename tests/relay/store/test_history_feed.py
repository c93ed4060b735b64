"""History as a feed skips nothing, however transactions interleave."""

import random
import threading
import time
from collections.abc import Iterator
from contextlib import closing

import pytest
from sqlalchemy import delete, text

from relay.store.engine import Database
from relay.store.history_feed import Settled, advance, events, first_since
from relay.store.tables import history
from tests.harness.histories import AT_MS, add_history, add_submission, opened, tell

Rows = list[int]


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    with closing(opened(database_url)) as found:
        yield found


@pytest.fixture
def postgres(postgres_url: str) -> Iterator[Database]:
    with closing(opened(postgres_url)) as found:
        yield found


class Reader:
    """Reads as a deliverer does: never beyond what is settled, never behind what it has read."""

    def __init__(self, database: Database) -> None:
        self.database, self.known, self.at = database, Settled(), 0
        self.seen: Rows = []

    def read(self) -> Rows:
        """Return what is new and settled."""
        known = self.known
        self.known = self.database.read_now(lambda c: advance(c, known))
        found = self.database.read_now(lambda c: events(c, self.at, self.known.seq))
        self.at = self.known.seq
        self.seen += [event.seq for event in found]
        return [event.seq for event in found]


def test_what_is_committed_is_read_in_order(database: Database) -> None:
    reader = Reader(database)
    assert reader.read() == []
    first = tell(database, "sub_a", "accepted", "queued")
    second = tell(database, "sub_b", "accepted")
    assert reader.read() == first + second
    assert reader.read() == []
    assert reader.read() + tell(database, "sub_a", "sent") == reader.read()


def test_a_transaction_that_took_a_number_earlier_and_commits_later_is_not_skipped(postgres: Database) -> None:
    """The trap: 1 is taken, 2 is taken and committed; whoever reads 2 and remembers "up to 2" never tells of 1."""
    tell(postgres, "sub_a", "accepted")
    tell(postgres, "sub_b", "accepted")
    reader = Reader(postgres)
    start = reader.read()
    with postgres.engine.connect() as slow, postgres.engine.connect() as fast:
        with slow.begin() as late:
            one = add_history(slow, "sub_a", "sent")
            with fast.begin():
                two = add_history(fast, "sub_b", "sent")
            assert (two, reader.read()) == (one + 1, [])  # 2 is visible, and not told yet
            with fast.begin():
                three = add_history(fast, "sub_b", "included")
            assert reader.read() == []
            late.commit()
        assert reader.read() == [one, two, three]
    assert reader.seen == [*start, one, two, three]


def test_a_transaction_that_is_rolled_back_holds_nothing_up(postgres: Database) -> None:
    tell(postgres, "sub_a", "accepted")
    reader = Reader(postgres)
    reader.read()
    with postgres.engine.connect() as slow:
        with slow.begin() as undone:
            add_history(slow, "sub_a", "sent")
            (kept,) = tell(postgres, "sub_a", "included")
            assert reader.read() == []
            undone.rollback()
        assert reader.read() == [kept]


def test_others_who_write_elsewhere_hold_nothing_up(postgres: Database) -> None:
    """A long transaction that never touches history (a backup, a report, another table) does not stop the feed."""
    tell(postgres, "sub_a", "accepted")
    reader = Reader(postgres)
    reader.read()
    with postgres.engine.connect() as other, other.begin():
        other.execute(text("CREATE TEMPORARY TABLE unrelated AS SELECT count(*) FROM history"))
        add_submission(other, "sub_other")
        assert reader.read() == []
        assert tell(postgres, "sub_a", "sent") == reader.read()


def test_a_new_writer_does_not_hold_up_what_was_there_before_it(postgres: Database) -> None:
    """Under load there always is a writer; what waits is only what those seen at the time may still change."""
    (one,) = tell(postgres, "sub_a", "accepted")
    reader = Reader(postgres)
    with postgres.engine.connect() as first, postgres.engine.connect() as second:
        with first.begin():
            two = add_history(first, "sub_a", "queued")
            assert reader.read() == []
            another = second.begin()
            three = add_history(second, "sub_a", "sent")
        assert reader.read() == [one]
        another.commit()
        reader.read()
        reader.read()
    assert reader.seen == [one, two, three]


def test_many_writers_at_once(postgres: Database) -> None:
    """Six writers with transactions of all lengths, some undone: every committed number is read once, in order.

    It is read while it is written, forty times and more, not at the end.
    """
    tell(postgres, "sub_a", "accepted")
    committed: Rows = []
    stop = threading.Event()

    def write(seed: int) -> None:
        chance = random.Random(seed)
        while not stop.is_set():
            with postgres.engine.connect() as connection, connection.begin() as transaction:
                rows = [add_history(connection, "sub_a", "sent")]
                time.sleep(chance.random() * 0.01)
                rows += [add_history(connection, "sub_a", "included") for _ in range(chance.randint(0, 3))]
                if chance.random() < 0.2:
                    transaction.rollback()
                    continue
                transaction.commit()
            committed.extend(rows)

    reader = Reader(postgres)
    threads = [threading.Thread(target=write, args=(seed,)) for seed in range(6)]
    for thread in threads:
        thread.start()
    batches = 0
    while batches < 40 or len(committed) < 1_000:
        batches += bool(reader.read())
    stop.set()
    for thread in threads:
        thread.join()
    while reader.read() or reader.known.seq < max(committed):
        pass
    assert reader.seen[0] not in committed
    assert reader.seen[1:] == sorted(committed)


def test_events_of_one_game_and_some_statuses(database: Database) -> None:
    tell(database, "sub_a", "accepted", "sent", "included")
    wanted = tell(database, "sub_b", "accepted", "final", game_id="other")
    found = database.read_now(lambda c: events(c, 0, 99, "other", {"final", "revoked"}))
    assert [(event.seq, event.status, event.game_id) for event in found] == [(wanted[1], "final", "other")]
    assert database.read_now(lambda c: len(events(c, 2, 4))) == 2


def test_the_first_change_since_a_time(database: Database) -> None:
    tell(database, "sub_a", "accepted", at_ms=AT_MS)
    (second,) = tell(database, "sub_a", "sent", at_ms=AT_MS + 5)
    tell(database, "sub_a", "included", at_ms=AT_MS + 9)
    assert database.read_now(lambda c: first_since(c, AT_MS + 1)) == second
    assert database.read_now(lambda c: first_since(c, AT_MS + 10)) is None
    with database.write() as c:
        c.execute(delete(history))
    assert database.read_now(lambda c: first_since(c, 0)) is None
