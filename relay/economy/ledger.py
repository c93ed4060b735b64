"""The book of a game's transactions: what may be booked, as which bytes, and how they are chained.

Pure. A `Book` holds what the store read under the game's lock; it decides drafts one after the other and collects what
is to be written. Each transaction is canonical JSON (RFC 8785); its hash is the keccak-256 of these bytes, which name
the hash of the transaction before, so that no transaction can be changed, removed or put between others unseen.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from relay.canonical import canonical, canonical_ascii
from relay.economy import entries
from relay.economy.drafts import Draft
from relay.economy.entries import AMOUNT_MAX, MINT, Account, Asset, Position
from relay.keccak import keccak

GENESIS = bytes(32)  # what the first transaction of a game names as the one before
VERSION = 1  # of the form of the bytes


_FORM: dict[str, tuple[type, ...]] = {  # a document's members, exactly
    "v": (int,), "gameId": (str,), "sequence": (int,), "previous": (str,), "id": (str,), "at": (int,), "type": (str,),
    "source": (str,), "actor": (str,), "configVersion": (int,), "reason": (str, type(None)),
    "reference": (str, type(None)), "reverses": (str, type(None)), "detail": (dict,), "moves": (list,),
    "balances": (list,),
}  # fmt: skip


class Balance(NamedTuple):
    """What a position holds, and whether it may be moved."""

    amount: int = 0
    frozen: bool = False


@dataclass(frozen=True, slots=True)
class Transaction:
    """One transaction as it is booked.

    Times in epoch milliseconds; `sequence` counts a game's transactions from 0 without a gap and is the index of the
    leaf in its Merkle tree, whose data is `body`. `balances`: what players' positions held afterwards.
    """

    game_id: str
    sequence: int
    previous: bytes
    id: str
    at_ms: int
    draft: Draft
    balances: Mapping[Position, int]

    @property
    def body(self) -> bytes:
        """The canonical bytes; NotCanonicalError where `detail` holds what has none."""
        document = self.document()
        canonical(document["detail"])  # everything else has canonical types by how it was made
        body = canonical_ascii(document)
        return body if body.isascii() else canonical(document)

    def document(self) -> dict[str, Any]:
        """Return what the bytes say: JSON values."""
        draft = self.draft
        return {
            "v": VERSION,
            "gameId": self.game_id,
            "sequence": self.sequence,
            "previous": "0x" + self.previous.hex(),
            "id": self.id,
            "at": self.at_ms,
            "type": draft.type,
            "source": draft.source,
            "actor": draft.actor,
            "configVersion": draft.config_version,
            "reason": draft.reason,
            "reference": draft.reference,
            "reverses": draft.reverses,
            "detail": draft.detail,
            "moves": [entries.document(move) for move in draft.moves],
            "balances": [
                {"account": account, "asset": asset, "balance": amount}
                for (account, asset), amount in sorted(self.balances.items())
            ],
        }


class Posted(NamedTuple):
    """A transaction that is booked (once the commit is done). `replayed`: it was before, and nothing changed now."""

    transaction: Transaction
    replayed: bool = False


class Refusal(NamedTuple):
    """Why nothing was booked: a code of `relay.error_codes_economy`, a sentence, the id of what is there already."""

    code: str
    detail: str
    first: str | None = None


def transaction_of(document: Mapping[str, Any]) -> Transaction:
    """Return the transaction that a document describes.

    Raises:
        ValueError: it is no document of a transaction, or of a newer form.
    """
    _check_form(document)
    try:
        draft = Draft(
            type=document["type"], source=document["source"], actor=document["actor"],
            config_version=document["configVersion"], reason=document["reason"], reference=document["reference"],
            reverses=document["reverses"], detail=document["detail"],
            moves=tuple(entries.move_of(move) for move in document["moves"]),
        )  # fmt: skip
        balances = {(one["account"], one["asset"]): one["balance"] for one in document["balances"]}
        previous = bytes.fromhex(document["previous"].removeprefix("0x"))
    except (KeyError, TypeError) as error:
        raise ValueError(f"not a transaction: {error}") from error
    return Transaction(document["gameId"], document["sequence"], previous, document["id"], document["at"], draft,
                       balances)  # fmt: skip


def _check_form(document: Mapping[str, Any]) -> None:
    if not isinstance(document, dict) or document.keys() != _FORM.keys():
        raise ValueError("it has not exactly the members of a transaction")
    if document["v"] != VERSION:
        raise ValueError(f"form {document['v']} of a transaction is not known")
    for name, kinds in _FORM.items():
        if type(document[name]) not in kinds:  # a bool is an int to isinstance
            raise ValueError(f"{name} is no {kinds[0].__name__}")


def touched(drafts: Iterable[Draft]) -> set[Position]:
    """Return the positions that deciding on the drafts takes."""
    return set().union(*(draft.positions for draft in drafts))


@dataclass(slots=True)
class Book:
    """A game's book, open for writing: what is known of it, and what was decided since it was opened.

    Attributes:
        sequence: of the next transaction.
        head: hash of the last one.
        balances: every position that `touched` names.
        stored: those of them that have a row.
        currencies: `maxBalance` by id, None where there is none; the ids that drafts name and the game has.
        players: the external ids that drafts name and the game has.
        references: what each is of that was asked for and the game has seen: a transaction, or a roll without one.
        reversals: transactions that reverse others, by the id of the other.
        asked: (kind, id) of what the store was asked for already, whether or not it is there.
        added: what is to be written, in order.
    """

    game_id: str
    sequence: int = 0
    head: bytes = GENESIS
    balances: dict[Position, Balance] = field(default_factory=dict)
    stored: set[Position] = field(default_factory=set)
    currencies: dict[str, int | None] = field(default_factory=dict)
    players: set[str] = field(default_factory=set)
    references: dict[str, str] = field(default_factory=dict)
    reversals: dict[str, Transaction] = field(default_factory=dict)
    asked: set[tuple[str, str]] = field(default_factory=set)
    added: list[tuple[Transaction, bytes, bytes]] = field(default_factory=list)  # with body and hash

    def ask(self, kind: str, ids: Iterable[str]) -> set[str]:
        """Return which of these the store was not asked for yet, and note that it is now."""
        new = {one for one in ids if (kind, one) not in self.asked}
        self.asked |= {(kind, one) for one in new}
        return new

    def record(self, draft: Draft, transaction_id: str, at_ms: int) -> Posted | Refusal:
        """Book a draft or say why not; a refused one leaves no trace.

        The checks, in order: 1 a reversal that was made is made once; 2 the reference is new; 3 players and currencies
        exist; 4 no wallet is frozen; 5 nothing falls below zero; 6 nobody owns more than is allowed; 7 the supply stays
        below 2^53. Lines of one position are one change before any of them.
        """
        if draft.reverses is not None and draft.reverses in self.reversals:
            return Posted(self.reversals[draft.reverses], replayed=True)
        refusal = self.refusal(draft)
        if refusal is not None:
            return refusal
        after = {key: self.balances.get(key, Balance()).amount + change for key, change in draft.net.items()}
        players = {position: amount for position, amount in after.items() if entries.owner(position[0]) is not None}
        made = Transaction(self.game_id, self.sequence, self.head, transaction_id, at_ms, draft, players)
        body = made.body  # from here on nothing can fail
        self.balances.update({position: Balance(amount) for position, amount in after.items()})
        self.sequence, self.head = self.sequence + 1, keccak(body)
        self.added.append((made, body, self.head))
        if draft.reference is not None:
            self.references[draft.reference] = transaction_id
        if draft.reverses is not None:
            self.reversals[draft.reverses] = made
        return Posted(made)

    def refusal(self, draft: Draft) -> Refusal | None:
        """Return why a draft that reverses nothing would not be booked now; None where it would."""
        return self._unknown(draft) or self._impossible(draft)

    def used(self, reference: str | None) -> Refusal | None:
        """Return the refusal of a reference that was used; None where it was not, or there is none."""
        first = None if reference is None else self.references.get(reference)
        if first is None:
            return None
        return Refusal("REFERENCE_EXISTS", f"The reference {reference} is of {first}.", first)

    def changes(self) -> dict[Position, int]:
        """Return what each position gained or lost by everything that was added."""
        total: dict[Position, int] = {}
        for made, _, _ in self.added:
            for position, change in made.draft.net.items():
                total[position] = total.get(position, 0) + change
        return total

    def _unknown(self, draft: Draft) -> Refusal | None:
        refusal = self.used(draft.reference)
        if refusal is not None:
            return refusal
        for account, asset in draft.net:
            player, currency_id = entries.owner(account), entries.currency_of(asset)
            if player is not None and player not in self.players:
                return Refusal("PLAYER_UNKNOWN", f"The game has no player {player}.")
            if currency_id is not None and currency_id not in self.currencies:
                return Refusal("CURRENCY_UNKNOWN", f"The game has no currency {currency_id}.")
        return None

    def _impossible(self, draft: Draft) -> Refusal | None:
        for position, change in draft.net.items():
            held = self.balances.get(position, Balance())
            refusal = (
                _frozen(position, held)
                or _below_zero(position, held.amount, change)
                or self._above_cap(draft, position)
                or _beyond_supply(position, held.amount + change)
            )
            if refusal is not None:
                return refusal
        return None

    def _above_cap(self, draft: Draft, position: Position) -> Refusal | None:
        """What a player owns counts with what is held for him, so that escrow hides nothing; corrections may exceed."""
        account, asset = position
        if draft.reverses is not None or not entries.is_wallet(account):
            return None
        currency_id = entries.currency_of(asset)
        cap = draft.caps.get(asset) if currency_id is None else self.currencies[currency_id]
        if cap is None:
            return None
        both = (position, (entries.held_for(account), asset))
        gain = sum(draft.net.get(key, 0) for key in both)
        owned = sum(self.balances.get(key, Balance()).amount for key in both) + gain
        if gain <= 0 or owned <= cap:
            return None
        what = f"{entries.owner(account)} would own {owned} of {_name(asset)}"
        return Refusal("MAX_BALANCE_EXCEEDED", f"{what}, and {cap} is the most allowed.")


def _frozen(position: Position, held: Balance) -> Refusal | None:
    account, asset = position
    if not held.frozen:
        return None
    return Refusal("WALLET_FROZEN", f"{_name(asset)} of {_whose(account)} is frozen until an auditor has looked at it.")


def _below_zero(position: Position, held: int, change: int) -> Refusal | None:
    account, asset = position
    if account == MINT or held + change >= 0:
        return None
    code = "INSUFFICIENT_ITEMS" if entries.item_of(asset) is not None else "INSUFFICIENT_BALANCE"
    return Refusal(code, f"{_whose(account)} has {held} of {_name(asset)}, and {-change} are needed.")


def _beyond_supply(position: Position, after: int) -> Refusal | None:
    """What the mint has given out bounds every other account, as all of them sum to zero and none is negative."""
    account, asset = position
    if account != MINT or after >= -AMOUNT_MAX:
        return None
    return Refusal("SUPPLY_EXCEEDED", f"The game would have brought {-after} of {_name(asset)} into being.")


def _name(asset: Asset) -> str:
    return asset.partition(":")[2]


def _whose(account: Account) -> str:
    return entries.owner(account) or f"the account {account}"
