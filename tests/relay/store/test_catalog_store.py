"""Declarations in versions, purchases, and rolls in the database."""

import json
from collections.abc import Iterator
from decimal import Decimal

import pytest
from sqlalchemy import Connection, func, select

from relay.economy import catalog, entries
from relay.economy.catalog import Item, LootEntry, LootTable, Named, Output, Price, Recipe, Stack
from relay.economy.chances import Craft, RollLoot, Wanted
from relay.economy.desk import Cooling, Outcome, Rolled
from relay.economy.drafts import Draft, draft
from relay.economy.entries import MINT, Move
from relay.economy.ledger import Book, Posted, Refusal
from relay.economy.rolls import verify_roll
from relay.economy.steps import Purchase
from relay.findings import passed
from relay.seeds import DAY_MS
from relay.store import catalog as store
from relay.store import desks, ledger, ledger_view, rolls
from relay.store.catalog_tables import economy_rolls
from relay.store.engine import Database
from tests.harness.ledgers import BY, NOW, all_balances, check_ledger, found_game, ledger_at

GAME = "chess"
ITEMS = (
    Item("iron", "Iron"),
    Item("sword", "Sword", prices=(Price("gold", 30),), max_owned=3),
    Item("crown", "Crown", stackable=False),
    Item("shield", "Shield", prices=(Price("gold", 11),)),
)
BLADE = Recipe(
    "blade",
    (Output("sword", 1, Decimal("0.5")), Output("iron", 1)),
    inputs=(Stack("iron", 3),),
    costs=(Price("gold", 2),),
    cooldown_seconds=60,
)
CHEST = LootTable("chest", (LootEntry(1, loot_table_id="coins", quantity=2), LootEntry(1, item_id="iron", quantity=4)))
COINS = LootTable("coins", (LootEntry(1, currency_id="gold", amount=7), LootEntry(1)), rolls=2)


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    """A game with players, currencies, three items, a recipe and two loot tables."""
    with ledger_at(database_url) as opened:
        with opened.write() as c:
            found_game(c, GAME)
            book = opened_book(c)
            for declared in (*ITEMS, BLADE, COINS, CHEST):
                assert store.declare(c, book, declared, "key_1", NOW) == 1
            give(c, book, entries.moved("currency:gold", 100, MINT, "player:ann"))
            ledger.write(c, book)
        yield opened
        opened.read_now(lambda c: check_ledger(c, GAME))


def opened_book(c: Connection) -> Book:
    """The game's book, locked."""
    return ledger.open_books(c, [GAME])[GAME]


def give(c: Connection, book: Book, *moves: Move) -> None:
    """Book what a test starts from."""
    wanted: list[Draft] = [draft("loot", BY, moves)]
    ledger.load(c, book, wanted)
    assert isinstance(book.record(wanted[0], f"txn_start_{book.sequence}", NOW), Posted)


def code(outcome: object) -> str:
    """Why something was refused."""
    assert isinstance(outcome, Refusal | Cooling)
    return outcome.code


def test_every_version_of_a_declaration_is_kept(database: Database) -> None:
    """The same again is no new one."""
    dearer = Item("sword", "Sword", prices=(Price("gold", 40),), max_owned=3)
    with database.write() as c:
        book = opened_book(c)
        assert store.declare(c, book, ITEMS[1], "key_1", NOW) == 1
        assert store.declare(c, book, dearer, "key_1", NOW) == 2
        assert store.declare(c, book, dearer, "key_2", NOW) == 2
        assert store.declare(c, book, ITEMS[1], "key_1", NOW) == 3
        kept = store.history(c, GAME, Named("item", "sword"), 9)
        assert [(one.version, one.declared) for one in kept] == [(3, ITEMS[1]), (2, dearer), (1, ITEMS[1])]
        assert store.history(c, GAME, Named("item", "sword"), 1, before=3) == [store.Version(2, NOW, "key_1", dearer)]
        assert store.find(c, GAME, Item, ["sword", "none"]) == {"sword": ITEMS[1]}
        assert store.find(c, "go", Item, ["sword"]) == {}
        assert store.listed(c, GAME, "item", "crown", 1) == [(1, ITEMS[0])]
        assert store.listed(c, GAME, "item", "shield", 9) == [(3, ITEMS[1])]


def test_what_names_something_unknown_is_not_declared(database: Database) -> None:
    """Neither items nor tables; nor what would contain itself through another."""
    circular = LootTable("coins", (LootEntry(1, loot_table_id="chest"),))
    for declared, expected in (
        (Recipe("r", (Output("none", 1),)), "ITEM_UNKNOWN"),
        (LootTable("t", (LootEntry(1, item_id="none"),)), "ITEM_UNKNOWN"),
        (LootTable("t", (LootEntry(1, loot_table_id="none"),)), "LOOT_TABLE_UNKNOWN"),
        (circular, "LOOT_TABLE_UNUSABLE"),
    ):
        with database.write() as c:
            assert code(store.declare(c, opened_book(c), declared, "key_1", NOW)) == expected
            assert len(store.history(c, GAME, catalog.named(declared), 9)) == (declared is circular)


def test_purchases_stop_at_what_may_be_owned_and_paid(database: Database) -> None:
    """3 swords of 30 are the most, and 10 gold are left, not 11; several in one group see each other."""
    with database.write() as c:
        book = opened_book(c)

        def buy(item_id: str, quantity: int, currency_id: str | None = None) -> Outcome:
            return desks.decide(c, book, Purchase("ann", item_id, quantity, currency_id, BY), NOW)

        assert code(buy("sword", 4)) == "MAX_BALANCE_EXCEEDED"
        assert isinstance(buy("sword", 2), Posted)
        assert isinstance(buy("sword", 1, "gold"), Posted)
        assert code(buy("sword", 1)) == "MAX_BALANCE_EXCEEDED"
        assert code(buy("shield", 1)) == "INSUFFICIENT_BALANCE"
        assert code(buy("iron", 1)) == "ITEM_NOT_FOR_SALE"
        assert code(buy("none", 1)) == "ITEM_UNKNOWN"
        ledger.write(c, book)
        balances = all_balances(c, GAME)
    assert (balances["player:ann", "item:sword"], balances["player:ann", "currency:gold"]) == (3, 10)


def test_a_roll_is_booked_kept_and_done_again_by_anybody(database: Database) -> None:
    """Numbers without a gap; the transaction names roll, rules and commitment; the seed comes when the day is over."""
    with database.write() as c:
        before = rolls.commitments(c, GAME, NOW)
    made: list[Rolled] = []
    for _ in range(2):
        with database.write() as c:
            book = opened_book(c)
            for _ in range(3):
                rolled = desks.decide(c, book, RollLoot(Wanted("ann", "chest", "lucky"), BY), NOW)
                assert isinstance(rolled, Rolled)
                made.append(rolled)
            ledger.write(c, book)
    assert [one.roll.number.number for one in made] == list(range(6))
    epoch = NOW // DAY_MS
    with database.write() as c:
        for one in made:
            early = rolls.document(c, GAME, one.roll.roll_id, (epoch + 1) * DAY_MS - 1)
            assert early is not None
            assert early["seed"] is None
            late = rolls.document(c, GAME, one.roll.roll_id, (epoch + 1) * DAY_MS)
            assert passed(verify_roll(late, "0x" + before[epoch].hex()))
            assert late is not None
            if one.posted is not None:
                booked = ledger_view.transaction(c, GAME, late["transactionId"])
                assert booked is not None
                assert booked.draft.detail == {
                    "lootTableId": "chest", "rollId": late["rollId"], "rulesHash": late["rulesHash"],
                    "clientSeed": "lucky", "commitment": late["commitment"],
                }  # fmt: skip
        assert rolls.document(c, GAME, f"roll_{epoch}_6", NOW) is None
        assert rolls.document(c, GAME, "roll_x", NOW) is None
        assert rolls.document(c, "go", f"roll_{epoch}_0", NOW) is None


def test_each_epoch_has_its_own_secret_committed_to_a_day_before(database: Database) -> None:
    """What is published today for tomorrow is what tomorrow uses, and numbers start anew."""
    with database.write() as c:
        today = rolls.commitments(c, GAME, NOW)
        tomorrow = rolls.commitments(c, GAME, NOW + DAY_MS)
        book = opened_book(c)
        numbers = [
            rolled.roll.number
            for now_ms in (NOW, NOW + DAY_MS)
            if isinstance(rolled := desks.decide(c, book, RollLoot(Wanted("ann", "chest"), BY), now_ms), Rolled)
        ]
        ledger.write(c, book)
    epoch = NOW // DAY_MS
    assert today.keys() == {epoch, epoch + 1}
    assert tomorrow[epoch + 1] == today[epoch + 1]
    assert len({*today.values(), *tomorrow.values()}) == 3
    assert numbers == [(epoch, 0), (epoch + 1, 0)]


def test_crafting_takes_its_inputs_whatever_comes_out_and_cools_down(database: Database) -> None:
    """To the millisecond."""
    with database.write() as c:
        book = opened_book(c)
        give(c, book, entries.moved("item:iron", 10, MINT, "player:ann"))
        assert isinstance(desks.decide(c, book, Craft(Wanted("ann", "blade"), BY), NOW), Rolled)
        cooling = desks.decide(c, book, Craft(Wanted("ann", "blade"), BY), NOW + 59_999)
        assert cooling == Cooling("CRAFT_COOLDOWN", "ann may craft blade again in 1 s.", 1)
        assert isinstance(desks.decide(c, book, Craft(Wanted("ann", "blade"), BY), NOW + 60_000), Rolled)
        assert code(desks.decide(c, book, Craft(Wanted("bob", "blade"), BY), NOW)) == "INSUFFICIENT_ITEMS"
        assert code(desks.decide(c, book, Craft(Wanted("ann", "none"), BY), NOW)) == "RECIPE_UNKNOWN"
        ledger.write(c, book)
        balances = all_balances(c, GAME)
    assert (balances["player:ann", "item:iron"], balances["player:ann", "currency:gold"]) == (6, 96)


def test_nothing_is_drawn_that_might_be_refused(database: Database) -> None:
    """With 3 swords a fourth may come out: refused before the draw, so nobody can ask until it does not."""
    with database.write() as c:
        book = opened_book(c)
        give(
            c,
            book,
            entries.moved("item:iron", 9, MINT, "player:ann"),
            entries.moved("item:sword", 3, MINT, "player:ann"),
        )
        assert code(desks.decide(c, book, Craft(Wanted("ann", "blade"), BY), NOW)) == "MAX_BALANCE_EXCEEDED"
        assert code(desks.decide(c, book, RollLoot(Wanted("ann", "chest", "x\0"), BY), NOW)) == "CLIENT_SEED_INVALID"
        assert code(desks.decide(c, book, RollLoot(Wanted("nobody", "chest"), BY), NOW)) == "PLAYER_UNKNOWN"
        assert code(desks.decide(c, book, RollLoot(Wanted("ann", "none"), BY), NOW)) == "LOOT_TABLE_UNKNOWN"
        ledger.write(c, book)
        assert c.scalar(select(func.count()).select_from(economy_rolls)) == 0


def test_an_output_that_is_an_input_must_be_there_even_if_nothing_comes_out(database: Database) -> None:
    """2 iron are not 3, although one may come back."""
    with database.write() as c:
        book = opened_book(c)
        give(c, book, entries.moved("item:iron", 2, MINT, "player:ann"))
        assert code(desks.decide(c, book, Craft(Wanted("ann", "blade"), BY), NOW)) == "INSUFFICIENT_ITEMS"
        ledger.write(c, book)


def test_a_roll_of_nothing_is_kept_too(database: Database) -> None:
    """Without a transaction, since nothing moved; of a player who is there."""
    with database.write() as c:
        book = opened_book(c)
        store.declare(c, book, LootTable("air", (LootEntry(1),)), "key_1", NOW)
        rolled = desks.decide(c, book, RollLoot(Wanted("ann", "air"), BY), NOW)
        assert isinstance(rolled, Rolled)
        assert (rolled.posted, rolled.roll.yields) == (None, ())
        assert code(desks.decide(c, book, RollLoot(Wanted("nobody", "air"), BY), NOW)) == "PLAYER_UNKNOWN"
        ledger.write(c, book)
        document = rolls.document(c, GAME, rolled.roll.roll_id, NOW + DAY_MS)
    assert document is not None
    assert document["transactionId"] is None
    assert passed(verify_roll(json.loads(json.dumps(document))))
