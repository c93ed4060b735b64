"""`fairscore indexer rebuild`: database, chain and indexer put together without a server.

Touches the home folder, the database and with `from_chain` the chain, all through the parts that the services use.
"""

import asyncio
from contextlib import AsyncExitStack

from indexer.ancestry import ChainIdentityError
from indexer.chain_pool import connect
from indexer.config import IndexerSettings
from indexer.decoding import LogError
from indexer.evidence import EvidenceSource, HttpEvidence
from indexer.fold import BrokenChainError
from indexer.follower import Plan
from indexer.post import alone
from indexer.rebuilding import Compared, MovedError, Progress, from_chain, from_scores
from indexer.store.access import Store
from indexer.store.evidence import DatabaseEvidence
from relay.chain_types import ChainError
from relay.config import Settings
from relay.deployment import DeploymentError
from relay.devnet import Devnet, DevnetError
from relay.errors import StartupError
from relay.opening import migrated
from relay.startup import games_of, stand
from relay.store import migrate
from relay.store.engine import Database, StoreUnavailableError
from relay.store.outbox_leases import ChainMismatchError, known_contract
from relay.store.writer import Writer

MOVED = "the chain was reorganised meanwhile; what was read is right, but cannot be compared: run it again"

REFUSALS = (
    BrokenChainError, ChainError, ChainIdentityError, ChainMismatchError, DeploymentError, DevnetError, LogError,
)  # fmt: skip


def reindex(settings: Settings, *, from_chain: bool, progress: Progress) -> Compared:
    """Make all standings again, from the stored scores or from the chain, and compare.

    Raises:
        StartupError: it could not be done to the end; the next try, or the next indexer, goes on from there.
    """
    with migrated(settings) as database:
        migrate.upgrade(database, "indexer")
        try:
            return asyncio.run(_reindex(settings, database, progress, from_chain=from_chain))
        except MovedError:
            raise StartupError(MOVED) from None
        except StoreUnavailableError as error:
            raise StartupError(f"the database refused ({error}); if an indexer runs on it, stop that first") from None
        except REFUSALS as error:
            raise StartupError(str(error)) from None


async def _reindex(settings: Settings, database: Database, progress: Progress, *, from_chain: bool) -> Compared:
    games = games_of(settings, 0)
    configured = {game_id: settings.games.get(game_id, {}) for game_id in games.by_id}
    own = IndexerSettings(games=configured, finality=settings.finality)
    plan = Plan(games=own.game_ids, boards=own.boards, confirmations=own.finality)
    async with AsyncExitStack() as stack:
        writer = Writer(database)
        writer.start()
        stack.push_async_callback(writer.stop)
        store = Store(database, writer)
        await stack.enter_async_context(alone(store))
        if not from_chain:
            return await from_scores(store, plan, progress)
        return await _again(settings, own, plan, store, database, stack, progress)


async def _again(
    settings: Settings,
    own: IndexerSettings,
    plan: Plan,
    store: Store,
    database: Database,
    stack: AsyncExitStack,
    progress: Progress,
) -> Compared:
    devnet: Devnet | None = None
    if settings.embedded:
        devnet = await Devnet.start(settings.home)
        stack.push_async_callback(devnet.stop)

    async def known(chain_id: int, genesis: bytes) -> bytes | None:
        return await database.read(lambda connection: known_contract(connection, chain_id, genesis))

    footing = await stand(settings, devnet, known, lambda _: None, dev_keys=False, follows_only=True)
    stack.push_async_callback(footing.chain.close)
    chain = connect(footing.rpc_url, footing.contract, footing.start_block)
    stack.push_async_callback(chain.close)
    evidence: EvidenceSource = HttpEvidence(own.evidence_url) if own.evidence_url else DatabaseEvidence(database)
    stack.push_async_callback(evidence.close)
    return await from_chain(store, chain, evidence, plan._replace(start_block=footing.start_block), progress)
