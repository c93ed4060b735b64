"""What an economy's group works on: orders as they wait, and the replies to them.

Pure (types only).
"""

from collections.abc import Callable
from typing import NamedTuple

from relay.economy.desk import Outcome
from relay.economy.requests import Asked
from relay.guard.gate import Refusal as Ruled
from relay.guard.gate import Ruling
from relay.store.kept_answers import Claim, Kept


class Order(NamedTuple):
    """One operation of a game that waits to be decided. `claim`: its idempotency key, None where it has none."""

    game_id: str
    asked: Asked
    request_id: str
    claim: Claim | None = None

    @property
    def action(self) -> str:
        """As limits, flags and charts name it."""
        return self.asked.body.action


class Decided(NamedTuple):
    """What became of an operation: what the guard refused, or else what was decided.

    `ruling` is what the guard said, None where it does not look at the operation; `config_version` that of the settings
    it was decided under, None where nothing was.
    """

    outcome: Outcome | Ruled
    ruling: Ruling | None
    config_version: int | None
    limit: int  # of the action, per player and minute

    @property
    def code(self) -> str | None:
        """Why it was refused; None: it took effect."""
        return getattr(self.outcome, "code", None)


class Reply(NamedTuple):
    """What is answered: the answer that is kept, or was (`kept.replayed`), and what was decided, None if before."""

    kept: Kept
    decided: Decided | None = None


Render = Callable[[Order, Decided], Kept]  # makes the answer of what was decided
