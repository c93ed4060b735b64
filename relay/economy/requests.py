"""What a game's server asks of its economy: the bodies of the operations, and the step that each one is.

Pure. The structs are decoded strictly; `wrong` and `unusable` name what a type cannot say. Amounts are checked apart
from shapes, because a wrong one is refused by a code of its own.
"""

from collections.abc import Mapping
from functools import cache
from typing import Annotated, ClassVar, NamedTuple

import msgspec
from msgspec import Meta

from relay.economy import drafts
from relay.economy.catalog import Id
from relay.economy.chances import Craft, RollLoot, Wanted
from relay.economy.config import EconomyConfig
from relay.economy.desk import Step
from relay.economy.drafts import By
from relay.economy.entries import AMOUNT_MAX, ID_MAX, valid_id
from relay.economy.ledger import Refusal
from relay.economy.steps import Booking, Purchase, Reversal
from relay.economy.trades import Buy, Cancel, Offer, PutUp
from relay.errors import FieldError
from relay.strict_json import Request

REASON_MAX = 500
MOMENT = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:.]{5,20}(Z|[+-][0-9]{2}:[0-9]{2})$(?!\n)"

# Documented as they are judged, and judged by `unusable`.
Amount = Annotated[int, Meta(extra_json_schema={"minimum": 1, "maximum": AMOUNT_MAX})]


class Terms(NamedTuple):
    """What a step takes beside the body: who asks under which settings, and what the path and the clock add."""

    by: By
    tax_bps: int
    transaction_id: str
    expires_at_ms: int | None


class Operation(Request, frozen=True, kw_only=True):
    """Base of the operations: why, the caller's own permanent name for it, and the key under which it counts once."""

    action: ClassVar[str]  # as limits, flags and charts name it

    reason: Annotated[str, Meta(max_length=REASON_MAX)] | None = None
    idempotency_key: str | None = None
    reference: Id | None = None

    @property
    def player(self) -> str | None:
        """The player whose operation it is, as limits count; None: nobody's."""
        return None

    def step(self, terms: Terms) -> Step:
        """What is to be decided."""
        raise TypeError(f"{type(self).__name__} is no operation by itself, under {terms}")


class _OfPlayer(Operation, frozen=True, kw_only=True):
    external_id: Id

    @property
    def player(self) -> str:
        """The one it names."""
        return self.external_id


class GrantRequest(_OfPlayer, frozen=True, kw_only=True):
    """Give a player an amount of a currency, newly minted."""

    action: ClassVar[str] = "grant"
    currency_id: Id
    amount: Amount

    def step(self, terms: Terms) -> Step:
        """A booking."""
        return Booking(drafts.grant(self.external_id, self.currency_id, self.amount, terms.by))


class SpendRequest(_OfPlayer, frozen=True, kw_only=True):
    """Take an amount of a currency from a player; it is burnt."""

    action: ClassVar[str] = "spend"
    currency_id: Id
    amount: Amount

    def step(self, terms: Terms) -> Step:
        """A booking."""
        return Booking(drafts.spend(self.external_id, self.currency_id, self.amount, terms.by))


class TransferRequest(Operation, frozen=True, kw_only=True):
    """Move an amount of a currency from one player to another."""

    action: ClassVar[str] = "transfer"
    from_external_id: Id
    to_external_id: Id
    currency_id: Id
    amount: Amount

    @property
    def player(self) -> str:
        """Who gives."""
        return self.from_external_id

    def step(self, terms: Terms) -> Step:
        """A booking."""
        return Booking(
            drafts.transfer(self.from_external_id, self.to_external_id, self.currency_id, self.amount, terms.by)
        )


class PurchaseRequest(_OfPlayer, frozen=True, kw_only=True):
    """Buy an item of the game; without `currencyId` for the first of its prices."""

    action: ClassVar[str] = "purchase"
    item_id: Id
    quantity: Amount = 1
    currency_id: Id | None = None

    def step(self, terms: Terms) -> Step:
        """A purchase."""
        return Purchase(self.external_id, self.item_id, self.quantity, self.currency_id, terms.by)


class CraftRequest(_OfPlayer, frozen=True, kw_only=True):
    """Craft by a recipe. `clientSeed` is the player's own share in what comes out."""

    action: ClassVar[str] = "craft"
    recipe_id: Id
    client_seed: str = ""

    def step(self, terms: Terms) -> Step:
        """A craft."""
        return Craft(Wanted(self.external_id, self.recipe_id, self.client_seed), terms.by)


class LootRequest(_OfPlayer, frozen=True, kw_only=True):
    """Roll a loot table. `clientSeed` is the player's own share in what comes out."""

    action: ClassVar[str] = "loot_roll"
    loot_table_id: Id
    client_seed: str = ""

    def step(self, terms: Terms) -> Step:
        """A roll."""
        return RollLoot(Wanted(self.external_id, self.loot_table_id, self.client_seed), terms.by)


class ListRequest(_OfPlayer, frozen=True, kw_only=True):
    """Put items up for sale; `price` is for all of them. They are in escrow until sold, taken back or expired."""

    action: ClassVar[str] = "marketplace_list"
    item_id: Id
    quantity: Amount
    currency_id: Id
    price: Amount
    expires_at: Annotated[str, Meta(pattern=MOMENT, description="RFC 3339")] | None = None

    def step(self, terms: Terms) -> Step:
        """A listing, taxed as the settings say now."""
        what = (self.external_id, self.item_id, self.quantity, self.currency_id, self.price)
        return PutUp(Offer(*what, terms.tax_bps, terms.expires_at_ms), terms.by)


class BuyRequest(_OfPlayer, frozen=True, kw_only=True):
    """Buy what a listing offers."""

    action: ClassVar[str] = "marketplace_buy"
    listing_id: Id

    def step(self, terms: Terms) -> Step:
        """A sale."""
        return Buy(self.listing_id, self.external_id, terms.by)


class CancelRequest(_OfPlayer, frozen=True, kw_only=True):
    """Take a listing back."""

    action: ClassVar[str] = "marketplace_cancel"
    listing_id: Id

    def step(self, terms: Terms) -> Step:
        """The way back."""
        return Cancel(self.listing_id, self.external_id, terms.by)


class ReverseRequest(Operation, frozen=True, kw_only=True):
    """Undo a transaction by an equal and opposite one."""

    action: ClassVar[str] = "reverse"
    reason: Annotated[str, Meta(min_length=1, max_length=REASON_MAX)]

    def step(self, terms: Terms) -> Step:
        """A reversal."""
        return Reversal(terms.transaction_id, terms.by)


class Asked(msgspec.Struct, frozen=True):
    """An operation with what is not in its body: who asks, the transaction its path names, when its listing ends."""

    body: Operation
    role: str
    actor: str
    transaction_id: str = ""
    expires_at_ms: int | None = None


def wrong(body: Operation) -> list[FieldError]:
    """Return the ids that are none, by JSON pointer."""
    return [
        FieldError(
            f"/{shown}", "FIELD_INVALID", f"`{shown}` is 1 to {ID_MAX} printable characters, without spaces at its ends"
        )
        for name, shown in _ids(type(body))
        if (value := getattr(body, name)) is not None and not valid_id(value)
    ]


@cache
def _ids(kind: type[Operation]) -> tuple[tuple[str, str], ...]:
    """Return the fields that hold ids, each with its name in JSON."""
    fields = msgspec.structs.fields(kind)
    return tuple((one.name, one.encode_name) for one in fields if one.name.endswith("_id") or one.name == "reference")


def unusable(body: Operation) -> Refusal | None:
    """Return why an operation cannot be done by anybody at any time; None where it may."""
    for name in ("amount", "quantity", "price"):
        value = getattr(body, name, 1)
        if not 1 <= value <= AMOUNT_MAX:
            return Refusal("AMOUNT_INVALID", f"`{name}` is an integer from 1 to 2^53-1, not {value}.")
    if isinstance(body, TransferRequest) and body.from_external_id == body.to_external_id:
        return Refusal("TRANSFER_TO_SELF", f"{body.from_external_id} cannot transfer to {body.to_external_id}.")
    return None


def step_of(asked: Asked, config: EconomyConfig) -> Step:
    """Return the step of an operation that has passed `wrong` and `unusable`, under the game's settings."""
    body = asked.body
    by = By(asked.role, asked.actor, config.version, body.reason, body.reference)
    return body.step(Terms(by, config.marketplace_tax_bps, asked.transaction_id, asked.expires_at_ms))


ROUTES: Mapping[str, type[Operation]] = {
    "/grant": GrantRequest,
    "/spend": SpendRequest,
    "/transfer": TransferRequest,
    "/purchase": PurchaseRequest,
    "/craft": CraftRequest,
    "/loot/roll": LootRequest,
    "/marketplace/list": ListRequest,
    "/marketplace/buy": BuyRequest,
    "/marketplace/cancel": CancelRequest,
    "/transactions/{transactionId}/reverse": ReverseRequest,
}
