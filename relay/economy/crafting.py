"""Crafting: what a recipe takes is gone whatever comes out; each output has a chance of its own.

Pure.
"""

from collections.abc import Sequence
from typing import NamedTuple

from relay.economy import entries
from relay.economy.catalog import MILLION, Recipe
from relay.economy.entries import BURN, MINT, Asset, Move
from relay.economy.randomness import Draws


class Yield(NamedTuple):
    """A quantity or an amount that comes out of chance."""

    asset: Asset
    quantity: int


def taken(recipe: Recipe, external_id: str) -> list[Move]:
    """Return what crafting takes: inputs and costs are burnt."""
    owned = entries.wallet(external_id)
    moves = [entries.moved(entries.item(line.item_id), line.quantity, owned, BURN) for line in recipe.inputs]
    return moves + [
        entries.moved(entries.currency(line.currency_id), line.amount, owned, BURN) for line in recipe.costs
    ]


def given(yields: Sequence[Yield], external_id: str) -> list[Move]:
    """Return the moves from the mint that hand out what came out of chance."""
    owned = entries.wallet(external_id)
    return [entries.moved(asset, quantity, MINT, owned) for asset, quantity in yields]


def crafted(recipe: Recipe, draws: Draws) -> list[Yield]:
    """Return what one crafting yields: one draw for each output, in order, also where the chance is 0 or 1."""
    return [
        Yield(entries.item(output.item_id), output.quantity)
        for output in recipe.outputs
        if draws.below(MILLION) < output.parts
    ]


def most(recipe: Recipe) -> list[Yield]:
    """Return the most that one crafting can yield."""
    return [Yield(entries.item(one.item_id), one.quantity) for one in recipe.outputs if one.parts > 0]


def cools_ms(recipe: Recipe, last_ms: int | None, now_ms: int) -> int:
    """Return for how long (ms) the player may not craft it again; 0: now. `last_ms`: when he did, None: never."""
    return 0 if last_ms is None else max(0, last_ms + recipe.cooldown_seconds * 1000 - now_ms)
