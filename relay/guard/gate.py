"""The guard before an operation of the economy: how often, how much, how much in a minute; and what of it is flagged.

Pure. The windows are handed in, locked, by `relay.store.gate`; what is decided here is obeyed there. Steps:

    1. rate      fewer than `rateLimits[action]` admitted in (t - 60 s, t]; what is refused does not consume
    2. amount    each currency's total <= `maxTransactionAmount`
    3. window    with what was executed in (t - 60 s, t], each currency's total <= `amountPerWindow[action]`

1 refuses alone; 2 and 3 both run, and the first that refuses is the answer. What any of them refuses consumes nothing.
What passes all has consumed its place in 1, whatever the operation's own rules say of it; 3 counts what was executed.
"""

from collections.abc import Mapping
from typing import NamedTuple

from relay.economy.config import EconomyConfig
from relay.flag_kinds import ECONOMY_KINDS
from relay.guard import amounts, limits
from relay.guard.amounts import Moved
from relay.guard.flags import Flag, of_limit
from relay.guard.limits import Window


class Attempt(NamedTuple):
    """One operation that a player asks for. `amounts`: per currency, all lines together (`amounts.added_up`)."""

    game_id: str
    action: str
    player: str
    amounts: Mapping[str, int]


class Refusal(NamedTuple):
    """Why an operation is not executed: stable code, text, and for how long (ms; None: for ever)."""

    code: str
    reason: str
    retry_ms: int | None = None


class Ruling(NamedTuple):
    """What the guard says of one attempt. `rate` is None where the game has limits switched off."""

    refusal: Refusal | None
    flags: tuple[Flag, ...]
    rate: limits.Decision | None
    config_version: int

    @property
    def admit(self) -> bool:
        """Whether the operation goes on."""
        return self.refusal is None


def rule(attempt: Attempt, config: EconomyConfig, rate: Window, moved: Mapping[str, Moved], now_ms: int) -> Ruling:
    """Rule on one attempt and count it in `rate`; `moved` holds the window of each currency that has a limit."""
    if not config.enabled:
        return Ruling(None, (), None, config.version)
    limit = config.rate_limit(attempt.action)
    decision = limits.attempt(rate, now_ms, limit)
    if not decision.admit:  # 1
        flag = of_limit(attempt.game_id, attempt.player, attempt.action, decision.attempts, limit)
        refusal = Refusal("RATE_LIMITED", flag.reason, decision.reset_ms)
        return Ruling(refusal, (_cited(flag, config),), decision, config.version)
    found = [*_too_large(attempt, config), *_too_much(attempt, config, moved, now_ms)]  # 2 and 3
    if found:
        flags = tuple(_cited(flag, config) for flag, _ in found)
        return Ruling(found[0][1], flags, limits.withdraw(rate, decision), config.version)
    return Ruling(None, (), decision, config.version)


def executed(attempt: Attempt, config: EconomyConfig, moved: Mapping[str, Moved], now_ms: int) -> None:
    """Count what was moved in `moved`."""
    if config.enabled and config.amount_limit(attempt.action) is not None:
        for currency_id, amount in attempt.amounts.items():
            amounts.record(moved[currency_id], now_ms, amount)


def _too_large(attempt: Attempt, config: EconomyConfig) -> list[tuple[Flag, Refusal]]:
    limit = config.max_transaction_amount
    found: list[tuple[Flag, Refusal]] = []
    for currency_id, amount in sorted(attempt.amounts.items()):
        if amounts.too_large(amount, limit):
            reason = f"Transaction amount exceeded: {attempt.action} ({amount}/{limit} {currency_id})"
            context = {"currencyId": currency_id, "amount": amount, "limit": limit}
            flag = _flag(attempt, "MAX_AMOUNT_EXCEEDED", reason, context)
            found.append((flag, Refusal(flag.code, reason)))
    return found


def _too_much(
    attempt: Attempt, config: EconomyConfig, moved: Mapping[str, Moved], now_ms: int
) -> list[tuple[Flag, Refusal]]:
    limit = config.amount_limit(attempt.action)
    found: list[tuple[Flag, Refusal]] = []
    for currency_id, amount in sorted(attempt.amounts.items()) if limit is not None else ():
        allowance = amounts.allow(moved[currency_id], now_ms, amount, limit or 0)
        if not allowance.admit:
            total = allowance.moved + amount
            reason = f"Amount limit exceeded: {attempt.action} ({total}/{limit} {currency_id} per minute)"
            context = {"currencyId": currency_id, "amount": amount, "moved": allowance.moved, "limit": limit}
            flag = _flag(attempt, "AMOUNT_WINDOW_EXCEEDED", reason, context)
            found.append((flag, Refusal(flag.code, reason, allowance.free_in_ms)))
    return found


def _flag(attempt: Attempt, code: str, reason: str, context: Mapping[str, object]) -> Flag:
    game_id, action, player, _ = attempt
    severity = ECONOMY_KINDS[code].severity
    return Flag(game_id, player, action, code, severity, reason, "player", player, {"action": action, **context})


def _cited(flag: Flag, config: EconomyConfig) -> Flag:
    """Return the flag naming the settings under which it was raised."""
    return flag._replace(context={**flag.context, "configVersion": config.version})
