"""What the outbox's operations and metrics work with: its edges as Protocols.

Pure (types only).
"""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, Protocol

from relay.chain_types import ProviderState
from relay.outbox.meter import Meter
from relay.store.engine import Database
from relay.store.writer import Writer


class Sender(Protocol):
    """What this process knows of one of its senders (`relay.outbox.loop.Outbox`)."""

    @property
    def meter(self) -> Meter:
        """Its counters."""

    @property
    def carries(self) -> Sequence[str]:
        """The kinds of cargo it may carry."""

    @property
    def leads(self) -> bool:
        """Whether it sends, or stands by for another process that does."""

    @property
    def trouble(self) -> Mapping[str, str]:
        """What keeps it from sending, by a short name."""

    def wake(self) -> None:
        """Look for work now."""


class Balances(Protocol):
    """A chain that tells balances."""

    async def balance(self, address: bytes) -> int:
        """Wei."""


class OutboxParts(NamedTuple):
    """What the operations work with. `senders` are this process's own, by address."""

    database: Database
    writer: Writer
    chain: Balances
    chain_id: int
    senders: Callable[[], Mapping[bytes, Sender]]
    providers: Callable[[], Sequence[ProviderState]]
