"""Currencies and players as a game's server declares them.

Pure.
"""

from typing import NamedTuple

from relay.economy.entries import AMOUNT_MAX, valid_id

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
    """A player as declared; `wallets` (currency, amount) are opening balances and count at the creation only."""

    external_id: str
    display_name: str | None = None
    address: bytes | None = None
    wallets: tuple[tuple[str, int], ...] = ()


def wrong_currency(currency: Currency) -> str | None:
    """Return what is wrong with a currency as a sentence, None where nothing is."""
    if not valid_id(currency.currency_id):
        return "currencyId is 1 to 128 printable characters."
    if currency.max_balance is not None and not 0 <= currency.max_balance <= AMOUNT_MAX:
        return "maxBalance is an integer from 0 to 2^53-1."
    return None if 0 <= currency.decimals <= DECIMALS_MAX else f"decimals is an integer from 0 to {DECIMALS_MAX}."


def wrong_player(player: Player) -> str | None:
    """Return what is wrong with a player as a sentence, None where nothing is."""
    if not valid_id(player.external_id):
        return "externalId is 1 to 128 printable characters."
    ids = [currency_id for currency_id, _ in player.wallets]
    if len(set(ids)) != len(ids) or not all(map(valid_id, ids)):
        return "wallets names each currency once, by its id."
    if not all(0 <= amount <= AMOUNT_MAX for _, amount in player.wallets):
        return "A balance is an integer from 0 to 2^53-1."
    return None
