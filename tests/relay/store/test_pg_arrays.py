"""Arrays built by hand arrive in PostgreSQL as what they were."""

import psycopg
import pytest

from relay.store.pg_arrays import bigints, byteas, smallints, texts


@pytest.mark.parametrize(
    ("array", "kind", "values"),
    [
        (texts, "text", ["", "a", None, "é😀", "x" * 5000]),
        (byteas, "bytea", [b"", b"\0\xff", None, b"y" * 5000]),
        (bigints, "int8", [0, -1, None, 2**63 - 1, -(2**63)]),
        (smallints, "int2", [0, -1, 2**15 - 1]),
        (texts, "text", []),
    ],
)
def test_round_trip(postgres_url: str, array: object, kind: str, values: list[object]) -> None:
    """Empty values, nulls, extremes, and elements longer than the table of lengths."""
    assert callable(array)
    with psycopg.connect(postgres_url) as connection:
        statement = f"SELECT item FROM unnest(%b::{kind}[]) WITH ORDINALITY AS given (item, place) ORDER BY place"
        rows = connection.cursor(binary=True).execute(statement.encode(), (array(values),)).fetchall()
    assert [row[0] for row in rows] == values


def test_what_does_not_fit() -> None:
    """Refused here, not truncated."""
    with pytest.raises(OverflowError):
        bigints([2**63])
    with pytest.raises(OverflowError):
        smallints([2**15])
