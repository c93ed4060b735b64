"""Balances, transactions, statistics over HTTP.

Touches the database through the economy's parts.
"""

from relay.api.economy_parts import EconomyParts
from relay.api.operations import Operation


def read_operations(parts: EconomyParts) -> list[Operation]:  # noqa: ARG001
    """Return the declarations."""
    return []
