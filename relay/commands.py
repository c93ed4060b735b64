"""What `fairscore deploy` does.

Touches the chain and the home folder through the same parts the services use.
"""

import asyncio
from dataclasses import replace
from typing import NamedTuple

from relay.chain_types import ChainError
from relay.config import Settings
from relay.deployment import DeploymentError
from relay.errors import SignerError, StartupError
from relay.home import Remembered, prepare, remember_contract
from relay.keccak import checksum_address
from relay.keyring import DevKeysError
from relay.private_file import KeyFileError
from relay.startup import address, connect, deploy_with, keys_from, reach


class Deployed(NamedTuple):
    """What `fairscore deploy` prints: address (EIP-55), block, one line per role."""

    contract: str
    block_number: int
    roles: list[str]


def deploy_once(settings: Settings, *, guardian: str, auditor: str, dev_keys: bool) -> Deployed:
    """Deploy, check and remember the contract.

    Raises:
        StartupError: it could not be deployed, or what stands there is not right; with what to do.
    """
    if settings.embedded:
        raise StartupError(
            "name the chain to deploy on with --rpc-url; `fairscore run` deploys on the embedded one itself"
        )
    try:
        return asyncio.run(_deploy(settings, guardian, auditor, dev_keys=dev_keys))
    except (ChainError, DeploymentError, DevKeysError, KeyFileError, SignerError) as refusal:
        raise StartupError(str(refusal)) from None


async def _deploy(settings: Settings, guardian: str, auditor: str, *, dev_keys: bool) -> Deployed:
    chain = connect(settings, settings.rpc_urls)
    try:
        chain_id, genesis = await reach(chain, print)
        keys = await asyncio.to_thread(keys_from(settings, chain_id, None, dev_keys=dev_keys))
        keys = replace(keys, guardian=address(guardian, "--guardian") if guardian else None)
        named = address(auditor, "--auditor") if auditor else None
        deployment = await deploy_with(chain, chain_id, keys, named)
    finally:
        await chain.close()
    prepare(settings.home)
    remember_contract(settings.home, chain_id, genesis, Remembered(deployment.address, deployment.block_number))
    return Deployed(checksum_address(deployment.address), deployment.block_number, deployment.roles.lines())
