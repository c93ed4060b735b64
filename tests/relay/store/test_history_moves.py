"""History tells of every change that was made and of no other, with the transaction of that change."""

import threading
from contextlib import closing

from sqlalchemy import select

from relay.store.engine import Database
from relay.store.outbox_moves import move
from relay.store.tables import history, submissions
from tests.harness.histories import opened, tell

TX = b"\x07" * 32


def told(database: Database) -> list[tuple[str, bytes | None, int | None]]:
    """The rows of history, in order: status, transaction, block."""
    columns = (history.c.status, history.c.tx_hash, history.c.block_number)
    rows = database.read_now(lambda c: c.execute(select(*columns).order_by(history.c.seq)).all())
    return [(row[0], row[1], row[2]) for row in rows]


def test_a_change_carries_its_transaction(database_url: str) -> None:
    """What the submission has from then on: later changes do not rewrite what was told."""
    with closing(opened(database_url)) as database:
        tell(database, "sub_a", "rejected")
        with database.write() as c:
            assert move(c, ["sub_a"], "sent", 1, ["rejected"], values={"tx_hash": TX}) == 1
            assert move(c, ["sub_a"], "included", 2, ["sent"], values={"tx_hash": TX, "block_number": 9}) == 1
            assert move(c, ["sub_a"], "sent", 3, ["included"], values={"block_number": None}) == 1
        expected = [("rejected", None, None), ("sent", TX, None), ("included", TX, 9), ("sent", TX, None)]
        assert told(database) == expected


def test_two_movers_of_one_submission_do_not_both_write_history(postgres_url: str) -> None:
    """The second waits for the first, finds the status gone, and says nothing (PostgreSQL, READ COMMITTED)."""
    with closing(opened(postgres_url)) as database:
        tell(database, "sub_a", "rejected")
        moved: list[int] = []

        def second() -> None:
            with database.write() as c:
                moved.append(move(c, ["sub_a"], "revoked", 2, ["rejected"]))

        thread = threading.Thread(target=second)
        with database.write() as c:
            assert move(c, ["sub_a"], "queued", 1, ["rejected"]) == 1
            thread.start()
            thread.join(0.5)
            assert thread.is_alive()  # it waits for the row
        thread.join(10)
        assert moved == [0]
        assert [status for status, _, _ in told(database)] == ["rejected", "queued"]
        status = database.read_now(lambda c: c.scalar(select(submissions.c.status)))
        assert status == "queued"
