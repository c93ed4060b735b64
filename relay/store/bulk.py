"""Many rows or keys in one statement, as each database takes them fastest.

Touches the connection it is given, through SQLAlchemy, so that errors are its own. On PostgreSQL rows travel as one
array per column (`relay.store.pg_arrays`), whatever their number one prepared statement; on SQLite as a few statements
of many rows (`relay.store.sqlite_bulk`).
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from itertools import chain
from typing import Any

import msgspec
from sqlalchemy import BigInteger, Connection, Integer, LargeBinary, SmallInteger, Table, Text, TextClause, text

from relay.store.pg_arrays import bigints, byteas, smallints, texts
from relay.store.sqlite_bulk import pieces

_encoder = msgspec.json.Encoder()
_ARRAYS: Mapping[type[Any], tuple[Callable[[Any], bytes], str]] = {
    Text: (texts, "text"),
    LargeBinary: (byteas, "bytea"),
    SmallInteger: (smallints, "int2"),
    BigInteger: (bigints, "int8"),
    Integer: (bigints, "int8"),
}


class Rows:
    """How new rows of a table travel: tuples of these columns, in this order."""

    def __init__(self, table: Table, *columns: str, then: str = "") -> None:
        """`then` follows the rows in the statement: what to do with one that is there."""
        kinds = [_ARRAYS[type(table.c[name].type)] for name in columns]
        self._into = f"INSERT INTO {table.name} ({', '.join(columns)})"
        self._then = f" {then}" if then else ""
        given = ", ".join(f"%b::{kind}[]" for _, kind in kinds)
        self._unnest = f"{self._into} SELECT * FROM unnest({given}){self._then}"  # noqa: S608 - names are ours
        self._arrays = [make for make, _ in kinds]
        self._row = f"({', '.join('?' * len(columns))})"
        self._values: dict[int, str] = {}

    def insert(self, c: Connection, rows: Sequence[Sequence[Any]]) -> None:
        """Insert rows, if there are any."""
        if not rows:
            return
        if c.dialect.name == "postgresql":
            columns = zip(*rows, strict=True)
            arrays = tuple(make(column) for make, column in zip(self._arrays, columns, strict=True))
            c.exec_driver_sql(self._unnest, arrays)
            return
        for part in pieces(rows):
            c.exec_driver_sql(self._of(len(part)), tuple(chain.from_iterable(part)))

    def _of(self, count: int) -> str:
        if count not in self._values:
            self._values[count] = f"{self._into} VALUES {', '.join([self._row] * count)}{self._then}"
        return self._values[count]


def lookup(statement: str) -> Mapping[str, TextClause]:
    """Return a statement by dialect, in which `IN :ids` stands for any number of texts (`keys`): prepared once."""
    return {
        "postgresql": text(statement.replace("IN :ids", "= ANY(:ids)")),
        "sqlite": text(statement.replace("IN :ids", "IN (SELECT value FROM json_each(:ids))")),
    }


def keys(c: Connection, ids: Collection[str]) -> Any:
    """Return texts as the parameter `ids` of a `lookup`."""
    found = list(ids)
    return texts(found) if c.dialect.name == "postgresql" else _encoder.encode(found).decode()
