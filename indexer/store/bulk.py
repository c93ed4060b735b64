"""Many rows at once by the driver's own fast path: executemany on sqlite3, COPY and unnest on psycopg.

Touches the database inside the caller's transaction. SQLAlchemy Core takes three to four times as long for the same
rows, and an indexer that starts from nothing has hundreds of thousands of them.
"""

from array import array
from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, Table

from indexer.standings import Column

STRETCH = 10_000  # rows


def insert(connection: Connection, table: Table, rows: Sequence[Sequence[object]]) -> None:
    """Insert `rows`, whose values stand in the order of the table's columns; trailing columns may be left out."""
    if not rows:
        return
    names = [column.name for column in table.columns][: len(rows[0])]
    cursor = _cursor(connection)
    try:
        if connection.dialect.name == "postgresql":
            with cursor.copy(f"COPY {table.name} ({', '.join(names)}) FROM STDIN") as copy:
                for row in rows:
                    copy.write_row(row)
        else:
            marks = ", ".join("?" * len(names))
            cursor.executemany(f"INSERT INTO {table.name} ({', '.join(names)}) VALUES ({marks})", rows)  # noqa: S608 - names of our own tables
    finally:
        cursor.close()


def upsert_standings(connection: Connection, rows: Sequence[tuple[int, int, bytes, int, int]]) -> None:
    """Insert or replace standings given as (board, season_s, player, value, place), no two of one player alike."""
    if not rows:
        return
    target = "INSERT INTO ix_standings (board, season_s, player, value, place)"
    conflict = "ON CONFLICT (board, season_s, player) DO UPDATE SET value = excluded.value, place = excluded.place"
    cursor = _cursor(connection)
    try:
        if connection.dialect.name == "postgresql":
            columns = [list(column) for column in zip(*rows, strict=True)]
            source = "SELECT * FROM unnest(%s::int[], %s::bigint[], %s::bytea[], %s::bigint[], %s::bigint[])"
            cursor.execute(f"{target} {source} {conflict}", columns)
        else:
            cursor.executemany(f"{target} VALUES (?, ?, ?, ?, ?) {conflict}", rows)
    finally:
        cursor.close()


def upsert_proofs(connection: Connection, rows: Sequence[tuple[int, int]]) -> None:
    """Insert or replace (mark, place) of evidence."""
    if not rows:
        return
    mark = "%s" if connection.dialect.name == "postgresql" else "?"
    conflict = "ON CONFLICT (mark) DO UPDATE SET place = excluded.place"
    cursor = _cursor(connection)
    try:
        cursor.executemany(f"INSERT INTO ix_proofs (mark, place) VALUES ({mark}, {mark}) {conflict}", rows)  # noqa: S608 - marks
    finally:
        cursor.close()


def rows_at(connection: Connection, table: Table, columns: Sequence[str], places: Sequence[int]) -> list[Any]:
    """Return some columns of the rows at some positions, in no order.

    A page of a board: SQLAlchemy's list of positions and rows would take longer than the database takes to answer.
    """
    chosen = f"SELECT {', '.join(columns)} FROM {table.name} WHERE place"  # noqa: S608 - names of our own tables
    cursor = _reader(connection)
    try:
        if connection.dialect.name == "postgresql":
            cursor.execute(f"{chosen} = ANY(%s)", (list(places),))
        else:
            cursor.execute(f"{chosen} IN ({', '.join('?' * len(places))})", tuple(places))
        return list(cursor.fetchall())
    finally:
        cursor.close()


def season_column(connection: Connection, board: int, season_s: int, *, descending: bool) -> Column:
    """Return everybody in a season in ranking order.

    The database sorts: half the time of Python's sort for a million, and on PostgreSQL that of another process.
    """
    server = connection.dialect.name == "postgresql"
    cursor = _reader(connection)
    mark, order = "%s" if server else "?", "DESC" if descending else "ASC"
    chosen = f"SELECT player, value, place FROM ix_standings WHERE board = {mark} AND season_s = {mark}"  # noqa: S608 - marks
    column = Column([], array("q"), array("q"))
    try:
        cursor.execute(f"{chosen} ORDER BY value {order}, place", (board, season_s))
        while rows := cursor.fetchmany(STRETCH):  # a million tuples at once would keep the garbage collector busy
            column.players.extend([row[0] for row in rows])
            column.values.extend([row[1] for row in rows])
            column.places.extend([row[2] for row in rows])
    finally:
        cursor.close()
    return column


def board_rows(connection: Connection, board: int) -> list[tuple[int, bytes, int, int]]:
    """Return (season_s, player, value, place) of everybody in all seasons of a board, by season and player."""
    cursor = _cursor(connection)
    mark = "%s" if connection.dialect.name == "postgresql" else "?"
    query = f"SELECT season_s, player, value, place FROM ix_standings WHERE board = {mark} ORDER BY season_s, player"  # noqa: S608 - a mark
    try:
        cursor.execute(query, (board,))
        return list(cursor.fetchall())
    finally:
        cursor.close()


def _cursor(connection: Connection) -> Any:  # the two drivers share no type
    return connection.connection.cursor()


def _reader(connection: Connection) -> Any:
    """Return a cursor for many rows: PostgreSQL's in binary, which is not to be parsed."""
    raw: Any = connection.connection
    return raw.cursor(binary=True) if connection.dialect.name == "postgresql" else raw.cursor()
