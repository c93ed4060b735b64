"""A ledger in a real database for tests, and the oracle that holds after anything that was done to it."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from sqlalchemy import Connection, select

from relay.economy import entries
from relay.economy.drafts import By, Draft
from relay.economy.entries import Position
from relay.economy.ledger import Posted, Refusal
from relay.economy.players import Currency, Player
from relay.economy.replay import Replay
from relay.economy.steps import Reversal
from relay.ids import new_ids
from relay.store import desks, ledger, ledger_view, migrate, wallets
from relay.store.economy_tables import ledger_balances, ledger_moves, ledger_transactions
from relay.store.engine import Database, open_database

BY = By("server", "key_1", 1)
NOW = 1_700_000_000_000
PLAYERS = ("ann", "bob", "eve")
CURRENCIES = (Currency("gold", "Gold", "g"), Currency("gems", "Gems", "*", max_balance=50))


@contextmanager
def ledger_at(url: str) -> Iterator[Database]:
    """An empty, migrated database."""
    database = open_database(url)
    migrate.upgrade(database, "relay")
    try:
        yield database
    finally:
        database.close()


def found_game(c: Connection, game_id: str, *external_ids: str) -> None:
    """Give a game two currencies and three players (or those named)."""
    for currency in CURRENCIES:
        wallets.put_currency(c, game_id, currency, NOW)
    wallets.put_players(c, game_id, [Player(name) for name in external_ids or PLAYERS], BY, NOW)


def post(c: Connection, work: Mapping[str, Sequence[Draft]], now_ms: int) -> dict[str, list[Posted | Refusal]]:
    """Book drafts of one or several games as one group; returns for each game the outcomes in order."""
    outcomes: dict[str, list[Posted | Refusal]] = {}
    for game_id, book in ledger.open_books(c, work).items():
        drafts = work[game_id]
        ledger.load(c, book, drafts)
        ids = new_ids("txn_", now_ms, len(drafts))
        outcomes[game_id] = [book.record(one, id_, now_ms) for one, id_ in zip(drafts, ids, strict=True)]
        ledger.write(c, book)
    return outcomes


def reverse(c: Connection, game_id: str, transaction_id: str, by: By, now_ms: int) -> Posted | Refusal:
    """Undo a transaction."""
    book = ledger.open_books(c, [game_id])[game_id]
    outcome = desks.decide(c, book, Reversal(transaction_id, by), now_ms)
    assert isinstance(outcome, Posted | Refusal)
    ledger.write(c, book)
    return outcome


def all_balances(c: Connection, game_id: str) -> dict[Position, int]:
    """Every balance of a game that is not zero."""
    b = ledger_balances.c
    found = c.execute(select(b.account, b.asset, b.amount).where(b.game_id == game_id, b.amount != 0))
    return {(row.account, row.asset): row.amount for row in found}


def check_ledger(c: Connection, game_id: str) -> Replay:
    """Assert everything that must hold of a game's ledger, whatever happened; returns it told again."""
    size, head = ledger_view.head(c, game_id)
    bodies = ledger_view.read(c, game_id, 0, size + 1)
    assert len(bodies) == size
    replay = Replay(game_id)
    for body in bodies:
        assert replay.tell(body) is None
    assert replay.head == head
    balances = all_balances(c, game_id)
    assert balances == {position: amount for position, amount in replay.balances.items() if amount}
    sums: Counter[str] = Counter()
    for (account, asset), amount in balances.items():
        assert amount >= 0 or account == entries.MINT
        sums[asset] += amount
    assert not any(sums.values())
    _check_rows(c, game_id, bodies)
    _check_views(c, game_id, balances)
    return replay


def _check_rows(c: Connection, game_id: str, bodies: list[bytes]) -> None:
    """Moves and columns are what the bytes say."""
    t, m = ledger_transactions.c, ledger_moves.c
    told = [ledger_view.parsed(body) for body in bodies]
    query = select(t.id, t.type, t.source, t.reference, t.reverses).where(t.game_id == game_id).order_by(t.sequence)
    assert [tuple(row) for row in c.execute(query)] == [
        (one.id, one.draft.type, one.draft.source, one.draft.reference, one.draft.reverses) for one in told
    ]
    lines = select(m.sequence, m.line, m.asset, m.amount, m.source, m.target).where(m.game_id == game_id)
    assert [tuple(row) for row in c.execute(lines.order_by(m.sequence, m.line))] == [
        (one.sequence, line, *move) for one in told for line, move in enumerate(one.draft.moves)
    ]


def _check_views(c: Connection, game_id: str, balances: dict[Position, int]) -> None:
    """Statistics add up, and the reconciler finds nothing."""
    assert ledger_view.mismatches_of(c, game_id, None) == ([], None)
    for asset, supply in ledger_view.supply(c, game_id).items():
        usable = sum(n for (account, of), n in balances.items() if of == asset and entries.is_wallet(account))
        held = sum(n for (account, of), n in balances.items() if of == asset and account.startswith("escrow:"))
        assert (supply.circulating, supply.escrowed) == (usable, held)
