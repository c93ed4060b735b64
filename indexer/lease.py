"""Which of several indexers writes, and when another may take over.

Pure.
"""

from typing import NamedTuple, Protocol

TTL_MS = 3_000  # a holder that says nothing for this long is taken for dead; what it still tries to write is refused
RENEW_S = 0.5


class Held(NamedTuple):
    """A lease as it was seen."""

    holder: str  # host:pid:number, see `Holder`
    epoch: int
    expires_at_ms: int


class Holder(NamedTuple):
    """A process that may hold the lease."""

    host: str
    pid: int
    number: int  # by chance: a process of the same id on the same host is not the same process

    def __str__(self) -> str:
        return f"{self.host}:{self.pid}:{self.number}"


class Alive(Protocol):
    """Says whether a process of this host lives."""

    def __call__(self, pid: int) -> bool:
        """Return whether there is a process with this id."""


def free(seen: Held | None, me: Holder, now_ms: int, alive: Alive) -> bool:
    """Say whether `me` may take (or renew) the lease.

    A holder of this host whose process is gone is not waited for: a restart goes on at once.
    """
    if seen is None or seen.holder == str(me) or seen.expires_at_ms < now_ms:
        return True
    host, _, rest = seen.holder.rpartition(":")[0].rpartition(":")
    if host != me.host or not rest.isdigit():
        return False
    return int(rest) == me.pid or not alive(int(rest))
