"""What to bid for gas, and what to bid next when a transaction is stuck.

Pure. Amounts are wei per gas. Nodes replace a transaction only when every fee rises by at least 10 % (go-ethereum's
txpool `PriceBump`); 12.5 % leaves room for rounding and for pools that want more.
"""

from dataclasses import dataclass

from relay.chain_types import Fees

BUMP_NUMERATOR, BUMP_DENOMINATOR = 9, 8
LEGACY_MARGIN_PERCENT = 10


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


def quote(market: Fees, cap: int) -> Bid:
    """A first bid: twice the base fee (six full blocks of rises) plus the usual tip, or the gas price plus 10 %."""
    if market.base is None:
        return Bid(min(cap, market.price * (100 + LEGACY_MARGIN_PERCENT) // 100), None)
    fee = min(cap, 2 * market.base + market.tip)
    return Bid(fee, min(market.tip, fee))


def bump(old: Bid, market: Fees, cap: int) -> Bid | None:
    """The next bid for a stuck transaction: both fees risen by an eighth and to today's quote; None at the cap."""
    fresh = quote(market, cap)
    fee = max(_raised(old.fee_max), fresh.fee_max)
    if fee > cap:
        return None
    if old.tip_max is None:  # an attempt keeps its transaction type
        return Bid(fee, None)
    tip = max(_raised(old.tip_max), fresh.tip_max or 0)
    return None if tip > cap else Bid(max(fee, tip), tip)


def _raised(value: int) -> int:
    return max(-(-value * BUMP_NUMERATOR // BUMP_DENOMINATOR), value + 1)
