"""Booking: the one lock of a game's economy, what deciding takes, and what was decided, written together.

The only SQL that changes the ledger. The row of a game in `ledger_heads` is locked before anything of its economy is
read for a decision, and until the commit: transactions are chained, so they come one after the other anyway, and behind
this lock every balance, listing, cooldown or seed of the game may be decided on without a further one. Several games
are locked in ascending order of their ids, so replicas never wait for each other in a circle, as long as a database
transaction locks all its games by one call of `open_books`.
"""

from collections.abc import Collection, Iterable, Sequence

from sqlalchemy import Connection, select, update
from sqlalchemy.dialects import postgresql, sqlite

from relay.economy import entries
from relay.economy.drafts import Draft
from relay.economy.ledger import GENESIS, Balance, Book, Transaction, touched
from relay.economy.randomness import RollNumber, roll_id
from relay.store import ledger_rows, tallies
from relay.store.bulk import keys, lookup
from relay.store.economy_tables import ledger_heads
from relay.store.ledger_view import parsed

NOTHING = Balance()
_PLAYERS = lookup("SELECT external_id FROM economy_players WHERE game_id = :game_id AND external_id IN :ids")
_CURRENCIES = lookup(
    "SELECT currency_id, max_balance FROM economy_currencies WHERE game_id = :game_id AND currency_id IN :ids"
)
_ORIGINALS = lookup("SELECT id, body FROM ledger_transactions WHERE id IN :ids AND game_id = :game_id")
_UNDONE = lookup("SELECT reverses, body FROM ledger_transactions WHERE reverses IN :ids")
_BOOKED = lookup("SELECT reference, id FROM ledger_transactions WHERE game_id = :game_id AND reference IN :ids")
_ROLLED = lookup("SELECT reference, epoch, number FROM economy_rolls WHERE game_id = :game_id AND reference IN :ids")


def open_books(c: Connection, game_ids: Iterable[str]) -> dict[str, Book]:
    """Lock the economies of games until the commit and return their books, with nothing read but their heads.

    To be called once per database transaction, before anything else of these games is locked.
    """
    wanted = sorted(set(game_ids))
    books = _locked(c, wanted)
    new = [game_id for game_id in wanted if game_id not in books]
    if new:
        insert = postgresql.insert if c.dialect.name == "postgresql" else sqlite.insert
        rows = [{"game_id": game_id, "next_sequence": 0, "head": GENESIS} for game_id in new]
        c.execute(insert(ledger_heads).on_conflict_do_nothing(), rows)
        books = _locked(c, wanted)
    return books


def _locked(c: Connection, game_ids: Sequence[str]) -> dict[str, Book]:
    query = select(ledger_heads).where(ledger_heads.c.game_id.in_(game_ids)).order_by(ledger_heads.c.game_id)
    return {
        row.game_id: Book(row.game_id, row.next_sequence, bytes(row.head)) for row in c.execute(query.with_for_update())
    }


def load(c: Connection, book: Book, drafts: Sequence[Draft]) -> None:
    """Read into a book what deciding on the drafts takes, and it does not know yet: a few statements, however many."""
    positions = touched(drafts)
    missing = sorted(positions - book.balances.keys())
    found = ledger_rows.balances(c, book.game_id, missing)
    book.balances.update({position: found.get(position, NOTHING) for position in missing})
    book.stored |= found.keys()
    owners = {player for account, _ in positions if (player := entries.owner(account)) is not None}
    book.players |= players(c, book.game_id, book.ask("player", owners - book.players))
    ids = {currency_id for _, asset in positions if (currency_id := entries.currency_of(asset)) is not None}
    book.currencies.update(currencies(c, book.game_id, book.ask("currency", ids)))
    learn_references(c, book, {draft.reference for draft in drafts if draft.reference is not None})
    undone = book.ask("reversal", {draft.reverses for draft in drafts if draft.reverses is not None})
    if undone:
        for transaction_id, body in c.execute(_UNDONE[c.dialect.name], {"ids": keys(c, undone)}):
            book.reversals[transaction_id] = parsed(body)


def learn_references(c: Connection, book: Book, references: Iterable[str]) -> None:
    """Read into a book which of these references were used, and for what."""
    wanted = sorted(book.ask("reference", references))
    if wanted:
        given = {"game_id": book.game_id, "ids": keys(c, wanted)}
        for reference, first in c.execute(_BOOKED[c.dialect.name], given):
            book.references[reference] = first
        for reference, epoch, number in c.execute(_ROLLED[c.dialect.name], given):
            book.references[reference] = roll_id(RollNumber(epoch, number))


def write(c: Connection, book: Book) -> None:
    """Write what was recorded in a book that is locked; the book can be used on."""
    if not book.added:
        return
    ledger_rows.insert_transactions(c, book.added)
    ledger_rows.insert_moves(c, [made for made, _, _ in book.added])
    changes = book.changes()
    first = {position: change for position, change in changes.items() if position not in book.stored}
    ledger_rows.change_balances(c, book.game_id, {key: n for key, n in changes.items() if key not in first})
    ledger_rows.insert_balances(c, book.game_id, first)
    book.stored |= first.keys()
    head = {"next_sequence": book.sequence, "head": book.head}
    c.execute(update(ledger_heads).where(ledger_heads.c.game_id == book.game_id).values(head))
    tallies.add_supply(c, book.game_id, [made for made, _, _ in book.added])
    book.added.clear()


def originals(c: Connection, game_id: str, transaction_ids: Collection[str]) -> dict[str, Transaction]:
    """Return those of these transactions that the game has, by id."""
    if not transaction_ids:
        return {}
    given = {"game_id": game_id, "ids": keys(c, transaction_ids)}
    return {row.id: parsed(row.body) for row in c.execute(_ORIGINALS[c.dialect.name], given)}


def players(c: Connection, game_id: str, external_ids: Iterable[str]) -> set[str]:
    """Return which of these players the game has."""
    wanted = list(external_ids)
    if not wanted:
        return set()
    return set(c.scalars(_PLAYERS[c.dialect.name], {"game_id": game_id, "ids": keys(c, wanted)}))


def currencies(c: Connection, game_id: str, currency_ids: Iterable[str]) -> dict[str, int | None]:
    """Return `maxBalance` (None: no limit) of those of these currencies that the game has."""
    wanted = list(currency_ids)
    if not wanted:
        return {}
    return dict(map(tuple, c.execute(_CURRENCIES[c.dialect.name], {"game_id": game_id, "ids": keys(c, wanted)})))


def freeze(c: Connection, game_id: str, position: entries.Position, why: str, now_ms: int) -> bool:
    """Let nothing move into or out of a position until `thaw`; False where it is frozen already or was never used.

    Locks the game's economy: a booking under way is waited for.
    """
    open_books(c, [game_id])
    return ledger_rows.set_frozen(c, game_id, position, (now_ms, why))


def thaw(c: Connection, game_id: str, position: entries.Position) -> bool:
    """Let a frozen position be moved again; False where it was not frozen."""
    open_books(c, [game_id])
    return ledger_rows.set_frozen(c, game_id, position, None)


def held(c: Connection, game_id: str, positions: Iterable[entries.Position]) -> dict[entries.Position, Balance]:
    """Return what positions hold; those never used are absent."""
    return ledger_rows.balances(c, game_id, sorted(set(positions)))
