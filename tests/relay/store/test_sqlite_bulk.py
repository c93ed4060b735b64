"""Many rows in one statement: the same rows as one by one, in order, whatever their number."""

import sqlite3

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.store import sqlite_bulk


@pytest.mark.parametrize("count", [0, 1, 3, 4, 5, 15, 16, 17, 63, 64, 65, 149, 256])
def test_every_number_of_rows_is_stored_and_found(count: int) -> None:
    """Any number is cut into the few sizes; nothing is lost at the seams."""
    with sqlite3.connect(":memory:") as connection:
        cursor = connection.cursor()
        cursor.execute("CREATE TABLE t (a INTEGER PRIMARY KEY, b BLOB, c TEXT)")
        rows = [(number, bytes([number % 256]), "x") for number in range(count)]
        sqlite_bulk.insert(cursor, "INSERT INTO t (a, b, c) VALUES", 3, rows)
        assert cursor.execute("SELECT * FROM t ORDER BY a").fetchall() == rows
        keys = [number for number, _, _ in rows]
        found = sqlite_bulk.select(
            cursor, lambda marks: f"SELECT a, b, c FROM t WHERE c = ? AND a IN ({marks})", ["x"], keys
        )
        assert sorted(found) == rows
    connection.close()


@given(st.lists(st.integers(), max_size=300))
def test_pieces_are_the_whole_in_order(rows: list[int]) -> None:
    """Cutting changes nothing, and uses the allowed sizes only."""
    parts = list(sqlite_bulk.pieces(rows))
    assert [row for part in parts for row in part] == rows
    assert {len(part) for part in parts} <= set(sqlite_bulk.SIZES)
