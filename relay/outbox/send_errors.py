"""What an endpoint's answer to a send means for when to look again; it never decides a transaction's fate.

Pure. Nodes word the same error differently and reuse codes, so the text decides first. Sources: go-ethereum
`core/txpool/errors.go` and `core/error.go`, Nethermind, Besu, Erigon, Reth, anvil, py-evm.
"""

from enum import Enum

from relay.chain_types import SendAnswer


class SendClass(Enum):
    """Classes of answers, by what they suggest looking at next."""

    ACCEPTED = "accepted"
    ALREADY_KNOWN = "already_known"
    NONCE_TOO_LOW = "nonce_too_low"  # something with this nonce is mined: look for receipts
    NONCE_TOO_HIGH = "nonce_too_high"  # a predecessor is missing: send it again first
    UNDERPRICED = "underpriced"  # bid more
    INSUFFICIENT_FUNDS = "insufficient_funds"  # fill the account
    POOL_FULL = "pool_full"  # wait
    NEVER_VALID = "never_valid"  # this attempt can never be mined: an operator must look
    AMBIGUOUS = "ambiguous"  # assume it was sent


# Order matters: the first text found decides ("already known" also appears inside longer errors).
TABLE: tuple[tuple[str, SendClass], ...] = (
    ("already known", SendClass.ALREADY_KNOWN),
    ("already imported", SendClass.ALREADY_KNOWN),
    ("already exists", SendClass.ALREADY_KNOWN),
    ("alreadyknown", SendClass.ALREADY_KNOWN),
    ("known transaction", SendClass.ALREADY_KNOWN),
    ("already in mempool", SendClass.ALREADY_KNOWN),
    ("nonce too low", SendClass.NONCE_TOO_LOW),
    ("oldnonce", SendClass.NONCE_TOO_LOW),
    ("old nonce", SendClass.NONCE_TOO_LOW),
    ("nonce is too low", SendClass.NONCE_TOO_LOW),
    ("nonce has already been used", SendClass.NONCE_TOO_LOW),
    ("nonce too high", SendClass.NONCE_TOO_HIGH),
    ("nonce gap", SendClass.NONCE_TOO_HIGH),
    ("too distant nonce", SendClass.NONCE_TOO_HIGH),
    ("underpriced", SendClass.UNDERPRICED),
    ("gas price too low", SendClass.UNDERPRICED),
    ("fee too low", SendClass.UNDERPRICED),
    ("less than block base fee", SendClass.UNDERPRICED),
    ("lower than the minimum", SendClass.UNDERPRICED),
    ("max fee per gas less than", SendClass.UNDERPRICED),
    ("insufficient funds", SendClass.INSUFFICIENT_FUNDS),
    ("insufficient balance", SendClass.INSUFFICIENT_FUNDS),
    ("doesn't have enough funds", SendClass.INSUFFICIENT_FUNDS),
    ("upfront cost exceeds", SendClass.INSUFFICIENT_FUNDS),
    ("txpool is full", SendClass.POOL_FULL),
    ("pool is full", SendClass.POOL_FULL),
    ("queue full", SendClass.POOL_FULL),
    ("limit exceeded", SendClass.POOL_FULL),
    ("in-flight transaction limit", SendClass.POOL_FULL),  # an account with code (EIP-7702)
    ("invalid chain id", SendClass.NEVER_VALID),
    ("invalid sender", SendClass.NEVER_VALID),
    ("intrinsic gas too low", SendClass.NEVER_VALID),
    ("exceeds block gas limit", SendClass.NEVER_VALID),
    ("exceeds transaction gas limit", SendClass.NEVER_VALID),
    ("gas limit too high", SendClass.NEVER_VALID),
    ("oversized data", SendClass.NEVER_VALID),
    ("transaction type not supported", SendClass.NEVER_VALID),
    ("replay-protected", SendClass.NEVER_VALID),
)


def classify(answer: SendAnswer) -> SendClass:
    """Class of an answer; whatever the table does not know is ambiguous, for it may have been sent."""
    if answer.accepted:
        return SendClass.ACCEPTED
    if answer.code is None:
        return SendClass.AMBIGUOUS
    text = answer.message.lower()
    return next((found for part, found in TABLE if part in text), SendClass.AMBIGUOUS)
