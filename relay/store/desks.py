"""Desks: all that a group of a game's operations is decided on, read at once; and what was decided, written at once.

Touches the catalog, the market, rolls and seeds through their modules; the game's book must be open
(`relay.store.ledger.open_books`), which is the lock of all of it. A group:

    desk = desks.read(c, book, names, now_ms)     what the steps' `names` asked for
    desks.load(c, desk, drafts)                   the positions that the steps' `drafts` touch
    step.decide(desk) …                           in order, with no further look at the database
    desks.write(c, desk)                          and then `ledger.write(c, book)`
"""

from collections.abc import Iterable, Sequence

from sqlalchemy import Connection

from relay.economy import catalog
from relay.economy.catalog import Declaration, Item, Recipe
from relay.economy.desk import Desk, Epoch, Names, Outcome, Step
from relay.economy.drafts import Draft
from relay.economy.ledger import Book
from relay.ids import id_maker
from relay.seeds import day_of
from relay.store import catalog as declared
from relay.store import ledger, market, rolls


def read(c: Connection, book: Book, names: Names, now_ms: int) -> Desk:
    """Return the desk of a game with everything of it that was asked for; a statement for each kind of thing."""
    game_id = book.game_id
    desk = Desk(book, now_ms, id_maker(now_ms))
    book.players |= ledger.players(c, game_id, book.ask("player", names.players))
    book.currencies.update(ledger.currencies(c, game_id, book.ask("currency", names.currencies)))
    ledger.learn_references(c, book, names.references)
    desk.listings = market.find(c, game_id, names.listings)
    desk.recipes = declared.find(c, game_id, Recipe, names.recipes)
    desk.tables = declared.loot_tables(c, game_id, names.tables)
    items = names.items | {listing.item_id for listing in desk.listings.values()}
    found: list[Declaration] = [*desk.recipes.values(), *desk.tables.values()]
    items.update(*map(catalog.items_of, found))
    desk.items = declared.find(c, game_id, Item, items)
    desk.crafted_ms = rolls.crafted_ms(c, game_id, names.crafts)
    desk.originals = ledger.originals(c, game_id, names.transactions)
    if names.rolls:
        epoch = day_of(now_ms)
        secret = rolls.secret_of(c, game_id, epoch, now_ms)
        desk.epoch = Epoch(epoch, secret.secret, secret.commitment)
        desk.next_number = rolls.next_number(c, game_id, epoch)
    return desk


def load(c: Connection, desk: Desk, drafts: Iterable[Draft]) -> None:
    """Read into the desk's book what deciding on these drafts takes."""
    ledger.load(c, desk.book, list(drafts))


def write(c: Connection, desk: Desk) -> None:
    """Write what was decided, but for what is recorded in the book."""
    market.insert_listings(c, desk.book.game_id, desk.listed)
    market.close_listings(c, desk.book.game_id, desk.closed)
    rolls.insert_rolls(c, desk.rolls)
    rolls.save_crafts(c, desk.book.game_id, {one: desk.crafted_ms[one] for one in desk.crafts})
    desk.listed.clear()
    desk.closed.clear()
    desk.rolls.clear()
    desk.crafts.clear()


def decide(c: Connection, book: Book, step: Step, now_ms: int) -> Outcome:
    """Decide on one operation by itself, and write it; whoever opened the book writes that."""
    (outcome,) = decide_all(c, book, [step], now_ms)
    return outcome


def decide_all(c: Connection, book: Book, steps: Sequence[Step], now_ms: int) -> list[Outcome]:
    """Decide on operations in order, and write them; whoever opened the book writes that."""
    names = Names()
    for step in steps:
        step.names(names)
    desk = read(c, book, names, now_ms)
    load(c, desk, [draft for step in steps for draft in step.drafts(desk)])
    outcomes = [step.decide(desk) for step in steps]
    write(c, desk)
    return outcomes
