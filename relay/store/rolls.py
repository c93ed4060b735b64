"""Rolls of loot tables and crafts: decided by the epoch's secret, booked, kept so that anybody can do them again.

The only SQL on `economy_rolls`, `roll_rules` and `economy_crafts`. A roll is drawn only when every outcome it could
have can be booked: were it refused afterwards, a player could ask again until he liked what came out.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from sqlalchemy import Connection, func, insert, select
from sqlalchemy.dialects import postgresql, sqlite

from relay.canonical import canonical
from relay.economy import catalog, crafting, entries, loot, randomness, rolls
from relay.economy.catalog import Item, Recipe
from relay.economy.crafting import Yield
from relay.economy.drafts import By, Draft, draft
from relay.economy.entries import Move
from relay.economy.ledger import Book, Posted, Refusal
from relay.economy.randomness import Draws, RollNumber
from relay.economy.rolls import Roll, Rules
from relay.ids import new_id
from relay.keccak import keccak
from relay.seeds import day_of
from relay.store import ledger, seeds
from relay.store.catalog import find, loot_tables
from relay.store.catalog_tables import economy_crafts, economy_rolls, roll_rules


class Wanted(NamedTuple):
    """Who rolls what: the id of a recipe or of a loot table, and the client's share in the outcome."""

    external_id: str
    id: str
    client_seed: str = ""


class Rolled(NamedTuple):
    """A roll that was made; `posted` is None where nothing came out and nothing was taken."""

    roll: Roll
    posted: Posted | None


class Cooling(NamedTuple):
    """Why a player may not craft yet: a code, a sentence, and for how long (ms)."""

    code: str
    detail: str
    retry_ms: int


class _Odds(NamedTuple):
    """What a roll takes for certain, what it can yield at the most, and the rules in between."""

    kind: str
    detail: Mapping[str, str]
    taken: Sequence[Move]
    most: Sequence[Yield]
    rules: Rules


def roll_loot(c: Connection, book: Book, wanted: Wanted, by: By, now_ms: int) -> Rolled | Refusal:
    """Roll a loot table for a player."""
    tables = loot_tables(c, book.game_id, [wanted.id])
    bound = loot.bound(tables, wanted.id)
    if isinstance(bound, Refusal):
        return bound
    first = tables.pop(wanted.id)
    rules = Rules(loot_tables=(first, *(tables[one] for one in sorted(tables))))
    most = [Yield(*one) for one in bound.yields.items()]
    return _roll(c, book, wanted, _Odds("loot", {"lootTableId": wanted.id}, (), most, rules), by, now_ms)


def craft(c: Connection, book: Book, wanted: Wanted, by: By, now_ms: int) -> Rolled | Refusal | Cooling:
    """Craft by a recipe: inputs and costs are gone, outputs come by chance, and the cooldown starts."""
    recipe = find(c, book.game_id, Recipe, [wanted.id]).get(wanted.id)
    if recipe is None:
        return Refusal("RECIPE_UNKNOWN", f"The game has no recipe {wanted.id}.")
    t = economy_crafts.c
    key = {"game_id": book.game_id, "external_id": wanted.external_id, "recipe_id": wanted.id}
    last_ms = c.scalar(select(t.last_ms).where(*(t[name] == value for name, value in key.items())))
    cools_ms = crafting.cools_ms(recipe, last_ms, now_ms)
    if cools_ms:
        left = f"{wanted.external_id} may craft {wanted.id} again in {-(-cools_ms // 1000)} s."
        return Cooling("CRAFT_COOLDOWN", left, cools_ms)
    taken, most = crafting.taken(recipe, wanted.external_id), crafting.most(recipe)
    odds = _Odds("craft", {"recipeId": wanted.id}, taken, most, Rules(recipe=recipe))
    made = _roll(c, book, wanted, odds, by, now_ms)
    if isinstance(made, Rolled) and recipe.cooldown_seconds:
        statement = _insert(c)(economy_crafts).values(**key, last_ms=now_ms)
        c.execute(statement.on_conflict_do_update(index_elements=list(key), set_={"last_ms": now_ms}))
    return made


def _roll(c: Connection, book: Book, wanted: Wanted, odds: _Odds, by: By, now_ms: int) -> Rolled | Refusal:
    """(1) every outcome can be booked; (2) the next number of the epoch; (3) draw; (4) book; (5) keep."""
    refusal = _checked(c, book, wanted, odds, by)  # (1)
    if refusal is not None:
        return refusal
    epoch = day_of(now_ms)
    secret = secret_of(c, book.game_id, epoch, now_ms)
    number = RollNumber(epoch, _next_number(c, book.game_id, epoch))  # (2)
    key = randomness.roll_key(secret.secret, book.game_id, randomness.roll_id(number), wanted.client_seed)
    yields = tuple(rolls.outcome(odds.rules, Draws(key)))  # (3)
    body = rolls.rules_body(odds.rules)
    roll = Roll(book.game_id, number, wanted.external_id, now_ms, wanted.client_seed, body, yields)
    moves = [*odds.taken, *crafting.given(yields, wanted.external_id)]
    posted = None
    if moves:
        detail = {**odds.detail, **rolls.detail(roll, secret.commitment)}
        outcome = book.record(draft(odds.kind, by, moves, **detail), new_id("txn_", now_ms), now_ms)  # (4)
        if isinstance(outcome, Refusal):
            raise RuntimeError(f"a roll was drawn whose outcome cannot be booked: {outcome.detail}")
        posted = outcome
        roll = roll._replace(transaction_id=outcome.transaction.id)
    _keep(c, roll)  # (5)
    return Rolled(roll, posted)


def _checked(c: Connection, book: Book, wanted: Wanted, odds: _Odds, by: By) -> Refusal | None:
    """What is taken without a yield, and with the highest: whatever comes out is between the two."""
    if not randomness.valid_client_seed(wanted.client_seed):
        return Refusal("CLIENT_SEED_INVALID", "clientSeed is at most 128 printable characters.")
    owned = find(c, book.game_id, Item, {i for one in odds.most if (i := entries.item_of(one.asset)) is not None})
    caps = catalog.caps(owned.values())
    highest = [*odds.taken, *crafting.given(odds.most, wanted.external_id)]
    extremes: list[Draft] = [draft(odds.kind, by, moves, caps=caps) for moves in (odds.taken, highest) if moves]
    ledger.load(c, book, extremes)
    if not extremes and not ledger.players(c, book.game_id, [wanted.external_id]):
        return Refusal("PLAYER_UNKNOWN", f"The game has no player {wanted.external_id}.")
    return next((refusal for one in extremes if (refusal := book.refusal(one)) is not None), None)


def secret_of(c: Connection, game_id: str, epoch: int, now_ms: int) -> seeds.SeedSecret:
    """Return the secret of a game's epoch, and make the next one's, so that each is committed to a day before."""
    seeds.ensure(c, randomness.secret_name(game_id, epoch + 1), now_ms)
    return seeds.ensure(c, randomness.secret_name(game_id, epoch), now_ms)


def commitments(c: Connection, game_id: str, now_ms: int) -> dict[int, bytes]:
    """Return what is published before: the commitments to this epoch's and the next one's secrets, by epoch.

    Makes the secrets where they are not there yet, so it needs a connection that may write.
    """
    epoch = day_of(now_ms)
    secret_of(c, game_id, epoch, now_ms)
    found = {one: seeds.find(c, randomness.secret_name(game_id, one)) for one in (epoch, epoch + 1)}
    return {one: secret.commitment for one, secret in found.items() if secret is not None}


def document(c: Connection, game_id: str, roll_id: str, now_ms: int) -> dict[str, Any] | None:
    """Return a roll as it is published; None where the game has no such roll."""
    number = randomness.parse_roll_id(roll_id)
    if number is None:
        return None
    r = economy_rolls.c
    query = select(economy_rolls, roll_rules.c.body).join(roll_rules, r.rules_hash == roll_rules.c.hash)
    row = c.execute(query.where(r.game_id == game_id, r.epoch == number.epoch, r.number == number.number)).first()
    secret = seeds.find(c, randomness.secret_name(game_id, number.epoch))
    if row is None or secret is None:
        return None
    yields = tuple(Yield(*one) for one in json.loads(bytes(row.yields)))
    made = (row.external_id, row.at_ms, row.client_seed, bytes(row.body), yields, row.transaction_id)
    return rolls.roll_document(Roll(game_id, number, *made), secret.commitment, secret.secret, now_ms)


def _keep(c: Connection, roll: Roll) -> None:
    rules_hash = keccak(roll.rules)
    c.execute(_insert(c)(roll_rules).values(hash=rules_hash, body=roll.rules).on_conflict_do_nothing())
    values = {
        "game_id": roll.game_id,
        "epoch": roll.number.epoch,
        "number": roll.number.number,
        "external_id": roll.external_id,
        "at_ms": roll.at_ms,
        "client_seed": roll.client_seed,
        "rules_hash": rules_hash,
        "yields": canonical([list(one) for one in roll.yields]),
        "transaction_id": roll.transaction_id,
    }
    c.execute(insert(economy_rolls).values(values))


def _next_number(c: Connection, game_id: str, epoch: int) -> int:
    r = economy_rolls.c
    last = c.scalar(select(func.max(r.number)).where(r.game_id == game_id, r.epoch == epoch))
    return 0 if last is None else last + 1


def _insert(c: Connection) -> Any:
    return postgresql.insert if c.dialect.name == "postgresql" else sqlite.insert
