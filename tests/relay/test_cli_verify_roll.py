"""`fairscore verify-roll`: the outcome computed again, from the file alone."""

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from typer.testing import CliRunner

from relay.cli import app
from relay.economy.catalog import LootTable
from relay.economy.randomness import Draws, RollNumber, roll_id, roll_key
from relay.economy.rolls import Roll, Rules, outcome, roll_document, rules_body
from relay.seeds import DAY_MS, commitment

GAME, SECRET, DAY = "island", bytes(range(32)), 20_000
TABLE = msgspec.convert(
    {
        "lootTableId": "chest",
        "rolls": 3,
        "entries": [
            {"itemId": "sword", "quantity": 1, "weight": 1},
            {"currencyId": "gold", "amount": 10, "weight": 9},
        ],
    },
    LootTable,
)


def published() -> dict[str, Any]:
    """A roll whose day is over."""
    number, rules = RollNumber(DAY, 4), Rules(loot_tables=(TABLE,))
    yields = tuple(outcome(rules, Draws(roll_key(SECRET, GAME, roll_id(number), "mine"))))
    made = Roll(GAME, number, "ann", DAY * DAY_MS + 5, "mine", rules_body(rules), yields, "txn_1")
    return roll_document(made, commitment(SECRET), SECRET, (DAY + 2) * DAY_MS)


def verify_roll(folder: Path, text: str, *options: str) -> tuple[int, dict[str, str]]:
    """Run the command; returns its exit code and the state of each step."""
    file = folder / "roll.json"
    file.write_text(text)
    ran = CliRunner().invoke(app, ["verify-roll", str(file), "--json", *options])
    return ran.exit_code, {one["check"]: one["state"] for one in json.loads(ran.output)["checks"]}


def test_a_true_roll_is_proved(tmp_path: Path) -> None:
    text = json.dumps(published())
    code, steps = verify_roll(tmp_path, text)
    assert (code, set(steps.values())) == (0, {"ok"})
    code, steps = verify_roll(tmp_path, text, "--commitment", "0x" + commitment(SECRET).hex().upper())
    assert (code, set(steps.values())) == (0, {"ok"})


def test_a_seed_that_was_exchanged_is_noticed_by_whoever_saw_the_commitment(tmp_path: Path) -> None:
    code, steps = verify_roll(tmp_path, json.dumps(published()), "--commitment", "0x" + "11" * 32)
    assert (code, steps["seed"]) == (1, "failed")


def test_another_outcome_is_no_outcome(tmp_path: Path) -> None:
    document = published()
    document["outputs"] = [{"asset": "item:sword", "quantity": 3}]
    code, steps = verify_roll(tmp_path, json.dumps(document))
    assert (code, steps["outcome"]) == (1, "failed")


@pytest.mark.parametrize("text", ["", "{", "[1]", '{"type":"fairscore-roll@1"}', '{"seed":"0x1","seed":"0x2"}'])
def test_what_is_no_roll_is_refused_in_words(tmp_path: Path, text: str) -> None:
    code, steps = verify_roll(tmp_path, text)
    assert (code, steps) == (1, {"document": "failed"})


def test_a_file_that_is_not_there_is_one_sentence(tmp_path: Path) -> None:
    ran = CliRunner().invoke(app, ["verify-roll", str(tmp_path / "none.json")])
    assert ran.exit_code == 1
    assert "cannot be read" in str(ran.exception)
