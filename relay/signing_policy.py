"""What the keys of a relay may sign, and nothing else: decided before a signature, wherever the key is.

Pure. The relay asks before it signs or sends anything to be signed, and `fairscore signer` asks again on its own side,
so that a thief of either process's connection can only do what the relay does anyway.
"""

from relay.attestation import ECONOMY_ANCHOR_TYPEHASH, SCORE_BATCH_TYPEHASH
from relay.errors import SignerError

ATTESTED = {SCORE_BATCH_TYPEHASH: 160, ECONOMY_ANCHOR_TYPEHASH: 192}
"""Types an attestation key signs, with the length of their encoding: type hash and fields, 32 bytes each."""


class PolicyError(SignerError):
    """Refused: `rule` names what it breaks, the text says how."""

    def __init__(self, rule: str, detail: str) -> None:
        super().__init__(f"not signed ({rule}): {detail}")
        self.rule = rule


def check_attestation(struct: bytes) -> None:
    """Raise PolicyError unless `struct` is an encoded `ScoreBatch` or `EconomyAnchor` (EIP-712)."""
    if ATTESTED.get(struct[:32]) != len(struct):
        raise PolicyError("OTHER_TYPE", "an attestation key signs only ScoreBatch and EconomyAnchor")
