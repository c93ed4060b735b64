"""The operations that are one booking: grants, spending, transfers, purchases, reversals.

Pure. Each is a `relay.economy.desk.Step`; the market's are in `relay.economy.trades`, those of chance in
`relay.economy.chances`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from relay.economy import catalog, drafts, entries
from relay.economy.desk import Desk, Names
from relay.economy.drafts import By, Draft
from relay.economy.ledger import Posted, Refusal


@dataclass(frozen=True)
class Booking:
    """A grant, a spending, a transfer: known without looking at anything. ValueError of the draft as in `drafts`."""

    draft: Draft

    def names(self, names: Names) -> None:
        """Nothing."""

    def drafts(self, desk: Desk) -> Sequence[Draft]:  # noqa: ARG002 - it is the same for all desks
        """Return the draft."""
        return (self.draft,)

    def amounts(self, desk: Desk) -> Mapping[str, int]:  # noqa: ARG002
        """Return what moves."""
        return {currency_id: move.amount for move in self.draft.moves if (currency_id := _currency(move)) is not None}

    def decide(self, desk: Desk) -> Posted | Refusal:
        """Book it."""
        return desk.record(self.draft)


@dataclass(frozen=True)
class Purchase:
    """A quantity of an item, bought of the game; without `currency_id` for the first price."""

    external_id: str
    item_id: str
    quantity: int
    currency_id: str | None
    by: By

    def names(self, names: Names) -> None:
        """The item."""
        names.items.add(self.item_id)

    def drafts(self, desk: Desk) -> Sequence[Draft]:
        """Return the purchase, if there is such an item to be had."""
        wanted = self._draft(desk)
        return () if isinstance(wanted, Refusal) else (wanted,)

    def amounts(self, desk: Desk) -> Mapping[str, int]:
        """Return the price."""
        return {
            currency_id: move.amount
            for one in self.drafts(desk)
            for move in one.moves
            if (currency_id := _currency(move)) is not None
        }

    def decide(self, desk: Desk) -> Posted | Refusal:
        """Book it."""
        return desk.record(self._draft(desk))

    def _draft(self, desk: Desk) -> Draft | Refusal:
        item = desk.items.get(self.item_id)
        if item is None:
            return Refusal("ITEM_UNKNOWN", f"The game has no item {self.item_id}.")
        return catalog.purchase(item, self.external_id, self.quantity, self.currency_id, self.by)


@dataclass(frozen=True)
class Reversal:
    """A transaction undone by an equal and opposite one; asked again, the answer is the reversal that was made."""

    transaction_id: str
    by: By

    def names(self, names: Names) -> None:
        """The transaction."""
        names.transactions.add(self.transaction_id)

    def drafts(self, desk: Desk) -> Sequence[Draft]:
        """Return the reversal, if it can be."""
        wanted = self._draft(desk)
        return () if isinstance(wanted, Refusal) else (wanted,)

    def amounts(self, desk: Desk) -> Mapping[str, int]:  # noqa: ARG002
        """Nothing: a correction is not limited."""
        return {}

    def decide(self, desk: Desk) -> Posted | Refusal:
        """Book it."""
        return desk.record(self._draft(desk))

    def _draft(self, desk: Desk) -> Draft | Refusal:
        original = desk.originals.get(self.transaction_id)
        if original is None:
            return Refusal("TRANSACTION_UNKNOWN", f"The game has no transaction {self.transaction_id}.")
        undoing = drafts.reversal(self.transaction_id, original.draft, self.by)
        if undoing is None:
            return Refusal("NOT_REVERSIBLE", f"A transaction of type {original.draft.type} cannot be reversed.")
        return undoing


def _currency(move: entries.Move) -> str | None:
    return entries.currency_of(move.asset)
