"""What readiness is made of.

Pure.
"""

from typing import NamedTuple


class Check(NamedTuple):
    """One named line of readiness: whether it holds, and what is seen or what to do."""

    ok: bool
    detail: str
