"""`fairscore verify-proof`: what the chain says about a proof, asked by the verifier himself, at an endpoint he trusts.

Touches the file it is given and the chain; no relay, no database, no key. What is checked is in `relay.economy.proofs`.
"""

import asyncio
from pathlib import Path
from typing import NamedTuple

from relay.chain_pool import ChainPool
from relay.chain_types import ChainAnswerError, ChainError
from relay.config import Settings
from relay.contract import code_matches, decode_result, encode_call
from relay.contract_anchors import ECONOMY_ANCHORED, anchored
from relay.economy.proofs import OnChain, Proof, explain, read_proof, verify
from relay.errors import PayloadError, StartupError
from relay.findings import Finding, failed, ok
from relay.home import Remembered, read_devnet, remembered_contract
from relay.keccak import checksum_address
from relay.startup import address, connect, reach
from relay.verify_file import read_document

TRIES = 5  # of a view of the chain during which no anchor is mined


class Anchors(NamedTuple):
    """What was read: anchors and head of one economy, and whether our contract's code is at the address."""

    at: OnChain
    genuine: bool


def verify_file(file: Path, settings: Settings, roots: tuple[bytes, ...]) -> list[Finding]:
    """Return the lines about the proof in a file; it is proved if all of them are ok.

    `roots`: tree heads that the caller knows to be anchored; with them, and no endpoint, nothing is asked of a chain.
    Raises StartupError with what to do where the file or the chain cannot be read.
    """
    try:
        proof = read_proof(read_document(file))
    except PayloadError as refused:
        return explain(refused)
    urls = settings.rpc_urls or _own_chain(settings)
    if not urls:
        return verify(proof, None, *roots)
    try:
        found = asyncio.run(_ask(settings, urls, proof))
    except ChainError as error:
        raise StartupError(f"the chain does not answer: {error}") from None
    contract = checksum_address(found.at.contract)
    if not found.genuine:
        todo = "name the address of the contract that you trust with --contract"
        return [failed("contract", f"there is no Leaderboard at {contract} on chain {found.at.chain_id}", todo)]
    seen = ok("contract", f"{contract} on chain {found.at.chain_id} is a Leaderboard")
    return [seen, *verify(proof, found.at, *roots)]


def _own_chain(settings: Settings) -> list[str]:
    """Return the endpoint of this home's embedded chain, if it ran."""
    url = read_devnet(settings.home).get("rpcUrl")
    return [url] if isinstance(url, str) else []


async def _ask(settings: Settings, urls: list[str], proof: Proof) -> Anchors:
    chain = connect(settings, urls)
    try:
        chain_id, genesis = await reach(chain, lambda _: None)
        at = _contract(settings, chain_id, genesis)
        return await read_anchors(chain, chain_id, at, bytes.fromhex(proof.economy_id[2:]))
    finally:
        await chain.close()


def _contract(settings: Settings, chain_id: int, genesis: bytes) -> Remembered:
    """Return the contract that the verifier names: one that only the proof names could be the liar's own."""
    if settings.contract:
        return Remembered(address(settings.contract, "FAIRSCORE_CONTRACT"), settings.start_block)
    known = remembered_contract(settings.home, chain_id, genesis)
    if known is None:
        raise StartupError("name the contract that you trust with --contract: the proof's own word is not enough")
    return known


async def read_anchors(chain: ChainPool, chain_id: int, at: Remembered, economy: bytes) -> Anchors:
    """Return every anchor of an economy with the contract's own `economyHead`, both of one moment.

    Raises:
        ChainError: the endpoint does not answer.
        StartupError: anchors came so fast that no moment was seen between two.
    """
    if not code_matches(await chain.code(at.contract)):
        return Anchors(OnChain(chain_id, at.contract, (), bytes(32)), genuine=False)
    question = encode_call("economyHead", economy)
    before = decode_result("economyHead", await chain.call(at.contract, question))
    for _ in range(TRIES):
        logs = await chain.logs(at.contract, [ECONOMY_ANCHORED, economy], at.block_number)
        after = decode_result("economyHead", await chain.call(at.contract, question))
        if before == after:
            try:
                found = anchored(economy, at.contract, logs)
            except ValueError as error:
                raise ChainAnswerError(0, f"no contract of ours logs this: {error}", None) from None
            return Anchors(OnChain(chain_id, at.contract, found, after), genuine=True)
        before = after
    raise StartupError("the economy was anchored again and again while it was read: try once more")
