"""What a balance that is not the sum of its moves is called, and what the auditor is told.

Pure.
"""

from typing import NamedTuple

from relay.economy import entries
from relay.economy.entries import MINT, Position
from relay.flag_kinds import ECONOMY_KINDS
from relay.guard.flags import Flag

ACTION = "reconcile"
CODES = ("NEGATIVE_BALANCE", "LEDGER_MISMATCH")  # of the flags


class Mismatch(NamedTuple):
    """A balance that is not what the moves add up to."""

    position: Position
    recorded: int
    recomputed: int

    @property
    def code(self) -> str:
        """NEGATIVE_BALANCE where the moves took more than there was, else LEDGER_MISMATCH."""
        below = -self.recomputed if self.position[0] == MINT else self.recomputed
        return "NEGATIVE_BALANCE" if below < 0 else "LEDGER_MISMATCH"


def flag(game_id: str, found: Mismatch) -> Flag:
    """Return the critical flag of a mismatch; one is open per account and asset, however often it is found."""
    account, asset = found.position
    reason = f"Balance of {asset} is {found.recorded}, and its entries add up to {found.recomputed}"
    context = {"action": ACTION, "account": account, "asset": asset, "recorded": found.recorded,
               "recomputed": found.recomputed}  # fmt: skip
    player, severity = entries.owner(account), ECONOMY_KINDS[found.code].severity
    action = f"{ACTION}:{asset}"  # an open flag is one of player, action and code: each wallet has its own
    return Flag(game_id, player, action, found.code, severity, reason, "account", f"{account}/{asset}", context)
