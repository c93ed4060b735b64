"""Accounts, assets and the moves between them: what a ledger's transaction is made of.

Pure. A move takes an amount from one account and gives it to another, so that the two signed entries it stands for sum
to zero by construction: no transaction that does not balance can be written down. Items are booked as currencies are;
their amount is the quantity.
"""

import re
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from relay.canonical import INTEGER_MAX

AMOUNT_MAX = INTEGER_MAX  # 2^53 - 1: exact for every reader of JSON
ID_MAX = 128  # characters of an external, currency or item id

Account = str  # `player:<external id>`, `escrow:<external id>`, or a system account
Asset = str  # `currency:<id>` or `item:<id>`
Position = tuple[Account, Asset]  # of which there is one balance

MINT = "mint"  # where everything comes from; the only account below zero, by what the game has brought into being
BURN = "burn"  # what was spent
TAX = "tax"  # what the marketplace kept
SYSTEM = (MINT, BURN, TAX)

_PLAYER, _ESCROW, _CURRENCY, _ITEM = "player:", "escrow:", "currency:", "item:"
# Anything printable but spaces at the ends: an id is shown to people, and is a key in two databases and in JSON.
_ID = re.compile(r"(?! )[^\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]{1,128}(?<! )")


def valid_id(text: str) -> bool:
    """Whether `text` can be the id of a player, a currency or an item: 1 to 128 printable characters."""
    return _ID.fullmatch(text) is not None


def wallet(external_id: str) -> Account:
    """Return the account of what a player owns and can use; ValueError for what is no id."""
    return _PLAYER + _checked(external_id)


def escrow(external_id: str) -> Account:
    """Return the account of what is held for a player: still the player's, and not to be used; ValueError as above."""
    return _ESCROW + _checked(external_id)


def currency(currency_id: str) -> Asset:
    """Return a currency as an asset; ValueError for what is no id."""
    return _CURRENCY + _checked(currency_id)


def item(item_id: str) -> Asset:
    """Return an item as an asset; ValueError for what is no id."""
    return _ITEM + _checked(item_id)


def owner(account: Account) -> str | None:
    """Return the external id of the player whose account it is, None for a system account."""
    kind, _, external_id = account.partition(":")
    return external_id if kind in ("player", "escrow") else None


def is_wallet(account: Account) -> bool:
    """Whether a player can use what is in the account."""
    return account.startswith(_PLAYER)


def held_for(account: Account) -> Account:
    """Return the escrow account beside a wallet."""
    return _ESCROW + account.removeprefix(_PLAYER)


def currency_of(asset: Asset) -> str | None:
    """Return the id of the currency, None for an item."""
    return asset.removeprefix(_CURRENCY) if asset.startswith(_CURRENCY) else None


def item_of(asset: Asset) -> str | None:
    """Return the id of the item, None for a currency."""
    return asset.removeprefix(_ITEM) if asset.startswith(_ITEM) else None


class Move(NamedTuple):
    """`amount` (1 to 2^53-1) of an asset goes from one account to another."""

    asset: Asset
    amount: int
    source: Account
    target: Account


class Entry(NamedTuple):
    """One signed side of a move."""

    account: Account
    asset: Asset
    amount: int


def moved(asset: Asset, amount: int, source: Account, target: Account) -> Move:
    """Return a move.

    Raises:
        ValueError: the amount is no integer from 1 to 2^53-1, or both accounts are one.
    """
    if isinstance(amount, bool) or not 1 <= amount <= AMOUNT_MAX:
        raise ValueError(f"an amount is an integer from 1 to 2^53-1, not {amount}")
    if source == target:
        raise ValueError(f"nothing moves from {source} to itself")
    return Move(asset, amount, source, target)


def entries(moves: Iterable[Move]) -> list[Entry]:
    """Return both sides of each move; they sum to zero per asset."""
    sides: list[Entry] = []
    for move in moves:
        sides += (Entry(move.source, move.asset, -move.amount), Entry(move.target, move.asset, move.amount))
    return sides


def net(moves: Iterable[Move]) -> dict[Position, int]:
    """Return what each position gains or loses by all moves together; several lines of one position are one change."""
    changes: dict[Position, int] = {}
    for account, asset, amount in entries(moves):
        changes[account, asset] = changes.get((account, asset), 0) + amount
    return changes


def reversed_moves(moves: Iterable[Move]) -> tuple[Move, ...]:
    """Return the equal and opposite moves, last first."""
    return tuple(Move(move.asset, move.amount, move.target, move.source) for move in moves)[::-1]


def document(move: Move) -> dict[str, object]:
    """Return a move as it stands in a transaction's canonical bytes."""
    return {"amount": move.amount, "asset": move.asset, "from": move.source, "to": move.target}


def move_of(found: Mapping[str, object]) -> Move:
    """Return the move that `document` described; ValueError for anything else."""
    match found:
        case {"amount": int(amount), "asset": str(asset), "from": str(source), "to": str(target), **rest} if not rest:
            return moved(asset, amount, source, target)
    raise ValueError("not a move")


def _checked(text: str) -> str:
    if not valid_id(text):
        raise ValueError(f"an id is 1 to {ID_MAX} printable characters, without spaces at its ends")
    return text
