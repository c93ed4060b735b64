"""Balances held against the moves they come from: what differs is frozen and flagged, and repaired by an auditor.

The only SQL that sets a balance to anything but what a booking makes of it. Looking (`ledger_view.mismatches_of`)
takes no lock and goes by pages of players; only what was found is locked and looked at again.
"""

import json
from collections.abc import Iterable
from typing import NamedTuple

from sqlalchemy import Connection, insert, update

from relay.economy import entries, reconcile
from relay.economy.entries import Position
from relay.economy.reconcile import Mismatch
from relay.errors import CallerError
from relay.store import ledger_rows
from relay.store.controls import By, record
from relay.store.economy_tables import ledger_balances
from relay.store.flag_desk import look
from relay.store.flags import Resolution, raise_flags, resolve
from relay.store.ledger import open_books, thaw
from relay.store.ledger_audit import forged
from relay.store.ledger_view import mismatches


def seize(c: Connection, game_id: str, found: Iterable[Mismatch], now_ms: int) -> list[Mismatch]:
    """Look at mismatches again under the game's lock; freeze the players' among those that are, and flag all.

    System accounts are flagged only: to freeze the mint would stop every grant of the game.
    """
    suspected = {mismatch.position for mismatch in found}
    if not suspected:
        return []
    open_books(c, [game_id])
    again = mismatches(c, game_id, sorted({account for account, _ in suspected}))
    for mismatch in again:
        if entries.owner(mismatch.position[0]) is not None:
            _freeze(c, game_id, mismatch, now_ms)
    raise_flags(c, [reconcile.flag(game_id, mismatch) for mismatch in again], now_ms)
    return again


def repair(c: Connection, game_id: str, position: Position, by: By) -> Mismatch | None:
    """Set a balance to what its moves add up to and thaw it, recorded as an operator's action; None: nothing differs.

    The moves are those of transactions that are chained and anchored; the balance is only their sum.
    """
    open_books(c, [game_id])
    differing = {mismatch.position: mismatch for mismatch in mismatches(c, game_id, [position[0]])}
    mismatch = differing.get(position)
    if mismatch is None:
        return None
    b = ledger_balances.c
    at = (b.game_id == game_id, b.account == position[0], b.asset == position[1])
    values = {"amount": mismatch.recomputed, "frozen_at_ms": None, "frozen_why": None}
    if c.execute(update(ledger_balances).where(*at).values(values)).rowcount == 0:
        c.execute(insert(ledger_balances).values(game_id=game_id, account=position[0], asset=position[1], **values))
    record(c, by, "ledger.repair", f"{game_id}/{position[0]}/{position[1]}")
    return mismatch


class Mended(NamedTuple):
    """What a flag was about; `mismatch` None: the balance was right already. `thawed`: it can be moved again."""

    position: Position
    mismatch: Mismatch | None
    thawed: bool


def mend(c: Connection, flag_id: str, key_game_id: str | None, by: By) -> Mended:
    """Repair the balance that a flag is about, thaw it, and resolve the flag; again, there is nothing left to do.

    Raises:
        CallerError: FLAG_UNKNOWN, also of another game than the key's; FLAG_NOT_REPAIRABLE, also where the moves
            themselves were changed: their sum would be somebody's invention.
    """
    flag = look(c, flag_id, key_game_id).flag
    if flag.code not in reconcile.CODES:
        raise CallerError("FLAG_NOT_REPAIRABLE", "The flag is not about a balance that differs from its entries.")
    context = json.loads(flag.context)
    position = (context["account"], context["asset"])
    why_not = forged(c, flag.game_id, position[0])
    if why_not is not None:
        raise CallerError("FLAG_NOT_REPAIRABLE", f"The moves were changed by hand: {why_not}. Restore them first.")
    mismatch = repair(c, flag.game_id, position, by)
    thawed = mismatch is not None or thaw(c, flag.game_id, position)
    if thawed and mismatch is None:
        record(c, by, "ledger.thaw", f"{flag.game_id}/{position[0]}/{position[1]}")
    if flag.status == "open":
        resolve(c, flag.id, Resolution("confirmed", by.actor, by.reason), by.at_ms)
    return Mended(position, mismatch, thawed)


def _freeze(c: Connection, game_id: str, mismatch: Mismatch, now_ms: int) -> None:
    position = mismatch.position
    if position not in ledger_rows.balances(c, game_id, [position]):  # its row was deleted
        row = {"game_id": game_id, "account": position[0], "asset": position[1], "amount": 0}
        c.execute(insert(ledger_balances).values(row))
    ledger_rows.set_frozen(c, game_id, position, (now_ms, mismatch.code))
