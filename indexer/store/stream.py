"""The stream's log: what was told to readers, kept so that they can resume and other processes can tell it too.

Touches the database on the connection it is given. A board's messages are under its number, a game's flags under the
negative of its own.
"""

from sqlalchemy import Connection, delete, func, select

from indexer.store import bulk
from indexer.store.tables import stream
from indexer.store.wakeup import announce
from indexer.stream_ring import Told


def tail(connection: Connection, log: int, limit: int) -> list[Told]:
    """Return the newest messages of a log, oldest first."""
    query = select(stream.c.seq, stream.c.kind, stream.c.body).where(stream.c.board == log)
    rows = connection.execute(query.order_by(stream.c.seq.desc()).limit(limit)).all()
    return [Told(*row) for row in reversed(rows)]


def behind(connection: Connection, log: int, seq: int) -> list[Told]:
    """Return the messages of a log after `seq`, oldest first."""
    query = select(stream.c.seq, stream.c.kind, stream.c.body).where(stream.c.board == log, stream.c.seq > seq)
    return [Told(*row) for row in connection.execute(query.order_by(stream.c.seq))]


def append_flag(connection: Connection, game: int, body: bytes, now_ms: int) -> int:
    """Add the state of an audit flag to a game's flags; returns its number. `Hub.tell_flag` after the commit."""
    last = connection.scalar(select(func.max(stream.c.seq)).where(stream.c.board == -game)) or 0
    bulk.insert(connection, stream, [(-game, last + 1, now_ms, "flag", body)])
    announce(connection)
    return int(last) + 1


def prune(connection: Connection, keep: int, before_ms: int) -> int:
    """Delete messages that are both older than that and not among the newest `keep` of their log; returns how many."""
    deleted = 0
    newest = select(stream.c.board, func.max(stream.c.seq)).group_by(stream.c.board)
    for log, seq in connection.execute(newest).all():
        old = (stream.c.board == log, stream.c.seq <= seq - keep, stream.c.at_ms < before_ms)
        deleted += connection.execute(delete(stream).where(*old)).rowcount
    return deleted
