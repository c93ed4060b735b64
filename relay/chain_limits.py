"""What an endpoint allows: how many calls in a batch, how wide a range of logs, how many calls a second.

Pure. Providers word the same refusal differently and reuse codes, so texts decide before codes. Texts seen at geth,
Erigon, Nethermind, reth, Infura, Alchemy, QuickNode, Ankr, Tenderly.
"""

import re
from dataclasses import dataclass
from email.utils import parsedate_to_datetime

from relay.chain_types import ChainAnswerError

RETRY_AFTER_S_MAX = 600.0  # whatever an endpoint says, it is asked again after so long
RATE_CODES = frozenset({429, -32005, -32029, -32090})  # "limit exceeded" (EIP-1474) and what providers made of it
RATE = re.compile(
    r"rate.?limit|too many requests|request rate|requests? (count|per)|per second|compute units|throttl", re.IGNORECASE
)
RANGE = re.compile(
    r"query returned|more than [\d,]+|too many (results|logs|blocks)|response size|too (large|wide|big)"
    r"|range|limited to",
    re.IGNORECASE,
)
BATCH = re.compile(r"batch|response too large", re.IGNORECASE)
TROUBLE = re.compile(
    r"internal error|header not found|missing trie node|time(d )?out|try again|temporar|unavailable|overloaded|too busy"
    r"|upstream",
    re.IGNORECASE,
)
# How nodes say that a contract's code came to a halt: that is its answer, whatever the code beside it.
HALT = re.compile(r"revert|evm error|out of ?gas|opcode|stack (under|over)|invalid jump", re.IGNORECASE)
INTERNAL = -32603  # JSON-RPC 2.0; some nodes use it for reverts, which say so
NUMBER = re.compile(r"\b\d[\d,]*\b")
SIZE_STATUSES = frozenset({400, 405, 413, 415, 422})  # how servers that dislike a request's form or size say so


@dataclass(frozen=True, slots=True)
class EndpointLimits:
    """What we ask of one endpoint at most: calls in one HTTP request, calls a second (0: as many as there are)."""

    batch_calls: int = 50  # below what public endpoints allow
    calls_per_s: float = 0.0

    @property
    def batch_start(self) -> int:
        """Calls in one request before anything was refused; never more than a second's worth."""
        return min(self.batch_calls, max(1, int(self.calls_per_s))) if self.calls_per_s else self.batch_calls


def pace(due: float, now: float, calls: int, per_s: float) -> tuple[float, float]:
    """Return (when the next request is due, seconds to wait before this one of `calls` calls), for a steady rate."""
    start = max(due, now)
    return start + calls / per_s, start - now


def rate_limited(code: int, message: str) -> bool:
    """Whether an error object is a refusal to answer now, rather than an answer."""
    if RATE.search(message):
        return True
    return code in RATE_CODES and not RANGE.search(message)


def range_refused(code: int, message: str) -> bool:
    """Whether an error of eth_getLogs says that less must be asked for at once."""
    return not rate_limited(code, message) and RANGE.search(message) is not None


def batch_refused(message: str) -> bool:
    """Whether an error is about the batch, not about the call in it."""
    return BATCH.search(message) is not None


def troubled(error: ChainAnswerError) -> bool:
    """Whether an error object tells of the endpoint's own trouble, rather than about what was asked."""
    if error.revert is not None or HALT.search(error.message):
        return False
    return error.code == INTERNAL or TROUBLE.search(error.message) is not None


def narrower(span: int, message: str) -> int:
    """Blocks to ask for after `span` were refused: the limit the refusal names, or half; 1 at least."""
    half = max(1, span // 2)
    named = [int(number.replace(",", "")) for number in NUMBER.findall(message)]
    return max([number for number in named if 1 < number <= half], default=half)


def retry_after_s(header: str | None, now_s: float) -> float | None:
    """Seconds a Retry-After header asks for (RFC 9110 10.2.3: seconds, or a date), `now_s` in unix seconds.

    None without a usable one.
    """
    if not header:
        return None
    text = header.strip()
    if text.isascii() and text.isdecimal():
        return min(float(text), RETRY_AFTER_S_MAX)
    try:
        until_s = parsedate_to_datetime(text).timestamp()
    except (ValueError, OverflowError):
        return None
    return min(max(until_s - now_s, 0.0), RETRY_AFTER_S_MAX)
