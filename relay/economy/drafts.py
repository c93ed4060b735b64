"""Drafts of transactions: what an operation wants booked, before the book decides.

Pure. Grants, spending, transfers, opening balances and reversals; purchases, crafts, loot and the market build theirs
from the same parts.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, NamedTuple

from relay.economy import entries
from relay.economy.entries import BURN, MINT, Asset, Move, Position

# Each kind of transaction, and the source it is tagged with; None: of who asked, a client's key or the game's server.
SOURCES: dict[str, str | None] = {
    "opening": "system",
    "grant": None,
    "spend": None,
    "transfer": None,
    "purchase": "purchase",
    "craft": "craft",
    "loot": "loot",
    "list": "marketplace",
    "buy": "marketplace",
    "cancel": "marketplace",
    "expire": "marketplace",
    "reversal": None,
}
# What the marketplace did belongs to a listing's state: booked back by itself, the two would disagree.
REVERSIBLE = frozenset({"opening", "grant", "spend", "transfer", "purchase", "craft", "loot"})


class By(NamedTuple):
    """Who asked, and under which version of the game's configuration it was decided.

    `role` is the API key's, `actor` its id (or what else decided, e.g. `system:expiry`); `reference` is the caller's
    own, never used twice in a game.
    """

    role: str
    actor: str
    config_version: int
    reason: str | None = None
    reference: str | None = None


@dataclass(frozen=True)
class Draft:
    """What is to be booked as one transaction.

    Attributes:
        type: a key of SOURCES.
        source: derived from role and type, never said by the caller.
        reverses: id of the transaction that this one undoes.
        detail: what else the transaction is about (listingId, rollId, recipeId …): JSON values without fractions.
        caps: of items, the most a player may own afterwards; currencies have theirs in the book.
    """

    type: str
    source: str
    actor: str
    config_version: int
    moves: tuple[Move, ...]
    reason: str | None = None
    reference: str | None = None
    reverses: str | None = None
    detail: Mapping[str, Any] = field(default_factory=dict)
    caps: Mapping[Asset, int] = field(default_factory=dict)

    @cached_property
    def net(self) -> dict[Position, int]:
        """What each position gains or loses; one that comes out even is still there, at 0."""
        return entries.net(self.moves)

    @cached_property
    def positions(self) -> frozenset[Position]:
        """The positions that deciding on it takes: those it changes, and what is held beside a gain."""
        found = list(self.net)
        for (account, asset), change in self.net.items():
            if change > 0 and entries.is_wallet(account):
                found.append((entries.held_for(account), asset))
        return frozenset(found)


def source_of(kind: str, role: str) -> str:
    """Return the source tag of a transaction of this kind, asked for by a key of this role."""
    return SOURCES[kind] or ("client" if role == "client" else "server")


def draft(
    kind: str, by: By, moves: Sequence[Move], *, caps: Mapping[Asset, int] | None = None, **detail: object
) -> Draft:
    """Return a draft of any kind; `detail` is said in the transaction as it is named here.

    Raises:
        ValueError: nothing moves, or the reference is no id.
    """
    if not moves:
        raise ValueError("a transaction moves something")
    if by.reference is not None and not entries.valid_id(by.reference):
        raise ValueError(f"a reference is 1 to {entries.ID_MAX} printable characters")
    return Draft(
        kind, source_of(kind, by.role), by.actor, by.config_version, tuple(moves), by.reason, by.reference,
        detail=detail, caps=caps or {},
    )  # fmt: skip


def grant(external_id: str, currency_id: str, amount: int, by: By) -> Draft:
    """Return the draft of a grant: from the mint to the player. ValueError: amount or id out of range (all below)."""
    asset = entries.currency(currency_id)
    return draft("grant", by, [entries.moved(asset, amount, MINT, entries.wallet(external_id))])


def spend(external_id: str, currency_id: str, amount: int, by: By) -> Draft:
    """Return the draft of spending: from the player to where it is burnt."""
    asset = entries.currency(currency_id)
    return draft("spend", by, [entries.moved(asset, amount, entries.wallet(external_id), BURN)])


def transfer(from_external_id: str, to_external_id: str, currency_id: str, amount: int, by: By) -> Draft:
    """Return the draft of a transfer between two players; ValueError too where both are one."""
    payer, payee = entries.wallet(from_external_id), entries.wallet(to_external_id)
    return draft("transfer", by, [entries.moved(entries.currency(currency_id), amount, payer, payee)])


def opening(external_id: str, balances: Sequence[tuple[str, int]], by: By) -> Draft | None:
    """Return the draft of a new player's first balances (currency, amount); None where all are zero.

    Raises:
        ValueError: a balance is no integer from 0 to 2^53-1.
    """
    owned = entries.wallet(external_id)
    moves = [entries.moved(entries.currency(name), amount, MINT, owned) for name, amount in balances if amount != 0]
    return draft("opening", by, moves) if moves else None


def reversal(transaction_id: str, original: Draft, by: By) -> Draft | None:
    """Return the draft that undoes a transaction; None where its kind cannot be undone."""
    if original.type not in REVERSIBLE:
        return None
    return replace(draft("reversal", by, entries.reversed_moves(original.moves)), reverses=transaction_id)
