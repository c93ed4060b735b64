"""Anchored checkpoints over HTTP.

Touches the database through the economy's parts.
"""

from relay.api.economy_parts import EconomyParts
from relay.api.operations import Operation


def checkpoint_operations(parts: EconomyParts) -> list[Operation]:  # noqa: ARG001
    """Return the declarations."""
    return []
