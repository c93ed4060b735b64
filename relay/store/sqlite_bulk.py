"""Many rows in one statement, for the sqlite3 driver.

Touches the cursor it is given. `executemany` hands the interpreter's lock over at every row, and with an event loop in
the same process each hand-over costs more than the row; a statement with many rows hands it over once.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cache
from itertools import chain
from typing import Any, TypeVar

Row = TypeVar("Row", bound=Sequence[Any])

# Few sizes, so that few texts are prepared and the driver's cache holds all of them.
SIZES = (64, 16, 4, 1)


def insert(cursor: Any, into: str, width: int, rows: Sequence[Sequence[Any]]) -> None:
    """Run `into` ("INSERT INTO t (a, b) VALUES") for all rows of `width` values."""
    for part in pieces(rows):
        cursor.execute(_values(into, width, len(part)), list(chain.from_iterable(part)))


def select(cursor: Any, text: Callable[[str], str], before: Sequence[Any], keys: Sequence[Any]) -> Iterator[Any]:
    """Return the rows of `text(marks)`, where `marks` stands for the keys and `before` for the values before them."""
    for part in pieces(keys):
        cursor.execute(text(_marks(len(part))), [*before, *part])
        yield from cursor.fetchall()


def pieces(rows: Sequence[Row] | Sequence[Any]) -> Iterable[Sequence[Any]]:
    """Cut `rows` into runs of the lengths in SIZES, largest first."""
    start = 0
    for size in SIZES:
        while len(rows) - start >= size:
            yield rows[start : start + size]
            start += size


@cache
def _values(into: str, width: int, count: int) -> str:
    row = f"({', '.join('?' * width)})"
    return f"{into} {', '.join([row] * count)}"


@cache
def _marks(count: int) -> str:
    return ", ".join("?" * count)
