"""What a game's economy must answer and hold after any operations: a model of dictionaries, told each answer in order.

Pure. It knows the rules from the outside: what an operation moves, what may refuse it, what a limit counts, what a key
or a reference stands for. What came out of chance it takes from the answer, within what the rules allow.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from relay.economy import drafts, entries
from relay.economy.desk import Rolled, Traded
from relay.economy.drafts import Draft
from relay.economy.entries import BURN, MINT, TAX, Move, Position
from relay.economy.ledger import Posted
from relay.economy.market import Listing
from relay.economy.requests import (
    BuyRequest,
    CancelRequest,
    CraftRequest,
    GrantRequest,
    ListRequest,
    LootRequest,
    Operation,
    PurchaseRequest,
    ReverseRequest,
    SpendRequest,
    TransferRequest,
)
from relay.economy_entries import Order, Reply
from tests.harness.ledgers import PLAYERS

LIMIT = 6  # operations of a player and action in a minute
AMOUNT_MOST = 60  # of one operation
TRANSFERS_MOST = 70  # of a player in a minute
TAX_BPS = 500
MINUTE_MS = 60_000
CURRENCIES = ("gold", "gems")
CAPS = {"currency:gems": 50, "item:sword": 4}
PRICE = 3  # of an iron, in gold
COOLDOWN_MS = 1_000

Moves = Mapping[Position, int]


class Answered(NamedTuple):
    """What was answered to a key: to which request, with which status and body."""

    request: bytes
    status: int
    body: bytes


@dataclass
class Model:
    """One game. Times in epoch ms."""

    now_ms: int
    balances: Counter[Position] = field(default_factory=Counter)
    frozen: set[Position] = field(default_factory=set)
    references: set[str] = field(default_factory=set)
    keys: dict[bytes, Answered] = field(default_factory=dict)
    listings: dict[str, Listing] = field(default_factory=dict)
    done: dict[str, Draft] = field(default_factory=dict)  # by transaction
    reversals: dict[str, str] = field(default_factory=dict)
    crafted_ms: dict[str, int] = field(default_factory=dict)
    rolls: int = 0
    admitted: Counter[tuple[str, str, int]] = field(default_factory=Counter)  # by action, player and moment
    transferred: Counter[tuple[str, str, int]] = field(default_factory=Counter)  # by player, currency and moment
    tally: Counter[tuple[str, str]] = field(default_factory=Counter)

    def expect(self, order: Order, reply: Reply) -> None:
        """Assert that an answer is what it must be, and go on from there."""
        known = None if order.claim is None else self.keys.get(order.claim.scope)
        code = None if reply.decided is None else reply.decided.code
        if known is not None and order.claim is not None:
            if known.request == order.claim.request:
                assert reply.decided is None
                assert reply.kept.replayed
                assert (reply.kept.status, reply.kept.body) == known[1:]
            else:
                assert (code, reply.kept.status) == ("IDEMPOTENCY_KEY_REUSED", 422)
            return
        assert reply.decided is not None
        assert not reply.kept.replayed
        codes = self._refusals(order)
        assert (code in codes) if codes else (code is None), f"{order.asked} was answered {code}, not {codes or 'done'}"
        assert (reply.kept.status == 200) == (code is None)
        self.tally[order.action, code or "ok"] += 1
        if code is None:
            self._done(order, reply.decided.outcome)
        if order.claim is not None and reply.kept.status != 429:
            self.keys[order.claim.scope] = Answered(order.claim.request, reply.kept.status, reply.kept.body)

    # --- what may refuse

    def _refusals(self, order: Order) -> set[str]:
        """The codes of which one must refuse an order; none: it must be done. Counts what the guard admits."""
        body = order.asked.body
        player, action = body.player, order.action
        if player is not None:
            recent = range(self.now_ms - MINUTE_MS + 1, self.now_ms + 1)
            if sum(n for (what, who, at), n in self.admitted.items() if (what, who) == (action, player)
                   and at in recent) >= LIMIT:  # fmt: skip
                return {"RATE_LIMITED"}
            for currency_id, amount in self._amounts(body).items():
                if amount > AMOUNT_MOST:
                    return {"MAX_AMOUNT_EXCEEDED"}
                moved = sum(n for (who, of, at), n in self.transferred.items() if (who, of) == (player, currency_id)
                            and at in recent)  # fmt: skip
                if action == "transfer" and moved + amount > TRANSFERS_MOST:
                    return {"AMOUNT_WINDOW_EXCEEDED"}
            self.admitted[action, player, self.now_ms] += 1
        return self._of_rules(order)

    def _amounts(self, body: Operation) -> dict[str, int]:
        match body:
            case GrantRequest() | SpendRequest() | TransferRequest():
                return {body.currency_id: body.amount}
            case PurchaseRequest(item_id="iron", currency_id=None | "gold"):
                return {"gold": PRICE * body.quantity}
            case CraftRequest(recipe_id="blade"):
                return {"gold": 1}
            case BuyRequest() if body.listing_id in self.listings:
                listing = self.listings[body.listing_id]
                return {listing.currency_id: listing.price}
        return {}

    def _of_rules(self, order: Order) -> set[str]:
        body, found = order.asked.body, self._unusable(order)
        if found:
            return found | self._used(body)
        if isinstance(body, ReverseRequest):
            if order.asked.transaction_id in self.reversals:
                return set()
            return self._used(body) | self.impossible([self._undone(order)], capped=False)
        return self._used(body) | self.impossible(self._extremes(body), capped=True)

    def _used(self, body: Operation) -> set[str]:
        return {"REFERENCE_EXISTS"} if body.reference in self.references else set()

    def _unusable(self, order: Order) -> set[str]:  # noqa: PLR0911 - one for each kind of operation
        """What refuses an order before anything would move."""
        body = order.asked.body
        match body:
            case PurchaseRequest():
                if body.item_id == "ghost":
                    return {"ITEM_UNKNOWN"}
                return set() if (body.item_id, body.currency_id) == ("iron", None) else {"ITEM_NOT_FOR_SALE"}
            case CraftRequest():
                if body.recipe_id != "blade":
                    return {"RECIPE_UNKNOWN"}
                last = self.crafted_ms.get(body.external_id)
                return {"CRAFT_COOLDOWN"} if last is not None and self.now_ms < last + COOLDOWN_MS else set()
            case LootRequest():
                return set() if body.loot_table_id == "chest" else {"LOOT_TABLE_UNKNOWN"}
            case ListRequest():
                wrong = {"ITEM_UNKNOWN"} if body.item_id == "ghost" else set()
                wrong |= {"ITEM_SOULBOUND"} if body.item_id == "relic" else set()
                wrong |= {"CURRENCY_UNKNOWN"} if body.currency_id not in CURRENCIES else set()
                at = order.asked.expires_at_ms
                return wrong | ({"LISTING_EXPIRED"} if at is not None and at <= self.now_ms else set())
            case BuyRequest() | CancelRequest():
                return self._closed(body)
            case ReverseRequest():
                original = self.done.get(order.asked.transaction_id)
                if original is None:
                    return {"TRANSACTION_UNKNOWN"}
                return set() if original.type in drafts.REVERSIBLE else {"NOT_REVERSIBLE"}
        return set()

    def _closed(self, body: BuyRequest | CancelRequest) -> set[str]:
        listing = self.listings.get(body.listing_id)
        if listing is None:
            return {"LISTING_UNKNOWN"}
        wrong = {"LISTING_CLOSED"} if listing.state != "open" else set()
        own = body.external_id == listing.seller
        if isinstance(body, CancelRequest):
            return wrong | (set() if own else {"NOT_THE_SELLER"})
        over = listing.expires_at_ms is not None and self.now_ms >= listing.expires_at_ms
        return wrong | ({"SELF_PURCHASE"} if own else set()) | ({"LISTING_EXPIRED"} if over else set())

    def impossible(self, all_of: Iterable[Moves], *, capped: bool) -> set[str]:
        """The codes that may refuse what any of these would change."""
        codes: set[str] = set()
        for changes in all_of:
            for (account, asset), change in changes.items():
                owner, currency_id = entries.owner(account), entries.currency_of(asset)
                codes |= {"PLAYER_UNKNOWN"} if owner is not None and owner not in PLAYERS else set()
                codes |= {"CURRENCY_UNKNOWN"} if currency_id is not None and currency_id not in CURRENCIES else set()
                codes |= {"WALLET_FROZEN"} if (account, asset) in self.frozen else set()
                if account != MINT and self.balances[account, asset] + change < 0:
                    codes.add("INSUFFICIENT_BALANCE" if currency_id is not None else "INSUFFICIENT_ITEMS")
                if capped and entries.is_wallet(account) and asset in CAPS:
                    both = ((account, asset), (entries.held_for(account), asset))
                    gain = sum(changes.get(one, 0) for one in both)
                    if gain > 0 and sum(self.balances[one] for one in both) + gain > CAPS[asset]:
                        codes.add("MAX_BALANCE_EXCEEDED")
        return codes

    # --- what moves

    def _extremes(self, body: Operation) -> list[Moves]:
        """The least and the most that an operation would change; one and the same but where chance is."""
        match body:
            case CraftRequest():
                taken = _taken(body.external_id)
                return [entries.net(taken), entries.net([*taken, _of("item:sword", 1, MINT, body.external_id)])]
            case LootRequest():
                who = body.external_id
                return [entries.net([_of("item:iron", 3, MINT, who), _of("currency:gems", 9, MINT, who)])]
        return [entries.net(self._moves(body))]

    def _moves(self, body: Operation) -> list[Move]:  # noqa: PLR0911 - one for each kind of operation
        match body:
            case GrantRequest():
                return [_of(f"currency:{body.currency_id}", body.amount, MINT, body.external_id)]
            case SpendRequest():
                return [_of(f"currency:{body.currency_id}", body.amount, body.external_id, BURN)]
            case TransferRequest():
                asset = f"currency:{body.currency_id}"
                return [_of(asset, body.amount, body.from_external_id, body.to_external_id)]
            case PurchaseRequest():
                who, n = body.external_id, body.quantity
                return [_of("item:iron", n, MINT, who), _of("currency:gold", PRICE * n, who, BURN)]
            case ListRequest():
                wallet, held = f"player:{body.external_id}", f"escrow:{body.external_id}"
                return [Move(f"item:{body.item_id}", body.quantity, wallet, held)]
            case BuyRequest():
                return self._sale(self.listings[body.listing_id], body.external_id)
            case CancelRequest():
                return self.back(self.listings[body.listing_id])
        raise AssertionError(body)

    def _sale(self, listing: Listing, buyer: str) -> list[Move]:
        asset, tax = f"currency:{listing.currency_id}", -(-listing.price * TAX_BPS // 10_000)
        item = Move(f"item:{listing.item_id}", listing.quantity, f"escrow:{listing.seller}", f"player:{buyer}")
        paid = [_of(asset, listing.price - tax, buyer, listing.seller)] if listing.price > tax else []
        return [item, *paid, _of(asset, tax, buyer, TAX)]

    def back(self, listing: Listing) -> list[Move]:
        """What gives a listing's items back."""
        item, seller = f"item:{listing.item_id}", listing.seller
        return [Move(item, listing.quantity, f"escrow:{seller}", f"player:{seller}")]

    def _undone(self, order: Order) -> Moves:
        return entries.net(entries.reversed_moves(self.done[order.asked.transaction_id].moves))

    def _done(self, order: Order, outcome: object) -> None:
        """What an operation did is what it had to do."""
        body = order.asked.body
        if isinstance(body, TransferRequest):
            self.transferred[body.from_external_id, body.currency_id, self.now_ms] += body.amount
        posted = outcome if isinstance(outcome, Posted) else getattr(outcome, "posted", None)
        if isinstance(body, ReverseRequest):
            assert isinstance(posted, Posted)
            again = self.reversals.get(order.asked.transaction_id)
            assert posted.replayed == (again is not None)
            if again is not None:
                assert posted.transaction.id == again
                return
            self.book(posted, self._undone(order))
            self.reversals[order.asked.transaction_id] = posted.transaction.id
        elif isinstance(outcome, Rolled):
            self._rolled(body, outcome)
        else:
            assert isinstance(posted, Posted)
            self.book(posted, entries.net(self._moves(body)))
        if body.reference is not None:
            self.references.add(body.reference)
        if isinstance(outcome, Traded):
            self.listings[outcome.listing.listing_id] = outcome.listing

    def _rolled(self, body: Operation, outcome: Rolled) -> None:
        yields = tuple(outcome.roll.yields)
        taken: list[Move] = []
        if isinstance(body, CraftRequest):
            assert yields in ((), (("item:sword", 1),))
            taken = _taken(body.external_id)
            self.crafted_ms[body.external_id] = self.now_ms
        else:
            assert yields in ((), (("item:iron", 3),), (("currency:gems", 9),))
        moves = [*taken, *(_of(asset, n, MINT, body.player or "") for asset, n in yields)]
        assert (outcome.posted is None) == (not moves)
        assert outcome.roll.number.number == self.rolls
        self.rolls += 1
        if outcome.posted is not None:
            self.book(outcome.posted, entries.net(moves))

    def book(self, posted: Posted, changes: Moves) -> None:
        """A transaction changed exactly this, and says what there is now."""
        made = posted.transaction
        assert made.draft.net == changes
        for position, change in changes.items():
            self.balances[position] += change
        for position, amount in made.balances.items():
            assert self.balances[position] == amount
        self.done[made.id] = made.draft


def _of(asset: str, amount: int, source: str, target: str) -> Move:
    """A move between players and system accounts."""
    accounts = [one if one in entries.SYSTEM else f"player:{one}" for one in (source, target)]
    return Move(asset, amount, *accounts)


def _taken(player: str) -> list[Move]:
    return [_of("item:iron", 2, player, BURN), _of("currency:gold", 1, player, BURN)]
