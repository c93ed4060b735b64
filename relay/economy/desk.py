"""The desk of a game: what deciding on its operations takes, read under its lock, and what was decided.

Pure. `relay.store.desks` reads a desk for a whole group of operations and writes what was decided; in between every
operation is a `Step` that is decided on the desk alone, one after the other, each on what the one before left.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from relay.economy.catalog import Item, LootTable, Recipe
from relay.economy.drafts import Draft
from relay.economy.ledger import Book, Posted, Refusal, Transaction
from relay.economy.market import Listing
from relay.economy.rolls import Roll


@dataclass(slots=True)
class Names:
    """What is to be read before steps can be decided: ids, and for cooldowns (player, recipe)."""

    players: set[str] = field(default_factory=set)
    currencies: set[str] = field(default_factory=set)
    items: set[str] = field(default_factory=set)
    recipes: set[str] = field(default_factory=set)
    tables: set[str] = field(default_factory=set)
    listings: set[str] = field(default_factory=set)
    crafts: set[tuple[str, str]] = field(default_factory=set)
    transactions: set[str] = field(default_factory=set)
    references: set[str] = field(default_factory=set)
    rolls: bool = False


class Epoch(NamedTuple):
    """The epoch that rolls are made in: its day, its secret and the commitment to it."""

    day: int
    secret: bytes
    commitment: bytes

    def __repr__(self) -> str:
        """Never show the secret."""
        return f"Epoch({self.day})"


class Traded(NamedTuple):
    """What became of a listing, and the transaction that booked it."""

    listing: Listing
    posted: Posted


class Rolled(NamedTuple):
    """A roll that was made; `posted` is None where nothing came out and nothing was taken."""

    roll: Roll
    posted: Posted | None


class Cooling(NamedTuple):
    """Why a player may not craft yet: a code, a sentence, and for how long (ms)."""

    code: str
    detail: str
    retry_ms: int


Outcome = Posted | Traded | Rolled | Refusal | Cooling


@dataclass(slots=True)
class Desk:
    """One game's desk. Times in epoch ms; `now_ms` is the one moment of all that is decided on it.

    What is declared is here by id where `Names` asked for it and the game has it. `closed`, `listed`, `rolls`, `crafts`
    are what was decided and is still to be written, beside the book's own.
    """

    book: Book
    now_ms: int
    new_id: Callable[[str], str]
    items: dict[str, Item] = field(default_factory=dict)
    recipes: dict[str, Recipe] = field(default_factory=dict)
    tables: dict[str, LootTable] = field(default_factory=dict)
    listings: dict[str, Listing] = field(default_factory=dict)
    crafted_ms: dict[tuple[str, str], int] = field(default_factory=dict)
    originals: dict[str, Transaction] = field(default_factory=dict)
    epoch: Epoch | None = None
    next_number: int = 0
    listed: list[Listing] = field(default_factory=list)
    closed: list[Listing] = field(default_factory=list)
    rolls: list[Roll] = field(default_factory=list)
    crafts: set[tuple[str, str]] = field(default_factory=set)

    def record(self, wanted: Draft | Refusal) -> Posted | Refusal:
        """Book a draft, or say why not.

        Raises:
            RuntimeError: its positions were not read: to take them for empty would be to invent balances.
        """
        if isinstance(wanted, Refusal):
            return wanted
        if not wanted.positions <= self.book.balances.keys():
            raise RuntimeError(f"a {wanted.type} of {self.book.game_id} is decided on what was not read")
        return self.book.record(wanted, self.new_id("txn_"), self.now_ms)

    def put_up(self, listing: Listing) -> None:
        """Keep a new listing."""
        self.listings[listing.listing_id] = listing
        self.listed.append(listing)

    def close(self, listing: Listing) -> None:
        """Keep what became of a listing."""
        self.listings[listing.listing_id] = listing
        self.closed.append(listing)

    def rolled(self, roll: Roll) -> None:
        """Keep a roll: the next one has the next number."""
        self.rolls.append(roll)
        if roll.reference is not None:
            self.book.references[roll.reference] = roll.roll_id
        self.next_number += 1

    def crafted(self, external_id: str, recipe_id: str) -> None:
        """Let a cooldown run from now."""
        self.crafted_ms[external_id, recipe_id] = self.now_ms
        self.crafts.add((external_id, recipe_id))


class Step(Protocol):
    """One operation, in three parts that the store and the guard come between."""

    def names(self, names: Names) -> None:
        """Add what has to be read first."""

    def drafts(self, desk: Desk) -> Sequence[Draft]:
        """Return what might be booked, as the desk stands before any step: its positions are read next."""

    def amounts(self, desk: Desk) -> Mapping[str, int]:
        """Return what the player pays or is given by currency: what the guard limits."""

    def decide(self, desk: Desk) -> Outcome:
        """Decide on the desk as it is now, and keep what was decided there; what is refused leaves no trace."""
