"""What to bid for gas, and what to bid next when a transaction is stuck.

Pure. Amounts are wei per gas. Nodes replace a transaction only when every fee rises by at least 10 % (go-ethereum's
txpool `PriceBump`); 12.5 % leaves room for rounding and for pools that want more.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, TypeAlias

from relay.chain_types import Fees

BUMP_NUMERATOR, BUMP_DENOMINATOR = 9, 8
LEAST_NUMERATOR, LEAST_DENOMINATOR = 11, 10  # what a node demands of a replacement
LEGACY_MARGIN_PERCENT = 10

FeeKind: TypeAlias = Literal["auto", "legacy", "eip1559"]


@dataclass(frozen=True, slots=True)
class Bid:
    """`fee_max` per gas at most (a legacy transaction's gas price); `tip_max` for the block's maker, None: legacy."""

    fee_max: int
    tip_max: int | None

    def covers(self, market: Fees) -> bool:
        """Whether the next block may well take it: it pays the base fee and at least half the usual tip."""
        if self.tip_max is None or market.base is None:
            return self.fee_max >= market.price
        return 2 * min(self.tip_max, self.fee_max - market.base) >= market.tip and self.fee_max >= market.base

    def cost(self, gas_limit: int) -> int:
        """Wei that must be on the account for it to be mined."""
        return self.fee_max * gas_limit


def market_as(market: Fees, kind: FeeKind) -> Fees:
    """The market as transactions of this kind see it; `auto`: EIP-1559 where blocks have a base fee, else legacy."""
    if kind == "legacy":
        return Fees(None, 0, market.price)
    if kind == "eip1559" and market.base is None:  # such chains charge what is bid: all of it is tip
        return Fees(0, market.price, market.price)
    return market


def quote(market: Fees, cap: int) -> Bid:
    """A first bid: twice the base fee (six full blocks of rises) plus the usual tip, or the gas price plus 10 %."""
    if market.base is None:
        return Bid(min(cap, market.price * (100 + LEGACY_MARGIN_PERCENT) // 100), None)
    fee = min(cap, 2 * market.base + market.tip)
    return Bid(fee, min(market.tip, fee))


def bump(old: Bid, market: Fees, cap: int) -> Bid | None:
    """The next bid for a stuck transaction: both fees risen by an eighth and to today's quote, at most the cap.

    None where the cap leaves less than the 10 % that nodes demand. A replacement keeps the transaction's type.
    """
    fresh = quote(market, cap)
    tip = None if old.tip_max is None else max(_raised(old.tip_max), fresh.tip_max or 0)
    fee = min(cap, max(_raised(old.fee_max), fresh.fee_max, tip or 0))
    if fee < _least(old.fee_max):
        return None
    if old.tip_max is None or tip is None:
        return Bid(fee, None)
    tip = min(fee, tip)
    return None if tip < _least(old.tip_max) else Bid(fee, tip)


def _raised(value: int) -> int:
    return max(-(-value * BUMP_NUMERATOR // BUMP_DENOMINATOR), value + 1)


def _least(value: int) -> int:
    return max(-(-value * LEAST_NUMERATOR // LEAST_DENOMINATOR), value + 1)


def affordable(balance: int, reserved: int, costs: Iterable[int]) -> int:
    """How many of the costs, in order, the balance covers besides what is reserved for everything under way."""
    count, spent = 0, reserved
    for cost in costs:
        spent += cost
        if spent > balance:
            break
        count += 1
    return count
