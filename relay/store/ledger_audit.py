"""Ledgers told again from their bytes, page by page, against the rows that balances are made of.

Reads only, and locks nothing: what is booked meanwhile comes with a later page.
"""

from collections.abc import Iterable
from itertools import islice

from sqlalchemy import Connection, or_, select

from relay.economy.entries import Move
from relay.economy.retelling import Retelling
from relay.store import ledger_view
from relay.store.economy_tables import ledger_heads, ledger_moves, ledger_transactions

PAGE = 500

_M = ledger_moves.c


def retell(c: Connection, told: Retelling) -> tuple[str | None, bool]:
    """Tell the next page; returns what is wrong (None: nothing), and whether there is more to tell."""
    size, head = ledger_view.head(c, told.game_id)
    first, bodies = told.sequence, ledger_view.read(c, told.game_id, told.sequence, PAGE)
    rows = _rows(c, told.game_id, range(first, first + len(bodies)))
    for number, body in enumerate(bodies, first):
        problem = told.tell(body, rows.get(number, []))
        if problem is not None:
            return problem, False
    if bodies:
        return None, True
    if (told.sequence, told.head) != (size, head):
        return f"the ledger's end is transaction {size - 1}, and what is there ends at {told.sequence - 1}", False
    return _stray(c, told.game_id), False


def forged(c: Connection, game_id: str, account: str) -> str | None:
    """Return which of an account's moves no transaction says; None: all are said."""
    touching = select(_M.sequence).where(_M.game_id == game_id, or_(_M.source == account, _M.target == account))
    numbers = iter(list(c.scalars(touching.distinct().order_by(_M.sequence))))
    while page := list(islice(numbers, PAGE)):
        t = ledger_transactions.c
        query = select(t.sequence, t.body).where(t.game_id == game_id, t.sequence.in_(page))
        said = {row.sequence: ledger_view.parsed(row.body).draft.moves for row in c.execute(query)}
        rows = _rows(c, game_id, page)
        for number in page:
            if tuple(rows[number]) != said.get(number):
                return f"the rows of transaction {number} are not the moves that it says"
    return None


def _rows(c: Connection, game_id: str, numbers: Iterable[int]) -> dict[int, list[Move]]:
    wanted = list(numbers)
    if not wanted:
        return {}
    query = select(_M.sequence, _M.asset, _M.amount, _M.source, _M.target).where(_M.game_id == game_id)
    query = query.where(_M.sequence.in_(wanted)).order_by(_M.sequence, _M.line)
    found: dict[int, list[Move]] = {}
    for sequence, *move in c.execute(query):
        found.setdefault(sequence, []).append(Move(*move))
    return found


def _stray(c: Connection, game_id: str) -> str | None:
    """Rows of transactions that are not there; one statement, so one moment."""
    size = select(ledger_heads.c.next_sequence).where(ledger_heads.c.game_id == game_id).scalar_subquery()
    outside = or_(_M.sequence < 0, _M.sequence >= size)
    found = c.scalar(select(_M.sequence).where(_M.game_id == game_id, outside).limit(1))
    return None if found is None else f"there are moves of a transaction {found}, which is not there"
