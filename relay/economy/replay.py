"""A game's ledger told again from its first transaction: whoever has the bytes can check all of it.

Pure. The audit of a whole history needs nothing of ours: no database, no key, no trust in what was booked.
"""

import json
from dataclasses import dataclass, field

from relay.canonical import canonical
from relay.economy import entries
from relay.economy.drafts import REVERSIBLE, SOURCES
from relay.economy.entries import MINT, Move, Position
from relay.economy.ledger import GENESIS, Transaction, transaction_of
from relay.keccak import keccak


@dataclass(slots=True)
class Replay:
    """What follows from the transactions told so far.

    Attributes:
        sequence: how many they are, which is the sequence of the next.
        head: hash of the last.
        balances: of every position that was used.
    """

    game_id: str
    sequence: int = 0
    head: bytes = GENESIS
    balances: dict[Position, int] = field(default_factory=dict)
    _moves: dict[str, tuple[str, tuple[Move, ...]]] = field(default_factory=dict)  # type and moves by transaction id
    _references: set[str] = field(default_factory=set)
    _reversed: set[str] = field(default_factory=set)

    def tell(self, body: bytes) -> str | None:
        """Take the next transaction's bytes; return what is wrong with it, None where nothing is.

        The checks: 1 the bytes are canonical and a transaction's; 2 it is the game's next; 3 it names the hash of the
        one before; 4 its source is one of its type's; 5 id and reference are new; 6 a reversal is the first of its
        transaction, and its opposite; 7 nothing falls below zero; 8 the balances are as it says. A transaction that is
        wrong is not taken: the balances stay as they were.
        """
        try:
            document = json.loads(body)
            told = transaction_of(document)
            if canonical(document) != body:
                return f"transaction {self.sequence}: the bytes are not canonical JSON"
        except ValueError as error:
            return f"transaction {self.sequence}: {error}"
        problem = self._misplaced(told) or self._unlawful(told) or self._unbalanced(told)
        if problem is not None:
            return f"transaction {self.sequence}: {problem}"
        self._take(told, body)
        return None

    def _misplaced(self, told: Transaction) -> str | None:
        if told.game_id != self.game_id or told.sequence != self.sequence:
            return f"it is number {told.sequence} of {told.game_id}"
        if told.previous != self.head:
            return f"it follows 0x{told.previous.hex()}, and the one before is 0x{self.head.hex()}"
        return None

    def _unlawful(self, told: Transaction) -> str | None:
        draft = told.draft
        fixed = SOURCES.get(draft.type, "")  # None: of who asked
        if draft.source not in (("server", "client") if fixed is None else (fixed or None,)):
            return f"{draft.source} does not make a {draft.type}"
        if told.id in self._moves:
            return f"the id {told.id} is of an earlier transaction"
        if draft.reference in self._references:
            return f"the reference {draft.reference} is of an earlier transaction"
        return self._wrongly_reversing(told)

    def _wrongly_reversing(self, told: Transaction) -> str | None:
        undone = told.draft.reverses
        if (told.draft.type == "reversal") != (undone is not None):
            return "reversals, and only they, name what they reverse"
        if undone is None:
            return None
        kind, moves = self._moves.get(undone, ("", ()))
        if kind not in REVERSIBLE or undone in self._reversed:
            return f"{undone} is unknown, reversed already or not reversible"
        return None if told.draft.moves == entries.reversed_moves(moves) else f"it is not the opposite of {undone}"

    def _unbalanced(self, told: Transaction) -> str | None:
        for position, change in told.draft.net.items():
            account, asset = position
            after = self.balances.get(position, 0) + change
            if account != MINT and after < 0:
                return f"{account} would hold {after} of {asset}"
            if entries.owner(account) is not None and told.balances.get(position) != after:
                return f"{account} holds {after} of {asset} afterwards, not {told.balances.get(position)}"
        players = {position for position in told.draft.net if entries.owner(position[0]) is not None}
        return None if told.balances.keys() == players else "it tells balances of others than it moves"

    def _take(self, told: Transaction, body: bytes) -> None:
        for position, change in told.draft.net.items():
            self.balances[position] = self.balances.get(position, 0) + change
        self._moves[told.id] = (told.draft.type, told.draft.moves)
        if told.draft.reference is not None:
            self._references.add(told.draft.reference)
        if told.draft.reverses is not None:
            self._reversed.add(told.draft.reverses)
        self.sequence, self.head = self.sequence + 1, keccak(body)
