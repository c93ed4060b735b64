"""A roll from the first to the last: its rules, what came out, and the document with which anybody does it again.

Pure. The rules of a roll are the declarations that it was decided by, as one canonical document; their keccak-256 is in
the transaction that booked the outcome, beside the commitment to the epoch's secret.
"""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, NamedTuple

import msgspec
from msgspec import Meta

from relay.canonical import canonical
from relay.economy import crafting, loot, randomness
from relay.economy.catalog import LootTable, Recipe, wrong
from relay.economy.crafting import Yield
from relay.economy.ledger import Refusal
from relay.economy.randomness import Draws, RollNumber
from relay.findings import Finding, failed, ok, passed, skipped
from relay.keccak import keccak
from relay.seeds import commitment as commitment_to
from relay.seeds import day_of, ends_ms
from relay.strict_json import Request

DISTRUST = "do not rely on it: whoever gave it to you is mistaken, or lies"

Hash = Annotated[str, Meta(pattern="^0x[0-9a-f]{64}$")]


class Rules(Request, frozen=True):
    """What a roll is decided by: a recipe, or a loot table with all that it rolls (the first is the one rolled)."""

    recipe: Recipe | None = None
    loot_tables: tuple[LootTable, ...] = ()

    @property
    def tables(self) -> dict[str, LootTable]:
        """The loot tables by id."""
        return {table.loot_table_id: table for table in self.loot_tables}


class YieldDocument(Request, frozen=True):
    """An asset (`currency:<id>` or `item:<id>`) and how much of it."""

    asset: str
    quantity: Annotated[int, Meta(ge=1)]


class RollDocument(Request, frozen=True, tag_field="type", tag="fairscore-roll@1"):
    """A roll as it is published; `seed` is the epoch's secret, there once the epoch is over. `at`: epoch ms."""

    game_id: str
    roll_id: str
    at: Annotated[int, Meta(ge=0)]
    external_id: str
    client_seed: str
    commitment: Hash
    rules: Rules
    rules_hash: Hash
    outputs: tuple[YieldDocument, ...]
    transaction_id: str | None
    revealed_at: Annotated[int, Meta(ge=0)]
    seed: Hash | None


class Roll(NamedTuple):
    """A roll as it was made; `yields` in the order of the draws, `transaction_id` None where nothing moved.

    `reference` is the caller's own where there is no transaction to carry it.
    """

    game_id: str
    number: RollNumber
    external_id: str
    at_ms: int
    client_seed: str
    rules: bytes
    yields: tuple[Yield, ...]
    transaction_id: str | None = None
    reference: str | None = None

    @property
    def roll_id(self) -> str:
        """Its id within the game."""
        return randomness.roll_id(self.number)


def rules_body(rules: Rules) -> bytes:
    """Return the canonical bytes (RFC 8785) of rules."""
    return canonical(msgspec.to_builtins(rules))


def outcome(rules: Rules, draws: Draws) -> list[Yield]:
    """Return what comes out of these draws by usable rules."""
    if rules.recipe is not None:
        return crafting.crafted(rules.recipe, draws)
    return loot.rolled(rules.tables, rules.loot_tables[0].loot_table_id, draws)


def detail(roll: Roll, commitment: bytes) -> dict[str, Any]:
    """Return what the transaction says of the roll, so that the ledger's anchor holds it, too."""
    rules_hash = _hex(keccak(roll.rules))
    seeds = {"clientSeed": roll.client_seed, "commitment": _hex(commitment)}
    return {"rollId": roll.roll_id, "rulesHash": rules_hash, **seeds}


def roll_document(roll: Roll, commitment: bytes, secret: bytes, now_ms: int) -> dict[str, Any]:
    """Return the document of a roll; the secret is in it only if its epoch is over at `now_ms`."""
    revealed_ms = ends_ms(roll.number.epoch)
    made = RollDocument(
        game_id=roll.game_id,
        roll_id=roll.roll_id,
        at=roll.at_ms,
        external_id=roll.external_id,
        client_seed=roll.client_seed,
        commitment=_hex(commitment),
        rules=msgspec.json.decode(roll.rules, type=Rules),
        rules_hash=_hex(keccak(roll.rules)),
        outputs=tuple(YieldDocument(*one) for one in roll.yields),
        transaction_id=roll.transaction_id,
        revealed_at=revealed_ms,
        seed=_hex(secret) if now_ms >= revealed_ms else None,
    )
    document: dict[str, Any] = msgspec.to_builtins(made)
    return document


def verify_roll(document: object, commitment: str | None = None) -> list[Finding]:
    """Check a published roll (parsed JSON) and return a line for each step: it holds if `relay.findings.passed`.

    (1) it is such a document; (2) the roll's id is of the day on which it was made; (3) the rules are those of the hash
    in the transaction, and can be used; (4) the seed is what was committed to, and to `commitment`, which the verifier
    saw before the roll, if he did; (5) the outcome is what follows.
    """
    try:
        found = msgspec.convert(document, RollDocument)
    except msgspec.ValidationError as error:
        return [failed("document", f"it is no document of a roll: {error}", "ask for it anew")]  # (1)
    findings = [ok("document", f"roll {found.roll_id} of game {found.game_id}"), _epoch(found), _rules(found)]
    findings.append(_seed(found, commitment))
    return [*findings, _outcome(found) if passed(findings[2:]) else skipped("outcome", "rules and seed")]


def _epoch(found: RollDocument) -> Finding:
    """(2)."""
    number = randomness.parse_roll_id(found.roll_id)
    if number is None or number.epoch != day_of(found.at) or found.revealed_at != ends_ms(number.epoch):
        return failed("epoch", f"{found.roll_id} is no roll of the day on which it was made", DISTRUST)
    return ok("epoch", f"roll {number.number} of day {number.epoch}")


def _rules(found: RollDocument) -> Finding:
    """(3)."""
    if _hex(keccak(rules_body(found.rules))) != found.rules_hash:
        return failed("rules", "they are not those of the hash", DISTRUST)
    problem = unusable(found.rules)
    if problem is not None:
        return failed("rules", problem, DISTRUST)
    return ok("rules", f"hash {found.rules_hash}")


def unusable(rules: Rules) -> str | None:
    """Return why rules cannot decide a roll; None where they can."""
    declared: Sequence[Recipe | LootTable] = [*([rules.recipe] if rules.recipe else []), *rules.loot_tables]
    errors = [error for one in declared for error in wrong(one)]
    if errors:
        return errors[0].detail
    if (rules.recipe is None) is (not rules.loot_tables):
        return "they are neither a recipe nor loot tables"
    if rules.recipe is None:
        bound = loot.bound(rules.tables, rules.loot_tables[0].loot_table_id)
        return bound.detail if isinstance(bound, Refusal) else None
    return None


def _seed(found: RollDocument, commitment: str | None) -> Finding:
    """(4)."""
    if commitment is not None and commitment.lower() != found.commitment:
        return failed("seed", "it was committed to another secret than the one you saw before", DISTRUST)
    if found.seed is None:
        return failed("seed", "it is not revealed yet", f"ask again after {found.revealed_at} (epoch ms)")
    if _hex(commitment_to(_bytes(found.seed))) != found.commitment:
        return failed("seed", "it is not what was committed to", DISTRUST)
    return ok("seed", f"it is what {found.commitment} committed to")


def _outcome(found: RollDocument) -> Finding:
    """(5)."""
    if not randomness.valid_client_seed(found.client_seed) or "\0" in found.game_id:
        return failed("outcome", "the client's seed or the game is no text that a roll is made of", DISTRUST)
    key = randomness.roll_key(_bytes(found.seed or ""), found.game_id, found.roll_id, found.client_seed)
    expected = outcome(found.rules, Draws(key))
    if expected != [Yield(one.asset, one.quantity) for one in found.outputs]:
        shown = ", ".join(f"{quantity} {asset}" for asset, quantity in expected) or "nothing"
        return failed("outcome", f"the seed yields {shown}", DISTRUST)
    return ok("outcome", f"{len(expected)} outputs, as the seed yields them")


def _hex(value: bytes) -> str:
    return "0x" + value.hex()


def _bytes(text: str) -> bytes:
    return bytes.fromhex(text.removeprefix("0x"))


def by_asset(yields: Sequence[Yield]) -> Mapping[str, int]:
    """Return yields added up by asset, as they are answered."""
    total: dict[str, int] = {}
    for asset, quantity in yields:
        total[asset] = total.get(asset, 0) + quantity
    return total
