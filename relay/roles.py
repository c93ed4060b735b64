"""Who may do what on the contract: list, grant, revoke. What an operator needs when a key is replaced.

Touches the chain, with the admin's key.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import NamedTuple, TypeVar

from relay.chain_pool import ChainPool
from relay.chain_types import ChainError
from relay.config import Settings
from relay.contract import (
    AUDITOR_ROLE,
    GUARDIAN_ROLE,
    SIGNER_ROLE,
    TOPICS,
    RoleGranted,
    decode_log,
    decode_result,
    encode_call,
)
from relay.deployment import DeploymentError, has_role, transact
from relay.errors import SignerError, StartupError
from relay.home import Remembered, remembered_contract
from relay.keccak import checksum_address
from relay.keyring import DevKeysError, Keyring
from relay.private_file import KeyFileError
from relay.startup import address, connect, keys_from, reach

T = TypeVar("T")

ROLES = {"signer": SIGNER_ROLE, "guardian": GUARDIAN_ROLE, "auditor": AUDITOR_ROLE}
"""Roles that the admin gives and takes. The admin's own changes hands in two steps on the contract itself."""


class Holder(NamedTuple):
    """One line of `roles list`: role, address (EIP-55), and whether it is a key of this process."""

    role: str
    address: str
    ours: str


class Contract(NamedTuple):
    """What the commands work on."""

    chain: ChainPool
    at: Remembered
    keys: Keyring


def list_roles(settings: Settings, *, dev_keys: bool) -> list[Holder]:
    """Return who holds each role now. Raises StartupError with what to do."""
    return _run(settings, _list, dev_keys=dev_keys)


def grant_role(settings: Settings, role: str, account: str, *, dev_keys: bool) -> bool:
    """Give `account` the role; returns False where it has it already. Raises StartupError with what to do."""
    return _change(settings, "grantRole", role, account, dev_keys=dev_keys)


def revoke_role(settings: Settings, role: str, account: str, *, dev_keys: bool) -> bool:
    """Take the role from `account`; returns False where it has it not. Raises StartupError with what to do."""
    return _change(settings, "revokeRole", role, account, dev_keys=dev_keys)


def _change(settings: Settings, function: str, role: str, account: str, *, dev_keys: bool) -> bool:
    if role not in ROLES:
        raise StartupError(f"{role!r} is no role: expected {', '.join(ROLES)}")
    holder = address(account, "ADDRESS")

    async def change(found: Contract) -> bool:
        held = await has_role(found.chain, found.at.contract, ROLES[role], holder)
        if held is (function == "grantRole"):
            return False
        if found.keys.admin is None:
            raise StartupError("the admin gives and takes roles: set FAIRSCORE_ADMIN_KEY_FILE")
        call = encode_call(function, ROLES[role], holder)
        await transact(found.chain, found.keys.admin, found.at.contract, call)
        return True

    return _run(settings, change, dev_keys=dev_keys)


async def _list(found: Contract) -> list[Holder]:
    chain, contract, keys = found.chain, found.at.contract, found.keys
    topics = [[TOPICS["RoleGranted"], TOPICS["RoleRevoked"]]]
    logs = await chain.logs(contract, topics, found.at.block_number)
    seen: dict[tuple[bytes, bytes], bool] = {}  # by role and account, in the order of the logs
    for log in logs:
        event = decode_log(log.topics, log.data)
        seen[log.topics[1], log.topics[2][12:]] = isinstance(event, RoleGranted)
    admin = decode_result("defaultAdmin", await chain.call(contract, encode_call("defaultAdmin")))
    holders = [("admin", admin)]
    for name, role in ROLES.items():
        holders += [(name, account) for (of, account), held in seen.items() if of == role and held]
    here = [("admin", keys.admin), ("attestation", keys.attestation), ("auditor", keys.auditor)]
    ours = {signer.address: job for job, signer in here if signer is not None}
    return [Holder(name, checksum_address(account), ours.get(account, "")) for name, account in holders]


def _run(settings: Settings, work: Callable[[Contract], Awaitable[T]], *, dev_keys: bool) -> T:
    if settings.embedded:
        raise StartupError("name the chain with --rpc-url; the embedded chain's roles belong to its home's keys")
    try:
        return asyncio.run(_with_contract(settings, work, dev_keys=dev_keys))
    except (ChainError, DeploymentError, DevKeysError, KeyFileError, SignerError) as refusal:
        raise StartupError(str(refusal)) from None


async def _with_contract(settings: Settings, work: Callable[[Contract], Awaitable[T]], *, dev_keys: bool) -> T:
    chain = connect(settings, settings.rpc_urls)
    try:
        chain_id, genesis = await reach(chain, print)
        keys = await asyncio.to_thread(keys_from(settings, chain_id, None, dev_keys=dev_keys))
        if settings.contract:
            at = Remembered(address(settings.contract, "FAIRSCORE_CONTRACT"), settings.start_block)
        else:
            remembered = remembered_contract(settings.home, chain_id, genesis)
            if remembered is None:
                raise StartupError(f"no contract is known on chain {chain_id}: set FAIRSCORE_CONTRACT")
            at = remembered
        return await work(Contract(chain, at, keys))
    finally:
        await chain.close()
