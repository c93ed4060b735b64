"""The marketplace's decisions: escrow, tax, who may buy what and when."""

import pytest

from relay.economy import market
from relay.economy.catalog import Item
from relay.economy.drafts import By, Draft
from relay.economy.entries import TAX, Move
from relay.economy.ledger import Refusal
from relay.economy.market import Listing, State

BY = By("server", "key_1", 1)
NOW = 1_700_000_000_000
SWORD, RING = Item("sword", "Sword", max_owned=5), Item("ring", "Ring", soulbound=True)
LISTING = Listing("lst_1", "ann", "sword", 2, "gold", 100, 250, NOW, NOW + 1_000)


def drafted(outcome: Draft | Refusal | None) -> Draft:
    """What must have been drafted."""
    assert isinstance(outcome, Draft)
    return outcome


def refused(outcome: Draft | Refusal | None) -> str:
    """The code of what must have been refused."""
    assert isinstance(outcome, Refusal)
    return outcome.code


@pytest.mark.parametrize(
    ("price", "bps", "tax"),
    [(100, 250, 3), (100, 100, 1), (1, 1, 1), (1, 0, 0), (10_000, 1, 1), (10_001, 1, 2), (7, 10_000, 7)],
)
def test_tax_is_rounded_up(price: int, bps: int, tax: int) -> None:
    """At least 1 where there is a rate."""
    assert LISTING._replace(price=price, tax_bps=bps).tax == tax


def test_a_sale_moves_items_price_and_tax() -> None:
    """The buyer pays the price, the seller gets it less tax."""
    draft = drafted(market.bought(LISTING, SWORD, "bob", BY, NOW + 999))
    assert draft.moves == (
        Move("item:sword", 2, "escrow:ann", "player:bob"),
        Move("currency:gold", 97, "player:bob", "player:ann"),
        Move("currency:gold", 3, "player:bob", TAX),
    )
    assert (draft.source, draft.caps) == ("marketplace", {"item:sword": 5})


def test_nothing_moves_where_there_is_nothing_to_move() -> None:
    """No tax, or nothing but tax."""
    free = drafted(market.bought(LISTING._replace(tax_bps=0), SWORD, "bob", BY, NOW))
    assert [move.amount for move in free.moves] == [2, 100]
    taxed = drafted(market.bought(LISTING._replace(tax_bps=10_000), SWORD, "bob", BY, NOW))
    assert [(move.amount, move.target) for move in taxed.moves] == [(2, "player:bob"), (100, TAX)]


def test_who_may_buy() -> None:
    """Not the seller, not too late, not what was sold, not what is bound."""
    assert refused(market.bought(LISTING, SWORD, "ann", BY, NOW)) == "SELF_PURCHASE"
    assert refused(market.bought(LISTING, SWORD, "bob", BY, NOW + 1_000)) == "LISTING_EXPIRED"
    assert refused(market.bought(LISTING, RING, "bob", BY, NOW)) == "ITEM_SOULBOUND"
    for state in (State.SOLD, State.CANCELLED, State.EXPIRED):
        assert refused(market.bought(LISTING._replace(state=state), SWORD, "bob", BY, NOW)) == "LISTING_CLOSED"


def test_listing_puts_items_into_escrow() -> None:
    """Of what may be sold, for a time to come."""
    draft = drafted(market.listed(LISTING, SWORD, BY))
    assert draft.moves == (Move("item:sword", 2, "player:ann", "escrow:ann"),)
    assert refused(market.listed(LISTING._replace(item_id="ring"), RING, BY)) == "ITEM_SOULBOUND"
    assert refused(market.listed(LISTING._replace(expires_at_ms=NOW), SWORD, BY)) == "LISTING_EXPIRED"


def test_items_come_back() -> None:
    """To the seller who asks, or when the time is over; once."""
    back = (Move("item:sword", 2, "escrow:ann", "player:ann"),)
    assert drafted(market.cancelled(LISTING, "ann", BY)).moves == back
    assert refused(market.cancelled(LISTING, "bob", BY)) == "NOT_THE_SELLER"
    assert refused(market.cancelled(LISTING._replace(state=State.SOLD), "ann", BY)) == "LISTING_CLOSED"
    assert market.expired(LISTING, BY, NOW + 999) is None
    assert drafted(market.expired(LISTING, BY, NOW + 1_000)).moves == back
    assert market.expired(LISTING._replace(state=State.SOLD), BY, NOW + 1_000) is None
    assert market.expired(LISTING._replace(expires_at_ms=None), BY, NOW * 2) is None
