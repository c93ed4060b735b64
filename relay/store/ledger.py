"""Booking: the one lock of a game's economy, what deciding takes, and what was decided, written together.

The only SQL that changes the ledger. The row of a game in `ledger_heads` is locked before anything of its economy is
read for a decision, and until the commit: transactions are chained, so they come one after the other anyway, and behind
this lock every balance, listing, cooldown or seed of the game may be decided on without a further one. Several games
are locked in ascending order of their ids, so replicas never wait for each other in a circle, as long as a database
transaction locks all its games by one call of `open_books` (or `post`).
"""

from collections.abc import Collection, Iterable, Mapping, Sequence

from sqlalchemy import Connection, select, update
from sqlalchemy.dialects import postgresql, sqlite

from relay.economy import entries
from relay.economy.drafts import By, Draft, reversal
from relay.economy.ledger import GENESIS, Balance, Book, Posted, Refusal, Transaction, touched
from relay.economy.randomness import RollNumber, roll_id
from relay.ids import new_ids
from relay.store import ledger_rows, tallies
from relay.store.catalog_tables import economy_rolls
from relay.store.economy_tables import economy_currencies, economy_players, ledger_heads, ledger_transactions
from relay.store.ledger_view import parsed, transaction

Outcome = Posted | Refusal
NOTHING = Balance()


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
    t = ledger_transactions.c
    undone = book.ask("reversal", {draft.reverses for draft in drafts if draft.reverses is not None})
    if undone:
        for row in c.execute(select(t.reverses, t.body).where(t.reverses.in_(undone))):
            book.reversals[row.reverses] = parsed(row.body)


def learn_references(c: Connection, book: Book, references: Iterable[str]) -> None:
    """Read into a book which of these references were used, and for what."""
    wanted = sorted(book.ask("reference", references))
    if wanted:
        t, r = ledger_transactions.c, economy_rolls.c
        booked = select(t.reference, t.id).where(t.game_id == book.game_id, t.reference.in_(wanted))
        book.references |= {row.reference: row.id for row in c.execute(booked)}
        rolled = select(r.reference, r.epoch, r.number).where(r.game_id == book.game_id, r.reference.in_(wanted))
        book.references |= {row.reference: roll_id(RollNumber(row.epoch, row.number)) for row in c.execute(rolled)}


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


def post(c: Connection, work: Mapping[str, Sequence[Draft]], now_ms: int) -> dict[str, list[Outcome]]:
    """Book drafts of one or several games, each on its own: what is refused does not hold up the others.

    Returns for each game the outcomes in the order of its drafts; all of it is stored with the commit, or nothing.
    """
    outcomes: dict[str, list[Outcome]] = {}
    for game_id, book in open_books(c, work).items():
        drafts = work[game_id]
        load(c, book, drafts)
        ids = new_ids("txn_", now_ms, len(drafts))
        outcomes[game_id] = [book.record(one, id_, now_ms) for one, id_ in zip(drafts, ids, strict=True)]
        write(c, book)
    return outcomes


def reverse(c: Connection, game_id: str, transaction_id: str, by: By, now_ms: int) -> Outcome:
    """Undo a transaction by an equal and opposite one; asked again, the answer is the reversal that was made."""
    original = transaction(c, game_id, transaction_id)
    if original is None:
        return Refusal("TRANSACTION_UNKNOWN", f"The game has no transaction {transaction_id}.")
    undoing = reversal(transaction_id, original.draft, by)
    if undoing is None:
        return Refusal("NOT_REVERSIBLE", f"A transaction of type {original.draft.type} cannot be reversed.")
    return post(c, {game_id: [undoing]}, now_ms)[game_id][0]


def originals(c: Connection, game_id: str, transaction_ids: Collection[str]) -> dict[str, Transaction]:
    """Return those of these transactions that the game has, by id."""
    if not transaction_ids:
        return {}
    t = ledger_transactions.c
    query = select(t.id, t.body).where(t.id.in_(sorted(transaction_ids)), t.game_id == game_id)
    return {row.id: parsed(row.body) for row in c.execute(query)}


def players(c: Connection, game_id: str, external_ids: Iterable[str]) -> set[str]:
    """Return which of these players the game has."""
    wanted = list(external_ids)
    if not wanted:
        return set()
    p = economy_players.c
    return set(c.scalars(select(p.external_id).where(p.game_id == game_id, p.external_id.in_(wanted))))


def currencies(c: Connection, game_id: str, currency_ids: Iterable[str]) -> dict[str, int | None]:
    """Return `maxBalance` (None: no limit) of those of these currencies that the game has."""
    wanted = list(currency_ids)
    if not wanted:
        return {}
    e = economy_currencies.c
    query = select(e.currency_id, e.max_balance).where(e.game_id == game_id, e.currency_id.in_(wanted))
    return {row.currency_id: row.max_balance for row in c.execute(query)}


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
