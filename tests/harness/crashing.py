"""A process that dies before a statement of one's choice, whoever sends it: SQLAlchemy, or our code by the driver.

Touches the connections of the database it is given. A commit counts as a statement, too; who dies stays dead until the
block ends, and what was not committed is rolled back, as it is when a connection is lost.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from weakref import WeakKeyDictionary

import psycopg
from sqlalchemy import Engine, event

from relay.store.engine import Database


class CrashError(Exception):
    """The process dies here."""


class _Life:
    """How many statements are left to a process; None: as many as it likes."""

    def __init__(self) -> None:
        self.left: int | None = None

    def tick(self, *_: object) -> None:
        """Count a statement that is about to be sent."""
        if self.left is not None:
            self.left -= 1
            if self.left < 0:
                raise CrashError


_lives: WeakKeyDictionary[Engine, _Life] = WeakKeyDictionary()


@contextmanager
def crashing(database: Database, after: int | None) -> Iterator[None]:
    """Let the process die before the statement that comes after `after` others; None: not at all."""
    life = _life(database.engine)
    life.left = after
    try:
        yield
    finally:
        life.left = None


def _life(engine: Engine) -> _Life:
    if engine not in _lives:
        _lives[engine] = life = _Life()
        event.listen(engine, "do_connect", _counting(life))
        event.listen(engine, "commit", life.tick)
        engine.dispose()  # connections from now on are counted
    return _lives[engine]


def _counting(life: _Life) -> Any:
    def counted(base: Any) -> Any:
        class Counted(base):  # type: ignore[misc]
            def execute(self, *args: Any, **more: Any) -> Any:
                life.tick()
                return super().execute(*args, **more)

            def executemany(self, *args: Any, **more: Any) -> Any:
                life.tick()
                return super().executemany(*args, **more)

        return Counted

    counted_cursor = counted(sqlite3.Cursor)

    class Counting(sqlite3.Connection):
        def cursor(self, factory: Any = counted_cursor) -> Any:
            return super().cursor(factory)

    def connect(dialect: Any, _record: object, _args: object, named: dict[str, Any]) -> None:
        if dialect.name == "sqlite":
            named["factory"] = Counting
        else:
            named["cursor_factory"] = counted(psycopg.Cursor)

    return connect
