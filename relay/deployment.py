"""Put the Leaderboard on a chain and prove what stands there: code, roles, published rules.

Touches the chain it is given, with the admin's signer. Used by `fairscore deploy`, `run` and `check`.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from relay.chain_types import Block, ChainAnswerError, ChainUnavailableError, Fees, Receipt, SendAnswer
from relay.contract import (
    AUDITOR_ROLE,
    GUARDIAN_ROLE,
    SIGNER_ROLE,
    code_matches,
    decode_result,
    encode_call,
    game_key,
    init_code,
    revert_reason,
)
from relay.keccak import checksum_address, keccak

GAS_MARGIN_PERCENT = 20
RECEIPT_POLL_S = 0.1
MINED_S_MAX = 300.0
NOBODY = bytes(20)


class DeploymentError(Exception):
    """The contract is not (or cannot be put) where it should be; the message says what to do."""


class ViewChain(Protocol):
    """A chain that answers view functions."""

    async def call(self, to: bytes, data: bytes, sender: bytes | None = None) -> bytes:
        """eth_call."""


class DeployChain(ViewChain, Protocol):
    """What deployment needs of a chain."""

    async def chain_id(self) -> int:
        """EIP-155 id."""

    async def head(self) -> Block:
        """Newest block."""

    async def fees(self) -> Fees:
        """Fee market."""

    async def nonce(self, address: bytes, tag: int | str = "latest") -> int:
        """Next nonce."""

    async def code(self, address: bytes) -> bytes:
        """Code at an address."""

    async def estimate_gas(self, sender: bytes, to: bytes | None, data: bytes) -> int:
        """eth_estimateGas."""

    async def send_raw(self, raw: bytes) -> SendAnswer:
        """eth_sendRawTransaction."""

    async def receipts(self, hashes: Sequence[bytes]) -> list[Receipt | None]:
        """Receipts by hash."""


class TransactionSigner(Protocol):
    """Who pays and signs."""

    address: bytes

    def sign_transaction(self, fields: dict[str, Any]) -> tuple[bytes, bytes]:
        """Return (raw transaction, its hash)."""


@dataclass(frozen=True)
class Roles:
    """Who may do what on the contract. 20 zero bytes: nobody (not allowed for the admin)."""

    admin: bytes
    signer: bytes
    guardian: bytes
    auditor: bytes

    def lines(self) -> list[str]:
        """One readable line per role, for the operator's terminal."""
        named = {"admin": self.admin, "signer": self.signer, "guardian": self.guardian, "auditor": self.auditor}
        return [
            f"{name:<9} {'nobody' if address == NOBODY else checksum_address(address)}"
            for name, address in named.items()
        ]


@dataclass(frozen=True)
class Deployment:
    """A contract that was deployed and checked: address, the block it was created in, the roles it has."""

    address: bytes
    block_number: int
    tx_hash: bytes
    roles: Roles


async def deploy(chain: DeployChain, admin: TransactionSigner, roles: Roles, *, admin_delay_s: int = 0) -> Deployment:
    """Deploy, wait until it is mined, then check code and roles on chain.

    `admin_delay_s`: seconds a change of admin must wait (two-step). Raises DeploymentError.
    """
    payload = init_code(roles.admin, admin_delay_s, roles.signer, roles.guardian, roles.auditor)
    receipt = await transact(chain, admin, None, payload)
    if receipt.contract is None:
        raise DeploymentError("the deployment created no contract")
    await verify(chain, receipt.contract, roles)
    return Deployment(receipt.contract, receipt.block_number, receipt.tx_hash, roles)


async def verify(chain: DeployChain, contract: bytes, roles: Roles) -> None:
    """Check that our code stands at the address and each role is held; raises DeploymentError naming what is not."""
    code = await chain.code(contract)
    if not code:
        raise DeploymentError(
            f"no contract at {checksum_address(contract)} on chain {await chain.chain_id()}: "
            "check FAIRSCORE_CONTRACT and FAIRSCORE_RPC_URL, or run `fairscore deploy`"
        )
    if not code_matches(code):
        raise DeploymentError(
            f"the code at {checksum_address(contract)} is not this version's Leaderboard: "
            "check FAIRSCORE_CONTRACT, or run `fairscore deploy`"
        )
    admin = decode_result("defaultAdmin", await chain.call(contract, encode_call("defaultAdmin")))
    missing = [] if roles.admin in (admin, NOBODY) else [f"admin is {checksum_address(admin)}"]
    held = (("signer", SIGNER_ROLE, roles.signer), ("guardian", GUARDIAN_ROLE, roles.guardian))
    for name, role, address in (*held, ("auditor", AUDITOR_ROLE, roles.auditor)):
        if address != NOBODY and not await has_role(chain, contract, role, address):
            missing.append(f"{checksum_address(address)} has not the {name} role")
    if missing:
        raise DeploymentError(
            f"roles on {checksum_address(contract)}: " + "; ".join(missing) + "; let the admin grant them"
        )


async def has_role(chain: ViewChain, contract: bytes, role: bytes, address: bytes) -> bool:
    """Whether the contract lists the account under the role."""
    return bool(decode_result("hasRole", await chain.call(contract, encode_call("hasRole", role, address))))


async def rules_active(chain: ViewChain, contract: bytes, game_id: str, rules_hash: bytes) -> bool:
    """Whether the contract records scores of this game under these rules."""
    call = encode_call("isActive", game_key(game_id), rules_hash)
    return bool(decode_result("isActive", await chain.call(contract, call)))


async def publish_rules(
    chain: DeployChain, admin: TransactionSigner, contract: bytes, game_id: str, document: bytes
) -> bytes:
    """Make the canonical rules document active for the game unless it is already; returns its hash."""
    rules_hash = keccak(document)
    if not await rules_active(chain, contract, game_id, rules_hash):
        await transact(chain, admin, contract, encode_call("publishRules", game_key(game_id), document))
    return rules_hash


async def transact(chain: DeployChain, signer: TransactionSigner, to: bytes | None, data: bytes) -> Receipt:
    """Send one transaction and wait for its receipt; raises DeploymentError when it fails or is not mined in time."""
    try:
        gas = await chain.estimate_gas(signer.address, to, data)
    except ChainAnswerError as error:
        why = revert_reason(error.revert) if error.revert else error.message
        raise DeploymentError(f"{checksum_address(signer.address)} cannot send this transaction: {why}") from error
    fees = await chain.fees()
    fields: dict[str, Any] = {
        "chainId": await chain.chain_id(),
        "nonce": await chain.nonce(signer.address, "pending"),
        "gas": gas * (100 + GAS_MARGIN_PERCENT) // 100,
        "value": 0,
        "data": data,
        "to": to,
    }
    if fees.base is None:
        fields["gasPrice"] = fees.price
    else:
        fields |= {"maxFeePerGas": 2 * fees.base + fees.tip, "maxPriorityFeePerGas": fees.tip}
    raw, tx_hash = signer.sign_transaction(fields)
    answer = await chain.send_raw(raw)
    if not answer.accepted and answer.code is not None and "known" not in answer.message.lower():
        raise DeploymentError(f"the node refused the transaction: {answer.message}")
    receipt = await _mined(chain, tx_hash)
    if not receipt.succeeded:
        raise DeploymentError(f"transaction 0x{tx_hash.hex()} failed in block {receipt.block_number}")
    return receipt


async def _mined(chain: DeployChain, tx_hash: bytes) -> Receipt:
    try:
        async with asyncio.timeout(MINED_S_MAX):
            while True:
                try:
                    receipt = (await chain.receipts([tx_hash]))[0]
                except ChainUnavailableError:
                    receipt = None
                if receipt is not None:
                    return receipt
                await asyncio.sleep(RECEIPT_POLL_S)
    except TimeoutError:
        raise DeploymentError(f"transaction 0x{tx_hash.hex()} was not mined in {MINED_S_MAX:.0f} s") from None
