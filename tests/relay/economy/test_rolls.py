"""Published rolls: anybody does them again, and every way to change one is seen."""

import copy
import json
from typing import Any

import pytest

from relay.economy import randomness, rolls
from relay.economy.catalog import LootEntry, LootTable, Output, Recipe
from relay.economy.crafting import Yield
from relay.economy.randomness import Draws, RollNumber
from relay.economy.rolls import Roll, Rules
from relay.findings import State, passed
from relay.keccak import keccak
from relay.seeds import commitment

SECRET = bytes(range(32))
DAY = 19_675
AT = DAY * 86_400_000 + 5_000
ENDS = (DAY + 1) * 86_400_000
TABLES = Rules(
    loot_tables=(
        LootTable(
            "chest", (LootEntry(1, loot_table_id="gear", quantity=3), LootEntry(1, currency_id="gold", amount=5)), 4
        ),
        LootTable("gear", (LootEntry(1, item_id="sword"), LootEntry(2, item_id="arrow", quantity=20))),
    )
)
RECIPE = Rules(recipe=Recipe("blade", (Output("sword", 1), Output("gem", 2))))


def published(rules: Rules = TABLES, now_ms: int = ENDS) -> dict[str, Any]:
    """A roll as a client gets it."""
    number = RollNumber(DAY, 3)
    key = randomness.roll_key(SECRET, "chess", randomness.roll_id(number), "lucky")
    yields = tuple(rolls.outcome(rules, Draws(key)))
    roll = Roll("chess", number, "ann", AT, "lucky", rolls.rules_body(rules), yields, "txn_1")
    document = rolls.roll_document(roll, commitment(SECRET), SECRET, now_ms)
    return dict(json.loads(json.dumps(document)))


@pytest.mark.parametrize("rules", [TABLES, RECIPE], ids=["loot", "craft"])
def test_a_roll_is_done_again(rules: Rules) -> None:
    """With nothing but the document, and the commitment that was seen before."""
    document = published(rules)
    assert document["type"] == "fairscore-roll@1"
    assert document["outputs"]
    for seen in (None, "0x" + commitment(SECRET).hex()):
        findings = rolls.verify_roll(document, seen)
        assert passed(findings)
        assert [one.check for one in findings] == ["document", "epoch", "rules", "seed", "outcome"]
        assert all(one.state is State.OK for one in findings)


def test_a_seed_is_not_shown_before_its_day_is_over() -> None:
    """And such a roll is not verified yet."""
    document = published(now_ms=ENDS - 1)
    assert document["seed"] is None
    assert SECRET.hex() not in json.dumps(document)
    findings = rolls.verify_roll(document)
    assert not passed(findings)
    assert [(one.check, one.todo) for one in findings if one.state is State.FAILED] == [
        ("seed", f"ask again after {ENDS} (epoch ms)")
    ]


CHANGES = {
    "another game": (("gameId",), "go", "outcome"),
    "another number": (("rollId",), f"roll_{DAY}_4", "outcome"),
    "another day": (("rollId",), f"roll_{DAY + 1}_3", "epoch"),
    "made on another day": (("at",), ENDS, "epoch"),
    "revealed at another time": (("revealedAt",), ENDS + 1, "epoch"),
    "an id that is none": (("rollId",), "roll_1", "epoch"),
    "another client's seed": (("clientSeed",), "luckier", "outcome"),
    "a client's seed that moves a border": (("clientSeed",), "lucky\0", "outcome"),
    "another secret": (("seed",), "0x" + "11" * 32, "seed"),
    "another commitment": (("commitment",), "0x" + "11" * 32, "seed"),
    "another weight": (("rules", "lootTables", 0, "entries", 0, "weight"), 2, "rules"),
    "another hash of the rules": (("rulesHash",), "0x" + "11" * 32, "rules"),
    "more of it": (("outputs", 0, "quantity"), 2_000, "outcome"),
    "another thing": (("outputs", 0, "asset"), "item:crown", "outcome"),
    "nothing": (("outputs",), [], "outcome"),
    "no form": (("outputs",), 7, "document"),
    "a field that is not known": (("more",), 7, "document"),
}


@pytest.mark.parametrize("name", CHANGES)
def test_every_change_is_seen(name: str) -> None:
    """The step that sees it is the first that fails."""
    path, value, check = CHANGES[name]
    document = copy.deepcopy(published())
    inside: Any = document
    for step in path[:-1]:
        inside = inside[step]
    inside[path[-1]] = value
    failures = [one.check for one in rolls.verify_roll(document) if one.state is State.FAILED]
    assert failures[0] == check


def test_a_commitment_that_was_seen_before_counts() -> None:
    """Against an operator who makes another secret afterwards."""
    findings = rolls.verify_roll(published(), "0x" + "22" * 32)
    assert [one.check for one in findings if one.state is State.FAILED] == ["seed"]


@pytest.mark.parametrize(
    "rules",
    [
        Rules(),
        Rules(recipe=RECIPE.recipe, loot_tables=TABLES.loot_tables),
        Rules(loot_tables=(LootTable("a", (LootEntry(1, loot_table_id="a"),)),)),
        Rules(loot_tables=TABLES.loot_tables[:1]),
        Rules(recipe=Recipe("r", (Output("x", 1, RECIPE.recipe.outputs[0].chance * 2),))) if RECIPE.recipe else Rules(),
    ],
    ids=["none", "both", "circular", "incomplete", "more than certain"],
)
def test_rules_that_decide_nothing_are_refused(rules: Rules) -> None:
    """Before anything is drawn by them, whoever made the document."""
    document = published()
    document["rules"] = json.loads(rolls.rules_body(rules))
    document["rulesHash"] = "0x" + keccak(rolls.rules_body(rules)).hex()
    failures = [one.check for one in rolls.verify_roll(document) if one.state is State.FAILED]
    assert failures == ["rules"]


@pytest.mark.parametrize("document", [None, 7, [], {}, {"type": "fairscore-inclusion@1"}])
def test_what_is_no_roll_is_said(document: object) -> None:
    """Whatever was in the file."""
    assert [one.state for one in rolls.verify_roll(document)] == [State.FAILED]


def test_outputs_are_answered_added_up() -> None:
    """Several yields of one asset are one line."""
    yields = [Yield("item:arrow", 20), Yield("item:sword", 1), Yield("item:arrow", 20)]
    assert rolls.by_asset(yields) == {"item:arrow": 40, "item:sword": 1}
