"""The marketplace in the database: of everybody who wants a listing one gets it, in however many processes."""

import asyncio
from collections.abc import Callable, Sequence

import pytest
from sqlalchemy import Connection, insert
from sqlalchemy.exc import IntegrityError

from relay.economy import entries
from relay.economy.catalog import Item
from relay.economy.desk import Outcome, Traded
from relay.economy.drafts import By, draft
from relay.economy.entries import MINT
from relay.economy.ledger import Book, Posted, Refusal
from relay.economy.market import Listing, State
from relay.economy.trades import Buy, Cancel, Expire, Offer, PutUp
from relay.store import catalog, desks, ledger, ledger_view, market
from relay.store.catalog_tables import market_listings
from relay.store.engine import Database, open_database
from relay.store.writer import Writer
from tests.harness.ledgers import BY, NOW, all_balances, check_ledger, found_game, ledger_at, post

GAME = "chess"
EXPIRY = By("system", "system:expiry", 0)
OFFER = Offer("ann", "sword", 2, "gold", 50, 250, NOW + 1_000)
Operation = Callable[[Connection, Book], Outcome]


def found_market(c: Connection) -> None:
    """Ann has 6 swords; bob and eve have 200 gold each."""
    found_game(c, GAME)
    book = ledger.open_books(c, [GAME])[GAME]
    for item in (Item("sword", "Sword"), Item("ring", "Ring", soulbound=True)):
        catalog.declare(c, book, item, "key_1", NOW)
    moves = [
        entries.moved("item:sword", 6, MINT, "player:ann"), entries.moved("item:ring", 1, MINT, "player:ann"),
        *(entries.moved("currency:gold", 200, MINT, name) for name in ("player:bob", "player:eve")),
    ]  # fmt: skip
    first = draft("loot", BY, moves)
    ledger.load(c, book, [first])
    assert isinstance(book.record(first, "txn_start", NOW), Posted)
    ledger.write(c, book)


def doing(operation: Operation) -> Callable[[Connection], Outcome]:
    """An operation with the game's book open, as one job of a writer."""

    def job(c: Connection) -> Outcome:
        book = ledger.open_books(c, [GAME])[GAME]
        outcome = operation(c, book)
        ledger.write(c, book)
        return outcome

    return job


def do(database: Database, operation: Operation) -> Outcome:
    """One operation, committed."""
    with database.write() as c:
        return doing(operation)(c)


def put_up(database: Database, offer: Offer = OFFER) -> Listing:
    """A listing."""
    traded = do(database, lambda c, book: desks.decide(c, book, PutUp(offer, BY), NOW))
    assert isinstance(traded, Traded)
    return traded.listing


def code(outcome: object) -> str:
    """Why something was refused."""
    assert isinstance(outcome, Refusal)
    return outcome.code


def test_a_listing_from_escrow_to_sale(database_url: str) -> None:
    """Items and money are where they belong at every step."""
    with ledger_at(database_url) as database:
        with database.write() as c:
            found_market(c)
        listing = put_up(database)
        held = database.read_now(lambda c: all_balances(c, GAME))
        assert (held["player:ann", "item:sword"], held["escrow:ann", "item:sword"]) == (4, 2)
        sold = do(database, lambda c, book: desks.decide(c, book, Buy(listing.listing_id, "bob", BY), NOW + 999))
        assert isinstance(sold, Traded)
        assert database.read_now(lambda c: market.read(c, GAME, listing.listing_id)) == sold.listing
        assert (sold.listing.state, sold.listing.buyer, sold.listing.closed_at_ms) == (State.SOLD, "bob", NOW + 999)
        after = database.read_now(lambda c: all_balances(c, GAME))
        gold = {name: after[f"player:{name}", "currency:gold"] for name in ("ann", "bob")}
        assert (gold, after["tax", "currency:gold"]) == ({"ann": 48, "bob": 150}, 2)
        assert after["player:bob", "item:sword"] == 2
        for operation in (
            lambda c, book: desks.decide(c, book, Buy(listing.listing_id, "eve", BY), NOW),
            lambda c, book: desks.decide(c, book, Cancel(listing.listing_id, "ann", BY), NOW),
        ):
            assert code(do(database, operation)) == "LISTING_CLOSED"
        database.read_now(lambda c: check_ledger(c, GAME))


def test_what_the_market_refuses_changes_nothing(database_url: str) -> None:
    """Each with its own code."""
    with ledger_at(database_url) as database:
        with database.write() as c:
            found_market(c)
        one = put_up(database).listing_id
        before = database.read_now(lambda c: all_balances(c, GAME))
        for operation, expected in (
            (lambda c, b: desks.decide(c, b, PutUp(OFFER._replace(item_id="none"), BY), NOW), "ITEM_UNKNOWN"),
            (lambda c, b: desks.decide(c, b, PutUp(OFFER._replace(item_id="ring"), BY), NOW), "ITEM_SOULBOUND"),
            (lambda c, b: desks.decide(c, b, PutUp(OFFER._replace(currency_id="none"), BY), NOW), "CURRENCY_UNKNOWN"),
            (lambda c, b: desks.decide(c, b, PutUp(OFFER._replace(quantity=5), BY), NOW), "INSUFFICIENT_ITEMS"),
            (lambda c, b: desks.decide(c, b, Buy("none", "bob", BY), NOW), "LISTING_UNKNOWN"),
            (lambda c, b: desks.decide(c, b, Buy(one, "ann", BY), NOW), "SELF_PURCHASE"),
            (lambda c, b: desks.decide(c, b, Buy(one, "nobody", BY), NOW), "PLAYER_UNKNOWN"),
            (lambda c, b: desks.decide(c, b, Buy(one, "bob", BY), NOW + 1_000), "LISTING_EXPIRED"),
            (lambda c, b: desks.decide(c, b, Cancel("none", "ann", BY), NOW), "LISTING_UNKNOWN"),
            (lambda c, b: desks.decide(c, b, Cancel(one, "bob", BY), NOW), "NOT_THE_SELLER"),
        ):
            assert code(do(database, operation)) == expected
        assert code(do(database, lambda c, b: desks.decide(c, b, Expire(one, EXPIRY), NOW + 999))) == "LISTING_CLOSED"
        assert database.read_now(lambda c: all_balances(c, GAME)) == before


def test_the_list_shows_what_can_be_bought_newest_first(database_url: str) -> None:
    """By pages; what is over is not there, though nobody has expired it yet."""
    with ledger_at(database_url) as database:
        with database.write() as c:
            found_market(c)
        for n in range(3):
            do(database, lambda c, b, n=n: desks.decide(c, b, PutUp(OFFER._replace(quantity=1), BY), NOW + n))  # type: ignore[misc]
        endless = put_up(database, OFFER._replace(quantity=1, expires_at_ms=None))
        shown = database.read_now(lambda c: market.open_listings(c, GAME, NOW, 9, None))
        assert [one.listing_id for one in shown] == sorted((one.listing_id for one in shown), reverse=True)
        assert len(shown) == 4
        rest = database.read_now(lambda c: market.open_listings(c, GAME, NOW, 2, shown[1].listing_id))
        assert rest == shown[2:]
        assert database.read_now(lambda c: market.open_listings(c, GAME, NOW + 1_000, 9, None)) == [endless]
        assert database.read_now(lambda c: market.due(c, NOW + 999, 9)) == []
        due = database.read_now(lambda c: market.due(c, NOW + 1_000, 9))
        assert {one for _, one in due} == {one.listing_id for one in shown} - {endless.listing_id}
        for _, one in due:
            expired = do(database, lambda c, b, one=one: desks.decide(c, b, Expire(one, EXPIRY), NOW + 1_000))  # type: ignore[misc]
            assert isinstance(expired, Traded)
        assert database.read_now(lambda c: market.due(c, NOW + 1_000, 9)) == []
        database.read_now(lambda c: check_ledger(c, GAME))


def test_of_all_who_want_a_listing_one_gets_it(database_url: str) -> None:
    """Buy, buy, cancel and expire at once, from two processes' writers, thirty times: one outcome each."""
    rounds = 30

    async def race(writers: Sequence[Writer], listing_id: str) -> list[Outcome]:
        wanted: list[Operation] = [
            lambda c, b: desks.decide(c, b, Buy(listing_id, "bob", BY), NOW),
            lambda c, b: desks.decide(c, b, Buy(listing_id, "eve", BY), NOW),
            lambda c, b: desks.decide(c, b, Cancel(listing_id, "ann", BY), NOW),
            lambda c, b: desks.decide(c, b, Expire(listing_id, EXPIRY), NOW + 1_000),
        ]
        jobs = [writers[n % 2].run(doing(operation)) for n, operation in enumerate(wanted)]
        return list(await asyncio.gather(*jobs))

    async def scenario(databases: Sequence[Database]) -> None:
        writers = [Writer(database) for database in databases]
        for writer in writers:
            writer.start()
        for _ in range(rounds):
            listing = put_up(databases[0], OFFER._replace(price=1))
            outcomes = await race(writers, listing.listing_id)
            won = [outcome for outcome in outcomes if isinstance(outcome, Traded)]
            assert len(won) == 1
            assert databases[1].read_now(lambda c, one=listing: market.read(c, GAME, one.listing_id)) == won[0].listing  # type: ignore[misc]
            give_back(databases[0], won[0].listing)
        for writer in writers:
            await writer.stop()
            assert writer.stats.alone == 0, "a deadlock was broken by the database"

    with ledger_at(database_url) as first:
        with first.write() as c:
            found_market(c)
        second = open_database(database_url)
        asyncio.run(scenario((first, second)))
        second.close()
        first.read_now(lambda c: check_ledger(c, GAME))
        assert first.read_now(lambda c: ledger_view.owned(c, GAME, "ann"))["item:sword"].amount == 6


def give_back(database: Database, listing: Listing) -> None:
    """Let ann have what was sold again."""
    if listing.buyer is None:
        return
    with database.write() as c:
        move = entries.moved("item:sword", listing.quantity, f"player:{listing.buyer}", "player:ann")
        outcome = post(c, {GAME: [draft("transfer", BY, [move])]}, NOW)[GAME][0]
        assert isinstance(outcome, Posted)


@pytest.mark.parametrize(
    "change",
    [
        {"quantity": 0}, {"price": 0}, {"tax_bps": 10_001}, {"state": "gone"}, {"expires_at_ms": NOW},
        {"closed_at_ms": 1}, {"state": "sold", "closed_at_ms": 1}, {"buyer": "bob"},
        {"state": "sold", "closed_at_ms": 1, "buyer": "ann"},
    ],
    ids=str,
)  # fmt: skip
def test_the_table_refuses_what_no_listing_is(database_url: str, change: dict[str, object]) -> None:
    """Whatever program writes into it."""
    listing = Listing("lst_1", "ann", "sword", 1, "gold", 5, 0, NOW)
    with ledger_at(database_url) as database:
        with pytest.raises(IntegrityError), database.write() as c:
            c.execute(insert(market_listings).values({"game_id": GAME, **listing._asdict(), **change}))
        with database.write() as c:
            c.execute(insert(market_listings).values(game_id=GAME, **listing._asdict()))
