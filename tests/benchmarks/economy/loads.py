"""What the economy benchmark sends: a game with players and goods, and three loads of operations on it.

Touches the database to found the game. No player meets a limit or a detector: none acts more than 40 times in one way,
and no pair transfers more than twice. All of it is one game, whose transactions are one chain: nothing is parallel.
"""

import random
from collections.abc import Callable
from decimal import Decimal

from relay.economy.catalog import Item, LootEntry, LootTable, Output, Price, Recipe, Stack
from relay.economy.drafts import By
from relay.economy.ledger import Posted
from relay.economy.players import Currency, Player
from relay.economy.requests import (
    BuyRequest,
    CraftRequest,
    GrantRequest,
    ListRequest,
    LootRequest,
    Operation,
    PurchaseRequest,
    SpendRequest,
    TransferRequest,
)
from relay.economy.steps import Purchase
from relay.economy.trades import Offer, PutUp
from relay.store import catalog, desks, ledger, wallets
from relay.store.engine import Database

GAME = "arena"
PER_PLAYER = 40
BY = By("server", "key_bench", 0)
NOW = 1_700_000_000_000
DECLARED = (
    Item("ore", "Ore", prices=(Price("gold", 3),)),
    Recipe("ingot", (Output("ore", 2, Decimal("0.5")),), inputs=(Stack("ore", 1),), costs=(Price("gold", 1),)),
    LootTable("chest", (LootEntry(2, item_id="ore", quantity=3), LootEntry(1, currency_id="gold", amount=9))),
)
# The mix: kinds of operation and their share in a hundred.
MIX = {"grant": 35, "transfer": 25, "spend": 15, "purchase": 10, "loot": 6, "craft": 4, "list": 3, "buy": 2}
_KINDS = [kind for kind, share in MIX.items() for _ in range(share)]
Load = Callable[[int], Operation]  # the operation of a serial number


def players_for(count: int) -> int:
    """How many players share `count` operations without meeting a limit."""
    return max(50, -(-count // PER_PLAYER))


def found(database: Database, count: int) -> list[str]:
    """Found the game for `count` operations; returns the listings that the mixed load buys."""
    names = [f"player-{n}" for n in range(players_for(count))]
    with database.write() as c:
        wallets.put_currency(c, GAME, Currency("gold", "Gold", "g"), NOW)
        book = ledger.open_books(c, [GAME])[GAME]
        for declared in DECLARED:
            catalog.declare(c, book, declared, "key_bench", NOW)
        wallets.put_players(c, GAME, [Player(name, wallets=(("gold", 1_000_000),)) for name in names], BY, NOW)
    with database.write() as c:
        book = ledger.open_books(c, [GAME])[GAME]
        desks.decide_all(c, book, [Purchase(name, "ore", 100, None, BY) for name in names], NOW)
        sellers = [names[n % len(names)] for n in range(count * MIX["buy"] // 100 + 100)]
        steps = [PutUp(Offer(name, "ore", 1, "gold", 5, 500), BY) for name in sellers]
        put_up = desks.decide_all(c, book, steps, NOW)
        ledger.write(c, book)
    return [made.listing.listing_id for made in put_up if not isinstance(made, Posted)]  # type: ignore[union-attr]


def loads(count: int, listings: list[str]) -> dict[str, Load]:
    """The loads by name; `count` as the game was founded for."""
    people = players_for(count)
    chosen = (serial for serial in range(count) if _kind(serial) == "buy")
    bought = {serial: at for at, serial in enumerate(chosen)}

    def name(serial: int) -> str:
        return f"player-{serial % people}"

    def grant(serial: int) -> Operation:
        return GrantRequest(external_id=name(serial), currency_id="gold", amount=1 + serial % 100, reason="quest")

    def transfer(serial: int) -> Operation:
        other = name(serial + 1 + serial // people)  # another one each time
        amount = 1 + serial % 100
        return TransferRequest(from_external_id=name(serial), to_external_id=other, currency_id="gold", amount=amount)

    def buy(serial: int) -> Operation:
        at = bought[serial]
        return BuyRequest(external_id=name(at + people // 2), listing_id=listings[at])

    def put_up(serial: int) -> Operation:
        return ListRequest(external_id=name(serial), item_id="ore", quantity=1, currency_id="gold", price=7)

    made: dict[str, Load] = {
        "grant": grant,
        "transfer": transfer,
        "spend": lambda n: SpendRequest(external_id=name(n), currency_id="gold", amount=1 + n % 50),
        "purchase": lambda n: PurchaseRequest(external_id=name(n), item_id="ore", quantity=2),
        "loot": lambda n: LootRequest(external_id=name(n), loot_table_id="chest", client_seed=str(n)),
        "craft": lambda n: CraftRequest(external_id=name(n), recipe_id="ingot", client_seed=str(n)),
        "list": put_up,
        "buy": buy,
    }
    return {"grant": grant, "transfer": transfer, "mixed": lambda serial: made[_kind(serial)](serial)}


def _kind(serial: int) -> str:
    return random.Random(serial).choice(_KINDS)
