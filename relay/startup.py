"""From settings to a proved footing: which chain, which keys, which contract, which rules are published there.

Touches the chain, the home folder and key files. Every refusal is a sentence that says what to do.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from relay import keyring
from relay.attestation import Domain
from relay.chain import Chain
from relay.chain_limits import EndpointLimits
from relay.chain_pool import ChainPool
from relay.chain_types import ChainError, ChainUnavailableError
from relay.config import Settings
from relay.deployment import NOBODY, Deployment, DeploymentError, Roles, deploy, publish_rules, rules_active, verify
from relay.devnet import Devnet
from relay.errors import StartupError
from relay.games import Game, GameConfig, Games, game_from_mapping
from relay.home import Remembered, deploying, remember_contract, remembered_contract
from relay.keccak import checksum_address
from relay.keyring import DEV_CHAIN_ID, Keyring, KeySources, ReadKeys
from relay.outbox.providers import names

DEFAULT_GAME = "streambeat"
RPC_WAIT_S = 30.0
TURN_POLL_S = 0.1
ADMIN_DELAY_S = 172_800

log = logging.getLogger(__name__)
Say = Callable[[str], None]
KnownContract = Callable[[int, bytes], Awaitable[bytes | None]]  # chain id, genesis hash -> the database's contract


@dataclass(frozen=True)
class Footing:
    """What everything else stands on. `start_block` is where the contract's history begins.

    `read_keys` looks at the sources of the keys again. `rpc_url` names all endpoints, as the setting does.
    """

    chain: ChainPool
    rpc_url: str
    chain_id: int
    genesis: bytes
    contract: bytes
    start_block: int
    keys: Keyring
    read_keys: ReadKeys

    @property
    def domain(self) -> Domain:
        """What signatures are bound to (EIP-712)."""
        return Domain(self.chain_id, self.contract)


def games_of(settings: Settings, chain_id: int) -> Games:
    """Return the configured games; without any, one `streambeat`, open to anonymous callers on test chains only."""
    if settings.games:
        return Games([game_from_mapping(game_id, table) for game_id, table in settings.games.items()])
    test_chain = chain_id == DEV_CHAIN_ID
    origins = ("*",) if test_chain else ()
    # Whoever tries it out pastes a play of 30 s seconds after the round's start: shown to the auditor, not refused.
    switches = {"TIMING_IMPLAUSIBLE": "flag"} if test_chain else {}
    game = GameConfig(DEFAULT_GAME, switches=switches, anonymous_submit=test_chain, allowed_origins=origins)
    return Games([game])


def connect(settings: Settings, urls: Sequence[str]) -> ChainPool:
    """Return the chain over these endpoints; nothing is asked yet."""
    limits = EndpointLimits(settings.rpc_batch, settings.rpc_rate)
    return ChainPool(
        [(name, Chain(url, settings.rpc_timeout_s, limits)) for name, url in zip(names(urls), urls, strict=True)]
    )


async def reach(chain: ChainPool, say: Say) -> tuple[int, bytes]:
    """Return (chain id, hash of block 0), waiting a while for an endpoint that is still starting.

    Raises:
        StartupError: it does not answer.
    """
    until = time.monotonic() + RPC_WAIT_S
    told = False
    while True:
        try:
            chain_id = await chain.chain_id()
            genesis = await chain.block(0)
        except ChainUnavailableError as error:
            if time.monotonic() > until:
                raise StartupError(f"the chain's endpoint does not answer ({error}): check FAIRSCORE_RPC_URL") from None
            if not told:
                say(f"waiting for the chain's endpoint ({error}) …")
                told = True
            await asyncio.sleep(0.5)
            continue
        if genesis is None:
            raise StartupError("the chain's endpoint does not know block 0: use one with full history")
        for provider in chain.providers():
            if not provider.healthy:
                say(f"the endpoint {provider.name} is not used now: {provider.reason}")
        return chain_id, genesis.hash


def keys_from(settings: Settings, chain_id: int, devnet: Devnet | None, *, dev_keys: bool) -> ReadKeys:
    """Return what reads the keys: the home's own on the embedded chain, the well-known ones if asked for, else named.

    Raises:
        DevKeysError: the well-known ones were asked for on a chain that is not a test chain.
    """
    if devnet is None and not dev_keys:
        return KeySources(settings).read
    known = keyring.of_devnet(devnet.keys) if devnet is not None else keyring.for_development(chain_id)
    return lambda: known


async def contract_of(
    settings: Settings, chain: ChainPool, chain_id: int, genesis: bytes, keys: Keyring, say: Say, known: bytes | None
) -> Remembered:
    """Return where the contract is: named, remembered, or deployed now if this process holds the admin's key.

    `known` is the one the database is of: while there is one, no other is deployed unasked.

    Raises:
        StartupError: there is none and it cannot be deployed.
        DeploymentError: what stands at the address is not this program's contract.
    """
    roles = Roles(NOBODY, keys.attestation.address if keys.attestation else NOBODY, NOBODY, NOBODY)
    if settings.contract:
        found = Remembered(address(settings.contract, "FAIRSCORE_CONTRACT"), settings.start_block)
    else:
        remembered = remembered_contract(settings.home, chain_id, genesis)
        if remembered is None and known is not None:
            raise StartupError(
                f"the database belongs to the contract {checksum_address(known)}, which {settings.home} does not "
                f"remember: set FAIRSCORE_CONTRACT={checksum_address(known)}, or use another database"
            )
        found = remembered or await _deploy(settings.home, chain, chain_id, genesis, keys, say)
    await verify(chain, found.contract, roles)
    return found


async def _deploy(home: Path, chain: ChainPool, chain_id: int, genesis: bytes, keys: Keyring, say: Say) -> Remembered:
    if keys.admin is None or keys.attestation is None:
        raise StartupError(
            f"no contract is known on chain {chain_id}: set FAIRSCORE_CONTRACT, run `fairscore deploy`, or name "
            "FAIRSCORE_ADMIN_KEY_FILE and FAIRSCORE_ATTESTATION_KEY_FILE and it is deployed now"
        )
    with deploying(home) as taken:
        while not taken():  # noqa: ASYNC110 - another process holds it
            await asyncio.sleep(TURN_POLL_S)
        remembered = remembered_contract(home, chain_id, genesis)
        if remembered is None:  # nobody was faster
            say(f"deploying the contract on chain {chain_id} …")
            deployment = await deploy_with(chain, chain_id, keys)
            remembered = Remembered(deployment.address, deployment.block_number)
            remember_contract(home, chain_id, genesis, remembered)
    return remembered


async def await_contract(settings: Settings, chain_id: int, genesis: bytes, say: Say) -> Remembered:
    """Return where the contract is, for a process that deploys none: the relay of the same home may be about to.

    Raises:
        StartupError: nobody deployed one.
    """
    if settings.contract:
        return Remembered(address(settings.contract, "FAIRSCORE_CONTRACT"), settings.start_block)
    until = time.monotonic() + RPC_WAIT_S
    told = False
    while (remembered := remembered_contract(settings.home, chain_id, genesis)) is None:
        if time.monotonic() > until:
            raise StartupError(
                f"no contract is known on chain {chain_id}: set FAIRSCORE_CONTRACT, or start the relay with this home "
                f"({settings.home}) first"
            )
        if not told:
            say("waiting for the relay to deploy the contract …")
            told = True
        await asyncio.sleep(TURN_POLL_S)
    return remembered


async def deploy_with(chain: ChainPool, chain_id: int, keys: Keyring, auditor: bytes | None = None) -> Deployment:
    """Deploy with the keyring's roles: guardian and auditor are the admin unless named, or `auditor` given.

    A change of admin waits two days, so that a stolen admin key is noticed before it is the only one; not on test
    chains.
    """
    if keys.admin is None or keys.attestation is None:
        raise StartupError("a deployment needs the admin's key and the attestation key's address")
    admin = keys.admin.address
    auditor = auditor or (keys.auditor.address if keys.auditor else admin)
    roles = Roles(admin, keys.attestation.address, keys.guardian or admin, auditor)
    return await deploy(chain, keys.admin, roles, admin_delay_s=0 if chain_id == DEV_CHAIN_ID else ADMIN_DELAY_S)


async def publish(footing: Footing, games: Games, say: Say) -> list[str]:
    """Make each game's ruleset active on the contract; returns the games whose rules are not (no admin's key here)."""
    inactive: list[str] = []
    for game in games.by_id.values():
        if await rules_active(footing.chain, footing.contract, game.id, game.rules.hash):
            continue
        if footing.keys.admin is None:
            inactive.append(game.id)
            continue
        say(f"publishing the rules of {game.id} ({game.config.ruleset}) …")
        try:
            await publish_rules(footing.chain, footing.keys.admin, footing.contract, game.id, game.rules.body)
        except DeploymentError:
            if not await _active_soon(footing, game):
                raise
    return inactive


async def _active_soon(footing: Footing, game: Game) -> bool:
    """Whether a relay that was started together with this one is publishing the same rules."""
    until = time.monotonic() + RPC_WAIT_S
    while not await rules_active(footing.chain, footing.contract, game.id, game.rules.hash):
        if time.monotonic() > until:
            return False
        await asyncio.sleep(TURN_POLL_S)
    return True


async def stand(
    settings: Settings,
    devnet: Devnet | None,
    known_contract: KnownContract,
    say: Say,
    *,
    dev_keys: bool,
    follows_only: bool = False,
) -> Footing:
    """Reach the chain, gather the keys, find or deploy the contract.

    With `follows_only` hold no key, deploy nothing, and wait a while for the relay that does.

    Raises:
        StartupError, DeploymentError, DevKeysError, KeyFileError: with what to do
        ChainMismatchError: `known_contract` says that the database was written for another chain.
    """
    urls = [devnet.rpc_url] if devnet else settings.rpc_urls
    chain = connect(settings, urls)
    read_keys: ReadKeys = Keyring
    try:
        chain_id, genesis = await reach(chain, say)
        known = await known_contract(chain_id, genesis)
        if follows_only:
            keys = Keyring()
            found = await await_contract(settings, chain_id, genesis, say)
            await verify(chain, found.contract, Roles(NOBODY, NOBODY, NOBODY, NOBODY))
        else:
            read_keys = keys_from(settings, chain_id, devnet, dev_keys=dev_keys)
            keys = await asyncio.to_thread(read_keys)  # decrypting a keystore takes a second, a remote signer some
            found = await contract_of(settings, chain, chain_id, genesis, keys, say, known)
    except ChainError as error:
        await chain.close()
        raise StartupError(f"the chain's endpoint refused: {error}") from None
    except BaseException:
        await chain.close()
        raise
    log.debug("contract %s on chain %d", checksum_address(found.contract), chain_id)
    rpc_url = ",".join([*urls, *settings.head_urls])
    return Footing(chain, rpc_url, chain_id, genesis, found.contract, found.block_number, keys, read_keys)


def address(text: str, name: str) -> bytes:
    """Return the 20 bytes of an address; StartupError names the setting it came from."""
    try:
        found = bytes.fromhex(text.removeprefix("0x"))
    except ValueError:
        found = b""
    if len(found) != 20:
        raise StartupError(f"{name} is not an address: expected 0x and 40 hex digits")
    digits = text.removeprefix("0x")
    if digits not in (digits.lower(), digits.upper(), checksum_address(found)[2:]):
        raise StartupError(f"{name} has a typing error: its capital letters do not fit its digits (EIP-55)")
    return found
