"""One number for all standings, and the two ways to begin again: from the scores that are stored, or from nothing.

Touches the database on the connection it is given. What the digest covers does not depend on how this database numbers
games and boards, so that two indexers of one chain with the same boards can compare theirs.
"""

import hashlib
import struct
from typing import NamedTuple

from sqlalchemy import Connection, delete, select, update

from indexer.state import GENESIS_HEAD
from indexer.store import bulk
from indexer.store.board_tables import builds
from indexer.store.doubt_tables import doubt, doubts, proofs
from indexer.store.ledger import UNBUILT
from indexer.store.tables import (
    batches,
    blocks,
    boards,
    chain,
    games,
    oversized,
    rulings,
    scores,
    standings,
    stream,
)

ROW = struct.Struct(">q20sqq")  # season, player, value, position


class Digest(NamedTuple):
    """SHA-256 in hexadecimal over every board's name, configuration and standings of all seasons, and how many."""

    sha256: str
    boards: int
    standings: int


def digest(connection: Connection) -> Digest:
    """Return the digest of all standings: equal digests mean byte-identical rows."""
    columns = (games.c.key, boards.c.name, boards.c.number, boards.c.config)
    query = select(*columns).join(games, games.c.number == boards.c.game)
    listed = sorted((row.key, row.name.encode(), row.number, row.config) for row in connection.execute(query))
    hashed, count = hashlib.sha256(), 0
    for key, name, number, config in listed:
        document = config.encode()
        hashed.update(struct.pack(">32sII", key, len(name), len(document)) + name + document)
        rows = bulk.board_rows(connection, number)
        hashed.update(struct.pack(">Q", len(rows)))
        for row in rows:
            hashed.update(ROW.pack(*row))
        count += len(rows)
    return Digest(hashed.hexdigest(), len(listed), count)


def unmake(connection: Connection) -> None:
    """Mark every board to be made anew from the scores that are stored."""
    connection.execute(update(boards).values(built=UNBUILT))


def wipe(connection: Connection) -> None:
    """Forget everything that was read from the chain; games, boards and their history of changes stay."""
    read = (chain, blocks, scores, oversized, batches, rulings, standings, stream, builds, doubt, doubts, proofs)
    for table in read:
        connection.execute(delete(table))
    connection.execute(update(games).values(head=GENESIS_HEAD, recorded=0))
