"""A game's economy settings: their defaults, what is allowed in them, and JSON merge patches on them.

Pure. A configuration is a whole document, never a difference: each version says by itself what was in force, whatever
later programs take for a default. Versions and their history are kept by `relay.store.economy_config`.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from relay.canonical import INTEGER_MAX
from relay.errors import FieldError, PayloadError
from relay.strict_json import pointer_step

DEFAULT = "default"  # of a map by action: what holds where the action is not named
# What players do, as limits, flags and the record name it.
ACTIONS = (
    "grant", "spend", "transfer", "purchase", "craft", "loot_roll",
    "marketplace_list", "marketplace_buy", "marketplace_cancel",
)  # fmt: skip
LIMIT_MAX = 10_000  # a window is a ring of that many timestamps in one row
BPS_MAX = 10_000  # 100 %

Document = Mapping[str, Any]  # as JSON: camelCase names

DEFAULTS: Document = {
    "enabled": True,
    "rateLimits": {DEFAULT: 60, "craft": 10, "marketplace_list": 5},
    "maxTransactionAmount": 1_000_000,
    "launderingThreshold": 5,
    "velocityMultiplier": 10,
    "amountPerWindow": {},
    "marketplaceTaxBps": 0,
}


@dataclass(frozen=True, slots=True)
class EconomyConfig:
    """One version of a game's settings. Version 0: the defaults, of a game that never set any.

    `enabled` switches limits and heuristics; what a ledger cannot be wrong about has no switch.
    """

    version: int
    enabled: bool
    rate_limits: Mapping[str, int]  # admissions per player and action in 60 s
    max_transaction_amount: int  # of one currency in one operation; that much is allowed
    laundering_threshold: int  # transfers of one pair in 60 s from which on they are flagged
    velocity_multiplier: int
    amount_per_window: Mapping[str, int]  # of one currency, per player and action in 60 s; empty: no limit
    marketplace_tax_bps: int

    def rate_limit(self, action: str) -> int:
        """Admissions per player in 60 s."""
        return self.rate_limits.get(action, self.rate_limits[DEFAULT])

    def amount_limit(self, action: str) -> int | None:
        """How much of one currency a player may move by `action` in 60 s; None: any amount."""
        return self.amount_per_window.get(action, self.amount_per_window.get(DEFAULT))


# --- documents


def read(document: Document, version: int) -> EconomyConfig:
    """Return the settings of a document; what it does not name (a setting made since it was written) has its default.

    Raises:
        PayloadError: `fields` names everything that is wrong in it, by JSON pointer.
    """
    document = _completed(document)
    wrong = list(_wrong(document))
    if wrong:
        raise PayloadError("The configuration cannot be used: " + wrong[0].detail, wrong)
    return EconomyConfig(
        version,
        document["enabled"],
        dict(document["rateLimits"]),
        document["maxTransactionAmount"],
        document["launderingThreshold"],
        document["velocityMultiplier"],
        dict(document["amountPerWindow"]),
        document["marketplaceTaxBps"],
    )


def replaced(document: Document) -> Document:
    """Return the complete document that a PUT asks for: what it leaves out has its default, maps by action merge."""
    return _checked(_completed(document))


def patched(current: Document, patch: object) -> Document:
    """Return `current` after a JSON merge patch (RFC 7396); what the patch removes (null) has its default again.

    Raises:
        PayloadError: the patch is no object, or the result cannot be used.
    """
    if not isinstance(patch, Mapping):
        raise PayloadError("A merge patch of the configuration is a JSON object.")
    # A patch that sets a member to what is no object replaces it whole, as the RFC says; the check then refuses it.
    merged = merge_patch(current, patch)
    return _checked(_completed(merged))


def merge_patch(target: Any, patch: Any) -> Any:
    """Return `target` after `patch`, as the function MergePatch of RFC 7396 section 2 defines it; changes neither."""
    if not isinstance(patch, Mapping):
        return patch
    result = dict(target) if isinstance(target, Mapping) else {}
    for name, value in patch.items():
        if value is None:
            result.pop(name, None)
        else:
            result[name] = merge_patch(result.get(name), value)
    return result


def _completed(document: Document) -> Document:
    return {**document, **{name: _filled(default, document.get(name)) for name, default in DEFAULTS.items()}}


def _filled(default: Any, given: Any) -> Any:
    if given is None:
        return default
    return {**default, **given} if isinstance(default, Mapping) and isinstance(given, Mapping) else given


def _checked(document: Document) -> Document:
    read(document, 0)
    return document


# --- what is allowed

_Check = Callable[[str, Any], Iterator[FieldError]]


def _switch(pointer: str, value: Any) -> Iterator[FieldError]:
    if not isinstance(value, bool):
        yield _error(pointer, "is true or false")


def _integer(least: int, most: int) -> _Check:
    def check(pointer: str, value: Any) -> Iterator[FieldError]:
        if type(value) is not int or not least <= value <= most:
            yield _error(pointer, f"is an integer from {least} to {most}")

    return check


def _by_action(check: _Check) -> _Check:
    def check_all(pointer: str, value: Any) -> Iterator[FieldError]:
        if not isinstance(value, Mapping):
            yield _error(pointer, "is an object of numbers by action")
            return
        for action, one in value.items():
            if action not in (DEFAULT, *ACTIONS):
                yield _unknown(pointer, action, f"is no action: {', '.join((DEFAULT, *ACTIONS))}")
            else:
                yield from check(pointer + pointer_step(action), one)

    return check_all


CHECKS: Mapping[str, _Check] = {
    "enabled": _switch,
    "rateLimits": _by_action(_integer(1, LIMIT_MAX)),
    "maxTransactionAmount": _integer(1, INTEGER_MAX),
    "launderingThreshold": _integer(2, LIMIT_MAX),
    "velocityMultiplier": _integer(1, 1_000_000),
    "amountPerWindow": _by_action(_integer(1, INTEGER_MAX)),
    "marketplaceTaxBps": _integer(0, BPS_MAX),
}


def _wrong(document: Document) -> Iterator[FieldError]:
    for name, check in CHECKS.items():
        yield from check(pointer_step(name), document[name])
    for name in document:
        if name not in CHECKS:
            yield _unknown("", name, f"is no setting: {', '.join(CHECKS)}")


def _error(pointer: str, must: str) -> FieldError:
    return FieldError(pointer, "FIELD_INVALID", f"`{pointer.lstrip('/')}` {must}")


def _unknown(pointer: str, name: str, why: str) -> FieldError:
    shown = name[:64].encode("ascii", "backslashreplace").decode()
    return FieldError(pointer + pointer_step(shown), "FIELD_UNKNOWN", f"`{shown}` {why}")
