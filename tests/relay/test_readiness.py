"""GET /health/ready names what is not ready, and tells what waits for an operator without failing for it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import psycopg

from relay.attestation import Domain
from relay.chain_types import ChainUnavailableError, ProviderState
from relay.fleet import Edges, Fleet
from relay.health import Check
from relay.keccak import checksum_address
from relay.readiness import Readiness, backlog, balance
from relay.store import controls
from relay.store.controls import By
from relay.store.outbox_leases import Key
from relay.store.outbox_view import DEPTH_STATES, Depth
from tests.harness.fake_chain import FakeChain
from tests.harness.outboxes import CHAIN_ID, CONTRACT, GAS_KEY, SETTINGS, Bench, bench

ADDRESS = checksum_address(GAS_KEY.address)


@dataclass
class Edge:
    """What a chain says of itself, changed by the tests."""

    id: int = CHAIN_ID
    bytecode: bytes = b"\x60"
    up: bool = True
    states: list[ProviderState] = field(default_factory=list)

    def providers(self) -> list[ProviderState]:
        """As told."""
        return self.states

    async def chain_id(self) -> int:
        """As told, unless it is away."""
        if not self.up:
            raise ChainUnavailableError("HTTP 502")
        return self.id

    async def code(self, address: bytes) -> bytes:  # noqa: ARG002 - the port names it
        """As told."""
        return self.bytecode


@dataclass
class Relay:
    """A sender on the simulated chain and the readiness of its process."""

    bench: Bench
    chain: FakeChain
    edge: Edge
    fleet: Fleet
    inactive: list[str]

    async def look(self) -> dict[str, Check]:
        """GET /health/ready, without HTTP."""
        ready = Readiness(self.bench.database, self.edge, CHAIN_ID, CONTRACT, self.fleet, self.inactive)
        return await ready.look()

    async def failing(self) -> dict[str, str]:
        """What fails, by name."""
        return {name: check.detail for name, check in (await self.look()).items() if not check.ok}


@asynccontextmanager
async def relay_at(url: str) -> AsyncIterator[Relay]:
    """A relay whose outbox runs."""
    async with bench(url) as b:
        chain = FakeChain(CONTRACT)
        fleet = Fleet(Edges(chain, b.database, b.writer, Domain(CHAIN_ID, CONTRACT), b.ears, SETTINGS))
        outbox = b.outbox(chain)
        fleet.outboxes[GAS_KEY.address] = outbox
        await outbox.start()
        relay = Relay(b, chain, Edge(), fleet, [])
        for _ in range(3_000):
            if outbox.meter.balance_wei is not None:
                break
            await asyncio.sleep(0.02)
        try:
            yield relay
        finally:
            await fleet.stop()


def test_all_is_well(sqlite_url: str) -> None:
    """Every check that is made has a name and says what it saw."""

    async def run() -> None:
        async with relay_at(sqlite_url) as relay:
            seen = await relay.look()
            assert await relay.failing() == {}
            assert set(seen) == {"database", "backlog", "chain", "contract", "outbox", "balance", "rules"}
            assert seen["balance"].detail == f"{ADDRESS}: 1000.000000"
            assert seen["contract"].detail == checksum_address(CONTRACT)
            assert seen["backlog"].detail == "0 scores in no block"

    asyncio.run(run())


def test_what_is_wrong_is_named(sqlite_url: str) -> None:
    """Each by itself, with what to do."""

    async def run() -> None:
        async with relay_at(sqlite_url) as relay:
            relay.edge.up = False
            assert await relay.failing() == {"chain": "the endpoint does not answer (HTTP 502)"}
            relay.edge = Edge(id=5)
            assert await relay.failing() == {"chain": f"the endpoint is on chain 5, not {CHAIN_ID}"}
            relay.edge = Edge(bytecode=b"")
            assert "FAIRSCORE_CONTRACT" in (await relay.failing())["contract"]
            relay.edge = Edge()
            relay.inactive.append("arena")
            assert "arena" in (await relay.failing())["rules"]
            relay.inactive.clear()
            relay.chain.money = 1
            await relay.bench.accept(1)
            relay.fleet.wake()
            for _ in range(3_000):
                if await relay.failing():
                    break
                await asyncio.sleep(0.02)
            assert set(await relay.failing()) == {"balance"}

    asyncio.run(run())


def test_what_waits_for_a_person_fails_nothing(sqlite_url: str) -> None:
    """A pause, a demoted endpoint, scores that wait: told, and scores are still taken."""

    async def run() -> None:
        async with relay_at(sqlite_url) as relay:
            relay.edge.states = [ProviderState("slow.example:443", False, 3, 9, "it is 9 blocks behind")]
            by = By("cli:ann", "upgrade", 1)
            await relay.bench.writer.run(lambda c: controls.pause(c, Key(CHAIN_ID, GAS_KEY.address), by))
            await relay.bench.accept(2)
            relay.fleet.outboxes[GAS_KEY.address].desk.report("invalidate", "no auditor on the contract")
            relay.fleet.wake()
            for _ in range(3_000):
                if "paused" in await relay.look():
                    break
                await asyncio.sleep(0.02)
            seen = await relay.look()
            assert await relay.failing() == {}
            assert "upgrade" in seen["paused"].detail
            assert seen["invalidate"].detail == "no auditor on the contract"
            assert seen["backlog"].detail == "2 scores in no block"
            assert "slow.example:443: it is 9 blocks behind" in seen["chain"].detail

    asyncio.run(run())


def test_a_process_without_keys_says_so(sqlite_url: str) -> None:
    """It accepts; others send."""

    async def run() -> None:
        async with relay_at(sqlite_url) as relay:
            await relay.fleet.stop()
            relay.fleet.outboxes.clear()
            seen = await relay.look()
            assert await relay.failing() == {}
            assert "no gas key" in seen["outbox"].detail

    asyncio.run(run())


def test_a_database_that_is_away(postgres_url: str, postgres_server: str) -> None:
    """Everything else is still told."""

    async def run() -> None:
        async with relay_at(postgres_url) as relay:
            name = relay.bench.database.engine.url.database
            with psycopg.connect(postgres_server, autocommit=True) as admin:
                admin.execute(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS false'.encode())
                admin.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", (name,))
            failing = await relay.failing()
            assert "does not answer" in failing["database"]
            assert (await relay.look())["chain"].ok

    asyncio.run(run())


def test_the_words() -> None:
    """What a backlog and balances are told as."""
    nothing = dict.fromkeys(DEPTH_STATES, Depth(0, None))
    some = nothing | {"accepted": Depth(3, 1), "sent": Depth(2, 1), "included": Depth(9, 1), "parked": Depth(1, 1)}
    assert backlog(some) == "5 scores in no block; 1 parked"
    assert balance({GAS_KEY.address: None}) == f"{ADDRESS}: not asked yet"
