"""A ledger's transactions held against the rows that its balances are made of: what differs was changed by hand.

Pure. The bytes of transactions are chained and anchored; the rows of their moves are a copy that is quick to add up.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass

from relay.economy.entries import Move
from relay.economy.ledger import GENESIS, transaction_of
from relay.keccak import keccak


@dataclass(slots=True)
class Retelling:
    """How far a game's ledger was told again: `sequence` of the next transaction, `head` is the hash of the last."""

    game_id: str
    sequence: int = 0
    head: bytes = GENESIS

    def tell(self, body: bytes, rows: Sequence[Move]) -> str | None:
        """Take the next transaction's bytes and the rows of its moves; return what is wrong, None where nothing is.

        (1) the bytes are a transaction, the next of the game; (2) it names the hash of the one before; (3) its moves
        are the rows'.
        """
        try:
            told = transaction_of(json.loads(body))
        except ValueError as error:
            return f"transaction {self.sequence} is none: {error}"  # (1)
        if (told.game_id, told.sequence) != (self.game_id, self.sequence):
            return f"where transaction {self.sequence} should be is number {told.sequence} of {told.game_id}"
        if told.previous != self.head:  # (2)
            return f"transaction {self.sequence} does not follow the one before"
        if tuple(rows) != told.draft.moves:  # (3)
            return f"the rows of transaction {self.sequence} are not the moves that it says"
        self.sequence, self.head = self.sequence + 1, keccak(body)
        return None
