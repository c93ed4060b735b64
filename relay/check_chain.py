"""The checks of a chain: its endpoints, whose chain it is, the contract, its roles and rules, and what accounts hold.

Reads the chain.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol

from relay.chain_types import Block, ChainAnswerError, ChainError, Fees, ProviderState
from relay.chain_web3 import Requests, node
from relay.contract import AUDITOR_ROLE, SIGNER_ROLE, code_matches, decode_result, encode_call
from relay.deployment import ViewChain, has_role, rules_active
from relay.findings import Finding, failed, note, ok
from relay.games import Games
from relay.keccak import checksum_address
from relay.keyring import Keyring
from relay.outbox.batches import GasModel
from relay.outbox.fees import quote
from relay.store.controls import Pause
from relay.store.probe import ChainIdentity

LAG_BLOCKS_MAX = 3
BATCHES_FEW = 100  # fewer than an account should pay for before it is filled again
COIN = 10**18


class CheckChain(ViewChain, Protocol):
    """What the checks need of a chain (`relay.chain_pool.ChainPool`)."""

    def providers(self) -> list[ProviderState]:
        """Every endpoint as last seen."""

    async def chain_id(self) -> int:
        """EIP-155 id."""

    async def head(self) -> Block:
        """Newest block."""

    async def fees(self) -> Fees:
        """Fee market."""

    async def balance(self, address: bytes) -> int:
        """Wei."""

    async def code(self, address: bytes) -> bytes:
        """Code at an address."""


class Standing(NamedTuple):
    """The chain that answers: its id and the hash of its first block."""

    chain_id: int
    genesis: bytes


def provider_findings(providers: Sequence[ProviderState]) -> list[Finding]:
    """One line per endpoint, by host and port: an RPC URL can hold a token."""
    found: list[Finding] = []
    for one in providers:
        check = f"rpc {one.name}"
        if one.healthy:
            found.append(ok(check, f"at block {one.head}"))
        elif one.head is None:
            todo = "see that the node runs and that FAIRSCORE_RPC_URL is its address"
            found.append(failed(check, f"does not answer ({one.reason})", todo))
        elif one.lag_blocks is not None and one.lag_blocks > LAG_BLOCKS_MAX:
            todo = "let it catch up, or take it out of FAIRSCORE_RPC_URL; it is asked last"
            found.append(failed(check, f"is {one.lag_blocks} blocks behind the others", todo))
        else:
            found.append(failed(check, one.reason, "take it out of FAIRSCORE_RPC_URL; it is not used"))
    return found


async def node_findings(nodes: Sequence[tuple[str, Requests]]) -> list[Finding]:
    """What each endpoint that answers is, by name; one that is still catching up shows an old chain."""
    found: list[Finding] = []
    for name, endpoint in nodes:
        try:
            told = await node(endpoint)
        except ChainError:
            continue  # its own line says so
        if told.blocks_left is None:
            found.append(ok(f"node {name}", told.version))
        else:
            seen = f"{told.version}, still catching up: {told.blocks_left} blocks to go"
            todo = "wait until it has caught up, or name another in FAIRSCORE_RPC_URL"
            found.append(failed(f"node {name}", seen, todo))
    return found


def identity_findings(found: Standing, known: Sequence[ChainIdentity]) -> list[Finding]:
    """Compare the chain with those the database was written for."""
    ids = ", ".join(str(one.chain_id) for one in known)
    same = next((one for one in known if one.chain_id == found.chain_id), None)
    elsewhere = "point FAIRSCORE_RPC_URL back, or use a database of its own (FAIRSCORE_DATABASE_URL)"
    if same is not None and same.genesis != found.genesis:
        seen = f"chain {found.chain_id} begins with another block than the one this database was written for"
        return [failed("chain", seen, elsewhere)]
    if known and same is None:
        seen = f"the endpoint is on chain {found.chain_id}; this database was written for chain {ids}"
        return [failed("chain", seen, elsewhere)]
    return [ok("chain", f"{found.chain_id}, begins with 0x{found.genesis.hex()[:8]}…")]


async def code_finding(chain: CheckChain, contract: bytes | None, chain_id: int) -> Finding:
    """Whether our code stands at the contract's address."""
    if contract is None:
        todo = "run `fairscore deploy`, or set FAIRSCORE_CONTRACT to the one that stands there"
        return failed("contract", f"none is known on chain {chain_id}", todo)
    at = checksum_address(contract)
    code = await chain.code(contract)
    if not code:
        todo = "see that FAIRSCORE_CONTRACT and FAIRSCORE_RPC_URL belong together, or run `fairscore deploy`"
        return failed("contract", f"there is no code at {at}", todo)
    if not code_matches(code):
        todo = "see FAIRSCORE_CONTRACT, or run `fairscore deploy` for one of this version"
        return failed("contract", f"the code at {at} is not this version's Leaderboard", todo)
    return ok("contract", at)


async def paused_findings(chain: CheckChain, contract: bytes) -> list[Finding]:
    """Whether the contract takes scores now."""
    if decode_result("paused", await chain.call(contract, encode_call("paused"))):
        return [failed("contract", "it is paused and records nothing", "let the admin call unpause()")]
    return []


async def role_findings(chain: CheckChain, contract: bytes, keys: Keyring) -> list[Finding]:
    """Whether each key that needs a role has it. Gas keys need none: anyone may carry a signed batch."""
    found: list[Finding] = []
    for job, signer, role, name in (
        ("attestation", keys.attestation, SIGNER_ROLE, "SIGNER_ROLE"),
        ("auditor", keys.auditor, AUDITOR_ROLE, "AUDITOR_ROLE"),
    ):
        if signer is None:
            continue
        at = checksum_address(signer.address)
        if await has_role(chain, contract, role, signer.address):
            found.append(ok(f"{job} role", f"{at} has {name}"))
        else:
            todo = f"let the admin grant it: `fairscore roles grant {name.removesuffix('_ROLE').lower()} {at}`"
            found.append(failed(f"{job} role", f"{at} has not {name} on the contract", todo))
    if keys.admin is not None:
        admin = decode_result("defaultAdmin", await chain.call(contract, encode_call("defaultAdmin")))
        at = checksum_address(keys.admin.address)
        if admin == keys.admin.address:
            found.append(ok("admin role", f"{at} is the contract's admin"))
        else:
            seen = f"{at} is not the contract's admin ({checksum_address(admin)} is)"
            found.append(failed("admin role", seen, "name the admin's key in FAIRSCORE_ADMIN_KEY_FILE, or none"))
    return found


async def rules_findings(chain: CheckChain, contract: bytes, games: Games) -> list[Finding]:
    """Whether the contract records scores under each game's rules."""
    found: list[Finding] = []
    for game in games.by_id.values():
        name = f"{game.config.ruleset} (0x{game.rules.hash.hex()[:8]}…)"
        if await rules_active(chain, contract, game.id, game.rules.hash):
            found.append(ok(f"rules of {game.id}", f"{name} are active"))
        else:
            todo = "start a relay once with FAIRSCORE_ADMIN_KEY_FILE: it publishes them"
            found.append(failed(f"rules of {game.id}", f"{name} are not published on the contract", todo))
    return found


async def balance_findings(
    chain: CheckChain, keys: Keyring, *, batch_size: int, fee_wei_cap: int, paused: Mapping[bytes, Pause]
) -> list[Finding]:
    """What each sending account holds, and how many full batches that pays for at today's price."""
    bid = quote(await chain.fees(), fee_wei_cap)
    auditors = [keys.auditor] if keys.auditor is not None else []
    found: list[Finding] = []
    for job, signers, size in (("gas", keys.gas, batch_size), ("auditor", auditors, 1)):
        cost = max(1, bid.cost(GasModel().limit(size)))
        for signer in signers:
            at = checksum_address(signer.address)
            balance = await chain.balance(signer.address)
            seen = f"{at} holds {balance / COIN:.6f}: pays for {balance // cost} batches of {size}"
            if balance < cost:
                todo = f"send it at least {BATCHES_FEW * cost / COIN:.6f} ({BATCHES_FEW} batches)"
                found.append(failed(f"{job} balance", seen, todo))
            elif balance < BATCHES_FEW * cost:
                found.append(note(f"{job} balance", seen, "fill it soon"))
            else:
                found.append(ok(f"{job} balance", seen))
            if pause := paused.get(signer.address):
                seen = f"{at} was paused by {pause.by}: {pause.reason}"
                found.append(note(f"{job} key", seen, f"`fairscore outbox resume {at}` when it may send again"))
            if await chain.code(signer.address):
                seen = f"{at} has code (EIP-7702): nodes take one transaction of it at a time"
                found.append(note(f"{job} key", seen, "use an account without a delegation"))
    return found


def refusal(check: str, error: ChainError) -> Finding:
    """What to say of a check that the endpoint did not let us finish."""
    if isinstance(error, ChainAnswerError):
        return failed(check, f"the endpoint refused: {error.message}", "use an endpoint with the standard eth_ methods")
    return failed(check, f"the endpoint stopped answering ({error})", "try again, or name another in FAIRSCORE_RPC_URL")
