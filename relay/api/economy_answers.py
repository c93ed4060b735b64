"""What is answered to the economy's operations, made once and kept for whoever asks again.

Pure.
"""

import msgspec

from relay.api.economy_parts import enveloped
from relay.api.operations import Headers
from relay.api.problems import problem
from relay.economy import entries, randomness, rolls
from relay.economy.desk import Cooling, Rolled, Traded
from relay.economy.ledger import Posted, Transaction
from relay.economy.ledger import Refusal as Refused
from relay.economy.requests import CraftRequest
from relay.economy.rolls import Roll
from relay.economy_entries import Decided, Order
from relay.errors import CallerError
from relay.guard.gate import Refusal as Ruled
from relay.guard.limits import WINDOW_MS
from relay.store.kept_answers import Kept


class BalanceChange(msgspec.Struct, frozen=True, rename="camel"):
    """What a player has of a currency afterwards."""

    external_id: str
    currency_id: str
    balance: int


class ItemChange(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """What a player has of an item afterwards: to be used, held for him in escrow; left out where it is as before."""

    external_id: str
    item_id: str
    quantity: int | None = None
    escrowed: int | None = None


class OutputDocument(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """What came out of chance: a quantity of an item, or an amount of a currency."""

    item_id: str | None = None
    quantity: int | None = None
    currency_id: str | None = None
    amount: int | None = None


class OperationDocument(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """What an operation did. `balances` and `items`: what it changed, as it was right afterwards.

    `transactionId` is null where nothing came out of a roll, and so nothing was booked. `source` is what the ledger
    says of where it came from, `configVersion` the settings it was decided under.
    """

    transaction_id: str | None
    balances: list[BalanceChange]
    source: str
    config_version: int
    items: list[ItemChange] = []
    listing_id: str | None = None
    roll_id: str | None = None
    outputs: list[OutputDocument] | None = None
    reverses: str | None = None


def render(order: Order, decided: Decided) -> Kept:
    """Return the answer of what was decided, as it is kept."""
    outcome = decided.outcome
    match outcome:
        case Ruled() | Cooling() | Refused():
            error = CallerError(outcome.code, _why(outcome), extra=_extra(decided))
            return Kept(error.status, problem(error, order.request_id).body)
        case Posted():
            document = _of_transaction(outcome.transaction)
        case Traded():
            made = _of_transaction(outcome.posted.transaction)
            document = msgspec.structs.replace(made, listing_id=outcome.listing.listing_id)
        case Rolled():
            document = _of_roll(order, outcome, decided)
    return Kept(200, enveloped(document, order.request_id))


def headers_of(order: Order, decided: Decided | None) -> Headers:
    """Return the fields of draft-ietf-httpapi-ratelimit-headers, and when to come back; none for an answer of before.

    An operation the guard does not look at has none either.
    """
    if decided is None:
        return ()
    retry_ms = getattr(decided.outcome, "retry_ms", None)
    found: Headers = () if retry_ms is None else ((b"retry-after", b"%d" % max(1, -(-retry_ms // 1000))),)
    rate = None if decided.ruling is None else decided.ruling.rate
    if rate is None:
        return found
    action, seconds = order.action.encode(), -(-rate.reset_ms // 1000)
    return (
        (b"ratelimit-policy", b'"%b";q=%d;w=%d' % (action, decided.limit, WINDOW_MS // 1000)),
        (b"ratelimit", b'"%b";r=%d;t=%d' % (action, rate.remaining, seconds)),
        *found,
    )


def _why(outcome: Ruled | Cooling | Refused) -> str:
    return outcome.reason if isinstance(outcome, Ruled) else outcome.detail


def _extra(decided: Decided) -> dict[str, object]:
    """Return which settings decided, and what there is already."""
    found: dict[str, object] = {"configVersion": decided.config_version} if decided.config_version is not None else {}
    first = decided.outcome.first if isinstance(decided.outcome, Refused) else None
    if first is not None:
        found["rollId" if randomness.parse_roll_id(first) else "transactionId"] = first
    return found


def _of_transaction(made: Transaction) -> OperationDocument:
    draft = made.draft
    balances: list[BalanceChange] = []
    items: dict[tuple[str, str], ItemChange] = {}
    for (account, asset), amount in sorted(made.balances.items()):
        owner, currency_id, item_id = entries.owner(account), entries.currency_of(asset), entries.item_of(asset)
        if owner is None:
            continue
        if currency_id is not None and entries.is_wallet(account):
            balances.append(BalanceChange(owner, currency_id, amount))
        elif item_id is not None:
            before = items.get((owner, item_id)) or ItemChange(owner, item_id)
            name = "quantity" if entries.is_wallet(account) else "escrowed"
            items[owner, item_id] = msgspec.structs.replace(before, **{name: amount})
    return OperationDocument(
        made.id, balances, draft.source, draft.config_version, list(items.values()), reverses=draft.reverses
    )


def _of_roll(order: Order, outcome: Rolled, decided: Decided) -> OperationDocument:
    if outcome.posted is None:
        source = "craft" if isinstance(order.asked.body, CraftRequest) else "loot"
        made = OperationDocument(None, [], source, decided.config_version or 0)
    else:
        made = _of_transaction(outcome.posted.transaction)
    return msgspec.structs.replace(made, roll_id=outcome.roll.roll_id, outputs=_outputs(outcome.roll))


def _outputs(roll: Roll) -> list[OutputDocument]:
    return [
        OutputDocument(item_id=entries.item_of(asset), quantity=count)
        if entries.item_of(asset) is not None
        else OutputDocument(currency_id=entries.currency_of(asset), amount=count)
        for asset, count in rolls.by_asset(roll.yields).items()
    ]
