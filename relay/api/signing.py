"""What players sign, as their wallets need to be told it: the EIP-712 domain and the type of `SubmitScore`.

Touches nothing. The same for every game; each game's key in the message is the keccak-256 of its id.
"""

import msgspec

from relay.api.operations import Answer, Call, Operation, answer
from relay.attestation import NAME, SESSION_KEY_FIELDS, SUBMIT_SCORE_FIELDS, VERSION, Domain
from relay.errors import SignerError
from relay.keccak import checksum_address


class SigningDomain(msgspec.Struct, frozen=True, rename="camel"):
    """An EIP-712 domain: what is signed for it is worthless on another chain or contract."""

    name: str
    version: str
    chain_id: int
    verifying_contract: str


class TypedField(msgspec.Struct, frozen=True):
    """One field of an EIP-712 type."""

    name: str
    type: str


class SigningDocument(msgspec.Struct, frozen=True, rename="camel"):
    """For `eth_signTypedData_v4`: the domain, and the fields of each type in their order."""

    domain: SigningDomain
    primary_type: str
    types: dict[str, list[TypedField]]


class Signing:
    """The endpoint. `domain` is None where the relay has no key and signs nothing."""

    def __init__(self, domain: Domain | None) -> None:
        self._domain = domain

    async def document(self, call: Call) -> Answer:  # noqa: ARG002 - every endpoint takes the call
        """Return what a player's signature is made for."""
        domain = self._domain
        if domain is None:
            raise SignerError("The relay signs for no contract, so there is nothing a player could sign for.")
        contract = checksum_address(domain.contract)
        types = {
            name: [TypedField(field, kind) for field, kind in fields]
            for name, fields in (("SubmitScore", SUBMIT_SCORE_FIELDS), ("SessionKey", SESSION_KEY_FIELDS))
        }
        shown = SigningDomain(NAME, VERSION, domain.chain_id, contract)
        return answer(SigningDocument(shown, "SubmitScore", types))

    def operations(self) -> list[Operation]:
        """Return the declaration."""
        return [
            Operation(
                "GET", "/api/signing", "What players sign: EIP-712 domain and type", self.document,
                {200: SigningDocument}, ("SIGNER_UNAVAILABLE",), tag="Players",
            )
        ]  # fmt: skip
