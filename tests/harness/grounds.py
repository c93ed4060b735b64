"""A real anvil with the contract on it, a fault proxy in front, an outbox behind that; and the comparison at the end.

Touches processes, loopback HTTP and the database it is given.
"""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

from sqlalchemy import select, text

from relay.attestation import Domain
from relay.chain import Chain
from relay.chain_pool import ChainPool
from relay.deployment import Roles, deploy, publish_rules
from relay.keccak import checksum_address
from relay.outbox.batches import BatchLimits
from relay.outbox.desk import OutboxSettings
from relay.outbox.providers import names
from relay.signer import LocalSigner
from relay.store.tables import submissions
from tests.conftest import Anvil, start_anvil
from tests.harness.fault_proxy import FaultProxy, fault_proxy
from tests.harness.nodes import DEVELOPMENT_KEYS
from tests.harness.outboxes import Bench, Clock, bench
from tests.harness.rpc import ChainScore, scores_on_chain, standings

ADMIN, ATTESTER, GAS = (LocalSigner(bytes.fromhex(key[2:])) for key in DEVELOPMENT_KEYS[:3])
DOCUMENT = b'{"ruleset":"test@1"}'
STILL_S = 15.0  # for so long no node that lives makes no block
WAVE_S = 0.3
QUICK = OutboxSettings(
    limits=BatchLimits(size=10, wait_ms=50), confirmations=3, step_gap_ms=10, lease_ttl_ms=60_000, steal_lease=True
)
"""For blocks of 0.1 s: small batches, so that there are several transactions to go wrong."""


class WallClock(Clock):
    """Seconds as they pass."""

    def __call__(self) -> float:
        """The time."""
        return time.monotonic()


@dataclass(frozen=True)
class Ground:
    """A chain with the contract. `anvil` and `chain` tell the truth; what the outbox is told comes through `proxy`."""

    anvil: Anvil
    proxy: FaultProxy
    chain: Chain
    domain: Domain
    rules: bytes

    def scores(self) -> list[ChainScore]:
        """Every score the contract recorded."""
        return scores_on_chain(self.anvil.url, checksum_address(self.domain.contract))


Disturb = Callable[[Ground, Bench], Awaitable[None]]
"""What happens to the chain while scores are accepted and carried."""


@asynccontextmanager
async def ground(*options: str) -> AsyncIterator[Ground]:
    """A fresh anvil with the contract deployed and one game's rules published, and an honest proxy in front of it."""
    anvil = start_anvil(*options)
    chain = Chain(anvil.url)
    try:
        nobody = bytes(20)
        deployment = await deploy(chain, ADMIN, Roles(ADMIN.address, ATTESTER.address, nobody, nobody))
        rules = await publish_rules(chain, ADMIN, deployment.address, "streambeat", DOCUMENT)
        anvil.rpc("anvil_mine", "0x10")  # so that no reorg undoes the deployment
        with fault_proxy(anvil.url) as proxy:
            yield Ground(anvil, proxy, chain, Domain(anvil.chain_id, deployment.address), rules)
    finally:
        await chain.close()
        anvil.process.kill()
        anvil.process.wait()


async def calm(_ground: Ground, _bench: Bench) -> None:
    """Nothing happens."""


async def check_carried(
    where: Ground,
    url: str,
    disturb: Disturb = calm,
    *,
    count: int = 60,
    settings: OutboxSettings = QUICK,
    waves: int = 3,
    timeout_s: float = 300,
    also: int = 0,
    others: Sequence[str] = (),
) -> float:
    """Accept scores in waves while `disturb` does its worst, until all are final; compare everything.

    `also`: scores that `disturb` accepts beside those. `others`: URLs of further providers, asked after the proxy.
    Returns the seconds it took. The outbox starts over an honest endpoint: what a start does without one is its own
    story.
    """
    async with bench(url) as made:
        b = Bench(made.database, made.writer, clock=WallClock())
        urls = [where.proxy.url, *others]
        told = ChainPool([(name, Chain(url, timeout_s=2)) for name, url in zip(names(urls), urls, strict=True)])
        plan, where.proxy.plan = where.proxy.plan, lambda _calls: None
        outbox = b.outbox(told, settings=settings, domain=where.domain, keys=(GAS, ATTESTER))
        await outbox.start()
        where.proxy.plan = plan
        started = time.monotonic()
        mining = asyncio.create_task(_keep_mining(where))
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(_complete(disturb, where, b))
                for _ in range(waves):
                    await b.accept(count // waves, rules=where.rules)
                    outbox.wake()
                    await asyncio.sleep(WAVE_S)
            await all_final(b, count + also, started + timeout_s, outbox.desk.trouble)
        finally:
            mining.cancel()
            await outbox.stop()
            await told.close()
        took = time.monotonic() - started
        await check(where, b, count + also)
        return took


async def _keep_mining(where: Ground) -> None:
    """Make a block where the node makes none: one whose own clock stops amid reorganisations says nothing of ours."""
    head: object = None
    while True:
        await asyncio.sleep(STILL_S)
        before, head = head, await asyncio.to_thread(where.anvil.rpc, "eth_blockNumber")
        if head == before:
            await asyncio.to_thread(where.anvil.rpc, "evm_mine")


async def _complete(disturb: Disturb, where: Ground, b: Bench) -> None:
    await disturb(where, b)


async def all_final(b: Bench, count: int, until: float, trouble: object = None) -> None:
    """Wait until that many are final, nothing else being left; says what is the matter when they are not in time."""
    while not await b.all_final(count):
        assert time.monotonic() < until, f"not final in time: {dict(await b.statuses())}, {trouble}, {await slots(b)}"
        await asyncio.sleep(0.1)


async def slots(b: Bench) -> list[tuple[object, ...]]:
    """Nonce, state and number of attempts of each slot that is not final."""
    query = text(
        "SELECT s.nonce, s.state, (SELECT count(*) FROM attempts a WHERE a.nonce = s.nonce AND a.signer = s.signer) "
        "FROM slots s WHERE s.state <> 'final' ORDER BY s.nonce"
    )
    return [tuple(row) for row in await b.database.read(lambda c: c.execute(query).all())]


async def check(where: Ground, b: Bench, count: int) -> None:
    """Every accepted score is on chain exactly once with its values, and the standings are those of the accepted."""
    s = submissions.c
    query = select(s.player, s.score, s.round_id, s.evidence_hash, s.status)
    accepted = {row.round_id: row for row in await b.database.read(lambda c: c.execute(query).all())}
    recorded = where.scores()
    assert Counter(score.round_id for score in recorded) == dict.fromkeys(accepted, 1)
    for score in recorded:
        row = accepted[score.round_id]
        assert (score.player, score.score) == (checksum_address(row.player), row.score)
        assert score.evidence_hash == "0x" + row.evidence_hash.hex()
    best: dict[str, int] = {}
    for row in accepted.values():
        player = checksum_address(row.player)
        best[player] = max(best.get(player, 0), row.score)
    ordered = sorted(best.items(), key=lambda item: -item[1])
    assert standings(recorded) == [(rank, player, score) for rank, (player, score) in enumerate(ordered, 1)]
    assert await b.statuses() == {"final": count}
    await b.check_invariants()
    # No nonce of the key was used by anything but our own slots, and none is left over.
    states = text("SELECT nonce, state FROM slots ORDER BY nonce")
    nonces = {row[0]: row[1] for row in await b.database.read(lambda c: c.execute(states).all())}
    assert set(nonces.values()) == {"final"}
    assert list(nonces) == list(range(await where.chain.nonce(GAS.address)))
