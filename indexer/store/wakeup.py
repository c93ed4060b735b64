"""Waking those who follow another indexer's log: PostgreSQL's NOTIFY, or a clock where there is none.

Touches the database's driver. A wake-up carries nothing and may be lost: the log in the tables is the truth. Only the
indexer that writes notifies, because NOTIFY takes a lock of the whole database at commit.
"""

import asyncio
from contextlib import suppress

import psycopg
from sqlalchemy import Connection, text

from relay.store.engine import Database

CHANNEL = "fairscore_indexer"
POLL_S = 0.05  # without NOTIFY
SAFETY_S = 1.0  # with it
AGAIN_S = 5.0


def announce(connection: Connection) -> None:
    """Wake the others when this transaction is committed."""
    if connection.dialect.name == "postgresql":
        connection.execute(text(f"NOTIFY {CHANNEL}"))


class Wakeup:
    """Waits for announcements; `run` listens until cancelled."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._listening = False
        self._news = asyncio.Event()

    async def run(self) -> None:
        """Listen, and connect again whenever the connection is lost. Ends at once where there is no NOTIFY."""
        while self._database.dialect == "postgresql":
            with suppress(psycopg.Error, OSError):
                await self._listen()
            self._listening = False
            await asyncio.sleep(AGAIN_S)

    async def _listen(self) -> None:
        engine = self._database.engine
        args, kwargs = engine.dialect.create_connect_args(engine.url)
        async with await psycopg.AsyncConnection.connect(*args, **kwargs, autocommit=True) as connection:
            await connection.execute(f"LISTEN {CHANNEL}".encode())
            self._listening = True
            self._news.set()  # what was announced before this is looked for
            async for _ in connection.notifies():
                self._news.set()

    async def wait(self) -> None:
        """Return when there may be news."""
        with suppress(TimeoutError):
            async with asyncio.timeout(SAFETY_S if self._listening else POLL_S):
                await self._news.wait()
        self._news.clear()
