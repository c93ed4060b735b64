"""What the keys of a relay may sign, and nothing else: decided before a signature, wherever the key is.

Pure. The relay asks before it signs or sends anything to be signed, and `fairscore signer` asks again on its own side,
so that a thief of either process's connection can only do what the relay does anyway.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from relay import transactions
from relay.attestation import ECONOMY_ANCHOR_TYPEHASH, SCORE_BATCH_TYPEHASH, Domain
from relay.contract import selector
from relay.errors import SignerError
from relay.keccak import checksum_address, keccak
from relay.transactions import Transaction

GAS_MAX = 16_777_216  # EIP-7825

ATTESTED = {SCORE_BATCH_TYPEHASH: 160, ECONOMY_ANCHOR_TYPEHASH: 192}
"""Types an attestation key signs, with the length of their encoding: type hash and fields, 32 bytes each."""

ATTESTATIONS = frozenset({"scores", "anchor"})  # what an attestation key signed, for any account to carry
MODERATION = frozenset({"invalidate", "reinstate"})
FUNCTIONS = {
    "scores": "submitScores",
    "anchor": "anchorEconomy",
    "invalidate": "invalidateScores",
    "reinstate": "reinstateScores",
}
"""Kinds of cargo, and what a transaction that carries one calls."""


class PolicyError(SignerError):
    """Refused: `rule` names what it breaks, the text says how."""

    def __init__(self, rule: str, detail: str) -> None:
        super().__init__(f"not signed ({rule}): {detail}")
        self.rule = rule


def allowed(kinds: frozenset[str]) -> frozenset[bytes]:
    """Return the selectors that a key which carries these kinds of cargo calls."""
    return frozenset(selector(FUNCTIONS[kind]) for kind in kinds)


def check_attestation(struct: bytes) -> None:
    """Raise PolicyError unless `struct` is an encoded `ScoreBatch` or `EconomyAnchor` (EIP-712)."""
    if ATTESTED.get(struct[:32]) != len(struct):
        raise PolicyError("OTHER_TYPE", "an attestation key signs only ScoreBatch and EconomyAnchor")


@dataclass(frozen=True)
class TransactionPolicy:
    """What one key may send: calls of `selectors` on one contract of one chain, and voids. Fees in wei per gas."""

    chain_id: int
    contract: bytes
    selectors: frozenset[bytes]
    fee_wei_cap: int

    def check(self, transaction: Transaction, sender: bytes) -> None:
        """Raise PolicyError unless `transaction` of `sender` is one of ours.

        (1) this chain; (2) no value; (3) fees at most the cap; (4) gas at most a transaction's (EIP-7825); (5) a void,
        which is an empty transaction to the sender itself, or (6) our contract and (7) a function of this key's job.
        """
        if transaction.chain_id != self.chain_id:  # (1)
            raise PolicyError("OTHER_CHAIN", f"it is for chain {transaction.chain_id}, not {self.chain_id}")
        if transaction.value:  # (2)
            raise PolicyError("VALUE", f"it moves {transaction.value} wei; this key only ever pays for gas")
        if max(transaction.fee_max, transaction.tip_max or 0) > self.fee_wei_cap:  # (3)
            raise PolicyError(
                "FEE_ABOVE_CAP", f"it offers more than {self.fee_wei_cap} wei per gas (FAIRSCORE_FEE_CAP_GWEI)"
            )
        if transaction.gas > GAS_MAX:  # (4)
            raise PolicyError(
                "GAS_ABOVE_LIMIT", f"it may use {transaction.gas} gas; a transaction has at most {GAS_MAX}"
            )
        if transaction.to == sender:  # (5)
            if transaction.data:
                raise PolicyError("VOID_WITH_DATA", "a transaction to the key's own account carries nothing")
            return
        if transaction.to != self.contract:  # (6)
            to = checksum_address(transaction.to) if transaction.to else "nobody (a deployment)"
            raise PolicyError("OTHER_CONTRACT", f"it goes to {to}, not to {checksum_address(self.contract)}")
        if transaction.data[:4] not in self.selectors:  # (7)
            raise PolicyError("OTHER_FUNCTION", f"this key does not call 0x{transaction.data[:4].hex()}")


@dataclass(frozen=True)
class KeyPolicy:
    """What one key of a signer is for: `domain` where it attests, `sends` where it pays. The other is None."""

    domain: Domain | None
    sends: TransactionPolicy | None

    def check(self, address: bytes, data: bytes, struct: bytes | None) -> str:
        """Return what is signed, in words for the log; `data` is what would be hashed (keccak-256) and signed.

        An attestation (EIP-712) comes with its encoded `struct`, because the digest alone does not show its type.

        Raises:
            PolicyError: this key does not sign it.
        """
        if data[:2] == b"\x19\x01":
            return self._attestation(data, struct)
        if self.sends is None:
            raise PolicyError("OTHER_JOB", "an attestation key signs no transactions and no messages")
        try:
            transaction = transactions.decode(data)
        except ValueError as error:
            raise PolicyError("NOT_A_TRANSACTION", str(error)) from None
        self.sends.check(transaction, address)
        return f"transaction, nonce {transaction.nonce}"

    def _attestation(self, data: bytes, struct: bytes | None) -> str:
        if self.domain is None:
            raise PolicyError("OTHER_JOB", "a key that sends transactions attests nothing")
        if len(data) != 66 or not data.startswith(self.domain.prefix):
            raise PolicyError("OTHER_DOMAIN", "it is for another contract or chain")
        if struct is None:
            raise PolicyError("TYPE_HIDDEN", "send `struct`, the encoded struct whose hash `data` ends with")
        if keccak(struct) != data[34:]:
            raise PolicyError("OTHER_STRUCT", "`struct` is not what `data` is the hash of")
        check_attestation(struct)
        return "attestation"


class SignsTransactions(Protocol):
    """A key that pays."""

    address: bytes

    def sign_transaction(self, fields: Mapping[str, Any]) -> tuple[bytes, bytes]:
        """Return (raw transaction, its hash)."""


class Guarded:
    """A key that signs only what its policy allows, whatever it is asked."""

    def __init__(self, signer: SignsTransactions, policy: TransactionPolicy) -> None:
        self.address = signer.address
        self._signer, self._policy = signer, policy

    def sign_transaction(self, fields: Mapping[str, Any]) -> tuple[bytes, bytes]:
        """Return (raw transaction, its hash); PolicyError where it may not be signed, else as the signer."""
        self._policy.check(transactions.from_fields(fields), self.address)
        return self._signer.sign_transaction(fields)
