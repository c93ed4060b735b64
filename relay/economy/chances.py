"""Loot and crafting: decided by the epoch's secret, booked, kept so that anybody can do them again.

Pure. Each is a `relay.economy.desk.Step`. A roll is drawn only when every outcome it could have can be booked: were it
refused afterwards, a player could ask again until he liked what came out.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from relay.economy import catalog, crafting, entries, loot, randomness, rolls
from relay.economy.catalog import LootTable
from relay.economy.crafting import Yield
from relay.economy.desk import Cooling, Desk, Epoch, Names, Rolled
from relay.economy.drafts import By, Draft, draft
from relay.economy.entries import Move
from relay.economy.ledger import Refusal
from relay.economy.randomness import Draws, RollNumber
from relay.economy.rolls import Roll, Rules


class Wanted(NamedTuple):
    """Who rolls what: the id of a recipe or of a loot table, and the client's share in the outcome."""

    external_id: str
    id: str
    client_seed: str = ""


class _Odds(NamedTuple):
    """What a roll takes for certain, what it can yield at the most, and the rules in between."""

    kind: str
    detail: Mapping[str, str]
    taken: Sequence[Move]
    most: Sequence[Yield]
    rules: Rules


@dataclass(frozen=True)
class RollLoot:
    """Roll a loot table for a player."""

    wanted: Wanted
    by: By

    def names(self, names: Names) -> None:
        """The table with all that it rolls, and the epoch."""
        _common(names, self.wanted, self.by)
        names.tables.add(self.wanted.id)

    def drafts(self, desk: Desk) -> Sequence[Draft]:
        """Return the least and the most that can be booked."""
        odds = self._odds(desk)
        return () if isinstance(odds, Refusal) else _extremes(desk, self.wanted, odds, self.by)

    def amounts(self, desk: Desk) -> Mapping[str, int]:  # noqa: ARG002
        """Nothing is paid."""
        return {}

    def decide(self, desk: Desk) -> Rolled | Refusal:
        """Roll."""
        odds = self._odds(desk)
        return odds if isinstance(odds, Refusal) else _roll(desk, self.wanted, odds, self.by)

    def _odds(self, desk: Desk) -> _Odds | Refusal:
        bound = loot.bound(desk.tables, self.wanted.id)
        if isinstance(bound, Refusal):
            return bound
        first, *others = _reached(desk.tables, self.wanted.id)
        rules = Rules(loot_tables=(first, *sorted(others, key=lambda table: table.loot_table_id)))
        most = [Yield(*one) for one in bound.yields.items()]
        return _Odds("loot", {"lootTableId": self.wanted.id}, (), most, rules)


@dataclass(frozen=True)
class Craft:
    """Craft by a recipe: inputs and costs are gone, outputs come by chance, and the cooldown starts."""

    wanted: Wanted
    by: By

    def names(self, names: Names) -> None:
        """The recipe, when the player crafted by it, and the epoch."""
        _common(names, self.wanted, self.by)
        names.recipes.add(self.wanted.id)
        names.crafts.add(self.wanted[:2])

    def drafts(self, desk: Desk) -> Sequence[Draft]:
        """Return the least and the most that can be booked."""
        odds = self._odds(desk)
        return () if odds is None else _extremes(desk, self.wanted, odds, self.by)

    def amounts(self, desk: Desk) -> Mapping[str, int]:
        """Return what it costs."""
        recipe = desk.recipes.get(self.wanted.id)
        return {} if recipe is None else {one.currency_id: one.amount for one in recipe.costs}

    def decide(self, desk: Desk) -> Rolled | Refusal | Cooling:
        """Craft."""
        recipe, odds = desk.recipes.get(self.wanted.id), self._odds(desk)
        if recipe is None or odds is None:
            return Refusal("RECIPE_UNKNOWN", f"The game has no recipe {self.wanted.id}.")
        cools_ms = crafting.cools_ms(recipe, desk.crafted_ms.get(self.wanted[:2]), desk.now_ms)
        if cools_ms:
            left = f"{self.wanted.external_id} may craft {self.wanted.id} again in {-(-cools_ms // 1000)} s."
            return Cooling("CRAFT_COOLDOWN", left, cools_ms)
        made = _roll(desk, self.wanted, odds, self.by)
        if isinstance(made, Rolled) and recipe.cooldown_seconds:
            desk.crafted(*self.wanted[:2])
        return made

    def _odds(self, desk: Desk) -> _Odds | None:
        recipe = desk.recipes.get(self.wanted.id)
        if recipe is None:
            return None
        taken, most = crafting.taken(recipe, self.wanted.external_id), crafting.most(recipe)
        return _Odds("craft", {"recipeId": self.wanted.id}, taken, most, Rules(recipe=recipe))


def _roll(desk: Desk, wanted: Wanted, odds: _Odds, by: By) -> Rolled | Refusal:
    """(1) every outcome can be booked; (2) the next number of the epoch; (3) draw; (4) book; (5) keep."""
    refusal = _checked(desk, wanted, odds, by)  # (1)
    if refusal is not None:
        return refusal
    epoch = _epoch(desk)
    number = RollNumber(epoch.day, desk.next_number)  # (2)
    key = randomness.roll_key(epoch.secret, desk.book.game_id, randomness.roll_id(number), wanted.client_seed)
    yields = tuple(rolls.outcome(odds.rules, Draws(key)))  # (3)
    body = rolls.rules_body(odds.rules)
    roll = Roll(desk.book.game_id, number, wanted.external_id, desk.now_ms, wanted.client_seed, body, yields)
    moves = [*odds.taken, *crafting.given(yields, wanted.external_id)]
    posted = None
    if moves:
        detail = {**odds.detail, **rolls.detail(roll, epoch.commitment)}
        outcome = desk.record(draft(odds.kind, by, moves, **detail))  # (4)
        if isinstance(outcome, Refusal):
            raise RuntimeError(f"a roll was drawn whose outcome cannot be booked: {outcome.detail}")
        posted = outcome
        roll = roll._replace(transaction_id=outcome.transaction.id)
    else:
        roll = roll._replace(reference=by.reference)
    desk.rolled(roll)  # (5)
    return Rolled(roll, posted)


def _common(names: Names, wanted: Wanted, by: By) -> None:
    """What every roll takes: who, the epoch, and the reference, which no booking may come to carry."""
    names.players.add(wanted.external_id)
    names.references.update([by.reference] if by.reference is not None else [])
    names.rolls = True


def _epoch(desk: Desk) -> Epoch:
    if desk.epoch is None:
        raise RuntimeError("a roll is decided and no epoch was read")
    return desk.epoch


def _checked(desk: Desk, wanted: Wanted, odds: _Odds, by: By) -> Refusal | None:
    """What is taken without a yield, and with the highest: whatever comes out is between the two."""
    if not randomness.valid_client_seed(wanted.client_seed):
        return Refusal("CLIENT_SEED_INVALID", "clientSeed is at most 128 printable characters.")
    if wanted.external_id not in desk.book.players:
        return Refusal("PLAYER_UNKNOWN", f"The game has no player {wanted.external_id}.")
    used = desk.book.used(by.reference)
    if used is not None:
        return used
    extremes = _extremes(desk, wanted, odds, by)
    return next((refusal for one in extremes if (refusal := desk.book.refusal(one)) is not None), None)


def _extremes(desk: Desk, wanted: Wanted, odds: _Odds, by: By) -> list[Draft]:
    names = {item_id for one in odds.most if (item_id := entries.item_of(one.asset)) is not None}
    caps = catalog.caps(desk.items[name] for name in names if name in desk.items)
    highest = [*odds.taken, *crafting.given(odds.most, wanted.external_id)]
    return [draft(odds.kind, by, moves, caps=caps) for moves in (odds.taken, highest) if moves]


def _reached(tables: Mapping[str, LootTable], first: str) -> list[LootTable]:
    """Return a table and all that it rolls, each once."""
    found: dict[str, LootTable] = {}
    waiting = [first]
    while waiting:
        one = waiting.pop()
        if one not in found:
            found[one] = tables[one]
            waiting += loot.nested(tables[one])
    return list(found.values())
