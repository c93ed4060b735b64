"""The rules that scores name, by their hash: those configured here, and those the contract published.

Touches the chain through `Publisher`. Where a document comes from does not matter: its hash stands in the score.
"""

import time
from collections.abc import Callable, Iterable
from typing import Protocol

from indexer.doubt import SILENT_PATIENCE_S, Missing, rules_of
from relay.chain_types import ChainError
from relay.rules.ruleset import BoundRuleset, RulesetError

AGAIN_S = 5.0  # until what was not found is looked for again


class Publisher(Protocol):
    """Where rules are published."""

    async def published_rules(self, game: bytes, rules_hash: bytes) -> bytes | None:
        """Return the document that the contract published for a game under a hash; raises ChainError."""


class Rules:
    """All rules known so far."""

    def __init__(
        self,
        configured: Iterable[BoundRuleset],
        publisher: Publisher,
        grace_s: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._known = {rules.hash: rules for rules in configured}
        self._publisher, self._grace_s, self._clock = publisher, grace_s, clock
        self._missing: dict[tuple[bytes, bytes], tuple[float, Missing]] = {}

    async def find(self, game: bytes, rules_hash: bytes) -> BoundRuleset | Missing:
        """Return the rules with a hash, or why they are not known."""
        if (known := self._known.get(rules_hash)) is not None:
            return known
        asked_s, missing = self._missing.get((game, rules_hash), (0.0, None))
        if missing is not None and self._clock() < asked_s + AGAIN_S:
            return missing
        found = await self._look(game, rules_hash)
        if isinstance(found, Missing):
            self._missing[game, rules_hash] = (self._clock(), found)
        else:
            self._known[rules_hash] = found
        return found

    async def _look(self, game: bytes, rules_hash: bytes) -> BoundRuleset | Missing:
        try:
            document = await self._publisher.published_rules(game, rules_hash)
        except ChainError as error:
            return Missing(f"The chain does not say what the rules are: {error}", SILENT_PATIENCE_S)
        if document is None:
            return Missing("The contract never published the rules", self._grace_s)
        try:
            return rules_of(document, rules_hash)
        except RulesetError as error:
            return Missing(f"The score cannot be recomputed: {error}", self._grace_s)
