"""The economy's intake: operations wait here for their group, and nothing is answered before the group is durable.

Touches the event loop and the economy's writer.
"""

from relay.store.engine import Database
from relay.store.writer import Writer


class EconomyIntake:
    """Takes operations, one group per commit. All methods run on the event loop."""

    def __init__(self, writer: Writer, database: Database) -> None:
        self._writer, self._database = writer, database

    async def stop(self) -> None:
        """Wait until every operation taken is answered."""
