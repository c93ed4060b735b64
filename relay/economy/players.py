"""Currencies and players as a game's server declares them.

Pure.
"""

from collections.abc import Iterator
from typing import NamedTuple

from relay.economy.entries import AMOUNT_MAX, ID_MAX, valid_id
from relay.errors import FieldError

DECIMALS_MAX = 18
BATCH_MAX = 100  # players of one request


class Currency(NamedTuple):
    """A currency. `max_balance`: the most a player may own, None for any amount; `decimals`: how amounts are shown."""

    currency_id: str
    name: str
    icon: str
    max_balance: int | None = None
    decimals: int = 0


class Player(NamedTuple):
    """A player as declared; `wallets` (currency, amount) are opening balances and count at the creation only.

    `changes` names what a repeated declaration changes of a player who is there already.
    """

    external_id: str
    display_name: str | None = None
    address: bytes | None = None
    wallets: tuple[tuple[str, int], ...] = ()
    changes: tuple[str, ...] = ("display_name", "address")


def wrong_currency(currency: Currency) -> list[FieldError]:
    """Return what is wrong with a currency, by pointer into its declaration; empty where nothing is."""
    found = list(wrong_id("/currencyId", currency.currency_id))
    if currency.max_balance is not None and not 0 <= currency.max_balance <= AMOUNT_MAX:
        found.append(_error("/maxBalance", "is an integer from 0 to 2^53-1"))
    if not 0 <= currency.decimals <= DECIMALS_MAX:
        found.append(_error("/decimals", f"is an integer from 0 to {DECIMALS_MAX}"))
    return found


def wrong_player(player: Player, at: str = "") -> list[FieldError]:
    """Return what is wrong with a player whose declaration is at the pointer `at`; empty where nothing is."""
    found = list(wrong_id(f"{at}/externalId", player.external_id))
    seen: set[str] = set()
    for number, (currency_id, amount) in enumerate(player.wallets):
        pointer = f"{at}/wallets/{number}"
        found += wrong_id(f"{pointer}/currencyId", currency_id)
        if currency_id in seen:
            found.append(_error(f"{pointer}/currencyId", "is in another line already: add them up"))
        if not 0 <= amount <= AMOUNT_MAX:
            found.append(_error(f"{pointer}/balance", "is an integer from 0 to 2^53-1"))
        seen.add(currency_id)
    return found


def wrong_id(pointer: str, text: str) -> Iterator[FieldError]:
    """Yield what is wrong with an id of a player, a currency, an item or the like."""
    if not valid_id(text):
        yield _error(pointer, f"is 1 to {ID_MAX} printable characters, without spaces at its ends")


def _error(pointer: str, must: str) -> FieldError:
    return FieldError(pointer, "FIELD_INVALID", f"`{pointer.lstrip('/')}` {must}")
