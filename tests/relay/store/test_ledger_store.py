"""The ledger in the database: replicas that book at once, what the tables refuse by themselves, and what is read."""

import asyncio
import threading
from collections.abc import Sequence

import pytest
from sqlalchemy import Connection, text
from sqlalchemy.exc import DatabaseError

from relay.economy import drafts, entries
from relay.economy.drafts import By
from relay.economy.ledger import Posted, Refusal
from relay.economy.players import Currency, Player
from relay.economy.reconcile import Mismatch
from relay.store import controls, ledger, ledger_reconcile, ledger_view, wallets
from relay.store.engine import Database, open_database
from relay.store.flags import FlagFilter, list_flags
from relay.store.ledger_rows import BalanceGoneError
from relay.store.ledger_view import Owned, Supply
from relay.store.writer import Writer
from tests.harness.ledgers import BY, NOW, all_balances, check_ledger, found_game, ledger_at, post, reverse

GAMES = ("chess", "go")
GOLD, SWORD = entries.currency("gold"), entries.item("sword")
ANN, BOB = entries.wallet("ann"), entries.wallet("bob")


def book(c: Connection, *wanted: drafts.Draft, game_id: str = "chess", now_ms: int = NOW) -> list[Posted | Refusal]:
    """Book drafts of one game."""
    return post(c, {game_id: wanted}, now_ms)[game_id]


def booked(c: Connection, draft: drafts.Draft, now_ms: int = NOW) -> str:
    """Book one draft that must be taken; returns the transaction's id."""
    outcome = book(c, draft, now_ms=now_ms)[0]
    assert isinstance(outcome, Posted)
    return outcome.transaction.id


def test_replicas_that_book_at_once_neither_wait_in_a_circle_nor_lose_anything(database_url: str) -> None:
    """Two processes' writers, 16 callers, two games, transfers in both directions: all booked once, no deadlock."""
    calls, callers = 12, 16

    async def scenario(databases: Sequence[Database]) -> list[Posted | Refusal]:
        writers = [Writer(database) for database in databases]
        for writer in writers:
            writer.start()

        async def call(n: int) -> list[Posted | Refusal]:
            payer, payee = ("ann", "bob") if n % 2 else ("bob", "ann")
            both = GAMES if n % 3 else GAMES[::-1]
            work = {game_id: [drafts.transfer(payer, payee, "gold", 1 + n % 5, BY)] for game_id in both}
            found = []
            for _ in range(calls):
                outcomes = await writers[n % 2].run(lambda c: post(c, work, NOW))
                found += [outcome for of_game in outcomes.values() for outcome in of_game]
            return found

        outcomes = await asyncio.gather(*map(call, range(callers)))
        for writer in writers:
            await writer.stop()
            assert writer.stats.alone == 0, "a deadlock was broken by the database"
        return [outcome for of_call in outcomes for outcome in of_call]

    with ledger_at(database_url) as first:
        with first.write() as c:
            for game_id in GAMES:
                found_game(c, game_id)
                book(c, drafts.grant("ann", "gold", 20, BY), drafts.grant("bob", "gold", 20, BY), game_id=game_id)
        second = open_database(database_url)
        outcomes = asyncio.run(scenario((first, second)))
        second.close()
        posted = [outcome for outcome in outcomes if isinstance(outcome, Posted)]
        assert len(outcomes) == calls * callers * len(GAMES)
        assert {outcome.code for outcome in outcomes if isinstance(outcome, Refusal)} <= {"INSUFFICIENT_BALANCE"}
        for game_id in GAMES:
            replay = first.read_now(lambda c, game_id=game_id: check_ledger(c, game_id))  # type: ignore[misc]
            assert replay.sequence == 2 + sum(one.transaction.game_id == game_id for one in posted)
            assert replay.balances[entries.MINT, GOLD] == -40


def test_the_first_bookings_of_a_game_may_come_at_once(database_url: str) -> None:
    """Two replicas that find no head agree on one."""
    with ledger_at(database_url) as database:
        with database.write() as c:
            wallets.put_currency(c, "chess", Currency("gold", "Gold", "g"), NOW)
            c.execute(text("INSERT INTO economy_players VALUES ('chess', 'ann', NULL, NULL, 1, 1)"))
            c.execute(text("DELETE FROM ledger_heads"))
        ready = threading.Barrier(4)

        def grant() -> None:
            ready.wait(10)
            with database.write() as c:
                book(c, drafts.grant("ann", "gold", 1, BY))

        threads = [threading.Thread(target=grant) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert database.read_now(lambda c: check_ledger(c, "chess")).sequence == 4


FORBIDDEN = (
    "UPDATE ledger_transactions SET at_ms = at_ms + 1",
    "DELETE FROM ledger_transactions",
    "UPDATE ledger_moves SET amount = amount + 1",
    "DELETE FROM ledger_moves",
    "UPDATE ledger_balances SET amount = -1 WHERE account = 'player:ann'",
    "UPDATE ledger_balances SET amount = 1 WHERE account = 'mint'",
    "UPDATE ledger_balances SET amount = 9007199254740992 WHERE account = 'burn'",
    "INSERT INTO ledger_balances (game_id, account, asset, amount) VALUES ('chess', 'player', 'item:a', 1)",
    "INSERT INTO ledger_moves VALUES ('chess', 9, 0, 'item:a', 0, 'mint', 'burn')",
    "INSERT INTO ledger_moves VALUES ('chess', 9, 0, 'item:a', 1, 'burn', 'burn')",
    "INSERT INTO ledger_moves VALUES ('chess', 9, 0, 'a', 1, 'mint', 'burn')",
)


def test_the_tables_themselves_refuse_what_no_ledger_may_hold(database_url: str) -> None:
    """Whoever gets at the database with our rights can still not make a wallet negative or change what was booked."""
    with ledger_at(database_url) as database:
        with database.write() as c:
            found_game(c, "chess")
            book(c, drafts.grant("ann", "gold", 5, BY), drafts.spend("ann", "gold", 2, BY))
        for statement in FORBIDDEN:
            with pytest.raises(DatabaseError, match=r"only grows|CHECK|check constraint"), database.write() as c:
                c.execute(text(statement))
        database.read_now(lambda c: check_ledger(c, "chess"))


def test_two_reversals_in_one_group_are_one(database_url: str) -> None:
    """The second hears of the first, before anything was committed, and a day later."""
    with ledger_at(database_url) as database, database.write() as c:
        found_game(c, "chess")
        granted = booked(c, drafts.grant("ann", "gold", 7, BY))
        original = ledger_view.transaction(c, "chess", granted)
        assert original is not None
        undoing = drafts.reversal(granted, original.draft, BY)
        assert undoing is not None
        first, second = book(c, undoing, undoing)
        later = reverse(c, "chess", granted, By("admin", "key_2", 9), NOW + 86_400_000)
        assert isinstance(first, Posted)
        assert second == later == first._replace(replayed=True)
        assert all_balances(c, "chess") == {}
        assert reverse(c, "go", granted, BY, NOW) == Refusal(
            "TRANSACTION_UNKNOWN", f"The game has no transaction {granted}."
        )


def test_what_was_spent_meanwhile_cannot_be_taken_back(database_url: str) -> None:
    """A reversal obeys the ledger as everything does."""
    with ledger_at(database_url) as database, database.write() as c:
        found_game(c, "chess")
        granted = booked(c, drafts.grant("ann", "gold", 7, BY))
        booked(c, drafts.spend("ann", "gold", 1, BY))
        assert reverse(c, "chess", granted, BY, NOW) == Refusal(
            "INSUFFICIENT_BALANCE", "ann has 6 of gold, and 7 are needed."
        )
        check_ledger(c, "chess")


def test_opening_balances_count_at_the_creation_only(database_url: str) -> None:
    """They are entries; one that cannot be booked creates nobody; a second declaration changes the name only."""
    with ledger_at(database_url) as database, database.write() as c:
        wallets.put_currency(c, "chess", Currency("gems", "Gems", "*", max_balance=50), NOW)
        rich, fine = Player("rich", None, None, (("gems", 51),)), Player("fine", "Fine", b"\1" * 20, (("gems", 50),))
        refused, created, again = wallets.put_players(c, "chess", [rich, fine, fine], BY, NOW)
        assert refused == Refusal("MAX_BALANCE_EXCEEDED", "rich would own 51 of gems, and 50 is the most allowed.")
        assert isinstance(created, wallets.Declared)
        assert created.opened is not None
        assert again == wallets.Declared(created=False)
        renamed = wallets.put_players(c, "chess", [fine._replace(display_name="Finer")], BY, NOW + 1)
        assert renamed == [wallets.Declared(created=False)]
        moved = fine._replace(display_name="Lost", address=b"\2" * 20, changes=("address",))
        wallets.put_players(c, "chess", [moved], BY, NOW + 2)
        found = wallets.find_players(c, "chess", ["fine", "rich"])
        assert found == {"fine": wallets.PlayerRow("fine", "Finer", b"\2" * 20, NOW, NOW + 2)}
        assert ledger_view.owned(c, "chess", "fine") == {entries.currency("gems"): Owned(50, 0, frozen=False)}
        assert check_ledger(c, "chess").sequence == 1


def test_what_is_held_still_counts_for_the_cap_and_comes_back_above_a_lowered_one(database_url: str) -> None:
    """Escrow is no way around `maxBalance`, and lowering it takes nothing from anybody."""
    gems = entries.currency("gems")
    held = entries.escrow("ann")
    with ledger_at(database_url) as database, database.write() as c:
        found_game(c, "chess")
        booked(c, drafts.grant("ann", "gems", 50, BY))
        booked(c, drafts.draft("list", BY, [entries.moved(gems, 30, ANN, held)], listingId="lst_1"))
        assert ledger_view.owned(c, "chess", "ann")[gems] == Owned(20, 30, frozen=False)
        more = book(c, drafts.grant("ann", "gems", 1, BY))[0]
        assert more == Refusal("MAX_BALANCE_EXCEEDED", "ann would own 51 of gems, and 50 is the most allowed.")
        wallets.put_currency(c, "chess", Currency("gems", "Gems", "*", max_balance=10), NOW)
        booked(c, drafts.draft("cancel", BY, [entries.moved(gems, 30, held, ANN)], listingId="lst_1"))
        assert ledger_view.owned(c, "chess", "ann")[gems] == Owned(50, 0, frozen=False)
        assert [one.max_balance for one in wallets.list_currencies(c, "chess")] == [10, None]
        check_ledger(c, "chess")


def test_statistics_say_where_everything_is(database_url: str) -> None:
    """Minted is burned and taxed and escrowed and circulating."""
    with ledger_at(database_url) as database, database.write() as c:
        found_game(c, "chess")
        booked(c, drafts.grant("ann", "gold", 100, BY))
        booked(c, drafts.spend("ann", "gold", 30, BY))
        booked(c, drafts.draft("list", BY, [entries.moved(GOLD, 20, ANN, entries.escrow("ann"))]))
        sale = [entries.moved(GOLD, 4, ANN, BOB), entries.moved(GOLD, 1, ANN, entries.TAX)]
        booked(c, drafts.draft("buy", BY, sale))
        assert ledger_view.supply(c, "chess") == {GOLD: Supply(100, 30, 1, 20, 49)}


def test_a_balance_that_was_tampered_with_is_found_frozen_flagged_and_repaired(database_url: str) -> None:
    """The reconciler adds up all moves; the wallet stays frozen until an auditor lets the moves decide."""
    with ledger_at(database_url) as database, database.write() as c:
        found_game(c, "chess")
        booked(c, drafts.grant("ann", "gold", 100, BY))
        booked(c, drafts.transfer("ann", "bob", "gold", 40, BY))
        c.execute(text("UPDATE ledger_balances SET amount = 61 WHERE account = 'player:ann'"))
        wrong = Mismatch((ANN, GOLD), 61, 60)
        found, after = ledger_view.mismatches_of(c, "chess", None, 1)
        assert (found, after) == ([wrong], "ann")
        assert ledger_view.mismatches_of(c, "chess", after, 1) == ([], "bob")
        assert ledger_view.mismatches_of(c, "chess", "bob", 9) == ([], None)
        assert [ledger_reconcile.seize(c, "chess", found, NOW) for _ in range(2)] == [[wrong]] * 2
        (flag,) = list_flags(c, FlagFilter(game_id="chess"), 9, None)
        assert (flag.code, flag.severity, flag.player_id, flag.occurrences) == ("LEDGER_MISMATCH", "critical", "ann", 2)
        assert flag.reason == "Balance of currency:gold is 61, and its entries add up to 60"
        refused = book(c, drafts.spend("ann", "gold", 61, BY))[0]
        assert refused == Refusal("WALLET_FROZEN", "gold of ann is frozen until an auditor has looked at it.")
        by = controls.By("key_auditor", "a row was changed by hand", NOW)
        assert ledger_reconcile.repair(c, "chess", (ANN, GOLD), by) == wrong
        assert ledger_reconcile.repair(c, "chess", (ANN, GOLD), by) is None
        booked(c, drafts.spend("ann", "gold", 60, BY))
        check_ledger(c, "chess")


def test_a_balance_that_was_deleted_is_found_and_nothing_is_booked_on_it(database_url: str) -> None:
    """Where the mint itself was changed nothing is frozen: every grant of the game would stop."""
    with ledger_at(database_url) as database, database.write() as c:
        found_game(c, "chess")
        booked(c, drafts.grant("ann", "gold", 100, BY))
        c.execute(text("DELETE FROM ledger_balances WHERE account = 'player:ann'"))
        c.execute(text("UPDATE ledger_balances SET amount = -99 WHERE account = 'mint'"))
        wrong = [Mismatch(("mint", GOLD), -99, -100), Mismatch((ANN, GOLD), 0, 100)]
        assert ledger_view.mismatches_of(c, "chess", None) == (wrong, None)
        assert ledger_reconcile.seize(c, "chess", wrong, NOW) == wrong
        outcomes = book(c, drafts.grant("ann", "gold", 1, BY), drafts.grant("bob", "gold", 1, BY))
        assert isinstance(outcomes[0], Refusal)
        assert isinstance(outcomes[1], Posted)
        for mismatch in wrong:
            assert ledger_reconcile.repair(c, "chess", mismatch.position, controls.By("a", "b", NOW)) is not None
        check_ledger(c, "chess")


def test_a_balance_changed_by_somebody_without_the_lock_stops_the_booking(database_url: str) -> None:
    """What was read is frozen behind our back: nothing is written."""
    with ledger_at(database_url) as database:
        with database.write() as c:
            found_game(c, "chess")
            booked(c, drafts.grant("ann", "gold", 5, BY))
        with pytest.raises(BalanceGoneError, match="without the game's lock"):
            _book_while_frozen_behind_our_back(database)
        assert database.read_now(lambda c: check_ledger(c, "chess")).sequence == 1


def _book_while_frozen_behind_our_back(database: Database) -> None:
    spending = drafts.spend("ann", "gold", 1, BY)
    with database.write() as c:
        opened = ledger.open_books(c, ["chess"])["chess"]
        ledger.load(c, opened, [spending])
        assert isinstance(opened.record(spending, "txn_1", NOW), Posted)
        c.execute(text("UPDATE ledger_balances SET frozen_at_ms = 1, frozen_why = 'x' WHERE account = 'player:ann'"))
        ledger.write(c, opened)


def test_a_book_is_used_on_after_it_was_written(database_url: str) -> None:
    """An operation of several steps records and writes as often as it needs under one lock."""
    with ledger_at(database_url) as database, database.write() as c:
        found_game(c, "chess")
        opened = ledger.open_books(c, ["chess"])["chess"]
        for n, draft in enumerate(
            [drafts.grant("ann", "gold", 5, BY), drafts.transfer("ann", "bob", "gold", 5, BY)] * 2
        ):
            ledger.load(c, opened, [draft])
            assert isinstance(opened.record(draft, f"txn_{n}", NOW), Posted)
            if n != 1:
                ledger.write(c, opened)
        assert check_ledger(c, "chess").sequence == 4
        assert all_balances(c, "chess") == {(entries.MINT, GOLD): -10, (BOB, GOLD): 10}


def test_ids_of_any_script_are_booked_and_read_back(database_url: str) -> None:
    """What is a valid id is valid in both databases, in JSON and in the chain."""
    name, coin = "Ωμέγα 100%_'\"\\ 🎲", "мон:ета"
    with ledger_at(database_url) as database, database.write() as c:
        wallets.put_currency(c, "chess", Currency(coin, "Coin", "o"), NOW)
        wallets.put_players(c, "chess", [Player(name, None, None, ((coin, 3),))], BY, NOW)
        booked(c, drafts.spend(name, coin, 1, BY._replace(reason="naïve 🎲", reference=name)))
        assert ledger_view.owned(c, "chess", name) == {entries.currency(coin): Owned(2, 0, frozen=False)}
        check_ledger(c, "chess")
