"""Rolls of loot tables and crafts: kept so that anybody can do them again, numbered, published with their proof.

The only SQL on `economy_rolls`, `roll_rules` and `economy_crafts`. Every change is made with the game's book open.
"""

import json
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, func, insert, select, tuple_
from sqlalchemy.dialects import postgresql, sqlite

from relay.canonical import canonical
from relay.economy import randomness, rolls
from relay.economy.crafting import Yield
from relay.economy.rolls import Roll
from relay.keccak import keccak
from relay.seeds import day_of
from relay.store import seeds
from relay.store.catalog_tables import economy_crafts, economy_rolls, roll_rules

COMMITTED = 2  # epochs at a time: each is committed to a day before


def insert_rolls(c: Connection, made: Sequence[Roll]) -> None:
    """Add rolls, and the rules that they were decided by, each once."""
    if not made:
        return
    hashes = {body: keccak(body) for body in {roll.rules for roll in made}}
    rules = [{"hash": digest, "body": body} for body, digest in sorted(hashes.items(), key=lambda one: one[1])]
    c.execute(_insert(c)(roll_rules).on_conflict_do_nothing(), rules)
    c.execute(insert(economy_rolls), [_row(roll, hashes[roll.rules]) for roll in made])


def save_crafts(c: Connection, game_id: str, crafted: Mapping[tuple[str, str], int]) -> None:
    """Note when (epoch ms) players crafted by recipes last, by (player, recipe)."""
    if not crafted:
        return
    statement = _insert(c)(economy_crafts)
    statement = statement.on_conflict_do_update(
        index_elements=list(economy_crafts.primary_key), set_={"last_ms": statement.excluded.last_ms}
    )
    rows = [
        {"game_id": game_id, "external_id": external_id, "recipe_id": recipe_id, "last_ms": at_ms}
        for (external_id, recipe_id), at_ms in sorted(crafted.items())
    ]
    c.execute(statement, rows)


def crafted_ms(c: Connection, game_id: str, wanted: Collection[tuple[str, str]]) -> dict[tuple[str, str], int]:
    """Return when (epoch ms) players crafted by recipes last, of those who ever did."""
    if not wanted:
        return {}
    t = economy_crafts.c
    query = select(t.external_id, t.recipe_id, t.last_ms).where(t.game_id == game_id)
    query = query.where(tuple_(t.external_id, t.recipe_id).in_(sorted(wanted)))
    return {(row.external_id, row.recipe_id): row.last_ms for row in c.execute(query)}


def next_number(c: Connection, game_id: str, epoch: int) -> int:
    """Return the number of a game's next roll in an epoch."""
    r = economy_rolls.c
    last = c.scalar(select(func.max(r.number)).where(r.game_id == game_id, r.epoch == epoch))
    return 0 if last is None else last + 1


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
    return published(c, game_id, epoch)


def published(c: Connection, game_id: str, epoch: int) -> dict[int, bytes]:
    """Return the commitments to an epoch's and the next one's secrets by epoch, as far as they are made."""
    found = {one: seeds.find(c, randomness.secret_name(game_id, one)) for one in range(epoch, epoch + COMMITTED)}
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


def _row(roll: Roll, rules_hash: bytes) -> dict[str, Any]:
    return {
        "game_id": roll.game_id,
        "epoch": roll.number.epoch,
        "number": roll.number.number,
        "external_id": roll.external_id,
        "at_ms": roll.at_ms,
        "client_seed": roll.client_seed,
        "rules_hash": rules_hash,
        "yields": canonical([list(one) for one in roll.yields]),
        "transaction_id": roll.transaction_id,
        "reference": roll.reference,
    }


def _insert(c: Connection) -> Any:
    return postgresql.insert if c.dialect.name == "postgresql" else sqlite.insert
